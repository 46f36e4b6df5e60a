"""The WebSocket layer without any socket: its handshake and whom it refuses, messages, pings, and both ways of closing."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prise.errors import ConnectionLost, FrameError, HandshakeError, MessageTooLarge, PriseError, UsageError
from prise.layers.websocket import LONGEST_HEAD, MOST_KEPT, MOST_PONGS, WebSocketInfo
from prise.layers.websocketclient import ClientWebSocket, client_factory
from prise.layers.websocketserver import ServerWebSocket, server_factory
from tls_support import ENDS
from websocket_support import (
    BINARY,
    CLOSE,
    CONT,
    KEY,
    PING,
    PONG,
    TEXT,
    WebSocketPair,
    accept_of,
    closing,
    frame,
    frames_of,
    key_in,
    request,
    response,
    status_of,
)

TEXT_ENDS = ENDS._replace(text=True)
STEPS = [0, 1, 7]


def server(ends: Any = ENDS, **options: Any) -> Any:
    layer = server_factory(**options)()
    layer.begin(ends)
    return layer


def client(path: str = "/", ends: Any = ENDS, port: int = 8088, **options: Any) -> Any:
    layer = client_factory("localhost", port, path, **options)()
    layer.begin(ends)
    return layer


def pair(step: int = 0, server: dict[str, Any] | None = None, path: str = "/", **options: Any) -> WebSocketPair:
    return WebSocketPair(client_factory("localhost", 8088, path, **options)(), server_factory(**server or {})(), step)


def feed(layer: Any, data: bytes, step: int = 0) -> list[bytes]:
    """Everything, in steps; raises what the layer raises, also what it keeps for later."""
    heard: list[bytes] = []
    step = step or len(data) or 1
    for position in range(0, len(data), step):
        heard += layer.receive(data[position : position + step])
        if layer.error is not None:
            raise layer.error
    return heard


def open_server(ends: Any = ENDS, **options: Any) -> Any:
    layer = server(ends, **options)
    assert layer.receive(request()) == []
    assert status_of(layer.output()) == 101
    assert layer.ready
    return layer


def open_client(ends: Any = ENDS, **options: Any) -> Any:
    layer = client(ends=ends, **options)
    assert layer.receive(response(key_in(layer.output()))) == []
    assert layer.ready
    return layer


def refused(layer: Any, head: bytes, step: int = 0) -> tuple[int, str]:
    """The status of the answer, and the error."""
    with pytest.raises(HandshakeError) as raised:
        feed(layer, head, step)
    assert not layer.ready
    assert not layer.pending
    answer = layer.output()
    with pytest.raises(HandshakeError):
        layer.receive(b"more")
    layer.receive_end()  # nothing new
    assert layer.send(b"late") == b""
    assert layer.end() == b""
    return status_of(answer) if answer else 0, str(raised.value)


# -- The handshake -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_both_sides_are_ready_after_the_handshake(step: int) -> None:
    both = pair(step)
    assert both.errors == {}
    assert both.client.ready
    assert both.server.ready
    assert not both.client.pending
    assert not both.server.pending
    both.say(both.client, b"one")
    both.say(both.client, b"")
    both.say(both.server, b"two" * 1000)
    assert both.heard[both.server] == [b"one", b""]
    assert both.heard[both.client] == [b"two" * 1000]


def test_the_handshake_is_that_of_the_rfc() -> None:
    """§1.3 has an example with its numbers."""
    layer = server()
    layer.receive(request())
    head = layer.output().decode()
    assert head.startswith("HTTP/1.1 101 ")
    assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert accept_of(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert "Extensions" not in head


def test_what_the_client_asks_for() -> None:
    asked = client("/a/b?c=d").output().decode()
    assert asked.startswith("GET /a/b?c=d HTTP/1.1\r\n")
    assert "\r\nHost: localhost:8088\r\n" in asked
    assert "Origin" not in asked
    assert "Extensions" not in asked
    assert "\r\nUser-Agent: prise\r\n" in asked
    assert "\r\nHost: localhost\r\n" in client(port=80).output().decode()
    assert "\r\nHost: localhost\r\n" in client(port=443, secure=True).output().decode()
    assert "\r\nHost: localhost:443\r\n" in client(port=443).output().decode()
    assert key_in(client().output()) != key_in(client().output())


@pytest.mark.parametrize("step", STEPS)
def test_messages_right_behind_the_handshake(step: int) -> None:
    layer = server()
    assert feed(layer, request() + frame(TEXT, b"hello") + frame(BINARY, b"\xff"), step) == [b"hello", b"\xff"]
    layer = client()
    head = response(key_in(layer.output()))
    assert feed(layer, head + frame(TEXT, b"welcome", mask=None), step) == [b"welcome"]


def test_while_the_handshake_is_on_its_way_time_runs() -> None:
    layer = server()
    assert not layer.pending
    layer.receive(request()[:20])
    assert layer.pending
    layer.receive(request()[20:])
    assert not layer.pending


def test_headers_in_any_case_and_several_tokens() -> None:
    head = request(upgrade="WebSocket", connection="keep-alive, UPGRADE").replace(
        b"Sec-WebSocket-Key", b"sec-websocket-key"
    )
    layer = server()
    layer.receive(head)
    assert layer.ready


# -- What the handshake said -------------------------------------------------------------------------------------------


def test_info() -> None:
    both = pair(
        path="/chat?room=2", protocols=["v2", "v1"], server={"protocols": ["v1"]}, origin="http://localhost:8088"
    )
    info = both.server.info
    assert isinstance(info, WebSocketInfo)
    assert (info.path, info.host, info.origin, info.subprotocol) == (
        "/chat?room=2",
        "localhost:8088",
        "http://localhost:8088",
        "v1",
    )
    assert info.header("user-agent") == "prise"
    assert info.header("Cookie") is None
    assert ("Upgrade", "websocket") in info.headers
    assert info.close_code is None
    info = both.client.info
    assert (info.path, info.host, info.subprotocol) == ("/chat?room=2", "localhost:8088", "v1")
    assert info.header("Sec-WebSocket-Protocol") == "v1"
    both.end(both.client)
    assert both.server.info.close_code == 1000


def test_there_is_no_info_before() -> None:
    assert server().info is None
    assert client().info is None


def test_subprotocols() -> None:
    """The server's order counts (its best first); who knows none of them is served without one."""
    offers: dict[str, Any] = {"protocols": ["a", "b", "c"]}
    assert pair(**offers, server={"protocols": ["c", "b"]}).client.info.subprotocol == "c"
    for other in ({}, {"protocols": ["d"]}):
        both = pair(**offers, server=other)
        assert both.client.ready
        assert both.client.info.subprotocol is None
        assert both.server.info.subprotocol is None
    assert pair(server={"protocols": ["d"]}).server.info.subprotocol is None


# -- Whom a server refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("head", "status", "said"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            426,
            "the client speaks HTTP, and only WebSocket is served here",
        ),
        (request(upgrade="h2c"), 426, "only WebSocket"),
        (request(connection="keep-alive"), 426, "only WebSocket"),
        (request(key=None), 400, "Sec-WebSocket-Key"),
        (request(key="short"), 400, "Sec-WebSocket-Key"),
        (request(key="AAAA"), 400, "Sec-WebSocket-Key"),
        (request("/", f"Sec-WebSocket-Key: {KEY}"), 400, "Sec-WebSocket-Key"),
        (request(version_="8"), 400, "Sec-WebSocket-Version"),
        (request(version_=None), 400, "Sec-WebSocket-Version"),
        (request(method="POST"), 405, "POST"),
        (request(version="HTTP/1.0"), 505, "HTTP/1.0"),
        (request("/", "Host: b.example", host="a.example"), 400, "several hosts at once: a.example, b.example"),
        (b"hello\r\n", 0, "did not ask for a WebSocket"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 0, "did not ask for a WebSocket"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 0, "did not ask for a WebSocket"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "did not ask for a WebSocket"),
        (request("/", "A: " + "a" * 9000), 431, "did not ask for a WebSocket"),
        (request("/", *["A: b"] * 200), 431, "did not ask for a WebSocket"),
    ],
)
def test_refused(head: bytes, status: int, said: str, step: int) -> None:
    found, error = refused(server(), head, step)
    assert found == status
    assert said in error


@pytest.mark.parametrize("step", [0, 1, 4096])
def test_a_head_has_a_bound(step: int) -> None:
    lines = ["A: " + "a" * 1000] * 15
    layer = server()
    feed(layer, request("/", *lines), step)
    assert layer.ready
    status, error = refused(server(), request("/", *lines, *lines), step)
    assert status == 431
    assert str(LONGEST_HEAD) in error
    # What follows the head is not part of it.
    layer = server()
    assert feed(layer, request("/", *lines) + frame(BINARY, b"x" * 50_000), step) == [b"x" * 50_000]


def test_no_line_ends_and_nothing_is_kept() -> None:
    """Someone who sends no line at all."""
    layer = server()
    with pytest.raises(HandshakeError):
        for _ in range(100):
            layer.receive(b"x" * 1000)
    assert status_of(layer.output()) in (414, 431)


def test_the_path() -> None:
    for path, served in (("/chat", True), ("/chat?a=b", True), ("/", False), ("/chat/", False), ("/Chat", False)):
        layer = server(path="/chat")
        if served:
            layer.receive(request(path))
            assert layer.ready
        else:
            status, error = refused(layer, request(path))
            assert status == 404
            assert path in error
            assert "/chat" in error


@pytest.mark.parametrize(
    ("host", "origin", "allowed", "served"),
    [
        ("localhost:8088", None, (), True),
        ("localhost:8088", "http://localhost:8088", (), True),
        ("localhost:8088", "https://localhost:8088", (), True),
        ("LocalHost:8088", "http://localhost:8088", (), True),
        ("example.org", "http://example.org", (), True),
        ("example.org", "http://example.org:80", (), True),
        ("example.org", "https://example.org", (), True),
        ("example.org:443", "https://example.org", (), True),
        ("example.org:80", "http://example.org", (), True),
        ("[::1]:8088", "http://[::1]:8088", (), True),
        ("localhost:8088", "http://localhost", (), False),
        ("localhost:8088", "http://localhost:8089", (), False),
        ("localhost:8088", "http://evil.example", (), False),
        ("localhost:8088", "http://localhost.evil.example:8088", (), False),
        ("localhost:8088", "http://localhost:8088@evil.example", (), False),
        ("localhost:8088", "http://user@localhost:8088", (), False),
        ("localhost:8088", "null", (), False),
        ("localhost:8088", "file://", (), False),
        ("localhost:8088", "", (), False),
        ("localhost:8088", "http://localhost:99999", (), False),
        ("localhost:8088", "http://[", (), False),
        ("localhost:8088", "http://evil.example", "*", True),
        ("localhost:8088", "null", "*", True),
        ("localhost:8088", "https://example.org", "https://example.org", True),
        ("localhost:8088", "https://example.org:443", ["https://example.org"], True),
        ("localhost:8088", "http://example.org", ["https://example.org"], False),
        ("localhost:8088", "http://localhost:8088", ["https://example.org"], True),
    ],
)
def test_the_origin(host: str, origin: str | None, allowed: Any, served: bool) -> None:
    layer = server(origins=allowed)
    extra = () if origin is None else (f"Origin: {origin}",)
    head = request("/", *extra, host=host)
    if served:
        layer.receive(head)
        assert layer.ready
        assert layer.info.origin == origin
    else:
        status, error = refused(layer, head)
        assert status == 403
        assert "may not connect" in error


def test_two_origins_are_none() -> None:
    status, _ = refused(server(), request("/", "Origin: http://localhost:8088", "Origin: http://evil.example"))
    assert status == 400


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/path", "ws://example.org", ""])
def test_what_cannot_be_an_origin_is_said_at_once(origin: str) -> None:
    with pytest.raises(UsageError, match="origin"):
        server_factory(origins=[origin])


def test_the_client_hangs_up_during_the_handshake() -> None:
    layer = server()
    layer.receive(request()[:-1])
    with pytest.raises(HandshakeError, match="the client hung up"):
        layer.receive_end()


# -- What a client does not take ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot here.",
            "the server answers 404 Not Found in place of a WebSocket: Not here.",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 OK in place of a WebSocket"),
        (
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: wss://example.org/\r\nContent-Length: 0\r\n\r\n",
            "the server sends us elsewhere (301 Moved Permanently): wss://example.org/",
        ),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n",
            "the server sends us elsewhere (302 Found): /a, /b",
        ),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "opens no WebSocket"),
        (b"220 mail.example.org ready\r\n", "does not speak HTTP, so it has no WebSocket; it began with b'220 mail"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 what\r\n\r\n", "opens no WebSocket"),
        (response("", accept="bm90IHRoZSBrZXk="), "Sec-WebSocket-Accept"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "Connection"),
    ],
)
def test_the_client_refuses(answer: bytes, said: str, step: int) -> None:
    layer = client()
    layer.output()
    with pytest.raises(HandshakeError) as raised:
        feed(layer, answer, step)
        layer.receive_end()
    assert said in str(raised.value)
    assert not layer.ready
    assert layer.output() == b""
    assert layer.end() == b""


@pytest.mark.parametrize("extra", ["Sec-WebSocket-Protocol: unasked", "Sec-WebSocket-Extensions: permessage-deflate"])
def test_a_server_that_answers_what_was_not_asked(extra: str) -> None:
    layer = client()
    with pytest.raises(HandshakeError, match="opens no WebSocket"):
        layer.receive(response(key_in(layer.output()), extra))


def test_the_server_hangs_up() -> None:
    for some in (b"", b"HTTP/1.1 101 Sw"):
        layer = client()
        layer.receive(some) if some else None
        with pytest.raises(HandshakeError, match="the server hung up"):
            layer.receive_end()


def test_an_endless_answer_is_not_kept() -> None:
    layer = client()
    with pytest.raises(HandshakeError):
        for _ in range(3000):
            layer.receive(b"HTTP/1.1 " + b"x" * 1000)


# -- Messages ----------------------------------------------------------------------------------------------------------


def test_text_or_binary_follows_the_conversation() -> None:
    """Messages of text go in text frames, others in binary ones; what arrives is taken as it is."""
    assert frames_of(open_server().send(b"a"))[0].opcode == BINARY
    assert frames_of(open_server(TEXT_ENDS).send(b"a"))[0].opcode == TEXT
    for ends in (ENDS, TEXT_ENDS):
        layer = open_server(ends)
        assert layer.receive(frame(TEXT, b"t") + frame(BINARY, b"\xff")) == [b"t", b"\xff"]


def test_only_clients_mask() -> None:
    assert not frames_of(open_server().send(b"a" * 70_000))[0].masked
    (sent,) = frames_of(open_client().send(b"a" * 70_000))
    assert sent.masked
    assert sent.data == b"a" * 70_000
    assert open_client().send(b"a" * 8) != open_client().send(b"a" * 8)


def test_what_is_sent_before_the_handshake_waits() -> None:
    both = [client(), server()]
    for layer in both:
        assert layer.send(b"early") == b""
    asked = both[0].output()
    assert frames_of(asked[asked.index(b"\r\n\r\n") + 4 :]) == []
    both[1].receive(asked)
    answer = both[1].output()
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert [each.data for each in frames_of(rest)] == [b"early"]
    assert both[0].receive(answer) == [b"early"]
    assert both[1].receive(both[0].output()) == [b"early"]


def test_what_waits_has_a_bound() -> None:
    layer = client()
    layer.send(b"x" * (MOST_KEPT - 100))
    with pytest.raises(UsageError, match="before the WebSocket was set up"):
        layer.send(b"x" * 100)


def test_an_end_before_the_handshake_waits_too() -> None:
    layer = client()
    layer.send(b"early")
    asked = layer.end()
    assert asked.startswith(b"GET / ")
    layer.receive(response(key_in(asked)))
    early, end = frames_of(layer.output())
    assert early.data == b"early"
    assert end.opcode == CLOSE
    assert end.code == 1000


def test_the_limit() -> None:
    small = ENDS._replace(limit=1000)
    layer = open_server(small)
    assert layer.receive(frame(BINARY, b"x" * 1000)) == [b"x" * 1000]
    for too_long in (
        frame(BINARY, b"x" * 1001),
        frame(BINARY, b"x" * 1001)[:8],  # refused by its head
        frame(BINARY, b"x" * 600, fin=False) + frame(CONT, b"x" * 401),
        frame(BINARY, b"", size=8)[:2] + b"\xff" * 8,
    ):
        layer = open_server(small)
        with pytest.raises((MessageTooLarge, FrameError)):
            feed(layer, too_long)
        (close,) = frames_of(layer.end())
        assert close.code in (1009, 1002)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("length", [0, 1, 125, 126, 65_535, 65_536])
def test_each_form_of_a_length_both_ways(length: int, step: int) -> None:
    """§5.2: 7 bits, 16 or 64; alone and among others in one read, with a ping between them."""
    message = random.Random(length).randbytes(length)
    step = max(step, length // 1000)
    cases: list[tuple[Any, dict[str, Any]]] = [(open_server(), {}), (open_client(), {"mask": None})]
    for layer, mask in cases:
        (sent,) = frames_of(layer.send(message))
        assert (sent.opcode, sent.data, sent.masked) == (BINARY, message, bool(mask))
        one = frame(BINARY, message, **mask)
        assert feed(layer, one, step) == [message]
        assert feed(layer, one * 2 + frame(PING, b"?", **mask) + one, step) == [message] * 3
        (pong,) = frames_of(layer.output())
        assert (pong.opcode, pong.data) == (PONG, b"?")
        assert not layer.pending


def test_each_side_is_held_to_its_masking() -> None:
    """§5.1: clients mask, servers do not."""
    for layer, wrong in ((open_server(), frame(BINARY, b"x", mask=None)), (open_client(), frame(BINARY, b"x"))):
        with pytest.raises(FrameError):
            layer.receive(wrong)


def test_good_messages_before_a_bad_one_are_delivered() -> None:
    layer = open_server()
    assert layer.receive(frame(TEXT, b"good") + frame(3)) == [b"good"]
    assert isinstance(layer.error, FrameError)
    assert "rules of WebSocket" in str(layer.error)
    assert not layer.pending
    with pytest.raises(FrameError):
        layer.receive(b"more")


def test_pending_while_a_message_is_incomplete() -> None:
    layer = open_server()
    whole = frame(TEXT, b"hello")
    for part in (whole[:1], whole[1:4], whole[4:-1]):
        layer.receive(part)
        assert layer.pending
    assert layer.receive(whole[-1:]) == [b"hello"]
    assert not layer.pending
    layer.receive(frame(TEXT, b"a", fin=False))
    assert layer.pending
    layer.receive(frame(PING))
    assert layer.pending
    assert layer.receive(frame(CONT, b"b")) == [b"ab"]
    assert not layer.pending


# -- Compression -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("offered", "wanted"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("step", STEPS)
def test_compression_is_used_when_both_want_it(offered: bool, wanted: bool, step: int) -> None:
    both = pair(step, compress=offered, server={"compress": wanted})
    assert both.errors == {}
    both.watch = True
    for _ in range(2):
        both.say(both.client, b"a" * 10_000)
        both.say(both.server, b"b" * 10_000)
    assert both.heard[both.server] == [b"a" * 10_000] * 2
    assert both.heard[both.client] == [b"b" * 10_000] * 2
    compressed = offered and wanted
    for layer in (both.client, both.server):
        assert (len(both.watched[layer]) < 1000) is compressed
    assert [each.reserved for each in frames_of(both.watched[both.server])] == [4 if compressed else 0] * 2


def test_a_bomb_is_stopped_by_the_limit() -> None:
    both = WebSocketPair(client_factory("localhost", 1, compress=True)(), server_factory(compress=True)())
    bomb = both.client.send(b"\0" * 20_000_000)
    assert len(bomb) < 30_000
    with pytest.raises(MessageTooLarge):
        both.server.receive(bomb)
    assert frames_of(both.server.end())[-1].code == 1009


def test_damaged_compression() -> None:
    both = pair(compress=True, server={"compress": True})
    with pytest.raises(FrameError, match="WebSocket"):
        both.server.receive(frame(TEXT, b"\xff" * 20, reserved=4))
    assert frames_of(both.server.end())[-1].code in (1002, 1007, 1011)


# -- Pings -------------------------------------------------------------------------------------------------------------


def test_pings_are_answered_with_their_own_data() -> None:
    layer = open_server()
    assert layer.receive(frame(PING, b"are you there") + frame(PING)) == []
    assert [(each.opcode, each.data) for each in frames_of(layer.output())] == [(PONG, b"are you there"), (PONG, b"")]
    assert layer.output() == b""


def test_keepalive_asks_and_the_peer_answers_by_itself() -> None:
    both = pair()
    both.watch = True
    both.server.keepalive()
    both.settle()
    assert [each.opcode for each in frames_of(both.watched[both.client])] == [PING]
    assert [each.opcode for each in frames_of(both.watched[both.server])] == [PONG]
    assert both.heard[both.client] == []


def test_no_ping_before_the_handshake_and_none_after_our_end() -> None:
    layer = client()
    layer.output()
    layer.keepalive()
    assert layer.output() == b""
    layer = open_server()
    layer.end()
    layer.keepalive()
    assert layer.output() == b""


def test_a_flood_of_pings_is_not_kept() -> None:
    """Who sends pings and takes no pongs; §5.5.3 lets us answer the newest only."""
    layer = open_server()
    flood = b"".join(frame(PING, b"%0125d" % number) for number in range(1000))
    for _ in range(20):
        layer.receive(flood)
        assert len(layer._out) <= MOST_PONGS + len(flood)
    last = frames_of(layer.output())[-1]
    assert last.data == b"%0125d" % 999


def test_pongs_that_nobody_asked_for() -> None:
    layer = open_server()
    assert layer.receive(frame(PONG, b"here I am")) == []
    assert layer.output() == b""


# -- The end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("first", ["client", "server"])
def test_either_side_may_end_first(first: str, step: int) -> None:
    both = pair(step)
    one = getattr(both, first)
    other = both.other(one)
    both.say(one, b"last")
    both.end(one)
    assert both.heard[other] == [b"last"]
    assert other.ended
    assert not one.ended
    both.say(other, b"late answer")  # to those who wait for it
    assert both.heard[one] == [b"late answer"]
    both.end(other)
    assert one.ended
    assert one.info.close_code == other.info.close_code == 1000
    for layer in (one, other):
        layer.receive_end()
        assert layer.send(b"too late") == b""
        assert layer.end() == b""
        assert layer.output() == b""
    assert both.errors == {}


@pytest.mark.parametrize("code", [None, 1000, 1001, 3000, 4999])
def test_an_end_in_peace(code: int | None) -> None:
    layer = open_server()
    assert layer.receive(frame(TEXT, b"last") + closing(code, b"bye" if code else b"")) == [b"last"]
    assert layer.ended
    assert layer.error is None
    assert not layer.pending
    assert layer.output() == b""  # not yet: the conversation may have an answer
    assert layer.info.close_code == (code or 1005)
    assert layer.info.close_reason == ("bye" if code else "")
    assert frames_of(layer.send(b"late"))[0].data == b"late"
    (answer,) = frames_of(layer.end())
    assert answer.code == code


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014])
def test_an_end_in_anger(code: int) -> None:
    layer = open_client()
    with pytest.raises(FrameError, match=f"the peer closed the WebSocket: {code} not so"):
        layer.receive(closing(code, b"not so", mask=None))
    assert layer.info.close_code == code
    layer.receive_end()
    (answer,) = frames_of(layer.end())
    assert answer.code == code
    assert answer.masked


def test_the_reason_is_made_fit_for_a_message() -> None:
    layer = open_client()
    with pytest.raises(FrameError) as raised:
        layer.receive(closing(1011, "é\x1b[31m\r\nred {0}".encode(), mask=None))
    assert "é[31mred {0}" in str(raised.value)


def test_what_comes_after_a_close_means_nothing() -> None:
    layer = open_server()
    assert layer.receive(closing() + frame(TEXT, b"behind") + b"garbage") == []
    assert layer.receive(b"\xff" * 1000) == []
    assert layer.ended
    assert layer.output() == b""


def test_a_message_that_is_cut_by_a_close() -> None:
    layer = open_server()
    layer.receive(frame(TEXT, b"half", fin=False))
    with pytest.raises(FrameError):
        layer.receive(closing())


def test_a_connection_that_ends_without_close_is_cut_short() -> None:
    for data in (b"", frame(TEXT, b"whole"), frame(TEXT, b"half")[:-1]):
        layer = open_server()
        layer.receive(data)
        with pytest.raises(ConnectionLost, match="cut short"):
            layer.receive_end()


def test_who_has_ended_need_not_be_answered() -> None:
    layer = open_client()
    layer.end()
    layer.receive_end()


# -- Any bytes at all --------------------------------------------------------------------------------------------------


@given(data=st.binary(max_size=200), step=st.sampled_from(STEPS), is_open=st.booleans(), compress=st.booleans())
def test_a_server_takes_any_bytes(data: bytes, step: int, is_open: bool, compress: bool) -> None:
    layer = open_server(compress=compress) if is_open else server(compress=compress)
    _anything(layer, data, step)


@given(data=st.binary(max_size=200), step=st.sampled_from(STEPS), is_open=st.booleans())
def test_a_client_takes_any_bytes(data: bytes, step: int, is_open: bool) -> None:
    _anything(open_client() if is_open else client(), data, step)


FRAMES = st.lists(
    st.builds(
        frame,
        st.sampled_from([CONT, TEXT, BINARY, CLOSE, PING, PONG, 3, 11]),
        st.binary(max_size=130),
        fin=st.booleans(),
        reserved=st.sampled_from([0, 0, 0, 4]),
        size=st.sampled_from([0, 0, 0, 2, 8]),
    ),
    max_size=6,
).map(b"".join)


@given(data=FRAMES, step=st.sampled_from(STEPS), compress=st.booleans())
def test_a_server_takes_any_frames(data: bytes, step: int, compress: bool) -> None:
    layer = server(compress=compress)
    layer.receive(request("/", "Sec-WebSocket-Extensions: permessage-deflate"))
    _anything(layer, data, step)


@given(data=FRAMES, seed=st.integers(0, 2**32))
def test_the_same_messages_however_they_are_cut(data: bytes, seed: int) -> None:
    def run(step: int) -> tuple[list[bytes], bool, str]:
        layer = open_server()
        messages: list[bytes] = []
        error = ""
        randomly = random.Random(seed)
        position = 0
        while position < len(data) and not error:
            size = randomly.randint(1, 9) if step < 0 else step or len(data)
            try:
                messages += layer.receive(data[position : position + size])
            except FrameError as raised:
                error = str(raised)
            error = error or str(layer.error or "")
            position += size
        return messages, layer.ended, error

    assert run(0) == run(1) == run(-1)


def _anything(layer: Any, data: bytes, step: int) -> None:
    try:
        for message in feed(layer, data, step):
            assert isinstance(message, bytes)
    except PriseError as error:
        assert str(error)
    layer.output()
    layer.keepalive()
    layer.send(b"message")
    try:
        layer.receive_end()
    except PriseError as error:
        assert str(error)
    layer.end()
    layer.output()


def test_factories_make_a_layer_for_each_connection() -> None:
    factory = server_factory()
    assert factory() is not factory()
    assert isinstance(factory(), ServerWebSocket)
    assert isinstance(client_factory("h", 1)(), ClientWebSocket)


# -- Changing hands ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_of_whole_frames_nothing_is_kept_whichever_form_their_length_has(step: int) -> None:
    """A length may be written longer than need be; that must not add up in memory."""
    layer = open_server()
    long_form = [
        bytes([0x82, 0xFF]) + (3).to_bytes(8) + bytes(4) + b"abc",
        bytes([0x82, 0xFE, 0, 3]) + bytes(4) + b"abc",
    ]
    assert feed(layer, b"".join(long_form) * 50, step) == [b"abc"] * 100
    begun = frame(BINARY, b"whole")[:-1]
    assert feed(layer, begun, step) == []
    assert layer.unread([]) == begun
