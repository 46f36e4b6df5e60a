"""Live connections change hands: between channels of one process here, and with another process where that matters."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prise
from handover_support import tcp_pair
from prise import HandOver, HandoverError, Limits, handover
from prise.handover import AsyncChannel, AsyncListener, Channel, Listener, Received, adopt
from prise.layers.telnet import Telnet
from prise.loops import asyncio as asyncio_loops
from tls_support import client_tls, server_tls

PATIENCE = 10.0


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    ours, theirs = Channel.pair()
    with ours, theirs:
        yield ours, theirs


def taking(channel: Channel) -> Any:
    """Receives one thing in another thread; call it for what came (or is raised)."""
    found: list[Any] = []

    def take() -> None:
        try:
            found.append(channel.receive(PATIENCE))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=take)
    thread.start()

    def result() -> Any:
        thread.join(PATIENCE)
        if isinstance(found[0], BaseException):
            raise found[0]
        return found[0]

    return result


def rest_of(sock: socket.socket) -> str:
    with sock.makefile() as file:
        return file.read()


def line_of(sock: socket.socket) -> str:
    with sock.makefile() as file:
        return file.readline()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# -- a socket -----------------------------------------------------------------------------------------------------------


def test_a_socket_changes_hands_with_a_state(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        take = taking(theirs)
        ours.send(conn, state={"name": "Zoé", "numbers": [1, 2.5, None]})
        with take() as received:
            assert conn.fileno() == -1  # ours is closed, and the peer has seen no end
            assert (received.kind, received.pending) == ("stream", b"")
            assert received.state == {"name": "Zoé", "numbers": [1, 2.5, None]}
            assert received.peer.endswith(str(peer.getsockname()[1]))
            assert received.credentials == (os.getpid(), os.geteuid(), os.getegid())
            assert received.socket.gettimeout() is None
            assert not received.socket.get_inheritable()
            peer.sendall(b"hello\n")
            assert received.socket.recv(100) == b"hello\n"
            received.socket.sendall(b"there\n")
            assert peer.recv(100) == b"there\n"
        assert peer.recv(100) == b""  # the last copy is closed


@pytest.mark.parametrize("timeout", [None, 5.0, 0.0])
def test_the_mode_of_the_senders_socket_does_not_matter(
    channels: tuple[Channel, Channel], timeout: float | None
) -> None:
    ours, theirs = channels
    with tcp_pair() as (_peer, conn):
        conn.settimeout(timeout)
        take = taking(theirs)
        ours.send(conn)
        with take() as received:
            assert os.get_blocking(received.socket.fileno())


def test_a_kept_connection_is_shared_and_ends_when_both_have_closed_it(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        take = taking(theirs)
        ours.send(conn, keep=True)
        received = take()
        conn.sendall(b"from us, ")
        received.socket.sendall(b"from them")
        assert peer.recv(100) in (b"from us, from them", b"from us, ")
        conn.close()
        received.socket.sendall(b"!")
        peer.settimeout(PATIENCE)
        assert peer.recv(100).endswith((b"!", b"them"))
        received.close()


def test_a_listener_and_a_datagram_socket_change_hands(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    take = taking(theirs)
    ours.send(listening)
    with take() as received:
        assert received.kind == "listener"
        with pytest.raises(prise.UsageError, match="listens"):
            received.connection()
        with socket.create_connection(address, timeout=PATIENCE) as client:
            accepted, _ = received.socket.accept()
            with accepted:
                client.sendall(b"x")
                assert accepted.recv(1) == b"x"
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    take = taking(theirs)
    ours.send(datagrams)
    with take() as received:
        assert received.kind == "datagram"


def test_several_go_over_one_channel_and_its_end_is_none(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (_peer, conn):
        for number in range(20):
            take = taking(theirs)
            ours.send(conn, state=number, keep=True)
            with take() as received:
                assert received.state == number
    ours.close()
    assert theirs.receive(PATIENCE) is None


def test_waiting_in_vain_loses_nothing(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with pytest.raises(prise.TooSlow):
        theirs.receive(0.01)
    with tcp_pair() as (_, conn):
        take = taking(theirs)
        ours.send(conn)
        take().close()


# -- a connection ---------------------------------------------------------------------------------------------------------


def test_what_was_read_goes_along(channels: tuple[Channel, Channel]) -> None:
    """Lines that were decoded and not received, and the beginning of one more, are bytes again."""
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        connection = adopt(conn)
        conn.close()
        peer.sendall("first\nsecond\r\nthé th".encode())
        assert connection.receive(PATIENCE) == "first"
        take = taking(theirs)
        connection.hand_over(ours, state="after the first")
        assert connection.closed
        assert connection.receive() is None
        with pytest.raises(prise.UsageError, match="closed"):
            connection.send("too late")
        received = take()
        assert received.pending == "second\nthé th".encode()
        with received.connection() as theirs_now:
            peer.sendall(b"ird\n")
            assert theirs_now.receive(PATIENCE) == "second"
            assert theirs_now.receive(PATIENCE) == "thé third"
            theirs_now.send("heard")
            assert peer.recv(100) == b"heard\n"


def test_a_connection_that_is_not_taken_goes_on_here(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn), adopt(conn) as connection:
        peer.sendall(b"one\ntwo\nthr")
        assert connection.receive(PATIENCE) == "one"
        theirs.close()
        with pytest.raises(HandoverError):
            connection.hand_over(ours)
        peer.sendall(b"ee\n")
        assert [connection.receive(PATIENCE), connection.receive(PATIENCE)] == ["two", "three"]
        connection.send("still here")
        assert peer.recv(100) == b"still here\n"


def test_half_closed_connections_change_hands(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        connection = adopt(conn)
        conn.close()
        peer.sendall(b"all I have to say\nwithout an end")
        peer.shutdown(socket.SHUT_WR)
        assert connection.receive(PATIENCE) == "all I have to say"
        take = taking(theirs)
        connection.hand_over(ours)
        with take().connection() as theirs_now:
            assert list(theirs_now) == ["without an end"]
            theirs_now.send("answer")
            assert peer.recv(100) == b"answer\n"


def test_what_others_posted_is_sent_before(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        connection = adopt(conn)
        conn.close()
        connection.post("posted")
        take = taking(theirs)
        connection.hand_over(ours)
        with take().connection() as theirs_now:
            theirs_now.send("then theirs")
            peer.settimeout(PATIENCE)
            assert line_of(peer) == "posted\n"


def test_detach_gives_the_socket_and_what_was_read() -> None:
    with tcp_pair() as (peer, conn):
        connection = adopt(conn, "chunks")
        conn.close()
        peer.sendall(b"abc")
        connection.receive(PATIENCE)
        peer.sendall(b"def")
        sock, pending = connection.detach()
        with sock:
            assert connection.closed
            assert pending == b""
            assert sock.recv(100) == b"def"


def test_adopt_finds_out_what_the_descriptor_is(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, adopt(ours.fileno()) as connection:
        theirs.sendall(b"hello\n")
        assert connection.receive(PATIENCE) == "hello"
        assert connection.fileno() != ours.fileno()
        connection.send("there")
        assert theirs.recv(100) == b"there\n"
    with open(tmp_path / "file", "w") as file, pytest.raises(prise.UsageError, match="no socket"):
        adopt(file.fileno())
    with pytest.raises(prise.UsageError, match="not open"):
        adopt(987)


def test_adopted_bytes_come_first() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, adopt(ours, pending=b"early\nla") as connection:
        theirs.sendall(b"te\n")
        assert [connection.receive(PATIENCE), connection.receive(PATIENCE)] == ["early", "late"]


def test_bad_bytes_that_come_along_are_the_receivers_to_refuse() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, adopt(ours, pending=b"good\nbad \xff\n") as connection:
        assert connection.receive(PATIENCE) == "good"
        with pytest.raises(prise.FrameError):
            connection.receive(PATIENCE)


# -- what cannot change hands ----------------------------------------------------------------------------------------------


def test_tls_is_refused_with_the_reason_and_goes_on(channels: tuple[Channel, Channel]) -> None:
    ours, _ = channels

    def conversation(connection: prise.Connection) -> None:
        connection.receive()
        with pytest.raises(HandoverError, match="keys"):
            connection.hand_over(ours)
        connection.send("still here")

    with (
        prise.listen(conversation, "tls:localhost:0", tls=server_tls()) as server,
        prise.connect(f"tls:localhost:{server.address.port}", tls=client_tls()) as client,
    ):
        assert client.ask("hello", timeout=PATIENCE) == "still here"


@pytest.mark.parametrize("model", ["threads", "asyncio"])
def test_what_is_passed_on_keeps_the_limits_of_its_connection(channels: tuple[Channel, Channel], model: str) -> None:
    ours, theirs = channels

    def plain(connection: prise.Connection) -> None:
        connection.hand_over(ours, relay=True)

    async def coroutine(connection: prise.AsyncConnection) -> None:
        await connection.hand_over(ours, relay=True)

    conversation: Any = plain if model == "threads" else coroutine
    take, limits = taking(theirs), prise.Limits(idle_time=0.2)
    with (
        prise.listen(conversation, "tls:localhost:0", tls=server_tls(), model=model, limits=limits) as server,
        prise.connect(f"tls:localhost:{server.address.port}", tls=client_tls()),
        take().connection() as theirs_now,
    ):
        assert theirs_now.receive(PATIENCE) is None  # nobody has said anything for so long


@pytest.mark.parametrize("model", ["threads", "asyncio"])
def test_tls_is_passed_on_in_clear_when_asked_for(channels: tuple[Channel, Channel], model: str) -> None:
    ours, theirs = channels

    def plain(connection: prise.Connection) -> None:
        assert connection.receive() == "one"
        connection.hand_over(ours, relay=True)

    async def coroutine(connection: prise.AsyncConnection) -> None:
        assert await connection.receive() == "one"
        await connection.hand_over(ours, relay=True)

    conversation: Any = plain if model == "threads" else coroutine
    take = taking(theirs)
    with (
        prise.listen(conversation, "tls:localhost:0", tls=server_tls(), model=model) as server,
        prise.connect(f"tls:localhost:{server.address.port}", tls=client_tls()) as client,
    ):
        client.send("one")
        client.send("two")
        with take().connection() as theirs_now:
            assert theirs_now.receive(PATIENCE) == "two"
            theirs_now.send("heard")
            assert client.receive(PATIENCE) == "heard"
            client.send_eof()
            assert theirs_now.receive(PATIENCE) is None
            theirs_now.send("last")
        assert list(client) == ["last"]


def test_an_ssl_socket_of_the_standard_library_is_refused(channels: tuple[Channel, Channel]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with tcp_pair() as (_, conn):
        with context.wrap_socket(conn, do_handshake_on_connect=False, server_hostname="x") as wrapped:
            with pytest.raises(HandoverError, match="keys"):
                channels[0].send(wrapped)
            assert wrapped.fileno() >= 0


def test_only_sockets_and_connections_are_taken(channels: tuple[Channel, Channel], tmp_path: Path) -> None:
    with pytest.raises(prise.UsageError, match="not int"):
        channels[0].send(1)
    with pytest.raises(prise.UsageError, match="JSON"), tcp_pair() as (_, conn):
        channels[0].send(conn, state={1, 2})
    with tcp_pair() as (_, conn), pytest.raises(prise.UsageError, match="Unix stream"):
        Channel(conn)


def test_a_state_that_json_cannot_say_leaves_everything_as_it_was(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    with tcp_pair() as (peer, conn), adopt(conn) as connection:
        for bad in ({"x": b"bytes"}, float("nan"), "\ud800", "x" * (1 << 20)):
            with pytest.raises(prise.UsageError):
                connection.hand_over(ours, state=bad)
        peer.sendall(b"hello\n")
        assert connection.receive(PATIENCE) == "hello"
        take = taking(theirs)
        connection.hand_over(ours)
        take().close()


# -- conversations of every model -------------------------------------------------------------------------------------------


def served(model: str, spelling: str, channel: Any) -> Any:
    """A conversation that greets, hears a name, and gives the connection away."""

    def function(connection: prise.Connection) -> None:
        name = connection.ask("Your name?")
        connection.hand_over(channel, state={"name": name})

    def generator(connection: prise.GeneratorConnection) -> Any:
        name = yield "Your name?"
        return HandOver(channel, {"name": name})

    async def coroutine(connection: prise.AsyncConnection) -> None:
        await connection.send("Your name?")
        name = await connection.receive()
        await connection.hand_over(channel, state={"name": name})
        assert await connection.receive() is None

    return {"function": function, "generator": generator, "coroutine": coroutine}[spelling]


SPELLINGS = [
    ("threads", "function"),
    ("threads", "generator"),
    ("threads", "coroutine"),
    ("processes", "function"),
    ("processes", "generator"),
    ("processes", "coroutine"),
    ("select", "generator"),
    ("select", "coroutine"),
    ("asyncio", "generator"),
    ("asyncio", "coroutine"),
]


@pytest.mark.parametrize(("model", "spelling"), SPELLINGS)
@pytest.mark.parametrize("telnet", [False, True])
def test_every_model_gives_connections_away(
    channels: tuple[Channel, Channel], model: str, spelling: str, telnet: bool
) -> None:
    watching = set(asyncio_loops._adapters)  # of other tests
    ours, theirs = channels
    conversation = served(model, spelling, ours)
    layers = [Telnet] if telnet else []
    with prise.listen(conversation, "127.0.0.1:0", model=model, layers=layers) as server:
        for _ in range(3):
            take = taking(theirs)
            with prise.connect(server.address) as client:
                assert client.receive(PATIENCE) == "Your name?"
                client.send("ada")
                client.send("and this, and")
                received = take()
                assert received.state == {"name": "ada"}
                with received.connection() as theirs_now:
                    assert theirs_now.receive(PATIENCE) == "and this, and"
                    theirs_now.send("welcome, ada")
                    assert client.ask("are you there?", timeout=PATIENCE) == "welcome, ada"
                    assert theirs_now.receive(PATIENCE) == "are you there?"
                assert client.receive(PATIENCE) is None
    assert server.stats().open == 0
    assert sum(server.stats().errors.values()) == 0
    assert asyncio_loops._adapters.keys() <= watching, "no loop watches what is gone"


@pytest.mark.parametrize(("model", "spelling"), SPELLINGS)
def test_where_nobody_takes_it_the_conversation_hears_and_the_peer_is_not_left_alone(model: str, spelling: str) -> None:
    ours, theirs = Channel.pair()
    theirs.close()
    with ours, prise.listen(served(model, spelling, ours), "127.0.0.1:0", model=model) as server:
        with prise.connect(server.address) as client:
            assert client.receive(PATIENCE) == "Your name?"
            client.send("ada")
            assert client.receive(PATIENCE) is None
    assert server.stats().errors["conversation"] == 1


@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_a_coroutine_that_was_refused_goes_on_with_what_it_had_not_taken(model: str) -> None:
    ours, theirs = Channel.pair()

    async def conversation(connection: prise.AsyncConnection) -> None:
        first = await connection.receive()
        with pytest.raises(HandoverError):
            await connection.hand_over(ours)
        async for line in connection:
            await connection.send(f"{first} {line}")

    theirs.close()
    with ours, prise.listen(conversation, "127.0.0.1:0", model=model) as server:
        with socket.create_connection((str(server.address.host), int(server.address.port or 0))) as client:
            client.sendall(b"a\nb\nc\nd")
            client.shutdown(socket.SHUT_WR)
            assert rest_of(client) == "a b\na c\na d\n"


@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_others_are_served_while_the_other_side_thinks(channels: tuple[Channel, Channel], model: str) -> None:
    ours, theirs = channels

    async def conversation(connection: prise.AsyncConnection) -> None:
        async for line in connection:
            if line == "go":
                await connection.hand_over(ours)
            else:
                await connection.send(line)

    with prise.listen(conversation, "127.0.0.1:0", model=model) as server:
        with prise.connect(server.address) as goes, prise.connect(server.address) as stays:
            goes.send("go")
            for _ in range(100):
                assert stays.ask("still served?", timeout=PATIENCE) == "still served?"
            with taking(theirs)() as received:
                received.socket.sendall(b"taken\n")
                assert goes.receive(PATIENCE) == "taken"


# -- asyncio ---------------------------------------------------------------------------------------------------------------


def test_channels_and_listeners_on_asyncio(tmp_path: Path) -> None:
    path = str(tmp_path / "take")

    async def main() -> None:
        async with AsyncListener(path) as listener:

            async def give(connection: prise.AsyncConnection) -> None:
                await connection.receive()
                async with await AsyncChannel.connect(path) as channel:
                    await channel.send(connection, state=[1])

            async with prise.listen(give, "127.0.0.1:0", model="asyncio") as server:
                async with await prise.connect(server.address) as client:
                    await client.send("one")
                    await client.send("two")
                    channel = await listener.accept(PATIENCE)
                    async with channel:
                        received = await channel.receive(PATIENCE)
                        assert isinstance(received, Received)
                        assert received.state == [1]
                        with received.connection() as theirs_now:
                            assert theirs_now.receive(PATIENCE) == "two"
                            theirs_now.send("thanks")
                        assert await client.receive(PATIENCE) == "thanks"
                        assert await channel.receive(PATIENCE) is None

    asyncio.run(main())


# -- the listener ------------------------------------------------------------------------------------------------------------


def test_only_we_can_reach_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "private" / "take"
    with Listener(str(path)) as listener:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with pytest.raises(prise.BindError, match="already"):
            Listener(str(path))
        with Channel.connect(str(path)) as channel, listener.accept(PATIENCE) as accepted:
            assert accepted.credentials == channel.credentials
    assert not path.exists()
    with pytest.raises(HandoverError, match="nobody takes"):
        Channel.connect(str(path))


def test_an_old_path_is_taken_over_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "take"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with Listener(str(path)):
        pass
    path.write_text("precious")
    with pytest.raises(prise.BindError, match="no socket"):
        Listener(str(path))
    assert path.read_text() == "precious"


def test_a_folder_where_everybody_writes_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(prise.BindError, match="anybody"):
        Listener(str(folder / "take"))
    folder.chmod(0o1777)
    Listener(str(folder / "take")).close()


def test_a_process_of_somebody_else_is_not_heard(tmp_path: Path) -> None:
    with Listener(str(tmp_path / "take"), uids={12345}) as listener, Channel.connect(str(tmp_path / "take")) as channel:
        with pytest.raises(prise.TooSlow):
            listener.accept(0.05)
        assert channel.receive(PATIENCE) is None


# -- another process -----------------------------------------------------------------------------------------------------------


def test_to_another_process_and_back(tmp_path: Path) -> None:
    """A child takes a connection, answers, and gives it back with what it has read."""
    program = tmp_path / "child.py"
    program.write_text(
        textwrap.dedent("""
            import sys
            from prise import handover

            channel = handover.Channel.inherited(int(sys.argv[1]))
            received = channel.receive(10)
            connection = received.connection()
            assert connection.receive(10) == "before"
            assert connection.receive(10) == "during"
            connection.send(f"{received.state} was here")
            connection.hand_over(channel, state="done")
        """)
    )
    ours, theirs = Channel.pair()
    with ours, tcp_pair() as (peer, conn):
        with subprocess.Popen(
            [sys.executable, str(program), str(theirs.fileno())], pass_fds=[theirs.fileno()]
        ) as child:
            theirs.close()
            connection = adopt(conn)
            conn.close()
            peer.sendall(b"first\nbefore\n")
            assert connection.receive(PATIENCE) == "first"
            connection.hand_over(ours, state="the child")
            peer.sendall(b"during\nafter\n")
            received = ours.receive(PATIENCE)
            assert received is not None
            assert received.state == "done"
            assert received.credentials is not None
            assert child.wait(PATIENCE) == 0
        with received.connection() as again:
            assert again.receive(PATIENCE) == "after"
            again.send("and we again")
        assert rest_of(peer) == "the child was here\nand we again\n"


def test_nothing_leaks(channels: tuple[Channel, Channel]) -> None:
    ours, theirs = channels
    before = descriptors()
    for _ in range(50):
        with tcp_pair() as (_, conn):
            take = taking(theirs)
            ours.send(conn)
            take().close()
    assert descriptors() == before


def test_limits_go_with_the_receiver_not_with_the_socket(channels: tuple[Channel, Channel]) -> None:
    """A blocking connection lets the kernel keep its idle time (SO_RCVTIMEO): that must not follow it."""
    ours, theirs = channels
    with tcp_pair() as (peer, conn):
        connection = adopt(conn, limits=Limits(idle_time=30.0))
        conn.close()
        peer.sendall(b"hello\n")
        connection.receive(PATIENCE)
        take = taking(theirs)
        connection.hand_over(ours)
        with take() as received:
            assert received.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16) == bytes(16)


def test_the_package_is_found_by_its_name() -> None:
    assert handover.HandoverRefused.__mro__[1] is HandoverError
    assert prise.handover is handover
