"""One port, several protocols: plain lines, HTTP, WebSocket, and all of them inside TLS, told apart by the first bytes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from blocking_support import until
from prise import Limits, Multiplex, SpellingError, UsageError
from prise.core.multiplex import LONGEST_HEAD, SILENCE
from prise.core.pipeline import Pipeline
from prise.errors import HandshakeError, PriseError
from prise.framing.names import framing_of
from tls_support import ENDS, authority, client_tls, server_tls
from websocket_support import TEXT, Raw, closing, frame, request, status_of

PATIENCE = 10.0
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\npage\n"
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


# The same three conversations in each spelling: who is greeted, who gets a page, who is echoed.


def lines_function(connection: Any) -> None:
    connection.send("welcome")
    for line in connection:
        connection.send(f"line {line}")


def http_function(connection: Any) -> None:
    head = b""
    for chunk in connection:
        head += chunk
        if b"\r\n\r\n" in head:
            connection.send(PAGE)
            return


def websocket_function(connection: Any) -> None:
    for message in connection:
        connection.send(f"{connection.websocket.path} {message}")


def lines_generator(connection: Any) -> Any:
    reply = "welcome"
    while True:
        reply = f"line {(yield reply)}"


def http_generator(connection: Any) -> Any:
    head = b""
    while b"\r\n\r\n" not in head:
        head += yield None
    return PAGE


def websocket_generator(connection: Any) -> Any:
    reply = None
    while True:
        message = yield reply
        reply = f"{connection.websocket.path} {message}"


async def lines_coroutine(connection: Any) -> None:
    await connection.send("welcome")
    async for line in connection:
        await connection.send(f"line {line}")


async def http_coroutine(connection: Any) -> None:
    head = b""
    async for chunk in connection:
        head += chunk
        if b"\r\n\r\n" in head:
            await connection.send(PAGE)
            return


async def websocket_coroutine(connection: Any) -> None:
    async for message in connection:
        await connection.send(f"{connection.websocket.path} {message}")


SPELLINGS: dict[str, dict[str, Any]] = {
    "function": {"lines": lines_function, "http": http_function, "websocket": websocket_function},
    "generator": {"lines": lines_generator, "http": http_generator, "websocket": websocket_generator},
    "coroutine": {"lines": lines_coroutine, "http": http_coroutine, "websocket": websocket_coroutine},
}
MODELS = [("threads", "function"), ("processes", "function"), ("select", "generator"), ("asyncio", "coroutine")]
Model = tuple[str, str]


@pytest.fixture(params=MODELS, ids=lambda model: model[0])
def model(request: Any) -> Model:
    found: Model = request.param
    return found


def serve(model: Model, *left_out: str, address: str = "127.0.0.1:0", **options: Any) -> prise.Server:
    branches = {name: each for name, each in SPELLINGS[model[1]].items() if name not in left_out}
    limits = options.pop("limits", Limits(linger_time=0.2))
    return prise.listen(Multiplex(**branches, **options), address, model=model[0], limits=limits)


@pytest.fixture
def server(model: Model) -> Iterator[prise.Server]:
    with serve(model) as server:
        yield server


def bare(server: prise.Server) -> Raw:
    """A connection that has said nothing yet."""
    return Raw(server.address, asked=b"")


def answer_to(server: prise.Server, *parts: bytes) -> bytes:
    """All that the server says to someone who then ends."""
    with bare(server) as raw:
        for part in parts:
            raw.write(part)
        raw.sock.shutdown(socket.SHUT_WR)
        return raw.rest()


# -- Served ------------------------------------------------------------------------------------------------------------


def test_who_says_nothing_is_greeted(server: prise.Server) -> None:
    """Somebody with netcat."""
    with bare(server) as raw:
        begun = time.monotonic()
        assert raw.until(b"\n") == b"welcome\n"
        assert time.monotonic() - begun >= SILENCE * 0.9
        raw.write(GET)  # too late to be HTTP
        assert raw.until(b"\n") == b"line GET / HTTP/1.1\n"


def test_lines(server: prise.Server) -> None:
    assert answer_to(server, b"hello\nthere\n") == b"welcome\nline hello\nline there\n"
    assert answer_to(server, b"GET a life!\n") == b"welcome\nline GET a life!\n"
    assert answer_to(server, b"GET / HTTP/1.1, they say\n") == b"welcome\nline GET / HTTP/1.1, they say\n"
    assert answer_to(server, b"no newline") == b"welcome\nline no newline\n"
    assert answer_to(server, b"\n") == b"welcome\nline \n"
    assert answer_to(server, b"") == b"welcome\n"


def test_telnet_is_lines(server: prise.Server) -> None:
    with bare(server) as raw:
        raw.write(b"\xff\xfd\x18")
        assert raw.until(b"\n") == b"welcome\n"


def test_http(server: prise.Server) -> None:
    assert answer_to(server, GET) == PAGE
    for first in (
        b"POST /a?b=c HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.0\r\n",
        b"M-SEARCH * HTTP/1.1\n",
        b"get / HTTP/1.1\r\n",
    ):
        assert answer_to(server, first, b"A: b\r\n\r\n") == PAGE


def test_http_that_is_typed_slowly(server: prise.Server) -> None:
    """One byte, and there is no silence any more: nobody is greeted in the middle of a request."""
    with bare(server) as raw:
        raw.write(b"G")
        with pytest.raises(TimeoutError):
            raw.sock.settimeout(SILENCE * 2)
            raw.sock.recv(1)
        raw.sock.settimeout(PATIENCE)
        raw.step = 1
        raw.write(GET[1:])
        assert raw.rest() == PAGE


def test_once_http_it_stays_http(server: prise.Server) -> None:
    """A web page that posts lines of chat to the port of a chat room."""
    body = b"line\r\nline\r\n"
    with bare(server) as raw:
        raw.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert raw.rest() == PAGE


def test_websocket(server: prise.Server) -> None:
    for step in (0, 1):
        with bare(server) as raw:
            raw.step = step
            raw.write(request("/chat", host="localhost") + frame(TEXT, b"hello"))
            assert status_of(raw.until(b"\r\n\r\n")) == 101
            found = raw.receive()
            assert found is not None
            assert (found.opcode, found.data) == (TEXT, b"/chat hello")
            raw.write(closing())
            assert [each.code for each in raw.all()] == [1000]
    with prise.connect(f"ws://127.0.0.1:{server.address.port}/x", timeout=PATIENCE) as client:
        assert client.ask("y", timeout=PATIENCE) == "/x y"


def test_origins(model: Model) -> None:
    for options, origin, status in (
        ({}, "http://evil.example", 403),
        ({}, "http://localhost", 101),
        ({"origins": "*"}, "http://evil.example", 101),
        ({"origins": ["https://example.org"]}, "https://example.org", 101),
    ):
        with serve(model, **options) as server, bare(server) as raw:
            raw.write(request("/", f"Origin: {origin}", host="localhost"))
            head = raw.until(b"\r\n\r\n")
            assert int(head[9:12]) == status


def test_everything_at_the_same_time(server: prise.Server) -> None:
    async def lines() -> None:
        async with prise.connect(server.address, timeout=PATIENCE) as client:
            await client.send("x")
            assert await client.receive(timeout=PATIENCE) == "welcome"
            assert await client.receive(timeout=PATIENCE) == "line x"

    async def messages() -> None:
        async with prise.connect(f"ws://127.0.0.1:{server.address.port}", timeout=PATIENCE) as client:
            assert await client.ask("x", timeout=PATIENCE) == "/ x"

    async def page() -> None:
        async with prise.connect(server.address, framing="chunks", timeout=PATIENCE) as client:
            await client.send(GET)
            assert b"".join([chunk async for chunk in client]) == PAGE

    async def all_of_them() -> None:
        await asyncio.gather(*(each() for _ in range(8) for each in (lines, messages, page)))

    asyncio.run(all_of_them())
    assert not any(server.stats().errors.values())


# -- Inside TLS --------------------------------------------------------------------------------------------------------


def test_all_of_it_inside_tls_too(model: Model) -> None:
    context = ssl.create_default_context(cafile=str(authority().cert))
    with serve(model, tls=server_tls()) as server:
        port = server.address.port
        assert answer_to(server, b"clear\n") == b"welcome\nline clear\n"
        with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.receive(timeout=PATIENCE) == "welcome"  # for silence
            assert client.ask("x", timeout=PATIENCE) == "line x"
        with prise.connect(f"wss://127.0.0.1:{port}/a", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.ask("b", timeout=PATIENCE) == "/a b"
        with (
            socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            secure.sendall(GET[:5])
            secure.sendall(GET[5:])
            assert b"".join(iter(lambda: secure.recv(1000), b"")) == PAGE
    assert not any(server.stats().errors.values())


def test_a_slow_handshake_of_tls_is_no_silence(model: Model) -> None:
    """Between two flights of it nothing comes for longer than a greeting is held back: the client may still speak HTTP."""
    context = ssl.create_default_context(cafile=str(authority().cert))
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inside, outside, server_hostname="localhost")
    with serve(model, tls=server_tls()) as server, bare(server) as raw:
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        raw.write(outside.read())
        while True:
            inside.write(raw.sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                pass
        raw.sock.settimeout(SILENCE * 2)
        with pytest.raises(TimeoutError):
            raw.sock.recv(1)
        raw.sock.settimeout(PATIENCE)
        tls.write(GET)
        raw.write(outside.read())
        answer = b""
        while len(answer) < len(PAGE):
            try:
                answer += tls.read()
            except ssl.SSLWantReadError:
                inside.write(raw.sock.recv(65536))
        assert answer == PAGE


def test_on_an_address_with_tls(model: Model) -> None:
    branches = SPELLINGS[model[1]]
    with prise.listen(Multiplex(**branches), "tls:127.0.0.1:0", model=model[0], tls=server_tls()) as server:
        port = server.address.port
        with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.receive(timeout=PATIENCE) == "welcome"
        with prise.connect(f"wss://127.0.0.1:{port}/a", tls=client_tls(), timeout=PATIENCE) as client:
            assert client.ask("b", timeout=PATIENCE) == "/a b"


# -- Refused -----------------------------------------------------------------------------------------------------------


def refused(server: prise.Server, data: bytes, count: int = 1) -> bytes:
    with bare(server) as raw:
        raw.write(data)
        answer = raw.rest()
    until(lambda: server.stats().errors["handshake"] == count, f"{count} refused")
    return answer


def test_what_is_not_served_is_refused(model: Model) -> None:
    with serve(model) as server:
        assert refused(server, b"SSH-2.0-OpenSSH_9.2\r\n") == b""
        assert refused(server, b"\x16\x03\x01\x02\x00", 2) == b""
    with serve(model, "lines") as server:
        assert refused(server, b"hello\n") == b""
        assert answer_to(server, GET) == PAGE
    with serve(model, "http") as server:  # it is said what is served here
        assert refused(server, GET).startswith(b"HTTP/1.1 426 ")
        assert answer_to(server, b"hello\n") == b"welcome\nline hello\n"
    with serve(model, "http", "websocket") as server:
        assert refused(server, GET) == b""
    with serve(model, "websocket") as server:
        assert answer_to(server, request()) == PAGE


def test_without_lines_silence_means_nothing(model: Model) -> None:
    """Nobody is greeted; who still says nothing when the time for handshakes is over goes."""
    with serve(model, "lines", limits=Limits(handshake_time=SILENCE + 0.3, linger_time=0.2)) as server:
        assert refused_silently(server) >= SILENCE + 0.2


def refused_silently(server: prise.Server) -> float:
    begun = time.monotonic()
    with bare(server) as raw:
        assert raw.rest() == b""
    return time.monotonic() - begun


def test_a_request_that_is_never_finished_goes(model: Model) -> None:
    with serve(model, limits=Limits(handshake_time=0.4, linger_time=0.2)) as server:
        with bare(server) as raw:
            raw.write(b"GET / HT")
            assert raw.rest() == b""
        assert answer_to(server, b"hello\n") == b"welcome\nline hello\n"


def strict_function(connection: Any) -> None:
    try:
        connection.receive()
    except prise.FrameError:
        connection.send(b"bad")


def strict_generator(connection: Any) -> Any:
    try:
        yield None
    except prise.FrameError:
        return b"bad"


async def strict_coroutine(connection: Any) -> None:
    try:
        await connection.receive()
    except prise.FrameError:
        await connection.send(b"bad")


STRICT = {"function": strict_function, "generator": strict_generator, "coroutine": strict_coroutine}


@pytest.mark.parametrize("pieces", [[GET], [GET[:20], GET[20:]]], ids=["at once", "in two"])
def test_what_breaks_the_framing_in_the_first_bytes_is_the_conversations_to_hear(
    model: Model, pieces: list[bytes]
) -> None:
    both = {"lines": SPELLINGS[model[1]]["lines"], "http": (STRICT[model[1]], "netstring")}
    with prise.listen(Multiplex(**both), "127.0.0.1:0", model=model[0], limits=Limits(linger_time=0.2)) as server:
        assert answer_to(server, *pieces) == b"3:bad,"


@pytest.mark.parametrize("data", [b"x" * (LONGEST_HEAD + 1), b"GET /" + b"x" * LONGEST_HEAD])
def test_a_first_line_without_end_is_lines(data: bytes) -> None:
    """No HTTP is like that; the limit of lines takes over."""
    with serve(MODELS[2], limits=Limits(message_size=20_000, linger_time=0.2)) as server:
        assert answer_to(server, data) == b"welcome\nline " + data + b"\n"
        answer_to(server, data + b"y" * 20_000)
        assert sum(server.stats().errors.values()) == 1


# -- What can be wrong with it -----------------------------------------------------------------------------------------


def test_it_needs_a_conversation() -> None:
    with pytest.raises(UsageError, match="needs a conversation"):
        Multiplex()


def test_all_have_the_same_spelling() -> None:
    with pytest.raises(SpellingError):
        prise.listen(Multiplex(lines=lines_function, http=http_coroutine), "127.0.0.1:0").start()


def test_it_needs_a_stream() -> None:
    with pytest.raises(UsageError, match="stream"):
        prise.listen(Multiplex(lines=lines_generator), "udp:127.0.0.1:0").start()


def test_an_origin_is_checked_at_once() -> None:
    with pytest.raises(UsageError, match="origin"):
        Multiplex(websocket=websocket_function, origins=["example.org"])


def test_own_framings_and_layers() -> None:
    def bytes_back(connection: Any) -> Any:
        chunk = None
        while True:
            chunk = yield chunk

    both = Multiplex(lines=(bytes_back, "netstring"), websocket=(bytes_back, "lines | json"))
    with prise.listen(both, "127.0.0.1:0", model="select") as server:
        assert answer_to(server, b"1:a,2:bc,") == b"1:a,2:bc,"
        with prise.connect(f"ws://127.0.0.1:{server.address.port}", framing="lines | json", timeout=PATIENCE) as client:
            assert client.ask([1, {"a": None}], timeout=PATIENCE) == [1, {"a": None}]


# -- The choice itself -------------------------------------------------------------------------------------------------


def chosen(head: bytes, over: bool = False, **left_out: Any) -> str | None:
    """Which of three conversations; None: more must be seen."""
    branches = {name: each for name, each in SPELLINGS["generator"].items() if name not in left_out}
    branch = Multiplex(**branches).choose(head, over)
    return None if branch is None else next(name for name, each in branches.items() if each is branch.conversation)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"hello", None),  # it may become the name of a method
        (b"hello ", None),
        (b"hello  ", "lines"),
        (b"hello, world", "lines"),
        (b"GET / HTTP", None),
        (b"GET / HTTQ", "lines"),
        (b"GET / HTTP/1.1", None),
        (b"GET / HTTP/1.1\r", None),
        (b"GET / HTTP/1.1 ", "lines"),
        (b"GET / HTTP/1.1\r\n", None),  # WebSocket or not: the head says it
        (b"GET / HTTP/11.1\r\n", "lines"),
        (GET, "http"),
        (GET[:-1], None),
        (request(), "websocket"),
        (request(upgrade="h2c"), "http"),
        (b"GET / HTTP/1.1\r\nX: y\r\n Upgrade: websocket\r\n\r\n", "http"),  # the second line goes on with the first
        (b"GET /?\nUpgrade: websocket HTTP/1.1\r\n", "lines"),
        (GET + b"Upgrade: websocket\r\n\r\n", "http"),  # behind the head: a body
        (b"\xff", "lines"),
        (b"\x80", "lines"),
        (b" ", "lines"),
        (b"\n", "lines"),
        (b"\r\n", "lines"),
        ("é".encode(), "lines"),
    ],
)
def test_the_choice(head: bytes, name: str | None) -> None:
    assert chosen(head) == name


def test_at_the_end_a_choice_is_made() -> None:
    assert chosen(b"", over=True) == "lines"
    assert chosen(b"GET / HTTP/1.1", over=True) == "lines"
    assert chosen(b"GET / HTTP/1.1\r\nHost: x", over=True) == "http"


@pytest.mark.parametrize("head", [request(), GET, b"GET a life!\n", b"hello\n", b"\xff\xfd\n"])
def test_more_bytes_never_change_the_choice(head: bytes) -> None:
    found = [chosen(head[:size]) for size in range(len(head) + 1)]
    first = next(number for number, each in enumerate(found) if each is not None)
    assert first > 0
    assert set(found[first:]) == {found[first]}


@given(
    data=st.binary(max_size=100),
    cut=st.integers(0, 100),
    start=st.sampled_from([b"", GET[:16], request()[:40], b"GET "]),
)
def test_any_bytes_find_their_way(data: bytes, cut: int, start: bytes) -> None:
    data = start + data
    results = []
    for parts in ([data], [data[:cut], data[cut:]], [data[n : n + 1] for n in range(len(data))]):
        pipeline = Pipeline(framing_of("lines"), 1000, chooser=Multiplex(**SPELLINGS["generator"]))
        pipeline.begin(ENDS.peer, ENDS.local)
        messages: list[Any] = []
        try:
            for part in filter(None, parts):
                messages += pipeline.feed(part)
                while pipeline.decoder.more:
                    messages += pipeline.feed(b"")
            messages += pipeline.decoder.end()
        except PriseError as error:
            assert str(error)
        results.append(
            (pipeline.conversation, messages if pipeline.conversation is not http_generator else b"".join(messages))
        )
    assert all(each == results[0] for each in results)


def test_errors_name_what_is_served() -> None:
    multiplex = Multiplex(http=http_generator)
    for head, said in (
        (b"hello\n", "speaks lines, which is not served here; served: http"),
        (b"SSH-2.0", "SSH"),
        (b"\x16", "TLS"),
    ):
        with pytest.raises(HandshakeError, match=said):
            multiplex.choose(head, False)


def test_what_is_said_to_a_flood_arrives_though_more_was_on_its_way() -> None:
    """The same read tells which protocol it is and breaks the limit: the rest is read away, else a reset would cut the answer."""

    def strict(connection: Any) -> None:
        with pytest.raises(prise.MessageTooLarge):
            connection.receive()
        connection.send("." * 200_000)

    limits = Limits(message_size=1000)
    with prise.listen(Multiplex(lines=strict), "127.0.0.1:0", model="threads", limits=limits) as server:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
            client.settimeout(PATIENCE)
            client.connect((server.address.host, server.address.port))
            client.sendall(b"y" * 300_000)
            with client.makefile("rb") as answer:
                assert len(answer.read()) == 200_001
