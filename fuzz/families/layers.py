"""Layers: what stands between the network and the messages of a connection (prise/layers), and the choice of a protocol."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from fuzz.target import LONGEST, Given, must, scratch, seed, target, told
from prise.address import Address
from prise.core.multiplex import LONGEST_HEAD, Multiplex
from prise.core.pipeline import Pipeline
from prise.errors import PeerError
from prise.framing.names import framing_of
from prise.layers.base import Ends, Layer
from prise.layers.httpproxy import http_connect
from prise.layers.proxy import proxy_from
from prise.layers.proxyheader import write
from prise.layers.socks import socks5
from prise.layers.telnet import Telnet
from prise.layers.tlserrors import in_clear
from prise.layers.tunnel import Credentials
from prise.layers.websocketclient import client_factory
from prise.layers.websocketserver import server_factory
from prise.tls import TLS

PEER, LOCAL = Address("tcp", "192.0.2.7", 40000), Address("tcp", "198.51.100.1", 443)
TARGET, PROXY = Address("tcp", "example.org", 443), Address("tcp", "192.0.2.9", 1080)
LIMIT = 1000
_DATE = re.compile(rb"Date: [^\r]*\r\n")


def passed(
    make: Callable[[], Layer], pieces: Iterable[bytes], peer: Address = PEER, text: bool = False
) -> tuple[Any, ...]:
    """What came through a layer, what it said by itself (where no error ended it: behind a fault pings may still be
    answered), what it has found out, and the error."""
    layer = make()
    inside: list[bytes] = []
    said: list[bytes] = []
    error = ""
    try:
        layer.begin(Ends(peer, LOCAL, text, LIMIT))
        said.append(layer.output())
        for piece in pieces:
            arrived = layer.receive(piece)
            inside += arrived if layer.keeps_messages else [arrived]
            said.append(layer.output())
            if layer.error is not None:
                raise layer.error
        layer.receive_end()
    except PeerError as failure:
        told(failure)
        error = f"{type(failure).__name__} {failure.reason}"  # what it quotes of the bytes depends on the pieces
    heard = _DATE.sub(b"", b"".join((*said, layer.output(), layer.end())))
    must(not layer.keeps_messages or all(len(each) <= LIMIT for each in inside), "a message passes the limit")
    came = inside if layer.keeps_messages else b"".join(inside)
    return came, "" if error else heard, layer.ready, layer.peer, layer.local, error


def check(make: Callable[[], Layer], given: Given, **more: Any) -> tuple[Any, ...]:
    """The same, however the bytes are cut."""
    whole = passed(make, [given.data], **more)
    pieces = passed(make, given.pieces(), **more)
    if len(given.data) <= LONGEST:  # several bounds: which one is passed first depends on the pieces
        must(whole == pieces, "what comes through depends on how bytes arrive:", whole, pieces)
    return whole


V4, V6 = (
    (Address("tcp", "192.0.2.7", 5000), Address("tcp", "192.0.2.1", 80)),
    (Address("tcp", "2001:db8::7", 5), Address("tcp", "::1", 6)),
)
PATHS = Address("unix", path="/run/a"), Address("unix", path="@b")


@target(
    seed(b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\nhello", 0, 0x11), seed(b"PROXY UNKNOWN a b\r\nhello"),
    seed(b"PROXY TCP6 2001:db8::7 ::1 1 2\r\n"), *(seed(write(2, *ends) + b"hello") for ends in (V4, V6, PATHS)),
    seed(write(2, *V4)[:15] + b"\x15" + write(2, *V4)[16:] + b"\x04\0\2ab\1\0\1h" + b"x", 0, 0x33),
    seed(b"\r\n\r\nhello", 1),
    words=(b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN", b"\r\n\r\n\0\r\nQUIT\n", b"\x21\x11\0\x0c",
        b"\x21\x21\0\x24", b"\x20\0\0\0", b"\3\0\4", b"65535"),
)  # fmt: skip
def proxy_headers(given: Given) -> None:
    """choice: 1 the peer is not trusted; then its first bytes pass until they are known to be a header."""
    if given.choice & 1:
        make = proxy_from("10.0.0.0/8")
        whole, pieces = passed(make, [given.data]), passed(make, given.pieces())
        must(
            whole[5] == pieces[5] and (whole[5] or whole[0] == pieces[0]), "trust depends on the pieces", whole, pieces
        )
        return
    _, _, _, peer, local, _ = check(proxy_from("*"), given)
    # "./@" is how an Address writes a path that begins with "@": two bytes more than the header has room for.
    if peer is not None and not any(str(each.path).startswith("./@") for each in (peer, local)):
        for version in (1, 2):
            again = passed(proxy_from("*"), [write(version, peer, local)])
            must(
                version == 1 or peer.scheme == "udp" or again[3:] == (peer, local, ""),
                "does not come back:",
                peer,
                again,
            )


@target(
    seed(b"\5\0\5\0\0\1\0\0\0\0\0\0hello", 0, 0x11), seed(b"\5\2\1\0\5\0\0\3\3abc\0\0x", 1, 0x21),
    seed(b"\5\0\5\5", 0), seed(b"\5\xff", 1),
    seed(b"HTTP/1.1 200 ok\r\na: b\r\n\r\nhello", 2, 0x11),
    seed(b"HTTP/1.1 100 c\r\n\r\nHTTP/1.0 407 login\r\n\r\n", 3),
    words=(b"HTTP/1.1 200 ", b"HTTP/1.1 407 ", b"\r\n\r\n", b"\5\0", b"\5\2", b"\1\0", b"\5\0\0\4"),
)  # fmt: skip
def proxies(given: Given) -> None:
    """The answers of SOCKS and HTTP proxies."""
    make = (socks5, http_connect)[given.choice >> 1 & 1]
    credentials = Credentials("user", "password") if given.choice & 1 else None
    check(make(TARGET, PROXY, credentials), given)


@target(
    seed(b"hello\r\0\xff\xf6\xff\xfb\x01\xff\xfd\x03x\xff\xff\r\n", 0, 0x11),
    seed(b"\xff\xfa\x18\0xterm\xff\xf0ab\xff\xf7", 0, 0x31),
    words=(b"\xff\xfa", b"\xff\xf0", b"\xff\xfb", b"\xff\xfd", b"\xff\xff", b"\xff\xf4", b"\r\0"),
)  # fmt: skip
def telnet_layer(given: Given) -> None:
    text, *_ = check(Telnet, given)
    again = passed(Telnet, [Telnet().send(text)])
    must(again[0] == text.replace(b"\r\0", b"\r\n"), "does not come back:", text, again[0])


HELLO = (
    b"GET /chat HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: "
    b"AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
)
FRAMES = b"\x81\x85\0\0\0\0hello\x89\x80\0\0\0\0\x02\x81\0\0\0\0a\x80\x81\0\0\0\0b\x88\x82\0\0\0\0\x03\xe8"


@target(
    seed(HELLO + b"\r\n" + FRAMES, 0, 0x51),
    seed(HELLO + b"Origin: http://here\r\nSec-WebSocket-Protocol: chat\r\n\r\n", 1, 0x11),
    seed(HELLO + b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
                 b"\xc1\x87\0\0\0\0\xcaH\xcd\xc9\xc9\x07\0", 2),
    seed(FRAMES, 4, 0x11), seed(b"\x81\xfe\0\x7e\0\0\0\0" + b"a" * 126, 5, 0x77),
    seed(b"\xc1\x87\0\0\0\0\xcaH\xcd\xc9\xc9\x07\0", 6),
    words=(b"\r\n\r\n", b"Sec-WebSocket-Extensions: ", b"permessage-deflate", b"Origin: null", b"\x88\x82",
        b"\x81\xff\0\0\0\0\0\1\0\0", b"\x89\xfd", b"\x80\x80", b"\x03\xe8"),
)  # fmt: skip
def websocket_server(given: Given) -> None:
    """choice: 1 text, 2 compression, 4 the client has said hello properly."""
    choice = given.choice
    data = (
        (HELLO + (b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if choice & 2 else b"") + b"\r\n")
        if choice & 4
        else b""
    )
    make = server_factory(path="/chat", protocols=["chat"], compress=bool(choice & 2))
    check(make, Given(data + given.data, choice, given.cut), text=bool(choice & 1))


ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    b"ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"
)


@target(
    seed(ACCEPTED + b"\r\n\x81\x05hello\x88\x02\x03\xe8", 0, 0x51),
    seed(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nab", 1),
    seed(b"HTTP/1.1 400 no\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", 0, 0x11),
    seed(b"220 smtp\r\n"),
    seed(b"\x02\x01a\x00\x01b\x80\x01c\x88\x05\x0f\xa0bye", 4, 0x11),
    seed(b"\xc1\x07\xcaH\xcd\xc9\xc9\x07\0\x89\1a", 6, 0x22),
    words=(b"\r\n\r\n", b"Sec-WebSocket-Extensions: permessage-deflate", b"server_no_context_takeover", b"\x88\x02",
        b"\x81\x7e\0\x7e", b"\x80\0", b"\x03\xe8", b"Content-Length: "),
)  # fmt: skip
def websocket_client(given: Given) -> None:
    """choice: 1 text, 2 compression, 4 the server has accepted. The key of the handshake is always the same."""
    choice = given.choice
    factory = client_factory("here", 80, "/chat", protocols=["chat"], compress=bool(choice & 2))

    def make() -> Layer:
        layer = factory()
        begin = layer.begin

        def keyed(ends: Ends) -> None:
            protocol: Any = layer._make(ends.limit)  # type: ignore[attr-defined]
            protocol.key = "AAAAAAAAAAAAAAAAAAAAAA=="
            layer._make = lambda limit: protocol  # type: ignore[attr-defined]
            begin(ends)

        layer.begin = keyed  # type: ignore[method-assign]
        return layer

    data = (
        (ACCEPTED + (b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if choice & 2 else b"") + b"\r\n")
        if choice & 4
        else b""
    )
    layer, data = make, data + given.data
    whole, pieces = passed(layer, [data]), passed(layer, Given(data, choice, given.cut).pieces())
    # Pongs and masks are random: what is said is compared by the server's tests.
    must(
        len(data) > LONGEST or (whole[0], whole[2:]) == (pieces[0], pieces[2:]),
        "what comes through depends on how bytes arrive:",
        whole,
        pieces,
    )


@cache
def own_tls() -> TLS:
    """A server's description; the certificate is made for this process alone."""
    from datetime import UTC, datetime

    from prise.selfsigned import make

    file = scratch() / "server.pem"
    file.write_bytes(make(datetime.now(UTC)))
    return TLS(cert=file)


def client_hello() -> bytes:
    """What a client of ours says first."""
    layer = TLS(verify=False).client("example.org")()
    layer.begin(Ends(PEER, LOCAL))
    return layer.output()


@target(
    seed(client_hello()), seed(client_hello(), 0, 0x88), seed(b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n"),
    seed(b"\x15\3\1\0\2\1\0", 1),
    seed(b"\x16\3\3\0\4\x0e\0\0\0", 1), words=(b"\x16\3\1", b"\x15\3\3\0\2", b"\x17\3\3", b"\x14\3\3\0\1\1",
        b"Host: ", b" HTTP/1.1\r\n"),
)  # fmt: skip
def tls_layer(given: Given) -> None:
    """What stands around OpenSSL: the first bytes, records, errors. What is said is random, and which fault is seen first
    depends on the pieces."""
    make = TLS(verify=False).client("example.org") if given.choice & 1 else own_tls().server()
    hook, sys.unraisablehook = (
        sys.unraisablehook,
        lambda raised: None,
    )  # `ssl` tells of each name (SNI) that is not ASCII
    try:
        whole, pieces = passed(make, [given.data]), passed(make, given.pieces())
    finally:
        sys.unraisablehook = hook
    must(whole[0] == pieces[0] and bool(whole[5]) == bool(pieces[5]), "TLS depends on how bytes arrive:", whole, pieces)
    in_clear(given.data)


async def nothing(connection: Any) -> None:
    """Nobody converses here."""


MULTIPLEXES = (
    Multiplex(lines=nothing, http=(nothing, "chunks"), websocket=nothing),
    Multiplex(lines=nothing), Multiplex(http=nothing), Multiplex(websocket=nothing, lines=(nothing, "netstring")),
)  # fmt: skip


@target(
    seed(b"hello\nworld\n", 0, 0x11), seed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 0, 0x11),
    seed(HELLO + b"\r\n" + FRAMES, 0, 0x22), seed(b"SSH-2.0-x\r\n", 1),
    seed(b"\x16\3\1", 2), seed(b"5:hello,", 3), seed(b"GET a life!\n", 0, 0x11),
    words=(b" HTTP/1.1\r\n", b"\r\n\r\n", b"Upgrade: websocket", b"SSH-", b"\xff\xfd"),
)  # fmt: skip
def multiplex(given: Given) -> None:
    """One port for lines, HTTP, WebSocket: however the bytes arrive, the same is chosen and the same is heard."""

    def heard(pieces: Iterable[bytes]) -> tuple[Any, ...]:
        pipeline = Pipeline(framing_of("lines"), LIMIT, chooser=given.among(MULTIPLEXES))
        messages: list[Any] = []
        error = ""
        try:
            pipeline.begin(PEER, LOCAL)
            for piece in pieces:
                messages += pipeline.feed(piece)
                while pipeline.decoder.more:
                    messages += pipeline.feed(b"")
                head = getattr(pipeline.decoder, "_head", b"")
                must(pipeline.ready or len(head) <= LONGEST_HEAD + len(piece), "the choice holds too much:", len(head))
            messages += pipeline.decoder.end()
        except PeerError as failure:
            told(failure)
            error = f"{type(failure).__name__} {failure.reason}"
        if pipeline.framing.streaming:
            messages = (
                [b"".join(messages)] if messages and all(isinstance(each, bytes) for each in messages) else messages
            )
        return messages, pipeline.conversation is not None, error

    if len(given.data) <= LONGEST_HEAD:  # beyond, what a silent choice would wait for depends on the pieces
        whole, pieces = heard([given.data]), heard(given.pieces())
        must(whole == pieces, "what is chosen depends on how bytes arrive:", whole, pieces)
