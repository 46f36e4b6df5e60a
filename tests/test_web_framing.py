"""HTTP/1.1 as a framing: what is a request, what is refused and with which status, however the bytes arrive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise.errors import FrameError, UsageError
from prise.web.framing import GATHERED, LONGEST_HEAD, LONGEST_PIECE, BodyPiece, HttpError, HttpRequests
from prise.web.request import LONGEST_TARGET, MOST_FIELDS, Request

LIMIT = 1024 * 1024


def get(*lines: str, first: str = "GET / HTTP/1.1", host: str | None = "h") -> bytes:
    """A request without a body: its first line, Host unless that is None, and more lines."""
    hosts = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([first, *hosts, *lines, "", ""]).encode("latin-1")


def chunked(body: str, first: str = "POST / HTTP/1.1") -> bytes:
    return get("Transfer-Encoding: chunked", first=first) + body.encode("latin-1")


def read(reads: Iterable[bytes], framing: HttpRequests | None = None, end: bool = True) -> tuple[list[Any], Any]:
    """What comes of a stream that arrives in these reads: the messages, and the error or None."""
    decoder = (framing or HttpRequests()).decoder(LIMIT)
    messages: list[Any] = []
    try:
        for data in reads:
            messages += decoder.feed(data)
            while decoder.more:
                assert decoder.pending == 0
                messages += decoder.feed(b"")
        if end:
            messages += decoder.end()
    except FrameError as error:
        with pytest.raises(FrameError) as again:  # it is final
            decoder.feed(get())
        assert again.value is error
        assert not decoder.more
        assert not decoder.pending
        return messages, error
    return messages, None


def one(data: bytes) -> Request:
    messages, error = read([data])
    assert error is None
    assert len(messages) == 1
    assert isinstance(messages[0], Request)
    return messages[0]


def exchanges(messages: list[Any]) -> list[tuple[Any, ...]]:
    """Requests with their bodies, put together; so that streams can be compared."""
    found: list[tuple[Any, ...]] = []
    body: bytes | None = None
    for message in messages:
        if isinstance(message, Request):
            assert body is None
            found.append(
                (message.method, message.target, tuple(message.headers.items()), b"" if message.length == 0 else None)
            )
            body = None if message.length == 0 else b""
        else:
            assert isinstance(message, BodyPiece)
            assert body is not None
            assert len(message.data) <= LONGEST_PIECE
            assert message.data or message.last
            body += message.data
            if message.last:
                found[-1] = (*found[-1][:3], body)
                body = None
    return found


def seen(reads: Iterable[bytes]) -> tuple[Any, ...]:
    messages, error = read(reads)
    told = None if error is None else (error.status, str(error), error.offset)
    return exchanges(messages), told


def split(data: bytes, places: Iterable[int]) -> list[bytes]:
    cuts = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


# -- what a request is ----------------------------------------------------------------------------------------------------


def test_a_request_is_taken_apart() -> None:
    request = one(
        get("Accept:  text/html\t", "X: 1", "x:2", first="GET /a%20b/%C3%A9?q=%20&r HTTP/1.1", host="example.org:80")
    )
    assert (request.method, request.target) == ("GET", "/a%20b/%C3%A9?q=%20&r")
    assert (request.path, request.query) == ("/a b/é", "q=%20&r")
    assert request.headers == {"host": "example.org:80", "accept": "text/html", "x": "1, 2"}
    assert (request.host, request.minor, request.length) == ("example.org:80", 1, 0)
    assert request.keep_alive
    assert not request.expects


@pytest.mark.parametrize(
    ("first", "host", "path", "query"),
    [
        ("GET / HTTP/1.1", "h", "/", ""),
        ("GET /../a//b/. HTTP/1.1", "h", "/../a//b/.", ""),  # the site resolves them: it alone knows its root
        ("GET //evil.example/x HTTP/1.1", "h", "//evil.example/x", ""),
        ("GET /a%2Fb%5c HTTP/1.1", "h", "/a/b\\", ""),
        ("GET /%FF HTTP/1.1", "h", "/\udcff", ""),
        ("GET /\xc3\xa9 HTTP/1.1", "h", "/é", ""),  # not percent-encoded, as people type it
        ("GET /a?b?c HTTP/1.1", "h", "/a", "b?c"),
        ("GET http://other:81/x?y HTTP/1.1", "other:81", "/x", "y"),  # RFC 9112 §3.2.2: the target's host wins
        ("GET HTTPS://other HTTP/1.1", "other", "/", ""),
        ("GET http://other?y HTTP/1.1", "other", "/", "y"),
        ("OPTIONS * HTTP/1.1", "h", "*", ""),
        ("CONNECT far:443 HTTP/1.1", "far:443", "", ""),
        ("BREW /pot HTTP/1.1", "h", "/pot", ""),  # a method nobody knows is the handler's to refuse
        ("get / HTTP/1.1", "h", "/", ""),
    ],
)
def test_targets(first: str, host: str, path: str, query: str) -> None:
    request = one(get(first=first))
    assert (request.host, request.path, request.query) == (host, path, query)


@pytest.mark.parametrize("host", ["h", "h:8088", "127.0.0.1", "[::1]", "[::1]:8088", "a_b.example", "xn--t-bga.fr:"])
def test_hosts(host: str) -> None:
    assert one(get(host=host)).host == host


def test_two_requests_that_differ_by_their_host_are_two() -> None:
    framing = HttpRequests()
    (a, b, again), error = read([get(host="a"), get(host="b"), get(host="a")], framing)
    assert error is None
    assert (a.host, b.host) == ("a", "b")
    assert again is a  # equal bytes: made once


@pytest.mark.parametrize(
    ("first", "connection", "goes_on"),
    [
        ("GET / HTTP/1.1", [], True),
        ("GET / HTTP/1.1", ["Connection: close"], False),
        ("GET / HTTP/1.1", ["Connection: Foo , CLOSE"], False),
        ("GET / HTTP/1.1", ["Connection: foo", "connection: close"], False),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
        ("GET / HTTP/1.0", ["Connection: keep-alive, close"], False),
    ],
)
def test_whether_the_connection_goes_on(first: str, connection: list[str], goes_on: bool) -> None:
    assert one(get(*connection, first=first)).keep_alive is goes_on


def test_an_old_client_needs_no_host() -> None:
    request = one(get(first="GET / HTTP/1.0", host=None))
    assert (request.minor, request.host) == (0, "")


def test_a_client_may_wait_for_permission() -> None:
    messages, _ = read([get("Expect: 100-Continue", "Content-Length: 2", first="PUT / HTTP/1.1")], end=False)
    assert messages[0].expects
    assert not one(get("Expect: 100-continue")).expects  # there is no body to wait for
    messages, _ = read([get("Expect: 100-continue", "Content-Length: 2", first="PUT / HTTP/1.0")], end=False)
    assert not messages[0].expects


def test_empty_lines_before_a_request_are_forgiven_a_few_times() -> None:
    for _ in range(2):
        assert len(read([b"\r\n" * 4 + get(), b"\r\n", get()])[0]) == 2
    assert read([b"\r\n" * 5 + get()])[1].status == 400


# -- what is refused ------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[int, bytes]] = [
    # the request line
    (400, b"hello\r\n\r\n"),
    (400, b"\x16\x03\x01\x02\x00\x01"),  # TLS
    (400, b" GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    (400, get(first="GET /")),
    (400, get(first="GET  / HTTP/1.1")),
    (400, get(first="GET /  HTTP/1.1")),
    (400, get(first="GET / HTTP/1.1 ")),
    (400, get(first="GET\t/ HTTP/1.1")),
    (400, get(first="GET / http/1.1")),
    (400, get(first="GET / HTTP/1.10")),
    (400, get(first="GET / HTTP/11")),
    (400, get(first="GE(T / HTTP/1.1")),
    (400, get(first="GET /a b HTTP/1.1")),
    (400, get(first="GET /a\0b HTTP/1.1")),
    (400, get(first="GET /a\x7f HTTP/1.1")),
    (400, get(first="GET /a#b HTTP/1.1")),
    (505, get(first="GET / HTTP/2.0")),
    (505, get(first="GET / HTTP/1.2")),
    (505, get(first="GET / HTTP/0.9")),
    (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    # targets
    (400, get(first="GET path HTTP/1.1")),
    (400, get(first="GET * HTTP/1.1")),
    (400, get(first="GET ftp://h/ HTTP/1.1")),
    (400, get(first="GET http:///x HTTP/1.1")),
    (400, get(first="GET http://me@h/ HTTP/1.1")),
    (400, get(first="GET h:80 HTTP/1.1")),
    (400, get(first="CONNECT / HTTP/1.1")),
    (400, get(first="CONNECT h HTTP/1.1")),
    (400, get(first="GET /% HTTP/1.1")),
    (400, get(first="GET /%4 HTTP/1.1")),
    (400, get(first="GET /%zz HTTP/1.1")),
    (400, get(first="GET /a%00b HTTP/1.1")),
    (414, get(first=f"GET /{'a' * LONGEST_TARGET} HTTP/1.1")),
    (414, b"GET /" + b"a" * LONGEST_HEAD),
    # line ends
    (400, b"GET / HTTP/1.1\nHost: h\n\n"),
    (400, b"GET / HTTP/1.1\r\nHost: h\n\r\n"),
    (400, b"GET / HTTP/1.1\r\nHost: h\r\n\n"),
    (400, b"GET / HTTP/1.1\rHost: h\r\r"),
    (400, b"GET / HTTP/1.1\r\nHost: h\rX: y\r\n\r\n"),
    (400, b"\n" + get()),
    (400, b"\r" + get()),
    # fields
    (400, get("X : y")),
    (400, get("X\t: y")),
    (400, get(" folded", host="h")),
    (400, get("\tfolded", host="h")),
    (400, get("X")),
    (400, get(": y")),
    (400, get("X(: y")),
    (400, get("X: a\0b")),
    (400, get("X: a\x01b")),
    (400, get("X: a\x7fb")),
    (400, get("Transfer-Encoding\x0b: chunked")),
    (400, get("\xe9: y")),
    (431, get(*[f"X{number}: y" for number in range(MOST_FIELDS)])),
    (431, get(*[f"X{number}: {'y' * 4000}" for number in range(5)])),
    (431, b"GET / HTTP/1.1\r\nX: " + b"y" * LONGEST_HEAD),
    # Host
    (400, get(host=None)),
    (400, get(host="")),
    (400, get("Host: h")),
    (400, get("Host: other")),
    (400, get("Host: other", first="GET / HTTP/1.0")),
    (400, get(host="a b")),
    (400, get(host="a/b")),
    (400, get(host="me@h")),
    (400, get(host="a, b")),
    (400, get(host="h:8o")),
    (400, get(host="[::1")),
    (400, get(host="h\xe9")),
    (400, get(first="GET http://h/ HTTP/1.1", host=None)),
    # where the body ends
    (400, get("Content-Length: 1", "Content-Length: 1") + b"x"),
    (400, get("Content-Length: 1", "content-length: 2") + b"xy"),
    (400, get("Content-Length: 1, 1") + b"x"),
    (400, get("Content-Length: +1") + b"x"),
    (400, get("Content-Length: -1") + b"x"),
    (400, get("Content-Length: 0x1") + b"x"),
    (400, get("Content-Length: 1 1") + b"x"),
    (400, get("Content-Length:") + b"x"),
    (400, get("Content-Length: \xb2") + b"xx"),  # a digit to str.isdigit
    (413, get("Content-Length: 1" + "0" * 18)),
    (413, get("Content-Length: " + "9" * 5000)),
    (400, get("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    (400, get("Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n"),
    (400, get("Transfer-Encoding: identity", "Content-Length: 5") + b"hello"),
    (400, get("Transfer-Encoding: chunked", first="POST / HTTP/1.0") + b"0\r\n\r\n"),
    (501, get("Transfer-Encoding: gzip, chunked")),
    (501, get("Transfer-Encoding: chunked, chunked")),
    (501, get("Transfer-Encoding: chunked", "Transfer-Encoding: chunked")),
    (501, get("Transfer-Encoding: chunked", "Transfer-Encoding: identity")),
    (501, get("Transfer-Encoding: xchunked")),
    (501, get("Transfer-Encoding: identity")),
    (501, get("Transfer-Encoding:")),
    (501, get('Transfer-Encoding: "chunked"')),
    (417, get("Expect: 200-ok")),
    (417, get("Expect: 100-continue, more")),
]

BAD_CHUNKS: list[tuple[int, str]] = [
    (400, "g\r\n"),
    (400, "\r\n"),
    (400, "5 \r\nhello\r\n"),
    (400, " 5\r\nhello\r\n"),
    (400, "0x5\r\nhello\r\n"),
    (400, "+5\r\nhello\r\n"),
    (400, "-5\r\nhello\r\n"),
    (400, "5\nhello\r\n"),
    (400, "5\n"),  # at once: nobody waits for more
    (400, "5\rhello\r\n"),
    (400, "5\r\nhello\n"),
    (400, "5\r\nhelloX"),
    (400, "5\r\nhello\rX"),
    (400, "5\r\nhello0\r\n\r\n"),
    (400, "1" * 16 + "\r\n"),
    (400, "5;" + "e" * 300),
    (400, "5;a\0\r\nhello\r\n"),
    (400, ("1;" + "e" * 200 + "\r\nx\r\n") * 100),
    (400, "0\r\nX : y\r\n\r\n"),
    (400, "0\r\n folded\r\n\r\n"),
    (400, "0\r\nX: y\n\r\n"),
    (400, "0\r\n\n"),
    (400, "0\r\nX: " + "y" * LONGEST_HEAD),
    (431, "0\r\n" + "X: y\r\n" * (MOST_FIELDS + 1)),
]


@pytest.mark.parametrize(("status", "data"), REFUSED, ids=[repr(data)[2:60] for _, data in REFUSED])
def test_what_is_refused(status: int, data: bytes) -> None:
    messages, error = read([data])
    assert messages == []
    assert isinstance(error, HttpError)
    assert error.status == status
    assert error.offset is not None
    assert str(error)


@pytest.mark.parametrize(("status", "body"), BAD_CHUNKS, ids=[repr(body)[1:40] for _, body in BAD_CHUNKS])
def test_which_chunks_are_refused(status: int, body: str) -> None:
    messages, error = read([chunked(body)])
    assert not any(getattr(message, "last", False) for message in messages)
    assert isinstance(error, HttpError)
    assert error.status == status


@pytest.mark.parametrize(
    "data",
    [data for _, data in REFUSED] + [chunked(body) for _, body in BAD_CHUNKS],
    ids=lambda data: repr(data)[2:60],
)
def test_what_is_refused_is_refused_in_the_same_way_byte_by_byte_and_behind_a_request(data: bytes) -> None:
    assert seen([data]) == seen([bytes([byte]) for byte in data])
    found, told = seen([get() + data])
    assert found[0][0] == "GET"  # what came before the damage is delivered
    assert told is not None


@pytest.mark.parametrize(
    "data",
    [
        b"GET",
        b"GET / HTTP/1.1\r\nHost: h\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r",
        get("Content-Length: 5") + b"hell",
        chunked("5\r\nhello\r\n"),
        chunked("5\r\nhello\r\n0\r\n"),
        chunked(""),
    ],
)
def test_an_end_in_the_middle_is_an_error(data: bytes) -> None:
    assert read([data], end=False)[1] is None
    _, error = read([get() + data])
    assert error.status == 400
    assert "the input ended" in str(error)


def test_heads_of_just_the_longest_length_are_taken() -> None:
    empty = get("X: ")
    assert one(get(f"X: {'y' * (LONGEST_HEAD - len(empty))}")).method == "GET"
    assert read([get(f"X: {'y' * (LONGEST_HEAD - len(empty) + 1)}")])[1].status == 431
    assert one(get(first=f"GET /{'a' * (LONGEST_TARGET - 1)} HTTP/1.1")).path.startswith("/aaa")
    assert len(one(get(*[f"X{number}: y" for number in range(MOST_FIELDS - 1)])).headers) == MOST_FIELDS


# -- bodies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("0\r\n\r\n", b""),
        ("000\r\n\r\n", b""),
        ("5\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("1\r\nh\r\nA\r\n0123456789\r\n0\r\n\r\n", b"h0123456789"),
        ("a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("2;name=value\r\nhi\r\n0;last\r\n\r\n", b"hi"),
        ('2 ; name = "quoted"\r\nhi\r\n0\r\n\r\n', b"hi"),
        ("2\r\n\r\n\r\n0\r\nX-Checksum: 1\r\nY: 2\r\n\r\n", b"\r\n"),
    ],
)
def test_chunked_bodies(body: str, expected: bytes) -> None:
    data = chunked(body) + get(first="GET /next HTTP/1.1")
    for reads in ([data], [bytes([byte]) for byte in data]):
        messages, error = read(reads)
        assert error is None
        assert [(found[1], found[3]) for found in exchanges(messages)] == [("/", expected), ("/next", b"")]
        assert messages[0].length is None


def test_what_is_sent_behind_a_body_is_the_next_request_and_nothing_else() -> None:
    hidden = get(first="GET /admin HTTP/1.1")
    data = get(f"Content-Length: {len(hidden)}", first="POST /a HTTP/1.1") + hidden + get(first="GET /b HTTP/1.1")
    messages, error = read([data])
    assert error is None
    assert [(found[1], found[3]) for found in exchanges(messages)] == [("/a", hidden), ("/b", b"")]


def test_pieces_are_neither_tiny_nor_huge() -> None:
    size = 3 * LONGEST_PIECE + 10
    data = get(f"Content-Length: {size}") + b"x" * size
    messages, _ = read([data])
    assert [len(piece.data) for piece in messages[1:]] == [LONGEST_PIECE] * 3 + [10]
    messages, _ = read(split(data, range(0, len(data), 1000)))
    assert all(GATHERED <= len(piece.data) < GATHERED + 1000 for piece in messages[1:-1])
    messages, _ = read([chunked("1\r\nx\r\n" * 50_000 + "0\r\n\r\n")])
    assert [len(piece.data) for piece in messages[1:]] == [GATHERED, GATHERED, GATHERED, 50_000 - 3 * GATHERED]


def test_pending_tells_whether_the_client_owes_something() -> None:
    decoder = HttpRequests().decoder(LIMIT)
    assert decoder.pending == 0
    decoder.feed(b"G")
    assert decoder.pending == 1
    decoder.feed(get("Content-Length: 5")[1:])
    assert decoder.pending == 1  # not a byte of the body is here, yet it is owed
    decoder.feed(b"hell")
    assert decoder.pending == 4
    decoder.feed(b"o")
    assert decoder.pending == 0
    decoder.feed(chunked("5\r\nhello\r\n"))
    assert decoder.pending == 5  # gathered
    decoder.feed(b"0\r\n\r\n")
    assert decoder.pending == 0


def test_a_client_that_waits_for_permission_owes_nothing_until_it_goes_on() -> None:
    decoder = HttpRequests().decoder(LIMIT)
    decoder.feed(get("Expect: 100-continue", "Content-Length: 5"))
    assert decoder.pending == 0
    decoder.feed(b"h")
    assert decoder.pending == 1
    decoder = HttpRequests().decoder(LIMIT)
    decoder.feed(get("Expect: 100-continue", "Content-Length: 5") + b"h")
    assert decoder.pending == 1


def test_a_limit_for_bodies() -> None:
    framing = HttpRequests(longest_body=10)
    assert read([get("Content-Length: 10") + b"x" * 10], framing)[1] is None
    messages, error = read([get("Content-Length: 11")], framing)
    assert (messages, error.status) == ([], 413)
    assert read([chunked("a\r\n0123456789\r\n0\r\n\r\n")], framing)[1] is None
    assert read([chunked("a\r\n0123456789\r\n1\r\n")], framing)[1].status == 413


def test_what_is_held_is_bounded() -> None:
    decoder = HttpRequests().decoder(LIMIT)
    decoder.feed(chunked(""))
    for _ in range(2000):
        decoder.feed(b"1;" + b"e" * 6 + b"\r\nx\r\n")
        assert decoder.pending <= GATHERED + 100
    small = HttpRequests().decoder(1000)
    with pytest.raises(HttpError) as refused:
        small.feed(b"GET / HTTP/1.1\r\nX: " + b"y" * 1000)
    assert refused.value.status == 431


# -- however the bytes arrive -----------------------------------------------------------------------------------------------


def test_one_feed_gives_a_bounded_number_of_requests() -> None:
    decoder = HttpRequests().decoder(LIMIT)
    messages = decoder.feed(get() * 100)
    assert len(messages) == 64
    assert decoder.more
    messages = decoder.feed(b"")
    assert len(messages) == 36
    assert not decoder.more
    assert decoder.end() == []


def test_the_memory_for_known_heads_is_bounded() -> None:
    framing = HttpRequests()
    for number in range(3000):
        read([get(first=f"GET /{number} HTTP/1.1")], framing)
    assert 0 < len(framing._known) <= 1024
    known = len(framing._known)
    read([get(f"Cookie: {'c' * 3000}"), get("Content-Length: 1") + b"x"], framing)
    assert len(framing._known) == known  # neither long ones nor those with a body


def test_descriptions_are_values_and_carry_bytes() -> None:
    assert HttpRequests() == HttpRequests()
    assert HttpRequests() != HttpRequests(longest_body=1)
    assert hash(HttpRequests()) == hash(HttpRequests())
    assert HttpRequests().encode(bytearray(b"HTTP/1.1 200 OK")) == b"HTTP/1.1 200 OK"
    with pytest.raises(UsageError):
        HttpRequests().encode("text")


tokens = st.text("abcXYZ-!~09", min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12).map(
    str.strip
)
fields = st.lists(st.tuples(tokens.map(lambda name: f"x-{name}"), values), max_size=4)
bodies = st.binary(max_size=200)


@st.composite
def requests(draw: st.DrawFn) -> tuple[bytes, tuple[Any, ...]]:
    """A request as bytes, and what it must become."""
    method, path = draw(tokens.filter(lambda method: method != "CONNECT")), "/" + draw(tokens)
    body = draw(bodies)
    headers = {"host": "h"}
    lines = []
    for name, value in draw(fields):
        lines.append(f"{name}:{draw(st.sampled_from(['', ' ', chr(9)]))}{value}{draw(st.sampled_from(['', ' ']))}")
        headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
    kind = draw(st.sampled_from(["none", "sized", "chunked"]))
    data = b""
    if kind == "none":
        body = b""
    elif kind == "sized":
        lines.append(f"Content-Length: {len(body)}")
        headers["content-length"] = str(len(body))
        data = body
    else:
        lines.append("Transfer-Encoding: chunked")
        headers["transfer-encoding"] = "chunked"
        for part in split(body, draw(st.lists(st.integers(1, 200), max_size=4))) if body else []:
            data += f"{len(part):{draw(st.sampled_from('xX'))}}\r\n".encode() + part + b"\r\n"
        data += b"0\r\n\r\n"
    head = get(*lines, first=f"{method} {path} HTTP/1.1")
    return head + data, (method, path, tuple(headers.items()), body)


@given(st.lists(requests(), max_size=4), st.lists(st.integers(0, 2000), max_size=8))
def test_any_requests_in_any_pieces(several: list[tuple[bytes, tuple[Any, ...]]], places: list[int]) -> None:
    data = b"".join(each for each, _ in several)
    messages, error = read(split(data, places) if data else [])
    assert error is None
    assert exchanges(messages) == [expected for _, expected in several]


@settings(max_examples=40)
@given(requests(), st.data())
def test_a_damaged_request_is_refused_or_read_in_the_same_way_however_it_arrives(
    request_: tuple[bytes, tuple[Any, ...]], data: st.DataObject
) -> None:
    stream = bytearray(request_[0] * 2)
    for _ in range(data.draw(st.integers(1, 3))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.sampled_from(b"\r\n\0 :;0aG/%\xff\t"))
    whole = bytes(stream)
    assert seen([whole]) == seen([bytes([byte]) for byte in whole])
    places = data.draw(st.lists(st.integers(0, len(whole)), max_size=5))
    assert seen([whole]) == seen(split(whole, places))


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=80) | st.text("GET /HTP1.0\r\n:ahost;\0", max_size=60).map(str.encode), max_size=6))
def test_any_bytes_give_requests_or_an_http_error(reads: list[bytes]) -> None:
    _, error = read(reads)
    assert error is None or (isinstance(error, HttpError) and 400 <= error.status < 600)
