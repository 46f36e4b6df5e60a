"""What an HTTP session can do: the three verbs of all protocols, on names; and requests of any method, on URLs."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlencode, urljoin

from prise.errors import AddressError, MessageTooLarge, ProtocolError, Unsupported, UsageError
from prise.protocols.entry import Entry
from prise.protocols.http.body import CODINGS, Body, Decoder, make_body
from prise.protocols.http.exchange import Exchange
from prise.protocols.http.message import NAME, Head, Request, Response, checked_headers, same_origin, url_of
from prise.protocols.session import content, procedure, streaming
from prise.protocols.source import Data, Source
from prise.protocols.steps import Flow, Items, Steps
from prise.protocols.target import Target

MOST_CONTENT = 64 * 1024 * 1024
"""Bytes of a body that `request` holds in memory, unless it is told another limit."""

MOST_TAGS = 1000
"""Files whose version is remembered, for `get` with an offset."""

LONGEST_NAME = 255
"""Bytes of a file's name on most systems."""

_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_FILE_NAME_EXTENDED = re.compile(r"\bfilename\*\s*=\s*(utf-8|iso-8859-1)'[^';\s]*'([^;\s]+)", re.IGNORECASE)
_FILE_NAME = re.compile(r"""\bfilename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))""", re.IGNORECASE)
_NAME_SAFE = "/!$&'()*+,;=@~"  # of a path, what needs no %: not the colon, which may end a scheme


class Listing(Protocol):
    """What takes a page apart: see listing.py."""

    def feed(self, data: bytes) -> Iterable[Entry]: ...

    def end(self) -> Iterable[Entry]: ...


class Range(NamedTuple):
    """first and last byte, size of the whole (None: not said)."""

    first: int | None
    last: int | None
    size: int | None


class HTTPTalk(Exchange):
    """Names are those that `list` gives: below the folder of the session's URL, as people write them. URLs are whole, or
    relative to the session's, and percent-encoded.

    Options: headers (sent with each request), http2 (offer it; needs the extra `http`), compressed (`get` may be answered
    packed: fewer bytes, but their number is not known before, and no offset), downgrade (follow redirects from https to http).
    """

    # -- the verbs -----------------------------------------------------------------------------------------------------

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """The files and folders that a page links to, below its own place; names of folders end in a slash.

        size, modified: where the page tells them exactly (nginx, `prise web`); else facts["size"], facts["modified"] as they
        stand there. Raises NotFound, Refused, and Unsupported for what is no page.
        """
        from prise.protocols.http.listing import JSONListing, Page

        wanted = {"Accept": "application/json, text/html;q=0.9, */*;q=0.1", "Accept-Encoding": CODINGS}
        head = yield from self._exchange(Request("GET", self._named(name), wanted))
        yield from self._check(head, 300)
        assert self.response is not None
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        reader = JSONListing if kind == "application/json" else Page if kind.endswith(("html", "html+xml")) else None
        if reader is None:
            yield from self._skip()
            raise Unsupported(
                "this is no page with links, but {kind}: get it instead", peer=self.response.url, kind=kind or "?"
            )
        found = reader(self.response.url, self._name_of)
        return Flow(self._entries(found, Decoder(head.headers.words("content-encoding"))), leave=self._skip)

    @content
    def get(self, name: str | None = None, offset: int = 0) -> Steps[Flow[bytes]]:
        """A file. size: of what comes, where the server says it. name: what it is to be called. kind: its MIME type.

        offset: bytes to leave out at the beginning; nothing comes where the file ends there. Raises Unsupported where the
        server cannot, or the file has changed since this session last read it: begin anew then. NotFound, LoginFailed, Refused.
        """
        if offset < 0:
            raise UsageError("an offset is counted from the beginning of the file: it is not negative")
        target = self._named(name)
        packed = self.options.more.get("compressed") and not offset
        wanted = {"Accept-Encoding": CODINGS if packed else "identity"}
        if offset:
            wanted["Range"] = f"bytes={offset}-"
            if tag := self._tags.get(url_of(target)):
                wanted["If-Range"] = tag
        head = yield from self._exchange(Request("GET", target, wanted))
        if offset:
            if head.status == 416 and _range(head).size == offset:
                yield from self._skip()
                return Flow(_nothing(), 0, self._file_name(head))
            yield from self._check(head, 300)
            coded = head.headers.words("content-encoding") not in ([], ["identity"])
            if head.status != 206 or coded:
                raise Unsupported("the server does not begin in the middle, or the file has changed", peer=target)
            part = _range(head)
            if part.first != offset or part.last is None or (part.size is not None and part.last != part.size - 1):
                raise ProtocolError("the server sends another part than it was asked for", peer=target)
        else:
            yield from self._check(head, 300)
            if head.status == 206 and not any(name.lower() == "range" for name in self._headers):
                raise ProtocolError("the server sends another part than it was asked for", peer=target)
            self._remember(target, head)
        return self._flow(head)

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[Response]:
        """Uploads a file by PUT. name: None for the URL's own place, where a file may go into a folder under its own name."""
        source = data if isinstance(data, Source) else None
        target = self._named(name)
        if name is None and target.place.endswith("/"):
            own = (source or Source.of(data)).name
            if own is None:
                raise UsageError("the URL is a folder: under which name? example: {example}", example=f"{target}name")
            target = target.at(f"{target.place}{quote(own.rpartition('/')[2], safe='', errors='surrogateescape')}")
        return (yield from self._whole(Request("PUT", target, {}, Body(data))))

    # -- requests ------------------------------------------------------------------------------------------------------

    @procedure
    def request(
        self,
        method: str,
        url: str | None = None,
        *,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        data: Data | None = None,
        json: Any = None,
        form: Any = None,
        files: Mapping[str, Any] | None = None,
        follow: bool = True,
        check: bool = True,
        limit: int = MOST_CONTENT,
    ) -> Steps[Response]:
        """Any request, and its whole answer.

        url: None for the session's own. params: what is added to its query, a mapping or pairs. data: what `put` takes; or
        json: a value; or form: a mapping or pairs; files: field -> what `put` takes, or (file name, that), with `form` beside it.
        follow: go where redirects lead. check: raise Refused for a status of 400 and more (`response` has the answer).
        limit: bytes of the body; MessageTooLarge above that: use `fetch`.
        """
        request = self._made(method, url, params, headers, make_body(data, json, form, files))
        return (yield from self._whole(request, follow, check, limit))

    @procedure
    def head(self, /, url: str | None = None, **more: Any) -> Steps[Response]:
        """What GET would say, without the body. more: see `request`."""
        return (yield from self.request.steps("HEAD", url, **more))

    @procedure
    def post(self, /, url: str | None = None, **more: Any) -> Steps[Response]:
        """more: see `request`."""
        return (yield from self.request.steps("POST", url, **more))

    @procedure
    def patch(self, /, url: str | None = None, **more: Any) -> Steps[Response]:
        """more: see `request`."""
        return (yield from self.request.steps("PATCH", url, **more))

    @procedure
    def delete(self, /, url: str | None = None, **more: Any) -> Steps[Response]:
        """more: see `request`."""
        return (yield from self.request.steps("DELETE", url, **more))

    @content
    def fetch(
        self,
        url: str | None = None,
        method: str = "GET",
        *,
        params: Any = None,
        headers: Mapping[str, str] | None = None,
        data: Data | None = None,
        json: Any = None,
        form: Any = None,
        files: Mapping[str, Any] | None = None,
        follow: bool = True,
    ) -> Steps[Flow[bytes]]:
        """The same as `request`, and the answer's body comes piece by piece; its head is `response`."""
        request = self._made(method, url, params, headers, make_body(data, json, form, files))
        head = yield from self._exchange(request, follow)
        yield from self._check(head, 400)
        return self._flow(head)

    # -- what they are made of -----------------------------------------------------------------------------------------

    def _made(
        self, method: str, url: str | None, params: Any, headers: Mapping[str, str] | None, body: Body | None
    ) -> Request:
        if not NAME.fullmatch(method):
            raise UsageError("{method} cannot be a method of HTTP", method=repr(method[:40]))
        target = self.target
        if url is not None:
            try:
                whole = urljoin(url_of(target), url)
            except ValueError:
                raise AddressError("{url} is no URL", url=repr(url[:80])) from None
            target = Target.parse(whole)
            if target.protocol != "http":
                raise UsageError("{url} is not HTTP: use prise.open", url=target)
            if target.user is not None and not same_origin(target, self.target):
                raise UsageError("a login for another server than the session's: use prise.open", peer=target)
        if params:
            place, hash_, fragment = target.place.partition("#")
            place += f"{'&' if '?' in place else '?'}{urlencode(params, doseq=True)}"
            target = target.at(f"{place}{hash_}{fragment}")
        asked = checked_headers(headers)
        names = {name.lower() for name in (*self._headers, *asked)}
        if "accept-encoding" not in names:
            # Packed, its size would not be said to HEAD, and the middle of it could not be unpacked.
            asked["Accept-Encoding"] = CODINGS if method != "HEAD" and "range" not in names else "identity"
        return Request(method, target, asked, body)

    def _whole(
        self, request: Request, follow: bool = True, check: bool = True, limit: int = MOST_CONTENT
    ) -> Steps[Response]:
        head = yield from self._exchange(request, follow)
        if check:
            yield from self._check(head, 400)
        assert self.response is not None
        assert self._wire is not None
        codings = head.headers.words("content-encoding") if request.method != "HEAD" else []
        decoder = Decoder(codings)
        pieces: builtins.list[bytes] = []
        size = 0
        while packed := (yield from self._wire.piece()):
            for piece in decoder.feed(packed):
                size += len(piece)
                if size > limit:
                    raise MessageTooLarge(
                        "the answer has more than {limit} bytes: fetch it piece by piece",
                        peer=self.response.url,
                        limit=limit,
                    )
                pieces.append(piece)
        decoder.end()
        self.response = replace(self.response, content=b"".join(pieces))
        return self.response

    def _check(self, head: Head, limit: int) -> Steps[None]:
        """Raises what a status from `limit` on means."""
        if head.status >= limit:
            raise (yield from self._refusal(head))

    def _flow(self, head: Head) -> Flow[bytes]:
        decoder = Decoder(head.headers.words("content-encoding"))
        length = head.headers.get("content-length", "")
        size = int(length) if length.isdecimal() and len(length) < 19 and not decoder.coded else None
        kind = head.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Flow(self._pieces(decoder), size, self._file_name(head), kind or None, self._skip)

    def _pieces(self, decoder: Decoder) -> Steps[None]:
        assert self._wire is not None
        while packed := (yield from self._wire.piece()):
            for piece in decoder.feed(packed):
                yield Items((piece,))
        decoder.end()

    def _entries(self, found: Listing, decoder: Decoder) -> Steps[None]:
        assert self._wire is not None
        while packed := (yield from self._wire.piece()):
            for piece in decoder.feed(packed):
                if entries := tuple(found.feed(piece)):
                    yield Items(entries)
        decoder.end()
        if entries := tuple(found.end()):
            yield Items(entries)

    # -- names ---------------------------------------------------------------------------------------------------------

    def _folder(self) -> str:
        """The path of the session's URL up to its last slash, percent-encoded, without the first slash."""
        path = self.target.place.partition("#")[0].partition("?")[0]
        return path[: path.rfind("/") + 1]

    def _named(self, name: str | None) -> Target:
        """Where a name is; one that begins with a slash is at the server's root."""
        if name is None:
            return self.target
        path = quote(name, safe=_NAME_SAFE, errors="surrogateescape")
        whole = path.lstrip("/") if path.startswith("/") else f"{self._folder()}{path}"
        return self.target.at(urljoin("http://h/", f"/{whole}" if not whole.startswith("/") else whole)[9:])

    def _name_of(self, path: str) -> str:
        """The name of a path in a listing: what leads there by `_named`."""
        folder = f"/{self._folder()}"
        return unquote(path.removeprefix(folder), errors="surrogateescape")

    def _file_name(self, head: Head) -> str | None:
        """From Content-Disposition (RFC 6266), else from the URL; never with a path."""
        assert self.response is not None
        said = head.headers.get("content-disposition", "")
        extended, plain = _FILE_NAME_EXTENDED.search(said), _FILE_NAME.search(said)
        if extended is not None:  # the plain one beside it is for old browsers
            name = unquote(extended[2], extended[1], errors="replace")
        elif plain is not None:
            name = re.sub(r"\\(.)", r"\1", plain[1] or plain[2] or "")
        else:
            name = unquote(self.response.url.partition("?")[0].partition("#")[0].rpartition("/")[2])
        name = re.sub(r"[\x00-\x1f\x7f/\\]", "_", name.rpartition("/")[2])
        shortened = name.encode(errors="surrogateescape")[:LONGEST_NAME].decode(errors="ignore")
        return None if shortened in ("", ".", "..") else shortened

    def _remember(self, target: Target, head: Head) -> None:
        tags, url, tag = self._tags, url_of(target), head.headers.get("etag", "")
        tags.pop(url, None)
        if tag.startswith('"'):  # a weak one (W/"...") does not say that all bytes are the same
            tags[url] = tag
            if len(tags) > MOST_TAGS:
                del tags[next(iter(tags))]


def _range(head: Head) -> Range:
    match = _RANGE.fullmatch(head.headers.get("content-range", ""))
    if match is None:
        return Range(None, None, None)
    first, last, size = match.groups()
    if first is None:
        return Range(None, None, None if size == "*" else int(size))
    return Range(int(first), int(last), None if size == "*" else int(size))


def _nothing() -> Steps[None]:
    return
    yield
