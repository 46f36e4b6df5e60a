"""WebSocket in real connections: one conversation, served and called as over TCP. In all four models, all spellings."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

import prise
from blocking_support import until
from cli_process import Running, environment, run
from prise import FrameError, HandshakeError, Limits, TooSlow
from prise.transports.websocket import layers
from tls_support import ENDS, authority, client_tls, localhost, server_tls
from websocket_support import BINARY, CLOSE, PING, PONG, TEXT, Raw, closing, frame, request, status_of

PATIENCE = 10.0


def echo_function(connection: Any) -> None:
    for message in connection:
        connection.send(answer(connection, message))
    connection.send("goodbye")


def echo_generator(connection: Any) -> Any:
    reply = None
    try:
        while True:
            message = yield reply
            reply = answer(connection, message)
    except GeneratorExit:
        return "goodbye"


async def echo_coroutine(connection: Any) -> None:
    async for message in connection:
        await connection.send(answer(connection, message))
    await connection.send("goodbye")


def answer(connection: Any, message: str) -> str:
    """The message, or what the handshake said: `?path`."""
    return f"{getattr(connection.websocket, message[1:])}" if message.startswith("?") else message


ECHO = {"function": echo_function, "generator": echo_generator, "coroutine": echo_coroutine}
PAIRS = [
    ("threads", "function"),
    ("threads", "generator"),
    ("threads", "coroutine"),
    ("processes", "function"),
    ("processes", "coroutine"),
    ("select", "generator"),
    ("select", "coroutine"),
    ("asyncio", "generator"),
    ("asyncio", "coroutine"),
]
MODELS = [PAIRS[0], PAIRS[3], PAIRS[5], PAIRS[8]]
Pair = tuple[str, str]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request: Any) -> Pair:
    found: Pair = request.param
    return found


@pytest.fixture(params=MODELS, ids=lambda pair: pair[0])
def model(request: Any) -> Pair:
    found: Pair = request.param
    return found


def serve(pair: Pair, address: str = "ws://127.0.0.1:0", **options: Any) -> prise.Server:
    options.setdefault("limits", Limits(linger_time=0.2))
    return prise.listen(options.pop("conversation", ECHO[pair[1]]), address, model=pair[0], **options)


def connect(server: prise.Server, **options: Any) -> Any:
    return prise.connect(server.address, timeout=PATIENCE, **options)


def counted(server: prise.Server, what: str, count: int = 1) -> None:
    until(lambda: server.stats().errors[what] == count, f"{count} of {what}")


# -- Addresses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "written"),
    [
        ("ws://localhost:8088/chat", "localhost", 8088, "/chat", None),
        ("ws:localhost:8088/chat", "localhost", 8088, "/chat", "ws://localhost:8088/chat"),
        ("ws://example.org", "example.org", 80, None, "ws://example.org:80"),
        ("wss://example.org/", "example.org", 443, "/", "wss://example.org:443/"),
        ("ws://example.org/a/b?c=d:e/f", "example.org", 80, "/a/b?c=d:e/f", "ws://example.org:80/a/b?c=d:e/f"),
        ("ws://example.org?c=d", "example.org", 80, "/?c=d", "ws://example.org:80/?c=d"),
        ("ws://example.org/a#part", "example.org", 80, "/a", "ws://example.org:80/a"),
        ("ws://[::1]:8088/a", "::1", 8088, "/a", None),
        ("ws://[::1]/a", "::1", 80, "/a", "ws://[::1]:80/a"),
        ("wss,origin=[https://example.org],compress=yes://example.org:1", "example.org", 1, None, None),
    ],
)
def test_how_an_address_is_written(text: str, host: str, port: int, path: str | None, written: str | None) -> None:
    address = prise.Address.parse(text)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert str(address) == (written or text)
    assert prise.Address.parse(str(address)) == address


@pytest.mark.parametrize(
    "text", ["ws://example.org/a b", "ws://example.org/a\r\nX: y", "ws://example.org:99999/", "ws,tls://a"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(prise.AddressError):
        prise.Address.parse(text)


def test_a_port_by_its_name() -> None:
    """The Host header has its number."""
    (layer,) = layers(prise.Address.parse("ws://example.org:https/"), False)
    made = layer()
    made.begin(ENDS)
    assert b"\r\nHost: example.org:443\r\n" in made.output()
    with pytest.raises(prise.ResolveError, match="no service is called 'nonesuch'"):
        layers(prise.Address.parse("ws://example.org:nonesuch/"), False)


# -- Conversations -----------------------------------------------------------------------------------------------------


def test_a_conversation_is_served_unchanged(pair: Pair) -> None:
    with serve(pair) as server:
        assert str(server.address) == f"ws://127.0.0.1:{server.address.port}"
        with connect(server) as client:
            assert client.ask("où", timeout=PATIENCE) == "où"
            assert client.ask("", timeout=PATIENCE) == ""
            assert client.ask("two\nlines\n", timeout=PATIENCE) == "two\nlines\n"  # a message is a message
            assert client.ask("x" * 300_000, timeout=PATIENCE) == "x" * 300_000
            client.send_eof()
            assert list(client) == ["goodbye"]  # the late answer, between the two Closes
            assert client.lost is None
            assert client.websocket.close_code == 1000

        async def talk() -> None:
            async with connect(server) as client:
                for number in range(100):
                    assert await client.ask(f"{number}", timeout=PATIENCE) == f"{number}"
                await client.send_eof()
                assert [line async for line in client] == ["goodbye"]
                assert client.lost is None

        asyncio.run(talk())
    assert not any(server.stats().errors.values())


def test_many_at_the_same_time(model: Pair) -> None:
    async def one(server: prise.Server, number: int) -> None:
        async with connect(server) as client:
            for turn in range(5):
                assert await client.ask(f"{number} {turn}", timeout=PATIENCE) == f"{number} {turn}"

    async def all_of_them(server: prise.Server) -> None:
        await asyncio.gather(*(one(server, number) for number in range(25)))

    with serve(model) as server:
        asyncio.run(all_of_them(server))


def test_many_messages_in_one_write(model: Pair) -> None:
    messages = [f"{number}" for number in range(1000)]
    with serve(model) as server, Raw(server.address) as raw:
        raw.write(b"".join(frame(TEXT, each.encode()) for each in messages) + closing())
        got = raw.all()
        assert [each.data.decode() for each in got[:-1]] == [*messages, "goodbye"]
        assert {each.opcode for each in got[:-1]} == {TEXT}
        assert got[-1].code == 1000


def test_bytes_and_values(model: Pair) -> None:
    def same(connection: Any) -> Any:
        message = None
        while True:
            message = yield message

    spelling = same if model[0] in ("select", "asyncio") else _same_function
    table: list[tuple[str, Any, bytes, int]] = [
        ("chunks", b"\0\xff" * 1000, b"\0\xff" * 1000, BINARY),
        ("prefixed:4", b"\n", b"\n", BINARY),
        ("lines | json", {"a": [1, None]}, b'{"a": [1, null]}', TEXT),
    ]
    for framing, message, sent, opcode in table:
        with serve(model, conversation=spelling, framing=framing) as server:
            with connect(server, framing=framing) as client:
                assert client.ask(message, timeout=PATIENCE) == message
            with Raw(server.address) as raw:
                raw.write(frame(opcode, sent))
                found = raw.receive()
                assert found is not None
                assert found.opcode == opcode


def _same_function(connection: Any) -> None:
    for message in connection:
        connection.send(message)


def test_large_messages_both_ways(model: Pair) -> None:
    big = "é" * 5_000_000
    limits = Limits(message_size=11_000_000, linger_time=0.2)
    with serve(model, limits=limits) as server, connect(server, limits=limits) as client:
        assert client.ask(big, timeout=PATIENCE) == big


def test_compression_when_both_want_it(model: Pair) -> None:
    with serve(model, "ws,compress:127.0.0.1:0") as server:
        place = f"127.0.0.1:{server.address.port}"
        for address, used in ((f"ws,compress:{place}", True), (f"ws:{place}", False)):
            with prise.connect(address, timeout=PATIENCE) as client:
                assert client.ask("a" * 100_000, timeout=PATIENCE) == "a" * 100_000
                assert ("permessage-deflate" in str(client.websocket.headers)) is used


# -- The handshake -----------------------------------------------------------------------------------------------------


def test_the_address_of_a_server_has_its_path(pair: Pair) -> None:
    """Clients are not let in anywhere else."""
    with serve(pair, "ws:127.0.0.1:0/room?key=1") as server:
        assert str(server.address) == f"ws://127.0.0.1:{server.address.port}/room?key=1"
        with prise.connect(server.address, timeout=PATIENCE) as client:
            assert client.ask("?path", timeout=PATIENCE) == "/room?key=1"


def test_what_the_handshake_said(pair: Pair) -> None:
    with serve(pair, "ws,protocol=v2+v1:127.0.0.1:0") as server:
        port = server.address.port
        with prise.connect(f"ws,protocol=v1:127.0.0.1:{port}/room?key=1", timeout=PATIENCE) as client:
            assert client.websocket.subprotocol == "v1"
            assert client.ask("?path", timeout=PATIENCE) == "/room?key=1"
            assert client.ask("?host", timeout=PATIENCE) == f"127.0.0.1:{port}"
            assert client.ask("?subprotocol", timeout=PATIENCE) == "v1"
            assert client.ask("?origin", timeout=PATIENCE) == "None"
            assert client.ask("?close_code", timeout=PATIENCE) == "None"


def test_other_connections_have_no_websocket() -> None:
    with prise.listen(_same_function, "127.0.0.1:0") as server, connect(server) as client:
        assert client.websocket is None


def test_who_is_not_let_in(model: Pair) -> None:
    with serve(model, "ws,origin=[https://example.org]:127.0.0.1:0/chat") as server:
        host = f"127.0.0.1:{server.address.port}"
        for head, status in (
            (b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", 426),
            (request("/other", host=host), 404),
            (request("/chat", "Origin: https://evil.example", host=host), 403),
            (request("/chat", "Origin: null", host=host), 403),
            (request("/chat", key="AAAA"), 400),
            (request("/chat", "A: " + "a" * 8000, "B: " + "b" * 8000, "C: " + "c" * 8000), 431),
        ):
            with Raw(server.address, asked=b"") as raw:
                raw.write(head)
                assert status_of(raw.rest()) == status
        counted(server, "handshake", 6)
        for origin in ("https://example.org", f"http://{host}"):
            with Raw(server.address, request("/chat", f"Origin: {origin}", host=host)) as raw:
                assert b" 101 " in raw.head
        with pytest.raises(
            HandshakeError, match="answers 404 Not Found in place of a WebSocket: There is no WebSocket"
        ):
            prise.connect(f"ws://{host}/other", timeout=PATIENCE).open()


def test_a_client_that_says_nothing_is_not_waited_for(model: Pair) -> None:
    with serve(model, limits=Limits(handshake_time=0.2, linger_time=0.2)) as server:
        for some in (b"", b"GET / HTTP/1.1\r\nHost: x\r\n"):
            with Raw(server.address, asked=b"") as raw:
                raw.write(some)
                assert raw.rest() == b""
        with connect(server) as client:  # this one is in time, and nothing runs against it any more
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            with pytest.raises(TooSlow):
                client.receive(timeout=0.4)
            assert client.ask("hello", timeout=PATIENCE) == "hello"


def test_no_websocket_there(model: Pair) -> None:
    """A server that talks first, one that waits and then hangs up."""
    with prise.listen(_greet, "127.0.0.1:0") as server:
        with pytest.raises(HandshakeError, match="does not speak HTTP, so it has no WebSocket; it began with b'hello"):
            prise.connect(f"ws://127.0.0.1:{server.address.port}", timeout=PATIENCE).open()


def _greet(connection: Any) -> None:
    connection.send("hello, who are you?")
    for _ in connection:
        pass


# -- Limits ------------------------------------------------------------------------------------------------------------


def test_the_limit(model: Pair) -> None:
    with serve(model, limits=Limits(message_size=1000, linger_time=0.2)) as server:
        with Raw(server.address) as raw:
            raw.write(frame(TEXT, b"x" * 1000) + frame(TEXT, b"x" * 1001))
            got = raw.all()
            assert got[0].data == b"x" * 1000
            assert got[-1].code == 1009
        with connect(server) as client:
            client.send("x" * 1001)
            with pytest.raises(FrameError, match="the peer closed the WebSocket: 1009"):
                client.receive(timeout=PATIENCE)


def test_a_silent_peer_that_answers_pings_stays(model: Pair) -> None:
    with serve(model, limits=Limits(idle_time=0.5, ping_time=0.1, linger_time=0.2)) as server:
        with Raw(server.address) as raw:
            for _ in range(8):  # longer than the idle time
                ping = raw.receive()
                assert ping is not None
                assert ping.opcode == PING
                raw.write(frame(PONG, ping.data))
            raw.write(frame(TEXT, b"here"))
            found = raw.receive()
            while found is not None and found.opcode == PING:
                found = raw.receive()
            assert found is not None
            assert found.data == b"here"
        with connect(server) as client:  # ours does so by itself
            with pytest.raises(TooSlow):
                client.receive(timeout=0.8)
            assert client.ask("still here", timeout=PATIENCE) == "still here"


def test_a_dead_peer_goes(model: Pair) -> None:
    with (
        serve(model, limits=Limits(idle_time=0.5, ping_time=0.1, linger_time=0.2)) as server,
        Raw(server.address) as raw,
    ):
        got = raw.all()  # and no pong from us
        assert {each.opcode for each in got} <= {PING, CLOSE, TEXT}
        assert got[0].opcode == PING
        counted(server, "too_slow")


def test_half_a_message_has_a_deadline(model: Pair) -> None:
    limits = Limits(message_time=0.3, linger_time=0.2)
    for part in (frame(TEXT, b"hello")[:-1], frame(TEXT, b"hello", fin=False)):
        with serve(model, limits=limits) as server, Raw(server.address) as raw:
            raw.write(part)
            raw.all()
            counted(server, "too_slow")


def test_a_flood_of_pings_fills_nothing(model: Pair) -> None:
    """Who takes no pongs is not read any more, and goes when its time is over; nothing piles up meanwhile."""
    limits = Limits(write_time=0.3, linger_time=0.2)
    flood = frame(PING, b"x" * 125) * 5000
    with serve(model, limits=limits) as server, Raw(server.address) as raw:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            raw.sock.setsockopt(socket.SOL_SOCKET, option, 65536)
        sent = 0
        with pytest.raises((ConnectionError, TimeoutError)):
            raw.sock.settimeout(PATIENCE)
            while sent < 500_000_000:
                raw.sock.sendall(flood)
                sent += len(flood)
        assert sent < 50_000_000  # what the kernel takes
        counted(server, "too_slow")


# -- The end -----------------------------------------------------------------------------------------------------------


def test_the_servers_end_is_a_close(model: Pair) -> None:
    with serve(model, conversation=ONE_WORD[model[1]]) as server:
        with Raw(server.address) as raw:
            word, close = raw.all()
            assert word.data == b"and that is all"
            assert close.code == 1000
        with connect(server) as client:
            assert list(client) == ["and that is all"]
            assert client.lost is None


def word_function(connection: Any) -> None:
    connection.send("and that is all")


def word_generator(connection: Any) -> Any:
    return "and that is all"
    yield


async def word_coroutine(connection: Any) -> None:
    await connection.send("and that is all")


ONE_WORD = {"function": word_function, "generator": word_generator, "coroutine": word_coroutine}


def test_cut_short_is_an_error(model: Pair) -> None:
    """The connection ends without a Close: something may be missing."""
    with serve(model) as server:
        with Raw(server.address) as raw:
            raw.write(frame(TEXT, b"hello"))
            assert raw.receive() is not None
            raw.sock.shutdown(socket.SHUT_WR)
            raw.all()
        until(lambda: sum(server.stats().errors.values()) == 1, "one error")


def test_drain_and_stop(pair: Pair) -> None:
    """Conversations end as if the peer had nothing more to say, and the last word still arrives."""
    server = serve(pair).start()
    with connect(server) as client, Raw(server.address) as raw:
        assert client.ask("hello", timeout=PATIENCE) == "hello"
        raw.write(frame(TEXT, b"hello"))
        assert raw.receive() is not None
        drained = threading.Thread(target=server.drain, args=(PATIENCE,))
        drained.start()
        last, close = raw.all()
        assert last.data == b"goodbye"
        assert close.code == 1001
        assert list(client) == ["goodbye"]
        client.close()
        drained.join(PATIENCE)
        assert not drained.is_alive()
    server.stop()


def test_post_and_broadcast() -> None:
    """To peers over TCP and over WebSocket: one message, encoded once for each way of framing."""
    here: set[Any] = set()

    async def room(connection: Any) -> None:
        here.add(connection)
        try:
            async for line in connection:
                prise.broadcast(here, line)
        finally:
            here.discard(connection)

    for model in ("threads", "select", "asyncio"):
        with prise.listen(room, "ws://127.0.0.1:0", "127.0.0.1:0", model=model) as server:
            one, two = (prise.connect(address, timeout=PATIENCE).open() for address in server.addresses)
            with one, two, Raw(server.addresses[0]) as raw:
                until(lambda: len(here) == 3, "all are here")
                for speaker in (one, two):
                    speaker.send("news")
                    assert one.receive(timeout=PATIENCE) == "news"
                    assert two.receive(timeout=PATIENCE) == "news"
                    found = raw.receive()
                    assert found is not None
                    assert (found.opcode, found.data) == (TEXT, b"news")
                assert prise.broadcast(here, "from outside") == 3
                assert one.receive(timeout=PATIENCE) == two.receive(timeout=PATIENCE) == "from outside"
            until(lambda: not here, "all are gone")


# -- Over TLS ----------------------------------------------------------------------------------------------------------


def test_over_tls(pair: Pair) -> None:
    with serve(pair, "wss://127.0.0.1:0", tls=server_tls()) as server:
        assert str(server.address).startswith("wss://127.0.0.1:")
        with connect(server, tls=client_tls()) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
            assert client.ask("x" * 300_000, timeout=PATIENCE) == "x" * 300_000
            assert client.tls.version == "TLSv1.3"
            assert client.ask("?path", timeout=PATIENCE) == "/"
            client.send_eof()
            assert list(client) == ["goodbye"]
            assert client.lost is None
    assert not any(server.stats().errors.values())


def test_tls_by_options_of_the_address() -> None:
    cert = f"cert={localhost().cert},key={localhost().key}"
    with prise.listen(_same_function, f"wss,{cert}:127.0.0.1:0/chat") as server:
        address = f"wss,ca={authority().cert}:localhost:{server.address.port}/chat"
        with prise.connect(address, timeout=PATIENCE) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
        with pytest.raises(prise.TLSError):
            prise.connect(f"wss://localhost:{server.address.port}/chat", timeout=PATIENCE).open()


# -- The command -------------------------------------------------------------------------------------------------------


def test_the_command_connects_and_prints_the_late_answer() -> None:
    with serve(PAIRS[0]) as server:
        done = run(
            "connect", "--wait", "0.5s", f"ws://127.0.0.1:{server.address.port}", given="un\ndeux\nété\n".encode()
        )
        assert (done.stdout, done.returncode) == ("un\ndeux\nété\ngoodbye\n", 0), done.stderr


def test_the_command_serves() -> None:
    with Running("serve", "echo", "--on", "ws://127.0.0.1:0/chat") as running:
        port = running.port()
        done = run("connect", "--wait", "0.5s", f"ws://127.0.0.1:{port}/chat", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("hello\n", 0), done.stderr
        done = run("connect", f"ws://127.0.0.1:{port}/", given=b"hello\n")
        assert done.returncode == 1
        assert "404 Not Found" in done.stderr


def test_the_command_listens_for_one() -> None:
    with Running("listen", "ws://127.0.0.1:0") as running:
        port = running.port()
        with prise.connect(f"ws://127.0.0.1:{port}", timeout=PATIENCE) as client:
            client.send("from the peer")
            running.out.expect("from the peer")
            running.write("from the terminal\n")
            assert client.receive(timeout=PATIENCE) == "from the terminal"
            client.send_eof()
            running.end_input()
            assert client.receive(timeout=PATIENCE) is None
        assert running.wait() == 0


def test_without_the_package_it_is_named() -> None:
    code = (
        "import sys; sys.modules['websockets'] = None\n"
        "import prise\n"
        "for attempt in (lambda: prise.listen(print, 'ws://127.0.0.1:0').start(), lambda: prise.connect('ws://127.0.0.1:9').open()):\n"
        "    try: attempt()\n"
        "    except prise.MissingExtra as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE * 3,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    for line in lines:
        assert "the package websockets is not installed; get it with: pip install 'prise[ws]'" in line
