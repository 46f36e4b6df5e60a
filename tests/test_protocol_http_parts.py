"""The parts of the HTTP client that need no server: what bytes become answers, whole, byte by byte, and at random."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise.errors import ConnectionLost, PriseError, ProtocolError, UsageError
from prise.protocols.credentials import Login
from prise.protocols.http import Headers, HTTPTalk, Response
from prise.protocols.http.body import Decoder, make_body
from prise.protocols.http.cookies import Cookies
from prise.protocols.http.http1 import HTTP1, shown
from prise.protocols.http.http2 import HTTP2
from prise.protocols.http.listing import LONGEST_TAG, JSONListing, Page
from prise.protocols.http.login import Digest, answer, read_challenges
from prise.protocols.http.message import Head, Request
from prise.protocols.steps import Items, Receive
from prise.protocols.talk import Options, Talk
from prise.protocols.target import Target

URL = Target.parse("http://example.org/folder/file")


def play(steps: Any, pieces: Iterable[bytes], sent: list[bytes] | None = None) -> Any:
    """Runs a procedure over these bytes; gives its result, or the items if it has any."""
    items: list[Any] = []
    coming, answer = iter(pieces), None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return items or end.value
        answer = None
        if isinstance(step, Items):
            items += step.values
        elif isinstance(step, bytes):
            if sent is not None:
                sent.append(step)
        elif step is None or isinstance(step, Receive):
            answer = next(coming, b"")


def talk() -> Talk:
    return Talk(URL, Options())


def answered(pieces: Iterable[bytes], method: str = "GET") -> tuple[Head, bytes, bool]:
    """The head, the body, and whether the link can be used again."""
    wire = HTTP1(talk())

    def steps() -> Any:
        head = yield from wire.ask(Request(method, URL, {}))
        body = b""
        while piece := (yield from wire.piece()):
            body += piece
        return head, body, wire.idle

    found: tuple[Head, bytes, bool] = play(steps(), pieces)
    return found


ANSWERS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA:  b \r\n\r\nhello", b"hello", True),
    (b"HTTP/1.1 200\r\nContent-Length: 5, 5\r\n\r\nhello", b"hello", True),
    (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", b"", True),
    (b"HTTP/1.1 204 Nothing\r\n\r\n", b"", True),
    (b"HTTP/1.1 200 OK\r\nConnection: keep, CLOSE\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\nx", b"x", True),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil it ends", b"until it ends", False),
    (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hint\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        b"x",
        True,
    ),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n001 \r\n!\r\n0\r\nTrailer: t\r\n\r\n",
        b"hello!",
        True,
    ),
]


@pytest.mark.parametrize(("said", "body", "again"), ANSWERS)
def test_an_answer_is_the_same_in_whatever_pieces(said: bytes, body: bytes, again: bool) -> None:
    whole = answered([said])
    assert whole[1:] == (body, again)
    assert answered(said[at : at + 1] for at in range(len(said)))[1:] == (body, again)
    if again:
        assert answered([said + b"trailing"])[1] == body


def test_an_answer_to_head_has_no_body() -> None:
    head, body, again = answered([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], "HEAD")
    assert (head.headers["CONTENT-length"], body, again) == ("500", b"", True)


@settings(max_examples=50)
@given(
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", *[said for said, _, _ in ANSWERS]]), st.binary(), st.integers(1, 9)
)
def test_any_bytes_are_an_answer_or_an_error(beginning: bytes, rest: bytes, size: int) -> None:
    said = beginning + rest
    try:
        answered(said[at : at + size] for at in range(0, len(said), size))
    except PriseError:
        pass


@settings(max_examples=50)
@given(st.binary(max_size=2000), st.lists(st.integers(1, 300), max_size=20))
def test_any_body_comes_through_chunks(data: bytes, cuts: list[int]) -> None:
    said, at = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0
    for cut in [*cuts, 2000]:
        if piece := data[at : at + cut]:
            said += b"%X\r\n%b\r\n" % (len(piece), piece)
        at += cut
    assert answered([said + b"0\r\n\r\n"])[1] == data


def test_what_a_request_looks_like() -> None:
    sent: list[bytes] = []
    target = Target.parse("http://exämple.org:8080/a%20b/ü?q=ü#part")
    request = Request("POST", target, {"A": "b"}, make_body(None, {"ü": 1}, None, None))
    play(HTTP1(talk()).ask(request), [b"HTTP/1.1 204 No\r\n\r\n"], sent)
    assert b"".join(sent) == (
        b"POST /a%20b/%C3%BC?q=%C3%BC HTTP/1.1\r\nHost: xn--exmple-cua.org:8080\r\nA: b\r\nContent-Length: 9\r\n\r\n"
        b'{"\xc3\xbc": 1}'
    )
    sent.clear()
    odd = make_body(None, None, None, {"f": ("a\udcff", b"x")})
    assert odd is not None
    assert b'filename="a\xff"' in b"".join(odd)
    with_files = make_body(None, None, {"a": "b"}, {"f": ('my "file".txt\r\n', b"x")})
    assert with_files is not None
    form = b"".join(with_files)
    assert with_files.size == len(form)
    assert (
        b'name="f"; filename="my %22file%22.txt%0D%0A"\r\nContent-Type: application/octet-stream\r\n\r\nx\r\n--' in form
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]/", "[::1]"),
        ("http://[fe80::1%25eth0]:81/", "[fe80::1]:81"),
        ("https://Example.org:443/", "Example.org"),
        ("http://exämple.org/", "xn--exmple-cua.org"),
    ],
)
def test_what_host_says(url: str, host: str) -> None:
    assert Request("GET", Target.parse(url), {}).host == host


def test_a_host_that_has_no_name_in_the_dns() -> None:
    for name in ("ä..example", f"{'ä' * 70}.example"):
        with pytest.raises(UsageError, match="cannot be the name of a host"):
            Request("GET", Target.parse(f"http://{name}/"), {}).host


def test_a_secret_in_a_header_that_cannot_be_is_not_shown() -> None:
    with pytest.raises(UsageError, match="the header Authorization cannot hold") as refused:
        prise.open("http://h/", headers={"Authorization": "Bearer secret\n"}).open()
    assert "secret" not in str(refused.value)


@settings(max_examples=50)
@given(st.binary(max_size=5000), st.sampled_from(["gzip", "zlib", "deflate"]), st.integers(1, 500))
def test_what_was_packed_is_unpacked(data: bytes, how: str, size: int) -> None:
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(data[:100]) + gzip.compress(data[100:]),
        "zlib": zlib.compress(data),
        "deflate": raw.compress(data) + raw.flush(),
    }[how]
    decoder = Decoder(["gzip" if how == "gzip" else "deflate"])
    pieces = [piece for at in range(0, len(packed), size) for piece in decoder.feed(packed[at : at + size])]
    decoder.end()
    assert b"".join(pieces) == data


@settings(max_examples=50)
@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_unpacked_or_an_error(data: bytes, coding: str) -> None:
    decoder = Decoder([coding])
    try:
        list(decoder.feed(data))
        decoder.end()
    except (ProtocolError, ConnectionLost):
        pass


def test_the_last_piece_may_be_a_full_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What zlib still holds then comes only when it is asked again."""
    monkeypatch.setattr("prise.protocols.http.body.PIECE", 7)
    for size in range(50):
        raw = zlib.compressobj(wbits=-15)
        packed = raw.compress(bytes(range(size))) + raw.flush()
        decoder = Decoder(["deflate"])
        assert b"".join(piece for at in packed for piece in decoder.feed(bytes([at]))) == bytes(range(size))
        decoder.end()


def test_no_more_than_a_part_is_given_to_zlib_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives back what it has not used as a copy, behind each member: with all of it, that grows as its square."""
    given = []

    class Unpack:
        def __init__(self, *form: Any) -> None:
            self._real = real(*form)

        def decompress(self, data: bytes, most: int) -> bytes:
            given.append(len(data))
            return self._real.decompress(data, most)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    real = zlib.decompressobj
    monkeypatch.setattr(zlib, "decompressobj", Unpack)
    decoder = Decoder(["gzip"])
    assert b"".join(decoder.feed(gzip.compress(b"x", mtime=0) * 5000)) == b"x" * 5000
    decoder.end()
    assert max(given) <= 16 * 1024


def test_a_bomb_bursts_in_small_pieces() -> None:
    packed = gzip.compress(bytes(50_000_000))
    decoder = Decoder(["gzip"])
    sizes = [len(piece) for piece in decoder.feed(packed)]
    assert (sum(sizes), max(sizes)) == (50_000_000, 256 * 1024)


# -- cookies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "set_cookie", "elsewhere", "sent"),
    [
        ("http://www.example.org/a/b", "c=d", "http://www.example.org/a/e", True),
        ("http://www.example.org/a/b", "c=d", "http://www.example.org/", False),
        ("http://www.example.org/", "c=d; Path=/x", "http://www.example.org/xy", False),
        ("http://www.example.org/", "c=d", "http://example.org/", False),
        ("http://www.example.org/", "c=d", "http://a.www.example.org/", False),
        ("http://www.example.org/", "c=d; Domain=example.org", "http://mail.example.org/", True),
        ("http://www.example.org/", "c=d; Domain=example.org", "http://anexample.org/", False),
        ("http://www.example.org/", "c=d; Domain=example.com", "http://example.com/", False),
        ("http://www.example.org/", "c=d; Domain=org", "http://example.org/", False),
        ("http://www.example.co.uk/", "c=d; Domain=co.uk", "http://other.co.uk/", False),
        ("http://127.0.0.1/", "c=d; Domain=0.0.1", "http://10.0.0.1/", False),
        ("http://127.0.0.1/", "c=d", "http://127.0.0.1:8080/", True),
        ("http://[::1]/", "c=d", "http://[::1]/", True),
        ("http://[::1]/", "c=d; Domain=local", "http://other/", False),
        ("http://localhost/", "c=d; Domain=local", "http://other/", False),
        ("http://localhost/", "c=d", "http://LOCALHOST/", True),
        ("https://example.org/", "c=d; Secure", "http://example.org/", False),
        ("https://example.org/", "c=d; Secure", "https://example.org/", True),
        ("http://example.org/", f"c={'d' * 5000}", "http://example.org/", False),
        ("http://example.org/", "c=d; Max-Age=0", "http://example.org/", False),
        ("http://example.org/", f"c=d; Max-Age={'9' * 30}", "http://example.org/", True),
    ],
)
def test_where_a_cookie_goes(url: str, set_cookie: str, elsewhere: str, sent: bool) -> None:
    cookies = Cookies()
    cookies.keep(Request("GET", Target.parse(url), {}), Headers([("Set-Cookie", set_cookie)]))
    assert (cookies.header(Request("GET", Target.parse(elsewhere), {})) == "c=d") == sent


@settings(max_examples=50)
@given(st.text(alphabet='ab=;," \\\xff\udcffDomainPthExpesMx-Ag0123456789:/.', max_size=100))
def test_any_cookie_at_all(said: str) -> None:
    cookies = Cookies()
    cookies.keep(Request("GET", URL, {}), Headers([("Set-Cookie", said)]))
    cookies.header(Request("GET", URL, {}))


# -- logins ------------------------------------------------------------------------------------------------------------

RFC_7616 = {
    "realm": "http-auth@example.org",
    "qop": "auth, auth-int",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "opaque": "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
}


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_digest_as_in_its_rfc(algorithm: str, response: str) -> None:
    """RFC 7616 §3.9.1."""
    digest = Digest(Login("Mufasa", "Circle of Life"), {**RFC_7616, "algorithm": algorithm})
    digest._session = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
    assert f'response="{response}"' in digest.header("GET", "/dir/index.html")


def test_challenges_are_read_and_the_best_is_answered() -> None:
    said = 'Negotiate abc==, Basic realm="a, \\"b\\"", Digest realm=x, nonce="n", qop="auth"'
    challenges = read_challenges(Headers([("WWW-Authenticate", said)]))
    assert [challenge.scheme for challenge in challenges] == ["negotiate", "basic", "digest"]
    assert challenges[1].details["realm"] == 'a, "b"'
    login = Login("u", "pw")
    assert type(answer(challenges, login)).__name__ == "Digest"
    assert type(answer(challenges[:2], login)).__name__ == "Basic"
    assert answer(challenges[:1], login) is None
    assert answer([], Login("", "t", token=True)).header("GET", "/") == "Bearer t"  # type: ignore[union-attr]


@settings(max_examples=50)
@given(st.text(alphabet='Basic Digest,="\\ realm nonce\t'))
def test_any_challenge_at_all(said: str) -> None:
    answer(read_challenges(Headers([("www-authenticate", said)])), Login("u", "pw"))


def test_digest_goes_on_when_its_number_is_stale() -> None:
    """In clear no password is sent where the server knows Digest, and a new number is no failed login."""
    seen: list[str] = []

    def conversation(connection: Any) -> None:
        for request in connection:
            line = next((line for line in request.decode().split("\r\n") if line.startswith("Authorization")), "")
            seen.append(line)
            if "nonce" in line and 'nonce="1"' not in line:
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            else:
                number, stale = len(seen), ", stale=true" if line else ""
                said = f'Digest realm="r", nonce="{number}", qop="auth"{stale}, Basic realm="r"'
                head = f"HTTP/1.1 401 Who?\r\nWWW-Authenticate: {said}\r\nContent-Length: 0\r\n\r\n"
                connection.send(head.encode())

    with prise.listen(conversation, "localhost:0", framing="chunks", model="threads") as server:
        with prise.open(f"http://u:pw@localhost:{server.address.port}/", timeout=2) as web:
            assert web.get("a").read() == web.get("b").read() == b"ok"
    assert [line.partition(" ")[2][:6] for line in seen] == ["", "Digest", "Digest", "Digest"]
    assert "nc=00000002" in seen[-1]


# -- listings, names ---------------------------------------------------------------------------------------------------

PAGE = (
    b'<html><h1>Index of /a/</h1><pre><a href="../">../</a>\n'
    b'<a href="b%20c.txt">b c.txt</a>    21-Nov-2026 18:38     12\n'
    b'<a href="d/">d/</a>   21-Nov-2026 18:38    -\n</pre></html>'
)


def names(reader: Any, data: bytes, size: int) -> list[str]:
    entries = [entry for at in range(0, len(data), size) for entry in reader.feed(data[at : at + size])]
    return [entry.name for entry in [*entries, *reader.end()]]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_page_is_the_same_in_whatever_pieces(size: int) -> None:
    assert names(Page("http://h/a/", unquote), PAGE, size) == ["/a/b c.txt", "/a/d/"]


def test_a_long_tag_is_not_looked_at_anew_with_every_block() -> None:
    class Counting(Page):
        def __init__(self) -> None:
            super().__init__("http://h/a/", unquote)
            self.looked_at, feed = 0, self._parser.feed

            def counted(data: str) -> None:
                feed(data)
                self.looked_at += len(data) + len(self._parser.rawdata)

            self._parser.feed = counted  # type: ignore[method-assign]

    page = b'<a title="' + b" x" * 450_000 + b'" href=b>b</a>'
    reader = Counting()
    assert names(reader, page, 16 * 1024) == ["/a/b"]
    assert reader.looked_at < 4 * len(page)  # each block alone: eight times


@pytest.mark.parametrize("size", [7_000, 16_384, 100_000, 10_000_000])
def test_the_bound_of_a_tag_does_not_depend_on_the_pieces(size: int) -> None:
    def page(length: int) -> bytes:
        return b"<a title='" + b" " * (length - 10) + b"' href=b>b</a>"

    assert names(Page("http://h/a/", unquote), page(LONGEST_TAG - 100), size) == ["/a/b"]
    with pytest.raises(ProtocolError, match="has no end"):
        names(Page("http://h/a/", unquote), page(LONGEST_TAG + 100), size)


@settings(max_examples=50)
@given(
    st.lists(
        st.sampled_from(
            [b"<a href=", b'"', b"x", b">", b"</a>", b"<!--", b"<", b"&#", b"\xff", b"script", b" ", b"<!["]
        )
    )
)
def test_any_page_at_all(pieces: list[bytes]) -> None:
    try:
        names(Page("http://h/a/", unquote), b"".join(pieces), 3)
    except ProtocolError:
        pass


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.just("directory"),
        lambda more: (
            st.lists(more) | st.dictionaries(st.sampled_from(["name", "type", "size", "modified", "url"]), more)
        ),
        max_leaves=10,
    )
)
def test_any_json_at_all(value: Any) -> None:
    try:
        names(JSONListing("http://h/a/", unquote), json.dumps(value).encode(), 10)
    except PriseError:
        pass


def test_dates_that_are_none() -> None:
    said = [{"type": "file", "name": "x", "modified": f"1 Jan 2000 00:00:00 +{'9' * count}"} for count in (4, 20)]
    assert names(JSONListing("http://h/a/", unquote), json.dumps(said).encode(), 1000) == ["/a/x", "/a/x"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("x", "folder/x"),
        ("a b?c#d%20e", "folder/a%20b%3Fc%23d%20e".replace("d%20e", "d%2520e")),
        ("a:b", "folder/a%3Ab"),
        ("sub/ü/", "folder/sub/%C3%BC/"),
        ("../up", "up"),
        ("../../../up", "up"),
        ("/root", "root"),
        ("//other.example/x", "other.example/x"),
        ("http://other.example/", "folder/http%3A//other.example/"),
    ],
)
def test_where_a_name_is(name: str, place: str) -> None:
    assert HTTPTalk(URL, Options())._named(name).place == place


@pytest.mark.parametrize(
    ("url", "said", "name"),
    [
        ("http://h/a/b%20c?d=e", "", "b c"),
        ("http://h/", "", None),
        ("http://h/..", "", None),
        ("http://h/x%2F..%2Fpasswd", "", "passwd"),
        ("http://h/x", 'attachment; filename="y.txt"', "y.txt"),
        ("http://h/x", 'attachment; filename="../../etc/\\"passwd"', '"passwd'),
        ("http://h/x", "attachment; filename=y.txt", "y.txt"),
        ("http://h/x", "attachment; filename*=UTF-8''%c3%bc.txt", "ü.txt"),
        ("http://h/x", "attachment; filename*=UTF-8''..%2f%00a", "_a"),
        ("http://h/x", "attachment; filename=\"u.txt\"; filename*=UTF-8'en'%c3%bc.txt", "ü.txt"),
        ("http://h/x", f"attachment; filename={'ü' * 200}", "ü" * 127),
        ("http://h/x", "attachment; filename*=iso-8859-1''%fc.txt; filename=u.txt", "ü.txt"),
    ],
)
def test_what_a_file_is_to_be_called(url: str, said: str, name: str | None) -> None:
    web = HTTPTalk(URL, Options())
    web.response = Response(200, "", Headers(), url, "1.1")
    assert web._file_name(Head("1.1", 200, "", Headers([("Content-Disposition", said)]))) == name


def test_a_trace_hides_what_is_secret() -> None:
    assert shown("GET / HTTP/1.1") == "GET / HTTP/1.1"
    assert shown("Authorization: Basic dTpw") == "Authorization: Basic ********"
    assert shown("set-cookie: id=secret; Path=/") == "set-cookie: id=********"
    assert shown("X: y") == "X: y"


def test_an_answer_knows_its_text() -> None:
    def text(kind: str, content: bytes) -> str:
        return Response(200, "", Headers([("Content-Type", kind)]), "", "1.1", (), content).text

    assert text("text/plain; charset=iso-8859-1", b"\xe9") == "é"
    assert text("text/plain", "é".encode()) == "é"
    assert text("text/plain; charset=hex", b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert text('text/plain; charset="nonsense"', b"a") == "a"
    for charset in ("idna", "undefined"):
        assert text(f"text/plain; charset={charset}", b"a\xff") == "a\N{REPLACEMENT CHARACTER}"
    with pytest.raises(ValueError, match="too deeply"):
        Response(200, "", Headers(), "", "1.1", (), b"[" * 100_000).json()


# -- HTTP/2 ------------------------------------------------------------------------------------------------------------


def http2_answer(body: bytes) -> bytes:
    """What a server says to the first request, as bytes."""
    peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(
        1, [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/")], end_stream=True
    )
    peer.initiate_connection()
    peer.receive_data(client.data_to_send())
    peer.send_headers(1, [(":status", "200"), ("a", "b")])
    peer.send_data(1, body, end_stream=True, pad_length=3)
    return peer.data_to_send()


def answered_by_http2(pieces: Iterable[bytes]) -> tuple[int, bytes]:
    wire = HTTP2(talk())

    def steps() -> Any:
        yield from wire.start()
        head = yield from wire.ask(Request("GET", URL, {}))
        body = b""
        while piece := (yield from wire.piece()):
            body += piece
        return head.status, body

    found: tuple[int, bytes] = play(steps(), pieces)
    return found


def test_http2_byte_by_byte() -> None:
    said = http2_answer(b"hello")
    assert answered_by_http2([said]) == (200, b"hello")
    assert answered_by_http2(said[at : at + 1] for at in range(len(said))) == (200, b"hello")


@settings(max_examples=50)
@given(st.integers(0, 60), st.binary(min_size=1, max_size=60), st.integers(1, 30))
def test_any_bytes_of_http2_are_an_answer_or_an_error(at: int, noise: bytes, size: int) -> None:
    said = http2_answer(b"hello")
    said = said[:at] + noise + said[at + len(noise) :]
    try:
        answered_by_http2(said[start : start + size] for start in range(0, len(said), size))
    except PriseError:
        pass
