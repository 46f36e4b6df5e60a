"""HTTP servers as clients hear them: versions 1.1 and 2, content codings, cookies, logins, listings (prise/protocols/http)."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

from fuzz.server import converse, talk
from fuzz.target import Given, alike, must, seed, target
from prise.errors import PeerError, Unsupported
from prise.layers.tls import TLSInfo
from prise.protocols.credentials import Login
from prise.protocols.http.body import Decoder
from prise.protocols.http.client import HTTPTalk
from prise.protocols.http.cookies import Cookies
from prise.protocols.http.listing import JSONListing, Page
from prise.protocols.http.login import answer, read_challenges
from prise.protocols.http.message import Headers, Request
from prise.protocols.target import Target

URL = "http://example.org/a/b"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PLAIN_TALKS = (
    lambda t: [t.request.steps("GET", None, check=False, follow=False)],
    lambda t: [t.head.steps(None, check=False, follow=False)],
    lambda t: [t.request.steps("GET", None, follow=False)], lambda t: [t.fetch.steps(None, follow=False)],
)  # fmt: skip
TALKS = (
    lambda t: [t.get.steps(), t.list.steps()], lambda t: [t.get.steps(None, 3), t.get.steps()],
    lambda t: [t.put.steps(None, b"x" * 9), t.list.steps()],
    lambda t: [t.request.steps("GET", "/x"), t.request.steps("POST", None, data=iter([b"a", b"b"])), t.head.steps()],
)  # fmt: skip
WORDS = (
    b"HTTP/1.1 200 \r\n", b"HTTP/1.0 301 x\r\n", b"HTTP/1.1 100 \r\n\r\n", b"HTTP/1.1 401 \r\n", b"HTTP/1.1 206 \r\n",
    b"\r\n\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n", b"Location: ", b"//example.com/", b"Connection: close\r\n", b"Set-Cookie: a=b; ",
    b"WWW-Authenticate: Digest ", b"Content-Range: bytes 3-4/5\r\n",
    b"Content-Disposition: attachment; filename*=utf-8''%e2", b"Content-Type: text/html\r\n", b"0\r\n\r\n", b"ETag: ",
    b"charset=", b"Retry-After: ",
)  # fmt: skip
REDIRECT = b"HTTP/1.1 302 x\r\nLocation: http://example.org/c\r\nContent-Length: 0\r\n\r\n"
DIGEST = (
    b'HTTP/1.1 401 x\r\nWWW-Authenticate: Digest realm="a", nonce="b", qop="auth", algorithm=SHA-256\r\n'
    b"Content-Length: 0\r\n\r\n"
)


@target(
    seed(OK, 0, 0x11), seed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\na: b\r\n"
                            b"\r\n", 0, 0x71), seed(b"HTTP/1.0 200\r\n\r\nto the end", 3, 0x33),
    seed(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"hello", mtime=0), 0, 0x12),
    seed(b"HTTP/1.1 404 x\r\nContent-Type: text/plain\r\n\r\nno such\r\n", 2),
    seed(b"HTTP/1.1 100 c\r\n\r\n" + OK, 1), words=WORDS,
)  # fmt: skip
def http_answers(given: Given) -> None:
    """One request, one answer: however it is cut it is the same."""
    converse(given, lambda: talk(HTTPTalk, URL, login=False), given.among(PLAIN_TALKS))


@target(
    seed(OK + b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 49\r\n\r\n<a href="c.txt">c.txt</a> '
              b'21-Nov-2026 10:00 12<br>', 0, 0x77), seed(REDIRECT + OK + OK, 0),
    seed(DIGEST + OK, 3, 0x44), seed(b"HTTP/1.1 206 x\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\nETag: "
                                     b"\"x\"\r\n\r\nlo" + OK, 1),
                                     seed(b"HTTP/1.1 201 x\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n", 2),
    words=WORDS,
)  # fmt: skip
def http_sessions(given: Given) -> None:
    """Redirects, logins, cookies, several requests. What comes before it is asked for counts, so the pieces do."""
    converse(given, lambda: talk(HTTPTalk, URL, http2=False), given.among(TALKS), alike=False)


SETTINGS = b"\0\0\0\4\0\0\0\0\0"
HEAD = b"\0\0\1\1\4\0\0\0\1\x88"
BODY = b"\0\0\5\0\1\0\0\0\1hello"


@target(
    seed(SETTINGS + HEAD + BODY, 0, 0x33), seed(SETTINGS + b"\0\0\x08\6\0\0\0\0\0pingpong" + HEAD + BODY, 3),
    seed(SETTINGS + b"\0\0\x08\7\0\0\0\0\0\0\0\0\1\0\0\0\0" + HEAD + BODY, 1),
    seed(SETTINGS + b"\0\0\4\3\0\0\0\0\1\0\0\0\2", 0),
    seed(SETTINGS + b"\0\0\4\x08\0\0\0\0\0\0\1\0\0" + b"\0\0\x0e\1\5\0\0\0\1\x88@\x0acontent-x\1y", 2),
    words=(SETTINGS, HEAD, BODY, b"\0\0\4\3\0\0\0\0\1", b"\0\0\x08\7\0\0\0\0\0", b"\0\0\x08\6\0\0\0\0\0", b"\x88",
        b"\x8d", b"\0\0\0\x09\4\0\0\0\1", b"\0\0\6\4\0\0\0\0\0\0\4", b"\0\0\4\x08\0\0\0\0\1"),
)  # fmt: skip
def http2(given: Given) -> None:
    """One answer in frames."""

    def make() -> Any:
        made = talk(HTTPTalk, "https://example.org/", login=False, http2=True)
        made.agreed, made.encrypted = TLSInfo("TLSv1.3", "x", alpn="h2"), True
        return made

    converse(given, make, given.among(PLAIN_TALKS), alike=False)


@target(
    seed(gzip.compress(b"hello", mtime=0), 0, 0x11), seed(gzip.compress(b"a", mtime=0) * 2, 0, 0x31),
    seed(zlib.compress(b"hello" * 99), 1, 0x22), seed(zlib.compress(b"x")[2:-4], 1),
    words=(b"\x1f\x8b\x08\0", b"\x78\x9c", b"\x03\0"), raises=(PeerError,),
)  # fmt: skip
def content_codings(given: Given) -> None:
    def unpacked(pieces: list[bytes]) -> bytes:
        decoder = Decoder(["gzip", "deflate", "identity"][given.choice % 3 : given.choice % 3 + 1])
        data = b"".join(out for piece in pieces for out in decoder.feed(piece))
        decoder.end()
        return data

    alike(given, unpacked, PeerError)


TARGETS = [
    Target.parse(url)
    for url in ("http://www.example.org/a/b", "https://127.0.0.1/", "http://localhost:8080/x?y", "https://[::1]/")
]


@target(
    seed(b"a=b; Path=/; Domain=example.org; Max-Age=99; Secure; HttpOnly"),
    seed(b"a=b; expires=Sat, 21 Nov 2026 10:00:00 GMT\nc=; domain=.org\n=d", 2),
    seed(b'Basic realm="a", Digest realm="b\\"", nonce="c", qop="auth,auth-int", algorithm=MD5-sess, stale=true',
        128),
    words=(b"; Path=/", b"; Domain=", b".example.org", b"; Max-Age=-1", b"; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        b"; Version=1", b'; Port="80"', b"; Secure", b"Digest ", b"Basic ", b'nonce="', b"algorithm=SHA-256",
        b"qop=auth", b"opaque="),
)  # fmt: skip
def cookies_and_logins(given: Given) -> None:
    """choice: from 128 on, what a 401 asks for."""
    text = given.data.decode(errors="surrogateescape").replace("\r", "")
    if given.choice >= 128:
        challenges = read_challenges(Headers([("WWW-Authenticate", line) for line in text.split("\n")]))
        found = answer(challenges, Login("user", "pass"))
        if found is not None:
            said = found.header("GET", "/a")
            must("\n" not in said, "a challenge writes a header of its own:", said)
        return
    request = Request("GET", given.among(TARGETS), {})
    jar = Cookies()
    jar.keep(request, Headers([("Set-Cookie", line) for line in text.split("\n")]))
    said = jar.header(request) or ""
    must("\n" not in said, "a cookie writes a header of its own:", said)
    elsewhere = jar.header(Request("GET", Target.parse("http://www.example.com/a/b"), {}))
    must(not elsewhere, "a cookie goes to another server:", elsewhere)


PAGES = (
    b'<html><a href="a%20b.txt">a b.txt</a>  21-Nov-2026 10:00   1.5K\n<a href=c/>c/</a> - <a '
    b'href="../">up</a><a href="http://x/">x</a>'
)
LISTED = json.dumps(
    [
        {"name": "a", "type": "file", "size": 3, "mtime": "Sat, 21 Nov 2026 10:00:00 GMT"},
        {"name": "b", "type": "directory"},
    ]
).encode()


@target(
    seed(PAGES, 0, 0x55), seed(b"<!-- <a href='x'> --><script>'<a href=y>'</script><A HREF=&quot;z>&amp;", 0, 0x11),
    seed(LISTED, 1, 0x33), seed(b'{"files":[{"name":"a/","size":1e999}]}', 1),
    words=(b'<a href="', b"</a>", b"<!--", b"-->", b"<script>", b"</script>", b"%2e%2e", b"&#x2f;",
        b"21-Nov-2026 10:00", b'{"name":"', b'"type":"directory"', b'"size":', b'"mtime":"', b"<![CDATA["),
    raises=(PeerError, Unsupported),
)  # fmt: skip
def http_listings(given: Given) -> None:
    kind = JSONListing if given.choice & 1 else Page

    def entries(pieces: list[bytes]) -> list[Any]:
        reader = kind("http://example.org/pub/", lambda path: path.removeprefix("/pub/"))
        found = [entry for piece in pieces for entry in reader.feed(piece)]
        return [*found, *reader.end()]

    whole = alike(given, entries, PeerError, Unsupported)
    for entry in whole if isinstance(whole, list) else ():
        must(
            entry.name.rstrip("/") not in ("", ".", "..") and ".." not in entry.name.split("/"),
            "a name leads out:",
            entry,
        )
