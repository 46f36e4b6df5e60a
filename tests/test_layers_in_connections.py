"""Layers in real connections: handshakes, their deadlines, ends and damage inside a layer, start_tls. All models and spellings.

The layer here is simple enough to see what happens: both sides knock, then every byte is inverted.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

import prise
from blocking_support import until
from prise import Limits
from prise.layers.base import Ends, Layer

PATIENCE = 10.0
INVERT = bytes(255 - byte for byte in range(256))
END = b"\0"  # the layer's own end; inverted text has none


class Knock(Layer):
    """Says KNOCK and awaits the other's; then inverts. b"\\0" is the end, b"\\1" breaks it."""

    name = "knock"

    def __init__(self) -> None:
        self.ready = False
        self.pending = False
        self._head = b""
        self._said = b"KNOCK"
        self._early = b""

    def begin(self, ends: Ends) -> None:
        self.info = ends

    def receive(self, data: bytes) -> bytes:
        if not self.ready:
            self._head += data
            if not b"KNOCK".startswith(self._head[:5]):
                self._said += b"GO AWAY"
                raise prise.HandshakeError("no knock")
            if len(self._head) < 5:
                return b""
            self.ready = True
            self._said += self._early.translate(INVERT)
            data = self._head[5:]
        if b"\1" in data:
            data, _, _ = data.partition(b"\1")
            self.error = prise.FrameError("broken layer")
        if END in data:
            data, _, _ = data.partition(END)
            self.ended = True
        return data.translate(INVERT)

    def receive_end(self) -> None:
        raise prise.ConnectionLost("ended without the layer's end")

    def send(self, data: bytes) -> bytes:
        if not self.ready:
            self._early += data
            return b""
        said, self._said = self._said, b""
        return said + data.translate(INVERT)

    def output(self) -> bytes:
        said, self._said = self._said, b""
        return said

    def end(self) -> bytes:
        return self.output() + END if self.ready else b""


class AnswerKnock(Knock):
    """As in TLS, the server speaks second: what it said first would have come in clear for all the client knows."""

    def output(self) -> bytes:
        return super().output() if self.ready else b""


class KnockTLS:
    """What start_tls takes, for this layer."""

    def server(self) -> Callable[[], Layer]:
        return AnswerKnock

    def client(self, name: str) -> Callable[[], Layer]:
        return Knock


def echo_function(connection: Any) -> None:
    connection.send(f"hello from {connection.id > 0}")
    for line in connection:
        connection.send(line)


def echo_generator(connection: Any) -> Any:
    reply = f"hello from {connection.id > 0}"
    while True:
        reply = yield reply


async def echo_coroutine(connection: Any) -> None:
    await connection.send(f"hello from {connection.id > 0}")
    async for line in connection:
        await connection.send(line)


ECHO = {"function": echo_function, "generator": echo_generator, "coroutine": echo_coroutine}


def upgrade_function(connection: Any) -> None:
    for line in connection:
        connection.send(f"plain {line}")
        if line == "STARTTLS":
            connection.start_tls(KnockTLS())
            break
    connection.send("welcome")
    for line in connection:
        connection.send(f"secret {line}")


def upgrade_generator(connection: Any) -> Any:
    line = yield None
    while line != "STARTTLS":
        line = yield f"plain {line}"
    connection.send(f"plain {line}")
    connection.start_tls(KnockTLS())
    line = yield "welcome"
    while True:
        line = yield f"secret {line}"


async def upgrade_coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send(f"plain {line}")
        if line == "STARTTLS":
            await connection.start_tls(KnockTLS())
            break
    await connection.send("welcome")
    async for line in connection:
        await connection.send(f"secret {line}")


UPGRADE = {"function": upgrade_function, "generator": upgrade_generator, "coroutine": upgrade_coroutine}
PAIRS = [
    (model, spelling)
    for model in ("threads", "processes", "select", "asyncio")
    for spelling in ("function", "generator", "coroutine")
    if spelling != "function" or model in ("threads", "processes")
]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> tuple[str, str]:
    found: tuple[str, str] = request.param
    return found


def serve(pair: tuple[str, str], conversations: dict[str, Any] = ECHO, **options: Any) -> prise.Server:
    model, spelling = pair
    layers = [Knock] if conversations is ECHO else []
    limits = options.pop("limits", Limits(linger_time=0.2))
    return prise.listen(conversations[spelling], "127.0.0.1:0", model=model, layers=layers, limits=limits, **options)


def raw(server: prise.Server) -> socket.socket:
    return socket.create_connection((server.address.host, server.address.port), timeout=PATIENCE)


def read_all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def test_a_conversation_starts_when_its_layers_are_ready(pair: tuple[str, str]) -> None:
    with serve(pair) as server, raw(server) as client:
        assert client.recv(5) == b"KNOCK"
        for byte in b"KNOCK" + b"abc\n".translate(INVERT):
            client.sendall(bytes([byte]))
        client.sendall(END)
        expected = b"hello from True\nabc\n".translate(INVERT) + END
        assert read_all(client) == expected


def test_both_colours_of_clients_shake_hands(pair: tuple[str, str]) -> None:
    with serve(pair) as server:
        with prise.connect(server.address, layers=[Knock]) as client:
            assert client.receive(PATIENCE) == "hello from True"
            assert client.ask("où", timeout=PATIENCE) == "où"
            client.send("x" * 300_000)
            assert client.receive(PATIENCE) == "x" * 300_000
            client.send_eof()
            assert list(client) == []
            assert client.lost is None

        async def talk() -> None:
            async with prise.connect(server.address, layers=[Knock]) as client:
                assert await client.receive(PATIENCE) == "hello from True"
                for number in range(100):
                    assert await client.ask(f"{number}", timeout=PATIENCE) == f"{number}"
                await client.send_eof()
                assert [line async for line in client] == []

        asyncio.run(talk())
    stats = server.stats()
    assert not any(stats.errors.values())


def test_who_does_not_knock_hears_why_and_is_counted(pair: tuple[str, str]) -> None:
    with serve(pair) as server:
        with raw(server) as client:
            client.sendall(b"x")
            assert read_all(client) == b"KNOCKGO AWAY"
        until(lambda: server.stats().errors["handshake"] == 1, "one handshake error")
    assert sum(server.stats().errors.values()) == 1


def test_who_knocks_for_ever_is_too_slow(pair: tuple[str, str]) -> None:
    with serve(pair, limits=Limits(handshake_time=0.1, linger_time=0.1)) as server:
        with raw(server) as client:
            client.sendall(b"KNO")
            assert read_all(client) == b"KNOCK"
        until(lambda: server.stats().errors["too_slow"] == 1, "one slow handshake")


def test_who_leaves_in_the_middle_of_it_is_lost(pair: tuple[str, str]) -> None:
    with serve(pair) as server:
        with raw(server) as client:
            client.sendall(b"KNO")
        until(lambda: server.stats().open == 0 and server.stats().total == 1, "it is gone")
    errors = server.stats().errors
    assert errors["lost"] == 1
    assert sum(errors.values()) == 1


def test_an_end_without_the_layers_own_is_a_loss(pair: tuple[str, str]) -> None:
    with serve(pair) as server:
        with raw(server) as client:
            client.sendall(b"KNOCK" + b"abc\nhalf a li".translate(INVERT))
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
        assert answer.startswith(b"KNOCK" + b"hello from True\nabc\n".translate(INVERT))
        assert b"half".translate(INVERT) not in answer
        until(lambda: server.stats().errors["lost"] == 1, "one lost connection")


def test_what_comes_before_damage_is_answered(pair: tuple[str, str]) -> None:
    with serve(pair) as server:
        with raw(server) as client:
            client.sendall(b"KNOCK" + b"abc\n".translate(INVERT) + b"\1")
            assert read_all(client).startswith(b"KNOCK" + b"hello from True\nabc\n".translate(INVERT))
        until(lambda: server.stats().errors["frame"] == 1, "one frame error")


def test_a_client_learns_what_went_wrong() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        for answer, error in ((b"x", prise.HandshakeError), (b"", prise.TooSlow), (None, prise.ConnectionLost)):
            for asynchronous in (False, True):
                connector = prise.connect(address, layers=[Knock], timeout=0.2)
                with socket.socket() as _:
                    if answer is None:
                        listener.settimeout(PATIENCE)

                async def open_it(connector: Any = connector) -> None:
                    (await connector).abort()

                import threading

                def answer_it(answer: bytes | None = answer) -> None:
                    peer, _ = listener.accept()
                    with peer:
                        if answer is not None:
                            peer.sendall(answer)
                            read_all(peer) if answer else peer.recv(100) and peer.recv(100)

                thread = threading.Thread(target=answer_it)
                thread.start()
                with pytest.raises(error):
                    asyncio.run(open_it()) if asynchronous else connector.open()
                thread.join()


def test_starttls(pair: tuple[str, str]) -> None:
    with serve(pair, UPGRADE) as server:
        with prise.connect(server.address) as client:
            assert client.ask("one", timeout=PATIENCE) == "plain one"
            assert client.ask("STARTTLS", timeout=PATIENCE) == "plain STARTTLS"
            client.start_tls(KnockTLS())
            assert client.receive(PATIENCE) == "welcome"
            assert client.ask("two", timeout=PATIENCE) == "secret two"
            assert client.ask("three", timeout=PATIENCE) == "secret three"

        async def talk() -> None:
            async with prise.connect(server.address) as client:
                assert await client.ask("STARTTLS", timeout=PATIENCE) == "plain STARTTLS"
                await client.start_tls(KnockTLS())
                assert await client.receive(PATIENCE) == "welcome"
                assert await client.ask("two", timeout=PATIENCE) == "secret two"

        asyncio.run(talk())
    assert not any(server.stats().errors.values())


def test_what_is_sent_in_clear_behind_starttls_is_refused(pair: tuple[str, str]) -> None:
    with serve(pair, UPGRADE) as server:
        with raw(server) as client:
            client.sendall(b"STARTTLS\ninjected\n")
            answer = read_all(client)
        assert answer == b"plain STARTTLS\n"
        until(lambda: server.stats().errors["frame"] == 1, "one frame error")


def test_a_broadcast_is_wrapped_for_each(pair: tuple[str, str]) -> None:
    model, spelling = pair
    if model == "processes" or spelling == "coroutine":
        return  # nothing is shared; the same code
    members: list[Any] = []

    def function(connection: Any) -> None:
        members.append(connection)
        for line in connection:
            prise.broadcast(members, line)

    def generator(connection: Any) -> Any:
        members.append(connection)
        while True:
            line = yield None
            prise.broadcast(members, line)

    conversation = function if spelling == "function" else generator
    with prise.listen(conversation, "127.0.0.1:0", model=model, layers=[Knock]) as server:
        with prise.connect(server.address, layers=[Knock]) as one, prise.connect(server.address, layers=[Knock]) as two:
            until(lambda: len(members) == 2, "both are in")
            for number in range(50):
                one.send(f"one {number}")
                two.send(f"two {number}")
            for client in (one, two):
                heard = [client.receive(PATIENCE) for _ in range(100)]
                assert [line for line in heard if line.startswith("one")] == [f"one {number}" for number in range(50)]
                assert [line for line in heard if line.startswith("two")] == [f"two {number}" for number in range(50)]
