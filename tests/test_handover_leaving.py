"""A server that leaves everything to a successor, where something goes wrong or comes in between.

The successor is this test: it asks, takes what it is given, and says when it is ready, or does not.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.core.pipeline import Pipeline
from prise.errors import FrameError, HandoverError, HandoverProtocolError, HandoverRefused
from prise.framing import framing_of
from prise.handover import Channel, Inheritance, Listener, Succession, inherit
from prise.handover import succession as rules
from prise.handover.inheritance import told_of
from prise.layers.websocketserver import server_factory
from prise.servers import leaving

PATIENCE = 10.0
HERE = prise.Address.parse("127.0.0.1:1")
MODELS = ["select", "asyncio"]


async def adder(connection: prise.AsyncConnection) -> None:
    """Adds up; the first number that is sent may say which trouble its state makes."""
    connection.state = total = connection.state or 0
    async for line in connection:
        total += int(line)
        connection.state = {7: lambda: 1 / 0, 8: "x" * (1024 * 1024 - 120)}.get(int(line), total)
        await connection.send(str(total))


def listening(path: Path, model: str, conversation: Any = adder, address: str = "127.0.0.1:0") -> prise.Server:
    return prise.listen(conversation, address, model=model, handover=str(path), drain_time=1.0)


def inherited(path: Path) -> Inheritance:
    found = inherit(str(path))
    assert found is not None
    return found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trouble", ["7", "8"])
def test_a_state_that_cannot_be_told_keeps_its_connection_here_and_no_other(
    tmp_path: Path, model: str, trouble: str
) -> None:
    """Its function raises; or it is as large as a frame, so that there is no room left for what goes with it."""
    path = tmp_path / "take"
    with listening(path, model) as server, prise.connect(server.address) as bad, prise.connect(server.address) as good:
        assert bad.ask(trouble, PATIENCE) == trouble
        assert good.ask("1", PATIENCE) == "1"
        inheritance = inherited(path)
        assert [told_of(each)["state"] for each in inheritance.connections] == [1]
        inheritance.close()
        assert bad.ask("1", PATIENCE) == str(int(trouble) + 1)
        assert good.ask("1", PATIENCE) == "2"
        with prise.connect(server.address) as another:
            assert another.ask("3", PATIENCE) == "3"


@pytest.mark.parametrize("model", MODELS)
def test_a_connection_that_is_half_closed_stays(tmp_path: Path, model: str) -> None:
    async def has_spoken(connection: prise.AsyncConnection) -> None:
        connection.state = 1
        await connection.send_eof()
        async for _ in connection:
            pass

    path = tmp_path / "take"
    with listening(path, model, has_spoken) as server, prise.connect(server.address) as client:
        assert client.receive(PATIENCE) is None
        inheritance = inherited(path)
        assert inheritance.connections == []
        inheritance.close()


@pytest.mark.parametrize("model", MODELS)
def test_a_second_successor_is_refused_and_the_first_one_may_still_go_on(tmp_path: Path, model: str) -> None:
    path = tmp_path / "take"
    with listening(path, model) as server, prise.connect(server.address) as client:
        assert client.ask("1", PATIENCE) == "1"
        inheritance = inherited(path)
        with Channel.connect(str(path)) as second:
            second.tell("succeed")
            inheritance.commit()
            with inheritance.take_connections()[0].connection() as connection:
                inheritance.settled()
                answer = second.hear(PATIENCE)
                assert answer is not None
                assert "another one has taken over" in answer["error"]
                client.send("5")
                assert connection.receive(PATIENCE) == "5"


def test_who_connects_and_says_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "ASK_TIME", 0.05)
    path = tmp_path / "take"
    with listening(path, "select"), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.settimeout(PATIENCE)
        silent.connect(str(path))
        assert silent.recv(1) == b""


def test_a_listener_keeps_its_mode_so_that_those_who_share_it_never_block(tmp_path: Path) -> None:
    path = tmp_path / "take"
    with listening(path, "select"):
        inheritance = inherited(path)
        (listener,) = inheritance.listeners
        assert not os.get_blocking(listener.socket.fileno())
        inheritance.close()


def test_a_successor_that_fails_before_it_is_ready_leaves_the_unix_path_alone(tmp_path: Path) -> None:
    path, place = tmp_path / "take", f"unix:{tmp_path}/chat"
    with listening(path, "select", address=place):
        with pytest.raises(prise.BindError):
            listening_twice = prise.listen(adder, place, "unix:/nowhere/at/all", model="select", handover=str(path))
            listening_twice.start()
        with prise.connect(place) as client:
            assert client.ask("1", PATIENCE) == "1"


# -- what the program itself has to do before it leaves ---------------------------------------------------------------------


@contextmanager
def leaving_by(path: Path, leave: Any) -> Iterator[tuple[prise.Server, list[str]]]:
    """A server whose program has such a `leaving`, and what became of it."""
    told: list[str] = []
    succession = Succession(str(path))
    succession.leaving = leave
    succession.staying = lambda: told.append("stays")
    succession.left = lambda: told.append("left")
    with prise.listen(adder, "127.0.0.1:0", model="asyncio", handover=succession, drain_time=1.0) as server:
        yield server, told


async def fails() -> None:
    raise ValueError("the store is full")


def fails_at_once() -> Any:
    raise ValueError("it is no coroutine even")


async def never_ends() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("leave", [fails, fails_at_once, never_ends])
def test_a_program_that_cannot_leave_goes_on(tmp_path: Path, leave: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "LEAVING_TIME", 0.1)
    path = tmp_path / "take"
    with leaving_by(path, leave) as (server, told), prise.connect(server.address) as client:
        assert client.ask("1", PATIENCE) == "1"
        with pytest.raises(HandoverRefused, match="it cannot leave"):
            inherit(str(path))
        assert client.ask("1", PATIENCE) == "2"
        assert told == ["stays"]
        with prise.connect(server.address) as another:
            assert another.ask("3", PATIENCE) == "3"


def test_a_server_that_is_ended_while_it_leaves_tells_its_successor(tmp_path: Path) -> None:
    path = tmp_path / "take"
    asked = threading.Event()

    async def leave() -> None:
        asked.set()
        await asyncio.Event().wait()

    refused: list[str] = []

    def succeed() -> None:
        try:
            inherit(str(path))
        except HandoverError as error:
            refused.append(error.sentence())

    with leaving_by(path, leave) as (server, _):
        successor = threading.Thread(target=succeed)
        successor.start()
        assert asked.wait(PATIENCE)
        server.drain()
        successor.join(PATIENCE)
    assert "the old process goes on" in refused[0]  # and not that nothing was heard in time


def test_what_follows_here_may_fail_and_all_has_moved_nevertheless(tmp_path: Path) -> None:
    path = tmp_path / "take"

    def fail() -> None:
        raise ValueError("out of order")

    succession = Succession(str(path))
    succession.left = fail
    with prise.listen(adder, "127.0.0.1:0", model="select", handover=succession) as server:
        with prise.connect(server.address) as client:
            assert client.ask("1", PATIENCE) == "1"
            inheritance = inherited(path)
            inheritance.commit()
            with inheritance.take_connections()[0].connection() as connection:
                inheritance.settled()
                client.send("5")
                assert connection.receive(PATIENCE) == "5"
                connection.send("6")
                assert client.receive(PATIENCE) == "6"


# -- as the successor -------------------------------------------------------------------------------------------------------


@contextmanager
def predecessor(path: Path, *states: Any, pending: bytes = b"") -> Iterator[socket.socket]:
    """An old release that gives a connection with each of these states, and lets go. Yields the peer of the last one."""
    ours, theirs = socket.socketpair()
    ours.settimeout(PATIENCE)

    def give() -> None:
        with listener.accept(PATIENCE) as channel:
            channel.hear(PATIENCE)
            for state in states:
                channel.send(prise.handover.adopt(theirs, pending=pending), state=state)
            channel.tell("all")
            channel.hear(PATIENCE)
            theirs.close()
            channel.tell("yours")
            channel.hear(PATIENCE)

    with Listener(str(path)) as listener, ours:
        old = threading.Thread(target=give)
        old.start()
        yield ours
        old.join(PATIENCE)
        theirs.close()


def belongs(facts: Any, state: Any = 0) -> dict[str, Any]:
    return {"as": "connection", "address": "127.0.0.1:1", "state": state, "facts": facts}


@pytest.mark.parametrize("state", [None, {}, {"as": "connection"}, {"address": "x"}, {"as": 5, "address": "x"}])
def test_what_does_not_say_where_it_belongs_is_refused(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "take"
    channels: list[Channel] = []

    def give() -> None:
        with listener.accept(PATIENCE) as channel, socket.socket() as sock:
            channels.append(channel)
            channel.hear(PATIENCE)
            with pytest.raises(HandoverError):
                channel.send(sock, state=state)

    with Listener(str(path)) as listener:
        old = threading.Thread(target=give)
        old.start()
        with pytest.raises(HandoverProtocolError, match="where it belongs"):
            inherit(str(path))
        old.join(PATIENCE)


NONSENSE: list[Any] = [
    None, [], "x", {"branch": 5}, {"layers": 5}, {"layers": [5]}, {"layers": [[]]}, {"layers": [["a", 1]]},
    {"layers": [["a", {}, 1]]}, {"layers": [["ServerWebSocket", {}]]}, {"layers": [["ServerWebSocket", {"headers": 3}]]},
    {"layers": [["ServerWebSocket", {"headers": [1]}]]}, {"layers": [["ServerWebSocket", {"headers": [], "what": 1}]]},
    {"layers": []},
]  # fmt: skip


@pytest.mark.parametrize("facts", NONSENSE)
def test_facts_that_make_no_sense_are_a_handover_error(facts: Any) -> None:
    pipeline = Pipeline(framing_of("lines"), 100, [server_factory()])
    with pytest.raises(HandoverError):
        pipeline.resume(facts, HERE, HERE)


def test_a_connection_without_sense_is_closed_and_the_next_one_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "take"
    with predecessor(path, belongs(5), belongs({}, 40)) as peer, listening(path, "select"):
        peer.sendall(b"2\n")
        assert peer.recv(100) == b"42\n"
    assert "could not be taken over" in caplog.text


@pytest.mark.parametrize("model", MODELS)
def test_what_was_read_before_is_answered_also_by_who_speaks_first(tmp_path: Path, model: str) -> None:
    async def greets(connection: prise.AsyncConnection) -> None:
        await connection.send("I am new")
        async for line in connection:
            await connection.send(line.upper())

    path = tmp_path / "take"
    with predecessor(path, belongs({}), pending=b"read before\n") as peer, listening(path, model, greets):
        heard = b""
        while heard.count(b"\n") < 2:
            heard += peer.recv(100)
        assert heard == b"I am new\nREAD BEFORE\n"


# -- a connection that is paused --------------------------------------------------------------------------------------------


@contextmanager
def loops_connection() -> Iterator[tuple[asyncio.Runner, prise.AsyncConnection, prise.Connection]]:
    near, far = prise.ipc.pair("lines")
    with asyncio.Runner() as runner, far.open() as peer:
        connection = runner.run(near.open_async())
        yield runner, connection, peer
        runner.run(connection.close())


def test_an_event_of_the_round_in_which_it_pauses_is_left_for_later() -> None:
    with loops_connection() as (runner, connection, peer):

        async def main() -> None:
            peer.send("hello")
            connection.pause()
            connection.on_readable()  # as the loop does for what it has found readable before
            connection.unpause()
            assert await connection.receive(PATIENCE) == "hello"

        runner.run(main())


def test_what_came_in_clear_and_is_held_back_is_not_taken_for_encrypted() -> None:
    """The STARTTLS injection, in the moment of a handover."""
    with loops_connection() as (runner, connection, peer):

        async def main() -> None:
            peer.send("STARTTLS")
            peer.send("injected")
            assert await connection.receive(PATIENCE) == "STARTTLS"
            connection.on_readable()
            connection.pause()
            with pytest.raises(FrameError, match="in clear"):
                await connection.start_tls(prise.TLS(verify=False))
            connection.unpause()

        runner.run(main())


def test_a_conversation_that_ends_while_it_is_paused_keeps_its_connection() -> None:
    with loops_connection() as (runner, connection, peer):

        async def main() -> None:
            connection.pause()
            closing = asyncio.ensure_future(connection.close())
            await asyncio.sleep(0)
            with pytest.raises(HandoverError, match="being ended"):
                connection.part("same")
            connection.unpause()
            await asyncio.to_thread(peer.close)
            await closing

        runner.run(main())
