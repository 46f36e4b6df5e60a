"""HTTP servers that mean harm, or are broken: each ends in bounded time and memory, with an error of prise's own."""

from __future__ import annotations

import asyncio
import gzip
import io
import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import prise
from http_fake import CHUNKED, ENDED_HEAD, LONG, asked, heads, page, saying, server
from prise.errors import (
    ConnectionLost,
    LoginFailed,
    MessageTooLarge,
    PriseError,
    ProtocolError,
    Refused,
    TLSError,
    TooSlow,
)
from prise.protocols.http import exchange
from tls_support import client_tls


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", ProtocolError),
        (b"220 mail.example.org ESMTP\r\n", ProtocolError),
        (b"HTTP/1.1 99 No\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 2000 No\r\n\r\n", ProtocolError),
        (b"HTTP/2 200\r\n\r\n", ProtocolError),
        (b"\x00" * 100_000, MessageTooLarge),
        (ENDED_HEAD + b"no header\r\n\r\n", ProtocolError),
        (ENDED_HEAD + b"Name : value\r\n\r\n", ProtocolError),
        (ENDED_HEAD + b"Name: a\r\n folded\r\n\r\n", ProtocolError),
        (ENDED_HEAD + b"Name: a\0b\r\n\r\n", ProtocolError),
        (ENDED_HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", ProtocolError),
        (ENDED_HEAD + b"Content-Length: -5\r\n\r\nhello", ProtocolError),
        (ENDED_HEAD + b"Content-Length: 5x\r\n\r\nhello", ProtocolError),
        (ENDED_HEAD + "Content-Length: ٥\r\n\r\nhello".encode(), ProtocolError),
        (ENDED_HEAD + b"Content-Length: 99999999999999999999\r\n\r\nhello", ProtocolError),
        (ENDED_HEAD + b"Content-Length: 999999999999\r\n\r\nhello", ConnectionLost),
        (ENDED_HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", ProtocolError),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ProtocolError),
        (ENDED_HEAD, ConnectionLost),
        (b"", ConnectionLost),
        (CHUNKED + b"5\r\nhello", ConnectionLost),
        (CHUNKED + b"5\r\nhello\r\n", ConnectionLost),
        (CHUNKED + b"5\r\nhello, and more\r\n0\r\n\r\n", ProtocolError),
        (CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n", ProtocolError),
        (CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n", ProtocolError),
        (CHUNKED + b"5 5\r\nhello\r\n0\r\n\r\n", ProtocolError),
        (CHUNKED + b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n", ProtocolError),
        (CHUNKED + b"fffffffffffffff\r\nhello", ConnectionLost),
        (CHUNKED + b"5;" + LONG + b"\r\nhello\r\n0\r\n\r\n", MessageTooLarge),
        (CHUNKED + b"0\r\n" + b"Trailer: x\r\n" * 1000, ProtocolError),
        (page(b"this is not packed", "Content-Encoding: gzip"), ProtocolError),
        (page(gzip.compress(b"hello", mtime=0)[:-3], "Content-Encoding: gzip"), ConnectionLost),
        (page(b"x", "Content-Encoding: br"), ProtocolError),
        (page(b"x", "Content-Encoding: gzip, gzip"), ProtocolError),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 100, ProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + page(b"x"), ProtocolError),
        (ENDED_HEAD + b"Content-Length:\r\n\r\nhello", ProtocolError),
        (ENDED_HEAD + b"Transfer-Encoding: ,\r\nContent-Length: 5\r\n\r\nhello", ProtocolError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 302 Found\r\nLocation: mailto:a@example.org\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 302 Found\r\nLocation: ftp://example.org/\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", Refused),
        (b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe\x01\x7f/\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 302 Found\r\nLocation: http://\xc3\xa4..example/\r\nContent-Length: 0\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n", LoginFailed),
        (b'HTTP/1.1 401 No\r\nWWW-Authenticate: ,,Basic ="",Digest\r\nContent-Length: 0\r\n\r\n', LoginFailed),
    ],
)
def test_answers_that_are_none(said: bytes, error: type[PriseError]) -> None:
    with server(saying(said)) as url, pytest.raises(error):
        asked(url, user="u", password="pw")


@pytest.mark.parametrize(
    ("beginning", "piece", "error"),
    [
        (ENDED_HEAD, b"X-Header: value\r\n" * 1000, MessageTooLarge),
        (ENDED_HEAD + b"X-Header: ", LONG, MessageTooLarge),
        (b"HTTP/1.1 200 ", LONG, MessageTooLarge),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", ProtocolError),
        (CHUNKED, b"0" * 60_000, MessageTooLarge),
    ],
)
def test_answers_without_an_end(beginning: bytes, piece: bytes, error: type[PriseError]) -> None:
    def conversation(connection: Any) -> None:
        next(heads(connection))
        connection.send(beginning)
        while True:
            connection.send(piece)

    with server(conversation) as url, pytest.raises(error):
        asked(url)


@pytest.mark.parametrize("beginning", [b"", ENDED_HEAD + b"X-Header: ", ENDED_HEAD + b"\r\n", CHUNKED + b"ffff\r\n"])
def test_byte_by_byte_is_too_slow(beginning: bytes) -> None:
    over = threading.Event()

    def conversation(connection: Any) -> None:
        next(heads(connection))
        connection.send(beginning)
        while not over.wait(0.02):
            connection.send(b"x")

    with server(conversation) as url:
        begun = time.monotonic()
        try:
            with pytest.raises(TooSlow):
                asked(url)
        finally:
            over.set()
        assert time.monotonic() - begun < 3


def test_a_server_that_says_nothing_is_too_slow() -> None:
    with server(lambda connection: [*connection]) as url, pytest.raises(TooSlow):
        asked(url)


def test_redirects_without_end() -> None:
    seen: list[str] = []

    def conversation(connection: Any) -> None:
        for number, head in enumerate(heads(connection)):
            seen.append(head)
            connection.send(f"HTTP/1.1 307 On\r\nLocation: /{number}?{'x' * 500}\r\nContent-Length: 0\r\n\r\n".encode())

    with server(conversation) as url, pytest.raises(ProtocolError, match="more than 10 times"):
        asked(url)
    assert len(seen) == 11


def test_a_redirect_that_streams_for_ever_is_left() -> None:
    def conversation(connection: Any) -> None:
        for head in heads(connection):
            if " /file " in head:
                connection.send(b"HTTP/1.1 302 On\r\nLocation: /there\r\n\r\n")
                while True:
                    connection.send(LONG)
            connection.send(page(b"here"))

    with server(conversation) as url:
        assert asked(url) == b"here"


def test_passwords_and_headers_stay_with_their_server() -> None:
    """Nor do they come back with the answer: what another server is told is only what it needs."""
    seen: list[str] = []

    def other(connection: Any) -> None:
        for head in heads(connection):
            seen.append(head.lower())
            connection.send(page(b"there", "Set-Cookie: theirs=1"))

    with server(other) as elsewhere:
        port = elsewhere.rpartition(":")[2]

        def first(connection: Any) -> None:
            for head in heads(connection):
                if "authorization" not in head.lower():
                    connection.send(
                        b'HTTP/1.1 401 Who?\r\nWWW-Authenticate: Basic realm="x"\r\nSet-Cookie: ours=1; Path=/\r\n'
                        b"Content-Length: 0\r\n\r\n"
                    )
                    continue
                assert "x-key: secret" in head.lower()
                to = f"http://127.0.0.1:{port}/there"
                connection.send(f"HTTP/1.1 302 On\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

        with server(first) as url:
            with prise.open(f"{url}/", headers={"X-Key": "secret"}, user="u", password="pw", timeout=2) as web:
                answer = web.request("GET", "file", headers={"X-Other-Key": "secret", "Accept": "text/plain"})
                assert answer.content == b"there"
                assert web.post("file", data=b"x", headers={"X-Other-Key": "secret"}).content == b"there"
    assert len(seen) == 2
    assert "accept: text/plain" in seen[0]
    for head in seen:
        assert not any(word in head for word in ("authorization", "secret", "ours", "x-key"))


def test_https_is_not_left_for_http_unless_that_is_wanted() -> None:
    with server(saying(page(b"in clear"))) as plain:
        to = f"HTTP/1.1 301 On\r\nLocation: {plain}/\r\nContent-Length: 0\r\n\r\n".encode()
        with server(saying(to, to), tls=True) as url:
            with pytest.raises(TLSError, match="downgrade=True"):
                asked(url, tls=client_tls())
            assert asked(url, tls=client_tls(), downgrade=True) == b"in clear"


def no(challenge: bytes) -> bytes:
    return b"HTTP/1.1 401 Who?\r\nWWW-Authenticate: %b\r\nContent-Length: 0\r\n\r\n" % challenge


BASIC, DIGEST = b'Basic realm="r"', b'Digest realm="r", nonce="n", qop="auth"'


@pytest.mark.parametrize("challenges", [[BASIC, DIGEST], [DIGEST + b", stale=true"]])
def test_a_server_that_is_never_content_with_a_login(challenges: list[bytes]) -> None:
    asked_for = [no(challenges[number % len(challenges)]) for number in range(20)]
    count = itertools.count()

    def conversation(connection: Any) -> None:
        for said, _ in zip(asked_for, heads(connection), strict=False):
            next(count)
            connection.send(said)

    with server(conversation) as url, pytest.raises(LoginFailed):
        asked(url, user="u", password="pw")
    assert next(count) == 4


def test_what_is_not_utf8_goes_back_as_it_came() -> None:
    """Old servers write Latin-1, and count on getting it back."""
    seen: list[bytes] = []

    def conversation(connection: Any) -> None:
        for request in connection:
            seen.append(request)
            connection.send(page(b"in") if b"Digest" in request else no(b'Digest realm="f\xfcr", nonce="n"'))

    def cookie(connection: Any) -> None:
        for request in connection:
            seen.append(request)
            connection.send(b"HTTP/1.1 204 No\r\nSet-Cookie: taste=s\xfc\xdf\r\n\r\n")

    with server(conversation) as url:
        assert asked(url, user="u", password="pw") == b"in"
    assert b'realm="f\xfcr"' in seen[-1]
    with server(cookie) as url, prise.open(f"{url}/", timeout=2) as web:
        web.head("a")
        web.head("b")
    assert b"\r\nCookie: taste=s\xfc\xdf\r\n" in seen[-1]


def test_a_server_that_says_late_that_it_wants_the_body() -> None:
    """It may say so (and other things that are no answer) at any time: the body goes on."""
    bodies: list[bytes] = []

    def conversation(connection: Any) -> None:
        received = b""
        for piece in connection:
            received += piece
            if piece.endswith(b"0\r\n\r\n"):
                bodies.append(received.partition(b"\r\n\r\n")[2])
                received = b""
                connection.send(page(b"thanks"))
            elif b"xx" in piece:
                connection.send(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
            else:
                connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            more.set()

    more = threading.Event()

    def pieces() -> Iterator[bytes]:
        for _ in range(5):
            more.clear()
            yield b"xx"
            assert more.wait(2)

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        for _ in range(2):
            assert web.put("file", pieces()).content == b"thanks"
    assert bodies == [b"2\r\nxx\r\n" * 5 + b"0\r\n\r\n"] * 2


def test_a_server_that_knows_no_expectations() -> None:
    seen: list[str] = []

    def conversation(connection: Any) -> None:
        head = next(heads(connection))
        seen.append(head)
        if "Expect" in head:
            connection.send(b"HTTP/1.1 417 What?\r\nContent-Length: 0\r\n\r\n")
        else:
            connection.send(page(b"thanks", "Connection: close"))

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        assert web.put("file", iter([b"x"])).content == b"thanks"
        assert web.put("file", iter(())).content == b"thanks"
        assert web.put("file", io.BytesIO()).content == b"thanks"  # no body: nothing to ask for
    assert ["Expect" in head for head in seen] == [True, False, True, False, False]


def test_a_part_of_a_file_comes_from_another_server_too() -> None:
    def other(connection: Any) -> None:
        for head in heads(connection):
            first = int(head.partition("Range: bytes=")[2].partition("-")[0])
            connection.send(
                f"HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-4/5\r\nContent-Length: {5 - first}\r\n\r\n".encode()
                + b"01234"[first:]
            )

    with server(other) as elsewhere:
        on = f"HTTP/1.1 302 On\r\nLocation: {elsewhere}/x\r\nContent-Length: 0\r\n\r\n".encode()
        with server(saying(on)) as url, prise.open(f"{url}/", timeout=2) as web:
            assert web.get("file", offset=2).read() == b"234"


@pytest.mark.parametrize("part", ["1-9/10", "2-5/10", "2-9", ""])
def test_another_part_than_was_asked_for(part: str) -> None:
    answer = f"HTTP/1.1 206 Part\r\nContent-Range: bytes {part}\r\nContent-Length: 4\r\n\r\n2345".encode()
    with server(saying(answer, answer)) as url:
        with prise.open(f"{url}/", timeout=2) as web, pytest.raises(ProtocolError, match="another part"):
            web.get("file", offset=2)
        with prise.open(f"{url}/", timeout=2) as web, pytest.raises(ProtocolError, match="another part"):
            web.get("file")


def test_a_download_that_stalls_is_soon_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "SKIPPING", 0.1)
    over = threading.Event()

    def conversation(connection: Any) -> None:
        next(heads(connection))
        connection.send(ENDED_HEAD + b"\r\nbeginning")
        over.wait(10)

    with server(conversation) as url, prise.open(f"{url}/", timeout=9) as web:
        content = web.get("file")
        assert next(content) == b"beginning"
        begun = time.monotonic()
        content.close()
        over.set()
        assert time.monotonic() - begun < 2


def test_what_comes_behind_an_answer_is_not_the_next_one() -> None:
    count = itertools.count(1)

    def conversation(connection: Any) -> None:
        for _ in heads(connection):
            connection.send(page(b"%d" % next(count)) + page(b"poison"))

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        assert [web.get("file").read() for _ in range(3)] == [b"1", b"2", b"3"]


def test_two_lengths_are_a_trick_and_the_link_is_not_used_again() -> None:
    both = ENDED_HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    connections: list[Any] = []

    def conversation(connection: Any) -> None:
        connections.append(connection)
        saying(both, both)(connection)

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        assert web.get("a").read() == web.get("b").read() == b"hello"
    assert len(connections) == 2


def test_what_changes_something_is_never_said_twice() -> None:
    """A link that breaks in the middle leaves it open whether the request was heeded; a GET does no harm again."""
    seen: list[str] = []

    def conversation(connection: Any) -> None:
        for number, head in enumerate(heads(connection)):
            seen.append(head.partition(" ")[0])
            if number and len(seen) < 5:
                return  # close without a word
            connection.send(page(b"ok"))

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        assert web.get("a").read() == b"ok"
        assert web.get("b").read() == b"ok"
        with pytest.raises(ConnectionLost):
            web.post("c", data=b"x")
    assert seen == ["GET", "GET", "GET", "POST"]


def test_an_upload_stops_when_the_server_has_said_no() -> None:
    taken: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(100_000):
            taken.append(number)
            yield bytes(10_000)

    def conversation(connection: Any) -> None:
        next(heads(connection))
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.receive()
        connection.send(b"HTTP/1.1 413 Too much\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nonly 1 MiB")
        for _ in connection:
            pass

    with server(conversation) as url, prise.open(f"{url}/", timeout=5) as web:
        with pytest.raises(Refused, match="413 Too much\nonly 1 MiB"):
            web.put("file", pieces())
    assert len(taken) < 90_000


def test_what_can_be_sent_only_once_goes_where_a_redirect_leads_or_nowhere() -> None:
    on = b"HTTP/1.1 307 On\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"

    def before(connection: Any) -> None:
        head = next(heads(connection))
        if " /file " in head:
            connection.send(on)  # without having asked for the body
        else:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            received = b""
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += connection.receive()
            connection.send(page(received))

    def after(connection: Any) -> None:
        next(heads(connection))
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.receive()
        connection.send(on)

    with server(before) as url, prise.open(f"{url}/", timeout=2) as web:
        assert web.put("file", iter([b"once"])).content == b"4\r\nonce\r\n0\r\n\r\n"
    with server(after) as url, prise.open(f"{url}/", timeout=2) as web:
        with pytest.raises(Refused, match="cannot be sent again"):
            web.put("file", iter([b"once"]))


def test_a_no_that_moves_the_cursor_is_cleaned() -> None:
    no = b"HTTP/1.1 500 \x1b[2JOops\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\n\x1b]0;x\x07\nab"
    with server(saying(no)) as url, pytest.raises(Refused) as refused:
        asked(url)
    assert "\x1b" not in str(refused.value)
    assert refused.value.words.startswith("\N{REPLACEMENT CHARACTER}[2JOops")


def test_a_listing_does_not_lead_astray() -> None:
    links = [
        b'<a href="../up">',
        b'<a href="/root">',
        b'<a href="//other.example/x">',
        b'<a href="javascript:alert(1)">',
        b'<a href="good.txt">good</a> 01-Feb-2026 10:11   1234\n<a href="good.txt">',
        b'<a href="./a%0d%0ab">',
        b'<a href="..%2f..%2fup">',
        b'<a href="sub/%2e%2e/%2e%2e/up">',
        b'<a href="?C=M;O=A">',
        b'<a href="sub/../../x">',
        b'<a href="http://[bad">',
        b'<a href="apache">apache</a></td><td align="right">2026-02-01 10:11  </td><td>1.2K</td>',
        b'<a href="99-Feb-2026">x</a> 99-Feb-2026 99:99 99999999999999999999999',
        b"<a>",
        b"<a href",
    ]
    with server(saying(page(b"".join(links), "Content-Type: text/html"))) as url:
        with prise.open(f"{url}/folder/", timeout=2) as web:
            entries = list(web.list())
    assert [entry.name for entry in entries] == ["good.txt", "apache", "99-Feb-2026"]
    assert (entries[0].size, str(entries[0].modified)) == (1234, "2026-02-01 10:11:00+00:00")
    assert (entries[1].size, entries[1].facts) == (None, {"modified": "2026-02-01 10:11", "size": "1.2K"})


@pytest.mark.parametrize("piece", [b"<a href=", b"<!-- ", b"<script>x", b"<a b='"])
def test_a_page_without_an_end(piece: bytes) -> None:
    def conversation(connection: Any) -> None:
        next(heads(connection))
        connection.send(ENDED_HEAD + b"Content-Type: text/html\r\n\r\n" + piece)
        while True:
            connection.send(LONG)

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        with pytest.raises(ProtocolError, match="has no end"):
            list(web.list())


def test_cookies_without_end_are_forgotten() -> None:
    numbers = itertools.count()

    def conversation(connection: Any) -> None:
        for _ in heads(connection):
            cookies = [f"Set-Cookie: c{next(numbers)}=x" for _ in range(400)]
            connection.send(page(b"", *cookies))

    with server(conversation) as url, prise.open(f"{url}/", timeout=2) as web:
        for _ in range(5):
            web.request("GET", "x")
        assert len(list(web._cookies)) <= 1000


def test_with_await_it_is_the_same() -> None:
    async def main(url: str) -> None:
        with pytest.raises(ProtocolError):
            async with prise.open(f"{url}/", timeout=0.5) as web:
                await web.request("GET", "x")

    with server(saying(b"nonsense\r\n")) as url:
        asyncio.run(main(url))
