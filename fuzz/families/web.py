"""Clients as the web server hears them: requests, header fields, forms, paths in a folder (prise/web)."""

from __future__ import annotations

import asyncio
import atexit
import os
import re
from collections.abc import AsyncIterator, Iterable
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from fuzz.target import LONGEST, Given, must, outcome, scratch, seed, target, told
from prise.address import Address
from prise.errors import FrameError
from prise.web import conditional, forms, negotiation, ranges
from prise.web.access import Access, is_from_elsewhere
from prise.web.arriving import check_name, number_in
from prise.web.framing import BodyPiece, HttpRequests
from prise.web.headers import Extra
from prise.web.request import HttpError, Request, parse
from prise.web.response import FilePart, Response
from prise.web.site import Site

LIMIT = 64 * 1024
HOST = b"Host: here\r\n"
WORDS = (
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST /", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n\r\n", HOST,
    b"Content-Length: ", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
    b"Connection: close\r\n", b"0\r\n\r\n", b"%2e%2e/", b"%00", b"http://", b"OPTIONS *", b"CONNECT a:1", b";a=b",
)  # fmt: skip


def heard(framing: HttpRequests, pieces: Iterable[bytes]) -> tuple[list[Any], str]:
    """Requests, each with its body in one piece, and the error that ended it all."""
    decoder = framing.decoder(LIMIT)
    found: list[Any] = []

    def take(messages: list[Any]) -> None:
        for each in messages:
            if isinstance(each, Request):
                found.append(
                    [(each.method, each.target, each.path, each.host, each.length, each.keep_alive), b"", False]
                )
            else:
                assert isinstance(each, BodyPiece)
                found[-1][1] += each.data
                found[-1][2] = each.last

    try:
        for piece in pieces:
            take(decoder.feed(piece))
            while decoder.more:
                take(decoder.feed(b""))
        take(decoder.end())
    except HttpError as error:
        told(error)
        must(400 <= error.status < 600, "no status of an error:", error.status)
        # How much came of a body that is broken depends on the pieces.
        if found and not found[-1][2]:
            found[-1][1] = b""
        return found, f"{error.status} {error.reason}"
    return found, ""


@target(
    seed(b"GET /a?b HTTP/1.1\r\n" + HOST + b"\r\nGET / HTTP/1.0\r\n\r\n", 0, 0x11),
    seed(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n" + HOST + b"\r\n", 0,
        0x71),
    seed(b"PUT /x HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\na: b\r\n\r\n", 1,
        0x31), seed(b"\r\nGET http://x/%e9 HTTP/1.1\r\n" + HOST + b"\r\n"), words=WORDS,
)  # fmt: skip
def http_requests(given: Given) -> None:
    framing = HttpRequests(None if given.choice & 1 else 100)
    whole, pieces = heard(framing, [given.data]), heard(framing, given.pieces())
    must(len(given.data) > LONGEST or whole == pieces, "the requests depend on how bytes arrive:", whole, pieces)


class Arrived:
    """A body that comes in these pieces; see `prise.web.request.Body`."""

    peer = Address("tcp", "192.0.2.7", 5000)
    secure = False

    def __init__(self, pieces: Iterable[bytes], length: int | None = None) -> None:
        self.length = length
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            if piece:
                yield piece

    async def read(self, most: int) -> bytes:
        return b"".join([piece async for piece in self])[:most]


def asked(data: bytes) -> Request | None:
    """The request of a head, if it is one."""
    try:
        return parse(data)
    except HttpError as error:
        told(error)
        return None


FIELDS = (
    "range", "if-match", "if-none-match", "if-modified-since", "if-range", "accept", "accept-language",
    "accept-encoding", "authorization",
    "origin", "sec-fetch-site", "access-control-request-headers", "upload-length", "content-type",
)  # fmt: skip


@target(
    seed(b"bytes=0-4,7-,-3", 0), seed(b'W/"a", "b", *', 2), seed(b"Sat, 21 Nov 2026 10:00:00 GMT", 3),
    seed(b"Saturday, 21-Nov-26 10:00:00 GMT", 4), seed(b"Sat Nov 21 10:00:00 2026", 3),
    seed(b"text/html;q=0.9, */*;q=0.1, application/json", 5), seed(b"fr-CH, fr;q=0.9, en;q=0.8, *;q=0.5", 6),
    seed(b"Basic YTpi", 8), seed(b"http://[::1]:80", 9), seed(b"X-A, b", 11), seed(b"10", 12),
    words=(b"bytes=", b"-", b",", b'W/"', b"*", b";q=0.5", b" GMT", b"Nov", b"Basic ", b"null", b"http://",
        b"same-origin", b"00:00:60", b"31 Feb", b"9999", b"--boundary"),
)  # fmt: skip
def web_fields(given: Given) -> None:
    """The fields of a request, each by who reads it."""
    value = given.data.decode("latin-1")
    if re.search("[\x00-\x08\x0a-\x1f\x7f]", value):
        return  # no field has these: `parse` refuses them
    headers = {given.among(FIELDS): value.strip(" \t")}
    request = Request("GET", "/", "/", "", 1, headers, "here", 0, True, False)
    size = given.cut * 10
    wanted = ranges.parse(headers.get("range", ""), size)
    at = sorted(wanted or ())
    must(all(0 <= one.start < one.stop <= size for one in at), "a range outside:", wanted, size)
    must(all(one.stop <= other.start for one, other in pairwise(at)), "ranges overlap:", wanted)
    conditional.evaluate(headers, "GET", '"a"', 1e9)
    conditional.range_applies(headers, '"a"', 1e9)
    must(not conditional.matches("", '"a"', weakly=True), "nothing matches")
    negotiation.media_type(headers.get("accept", ""), ("text/html", "application/json"))
    negotiation.language(headers.get("accept-language", ""), ("en", "fr"))
    negotiation.parameters(value)
    is_from_elsewhere(request)
    Extra(cors=True).preflight(
        Request(
            "OPTIONS", "/", "/", "", 1, {**headers, "access-control-request-method": "PUT"}, "here", 0, True, False
        ),
        "GET",
    )
    Access(nobody, accounts={"a": "x"}).grant(request)
    forms.is_form(request)
    outcome(lambda: number_in(request, "upload-length"), HttpError)
    outcome(lambda: check_name(value, dot_files=False), HttpError)


async def nobody(request: Request, body: Any) -> Response:
    return Response()


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="a\\"b.txt"\r\nContent-Type: text/plain\r\n\r\n'
    b'hello\r\n--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n--b--\r\n'
)


@target(
    seed(FORM, 0, 0x11), seed(FORM, 0, 0x73), seed(b"name=a%20b&name=c", 1),
    seed(b'--b\r\nContent-Disposition: form-data; filename="..\\\\/x%22"\r\n\r\n\r\n--b--'),
    words=(b"--b", b"--b--", b"\r\n\r\n", b"Content-Disposition: form-data; ", b'filename="', b'name="',
        b"filename*=utf-8''", b"name=", b"%22", b"\\\\"),
)  # fmt: skip
def web_forms(given: Given) -> None:
    kind = "multipart/form-data; boundary=b" if not given.choice & 1 else "application/x-www-form-urlencoded"
    request = Request("POST", "/", "/", "", 1, {"content-type": kind}, "here", None, True, False)

    def taken(pieces: Iterable[bytes]) -> list[Any]:
        async def take() -> list[Any]:
            body: Any = Arrived(pieces)
            if given.choice & 1:
                return [await forms.name_in(request, body)]
            found: list[Any] = []
            async for event in forms.files_of(request, body):
                if isinstance(event, bytes) and found and isinstance(found[-1], bytes):
                    found[-1] += event
                elif event != b"":
                    found.append(event)
            return found

        steps = take()
        try:
            steps.send(None)
        except StopIteration as done:
            result: list[Any] = done.value
            return result
        raise AssertionError("it waits for something")

    whole = outcome(partial(taken, [given.data]), FrameError)
    pieces = outcome(partial(taken, given.pieces()), FrameError)
    # What python-multipart takes for a form that is broken depends a little on the pieces; what it reads does not.
    if not isinstance(whole, str) and not isinstance(pieces, str) and whole and pieces:
        must(whole == pieces, "the form depends on how bytes arrive:", whole, pieces)


SECRET = b"nobody may read this"


@cache
def folder() -> Path:
    """A folder to be served, and beside it what must not be."""
    around = scratch()
    (around / "secret").write_bytes(SECRET)
    (around / "in" / "a" / ".hidden").mkdir(parents=True)
    for name in ("in/index.html", "in/a/b.txt", "in/about.html", "in/é.txt", "in/a/c d"):
        (around / name).write_bytes(b"hello " * 50)
    for name in ("in/.secret", "in/a/.hidden/secret"):
        (around / name).write_bytes(SECRET)
    os.symlink("../secret", around / "in" / "link")
    os.symlink("..", around / "in" / "up")
    return around / "in"


@cache
def site() -> tuple[asyncio.AbstractEventLoop, Site, Site]:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop, Site(folder(), cors=True), Site(folder(), spa=True, hot=0, compress=False)


async def whole_of(response: Response) -> bytes:
    body = response.body
    if isinstance(body, bytes):
        return body
    if isinstance(body, AsyncIterator):
        return b"".join([piece async for piece in body])
    return b"".join(os.pread(p.descriptor, p.count, p.offset) if isinstance(p, FilePart) else p for p in body)


@target(
    *(seed(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n", choice) for choice in (0, 1) for path in (b"/",
        b"/a/b.txt", b"/about", b"/%c3%a9.txt", b"/a", b"/link", b"/up/secret", b"/../secret")),
    seed(b"GET /a/b.txt HTTP/1.1\r\n" + HOST
        + b"Range: bytes=0-4,200-\r\nIf-None-Match: \"x\"\r\nAccept-Encoding: gzip, br;q=0\r\n\r\n"),
        seed(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Origin: http://x\r\n\r\n"),
    words=(b"/../", b"/%2e%2e/", b"%5c", b"/a/.hidden/secret", b"/.secret", b"/link", b"/up/", b"HEAD /",
        b"Range: bytes=", b"Accept-Encoding: gzip", b"If-Modified-Since: ", b"Accept: ", b"//", b"/./", b"%00",
        b"%2f"),
)  # fmt: skip
def web_paths(given: Given) -> None:
    """A whole site: whatever is asked, nothing outside of the folder, or hidden in it, is answered."""
    request = asked(given.data) if given.data.endswith(b"\r\n\r\n") else None
    if request is None or request.method == "CONNECT":
        return
    loop, *sites = site()

    async def ask(one: Site) -> None:
        try:
            response = await one(request, Arrived(()))
        except HttpError as error:
            told(error)
            return
        try:
            must(200 <= response.status < 600, "no status:", response.status)
            for name, value in response.headers:
                must(not re.search("[\r\n\0]", name + value), "a field of our own making:", name, value)
            body = await whole_of(response)
            must(SECRET[:10] not in body, "it was read:", request.target)
        finally:
            if response.close is not None:
                response.close()

    loop.run_until_complete(ask(given.among(sites)))
