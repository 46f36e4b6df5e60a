"""WebSocket with other people's programs: the package `websockets` as client and as server, and a browser (Debian's Chromium),
which is served its page and its WebSocket on one port."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import websockets.asyncio.client
import websockets.exceptions
import websockets.sync.client
import websockets.sync.server
from websockets.typing import Origin, Subprotocol

import prise
from blocking_support import until
from peers import need
from prise import FrameError, HandshakeError, Limits, Multiplex
from tls_support import authority, client_tls, localhost, server_tls
from websocket_support import Raw

PATIENCE = 10.0
LIMITS = Limits(message_size=5_000_000, linger_time=0.2)


def echo(connection: Any) -> None:
    for message in connection:
        connection.send(message)


def echo_generator(connection: Any) -> Any:
    message = None
    while True:
        message = yield message


async def echo_coroutine(connection: Any) -> None:
    async for message in connection:
        await connection.send(message)


MODELS = [("threads", echo), ("processes", echo), ("select", echo_generator), ("asyncio", echo_coroutine)]


@pytest.fixture(params=MODELS, ids=lambda model: model[0])
def server(request: Any) -> Iterator[prise.Server]:
    name, conversation = request.param
    address = "ws,compress,protocol=chat:127.0.0.1:0/echo"
    with prise.listen(conversation, address, model=name, limits=LIMITS) as server:
        yield server


def url(server: prise.Server, path: str = "/echo") -> str:
    return f"ws://127.0.0.1:{server.address.port}{path}"


# -- Their client, our server ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", ["deflate", None])
def test_their_client(server: prise.Server, compression: str | None) -> None:
    with websockets.sync.client.connect(
        url(server),
        compression=compression,
        subprotocols=[Subprotocol("other"), Subprotocol("chat")],
        max_size=None,
        proxy=None,
    ) as client:
        assert client.subprotocol == "chat"
        for message in ("", "où", "x" * 3_000_000):
            client.send(message)
            assert client.recv(PATIENCE) == message
        client.send(b"bytes")
        assert client.recv(PATIENCE) == "bytes"  # the conversation speaks text
        client.send(["in ", "frag", "ments"])
        assert client.recv(PATIENCE) == "in fragments"
        assert client.ping().wait(PATIENCE)
    assert client.close_code == 1000
    until(lambda: server.stats().open == 0, "it is over")
    assert not any(server.stats().errors.values())


def test_their_asyncio_client(server: prise.Server) -> None:
    async def one(number: int) -> None:
        async with websockets.asyncio.client.connect(url(server), proxy=None) as client:
            for turn in range(10):
                await client.send(f"{number} {turn}")
            assert [await client.recv() for _ in range(10)] == [f"{number} {turn}" for turn in range(10)]

    async def all_of_them() -> None:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(one, range(20)))

    asyncio.run(all_of_them())
    assert not any(server.stats().errors.values())


def test_their_client_is_told_why(server: prise.Server) -> None:
    with pytest.raises(websockets.exceptions.InvalidStatus) as raised:
        websockets.sync.client.connect(url(server, "/other"), proxy=None)
    assert raised.value.response.status_code == 404
    with pytest.raises(websockets.exceptions.InvalidStatus) as raised:
        websockets.sync.client.connect(url(server), origin=Origin("https://evil.example"), proxy=None)
    assert raised.value.response.status_code == 403
    with websockets.sync.client.connect(url(server), proxy=None) as client:
        client.send("x" * 5_000_001)
        with pytest.raises(websockets.exceptions.ConnectionClosedError):
            client.recv(PATIENCE)
    assert client.close_code == 1009


async def fussy(connection: Any) -> None:
    """Ends as it is told; then it waits."""
    async for message in connection:
        if message == "end":
            return
        if message == "crash":
            raise RuntimeError("as it was told")
        if message == "impatient":
            await connection.receive(timeout=0.01)
        if message == "borrowed":  # what went wrong with somebody else is not the peer's fault
            raise prise.TooSlow("somebody else was too slow", peer=prise.Address("tcp", "192.0.2.1", 1))
        await connection.send(message)


@pytest.mark.parametrize("model", ["threads", "processes", "select", "asyncio"])
@pytest.mark.parametrize(
    ("said", "code"),
    [
        ('"end"', 1000),
        ('"crash"', 1011),
        ('"borrowed"', 1011),
        ('"impatient"', 1008),
        ("{no json", 1007),
        (b"\xff", 1007),
        ('"' + "x" * 1000 + '"', 1009),
        (None, 1008),  # nothing for the idle time
    ],
)
def test_their_client_is_told_how_it_ended(model: str, said: str | bytes | None, code: int) -> None:
    limits = Limits(linger_time=0.2, message_size=1000, idle_time=0.3 if said is None else 10.0)
    with prise.listen(fussy, "ws:127.0.0.1:0", framing="lines|json", model=model, limits=limits) as server:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{server.address.port}/", proxy=None) as client:
            if said is not None:
                client.send('"hello"')
                assert client.recv(PATIENCE) == '"hello"'
                client.send(said)
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                client.recv(PATIENCE)
            assert client.close_code == code


@pytest.mark.parametrize("model", ["threads", "processes", "select", "asyncio"])
def test_a_drain_is_a_going_away(model: str) -> None:
    with prise.listen(fussy, "ws:127.0.0.1:0", framing="lines|json", model=model, limits=LIMITS) as server:
        with websockets.sync.client.connect(f"ws://127.0.0.1:{server.address.port}/", proxy=None) as client:
            client.send('"hello"')
            assert client.recv(PATIENCE) == '"hello"'
            drained = threading.Thread(target=server.drain, args=(PATIENCE,))
            drained.start()
            with pytest.raises(websockets.exceptions.ConnectionClosedOK):
                client.recv(PATIENCE)
            assert client.close_code == 1001
            drained.join(PATIENCE)
            assert not drained.is_alive()


def test_our_client_tells_why_it_leaves() -> None:
    closed: list[int | None] = []

    def note(connection: websockets.sync.server.ServerConnection) -> None:
        for _ in connection:
            pass
        closed.append(connection.close_code)

    def note_failed(connection: websockets.sync.server.ServerConnection) -> None:
        try:
            note(connection)
        except websockets.exceptions.ConnectionClosedError:
            closed.append(connection.close_code)

    with websockets.sync.server.serve(note_failed, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        address = f"ws:127.0.0.1:{server.socket.getsockname()[1]}"
        with prise.connect(address):
            pass
        until(lambda: closed == [1000], "the end is heard")
        with pytest.raises(KeyError), prise.connect(address):
            raise KeyError

        async def fail() -> None:
            async with prise.connect(address):
                raise KeyError

        with pytest.raises(KeyError):
            asyncio.run(fail())
        until(lambda: closed == [1000, 1011, 1011], "the failures are heard")
        server.shutdown()
        thread.join(PATIENCE)


def test_their_client_over_tls() -> None:
    context = ssl.create_default_context(cafile=str(authority().cert))
    with prise.listen(echo_generator, "wss://127.0.0.1:0", model="select", tls=server_tls()) as server:
        address = f"wss://localhost:{server.address.port}/"
        with websockets.sync.client.connect(address, ssl=context, proxy=None) as client:
            client.send("hello")
            assert client.recv(PATIENCE) == "hello"


# -- Our client, their server ------------------------------------------------------------------------------------------


@contextmanager
def theirs(handler: Any = None, **options: Any) -> Iterator[int]:
    """Their server, in a thread; its port."""

    def back(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    with websockets.sync.server.serve(handler or back, "127.0.0.1", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join(PATIENCE)


@pytest.mark.parametrize("compress", ["", ",compress"])
def test_their_server(compress: str) -> None:
    with theirs(subprotocols=[Subprotocol("chat")], max_size=None) as port:
        with prise.connect(f"ws{compress},protocol=chat:127.0.0.1:{port}", limits=LIMITS, timeout=PATIENCE) as client:
            assert client.websocket.subprotocol == "chat"
            assert (client.websocket.header("Sec-WebSocket-Extensions") is not None) == bool(compress)
            for message in ("", "où", "x" * 3_000_000):
                assert client.ask(message, timeout=PATIENCE) == message
            client.send_eof()
            assert client.receive(timeout=PATIENCE) is None
            assert client.lost is None
            assert client.websocket.close_code == 1000

        async def talk() -> None:
            address = f"ws{compress},protocol=chat:127.0.0.1:{port}"
            async with prise.connect(address, framing="chunks", timeout=PATIENCE) as client:
                assert await client.ask(b"\0\xff", timeout=PATIENCE) == b"\0\xff"

        asyncio.run(talk())


def test_what_their_server_sends() -> None:
    def handler(connection: Any) -> None:
        connection.send(["in ", "frag", "ments"])
        assert connection.ping().wait(PATIENCE)  # ours answers while it waits for a message
        connection.send(b"bytes", text=True)
        connection.close(1001, "going")

    with theirs(handler) as port, prise.connect(f"ws://127.0.0.1:{port}", timeout=PATIENCE) as client:
        assert list(client) == ["in fragments", "bytes"]
        assert client.lost is None
        assert (client.websocket.close_code, client.websocket.close_reason) == (1001, "going")


def test_what_their_server_says_against_us() -> None:
    with theirs(max_size=100) as port, prise.connect(f"ws://127.0.0.1:{port}", timeout=PATIENCE) as client:
        client.send("x" * 101)
        with pytest.raises(FrameError, match="the peer closed the WebSocket: 1009"):
            client.receive(timeout=PATIENCE)
    with theirs(process_request=lambda connection, request: connection.respond(401, "who are you?\n")) as port:
        with pytest.raises(HandshakeError, match="401 Unauthorized in place of a WebSocket: who are you"):
            prise.connect(f"ws://127.0.0.1:{port}", timeout=PATIENCE).open()


def test_their_server_over_tls() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(localhost().cert, localhost().key)
    with theirs(ssl=context) as port:
        with prise.connect(f"wss://127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.ask("hello", timeout=PATIENCE) == "hello"


# -- Programs on a port of several protocols -----------------------------------------------------------------------------


def test_curl_and_netcat_on_one_port() -> None:
    need("curl", "nc")

    async def greeter(connection: Any) -> None:
        await connection.send("welcome")
        async for line in connection:
            await connection.send(f"line {line}")

    conversations = Multiplex(lines=greeter, http=page, websocket=echo_coroutine, tls=server_tls())
    with prise.listen(conversations, "127.0.0.1:0", model="asyncio", limits=LIMITS) as server:
        port = str(server.address.port)
        assert program("curl", "-sS", f"http://127.0.0.1:{port}/") == HTML
        assert program("curl", "-sS", "--cacert", str(authority().cert), f"https://localhost:{port}/") == HTML
        assert program("curl", "-sS", "-d", "line=1\nline=2", f"http://127.0.0.1:{port}/post") == b"not here\n"
        assert program("nc", "-N", "127.0.0.1", port, given=b"hello\n") == b"welcome\nline hello\n"
        assert program("nc", "-N", "127.0.0.1", port) == b"welcome\n"
    assert not any(server.stats().errors.values())


def test_curl_where_only_websocket_is_served() -> None:
    with prise.listen(echo, "ws://127.0.0.1:0", limits=LIMITS) as server:
        answer = program("curl", "-sS", "-i", f"http://127.0.0.1:{server.address.port}/")
        assert answer.startswith(b"HTTP/1.1 426 ")
        assert b"You need a WebSocket client" in answer


def program(*argv: str, given: bytes = b"") -> bytes:
    """What it prints, once it has ended well."""
    done = subprocess.run(argv, input=given, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- A browser -----------------------------------------------------------------------------------------------------------

HTML = b"""<!doctype html><meta charset="utf-8"><title>echo</title>
<script>
function talk(address) {
  return new Promise(resolve => {
    const got = [], socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => { socket.send("hello, world \xc3\xa9"); socket.send(new Uint8Array([104, 105])); };
    socket.onmessage = event => {
      got.push(event.data);
      if (got.length === 2) socket.close(3001, "enough");
    };
    socket.onclose = event => resolve({ got, code: event.code, reason: event.reason, clean: event.wasClean });
  });
}
</script>
"""


async def page(connection: Any) -> None:
    """A web server with one page."""
    head = b""
    async for chunk in connection:
        head += chunk
        if b"\r\n\r\n" in head:
            break
    status = b"200 OK" if head.startswith(b"GET / ") else b"404 Not Found"
    body = HTML if head.startswith(b"GET / ") else b"not here\n"
    await connection.send(
        b"HTTP/1.1 %s\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
        % (status, len(body), body)
    )


@contextmanager
def browser() -> Iterator[Any]:
    """Debian's, without a window; a tab of it."""
    need("chromium")
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        try:
            tab = running.new_page()
            tab.set_default_timeout(PATIENCE * 1000)
            yield tab
        finally:
            running.close()


def test_a_browser_gets_its_page_and_its_websocket_on_one_port() -> None:
    def site() -> prise.Server:
        conversations = Multiplex(lines=echo_coroutine, http=page, websocket=echo_coroutine)
        return prise.listen(conversations, "127.0.0.1:0", model="asyncio", limits=LIMITS)

    with site() as server, site() as other, browser() as tab:
        address = f"ws://127.0.0.1:{server.address.port}/chat"
        tab.goto(f"http://127.0.0.1:{server.address.port}/")
        assert tab.title() == "echo"
        said = {"got": ["hello, world é", "hi"], "code": 3001, "reason": "enough", "clean": True}
        assert tab.evaluate("address => talk(address)", address) == said
        with Raw(server.address, asked=b"") as netcat:  # on the same port
            netcat.write(b"hello\n")
            assert netcat.until(b"\n") == b"hello\n"
        assert server.stats().errors["handshake"] == 0

        # A page of another origin, in the same browser.
        tab.goto(f"http://127.0.0.1:{other.address.port}/")
        refused = tab.evaluate("address => talk(address)", address)
        assert refused["got"] == []
        assert refused["code"] == 1006
        until(lambda: server.stats().errors["handshake"] == 1, "it was refused")
        # To a browser "localhost" is another host than "127.0.0.1".
        tab.goto(f"http://localhost:{server.address.port}/")
        assert tab.evaluate("address => talk(address)", address)["code"] == 1006
        until(lambda: server.stats().errors["handshake"] == 2, "it was refused")


def test_a_browser_and_the_end_of_the_server() -> None:
    """What the server says last arrives, and the page is told that all is well."""

    async def three_words(connection: Any) -> None:
        for word in ("one", "two", "three"):
            await connection.send(word)

    conversations = Multiplex(http=page, websocket=(three_words, "chunks | text"))
    with prise.listen(conversations, "127.0.0.1:0", model="asyncio", limits=LIMITS) as server, browser() as tab:
        tab.goto(f"http://127.0.0.1:{server.address.port}/")
        script = """address => new Promise(resolve => {
            const got = [], socket = new WebSocket(address);
            socket.onmessage = event => got.push(event.data);
            socket.onclose = event => resolve([got, event.code, event.wasClean]);
        })"""
        address = f"ws://127.0.0.1:{server.address.port}/"
        assert tab.evaluate(script, address) == [["one", "two", "three"], 1000, True]
