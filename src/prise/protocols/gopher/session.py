"""Gopher (RFC 1436): menus, texts and files; one request on one connection, and then the server closes it.

    with prise.open("gopher://gopher.example.org/") as session:
        for entry in session.list():
            print(entry.kind, entry.title, entry.url or entry.name)
        session.get("9/picture.bin").save("picture.bin")

An entry with a `url` is elsewhere: no server is followed to another unasked. The end of an answer is the end of its connection,
so whether a file is whole cannot be known, but by Gopher+.
"""

from __future__ import annotations

from prise.errors import ConnectionLost, MessageTooLarge, NotFound, ProtocolError, Refused, Unsupported, UsageError
from prise.protocols.entry import Entry
from prise.protocols.gopher.menu import (
    KINDS,
    MEDIA_TYPES,
    TEXTS,
    Item,
    Place,
    error_in,
    is_absent,
    place_of,
    read_item,
    refuse,
)
from prise.protocols.gopher.plus import AllAttributes, Attributes, Header, read_attributes, read_header, refusal_in
from prise.protocols.reader import Reader
from prise.protocols.session import AsyncSession, Session, content, procedure, streaming
from prise.protocols.source import Data
from prise.protocols.steps import MAIN, Close, Dial, Flow, Items, Peer, Send, StartTLS, Steps
from prise.protocols.talk import Talk, cleaned

MOST_ITEMS = 100_000
"""Lines of a menu."""

LONGEST_ERROR = 4096
"""Bytes of an answer that may turn out to be an error."""

MOST_ATTRIBUTES = 1024 * 1024
"""Bytes of what Gopher+ tells about the items of a menu."""


class GopherTalk(Talk):
    """dots: an option of `prise.open`: the server doubles the dots at the beginnings of a text's lines, as RFC 1436 has it, and
    ends it with one. Most do not, so by default none is touched, but a last line of one dot alone is left out."""

    options_known = ("dots",)

    _fresh = False  # the main link was not used yet

    def hello(self) -> Steps[None]:
        self._fresh = True
        return
        yield

    def _ask(self, place: Place) -> Steps[tuple[Reader, int]]:
        """Sends a request: the first on the connection that is there, the others each on one of its own."""
        if self._tracing:
            self.trace(">", place.request.decode(errors="replace"))
        link = MAIN
        if not self._fresh:
            link = yield Dial(self.target.port)
            if self.target.tls:
                yield StartTLS(link)
        self._fresh = False
        yield Send(place.request + b"\r\n", link)
        return Reader(link), link

    def _done(self, link: int) -> Steps[None]:
        if link != MAIN:
            yield Close(link)

    # -- menus ---------------------------------------------------------------------------------------------------------

    @streaming
    def list(self, name: str | None = None) -> Steps[Flow[Entry]]:
        """The items of a menu. An entry's name is its type and selector ("0/hello.txt"), its kind "text", "menu", "search",
        "file", "image", "info" (a line to read)..., and its url is there where it is elsewhere.

        name: of a menu, "" for the first; or its selector alone, with a slash in front; None: that of the URL. Raises NotFound,
        and Refused for other errors.
        """
        place = place_of(self.target, name)
        if place.type not in ("", "1", "7"):
            raise UsageError("{name} is no menu: get it instead", peer=self.target, name=str(place))
        if place.type == "7" and place.words is None:
            raise UsageError(
                "a search wants words: %09 and the words behind its URL, or search(name, words) in Python",
                peer=self.target,
            )
        return (yield from self._menu(place))

    @streaming
    def search(self, name: str | None, words: str) -> Steps[Flow[Entry]]:
        """What a search (type 7) finds, as entries. name: of the search; None: that of the URL."""
        refuse(words=words)
        place = place_of(self.target, name)
        return (yield from self._menu(Place(place.type, place.selector, words)))

    def _menu(self, place: Place) -> Steps[Flow[Entry]]:
        reader, link = yield from self._ask(place)
        if place.plus is not None:
            yield from self._header(reader, link)
        first = yield from self._item(reader)
        if first is None and reader.ended:
            raise ConnectionLost(
                "the server closed the connection without an answer", operation="receive", peer=self.target
            )
        if first is not None and first.type == "3":
            yield from self._done(link)
            raise self._refused(first, place)
        peer = (yield Peer()).host  # its menus may have this in place of its name

        def entries() -> Steps[None]:
            item, before, count = first, "0", 0
            while item is not None:
                yield Items((item.entry(self.target, peer, before),))
                before = before if item.type in "i+" else item.type
                count += 1
                if count > MOST_ITEMS:
                    raise ProtocolError("the menu has more than {limit} lines", peer=self.target, limit=MOST_ITEMS)
                item = yield from self._item(reader)
            yield from self._done(link)

        return Flow(entries(), leave=lambda: self._done(link))

    def _item(self, reader: Reader) -> Steps[Item | None]:
        """The next line of a menu; None behind the last."""
        if not reader.pending:
            reader.put_back((yield from reader.rest()))
            if reader.ended:
                return None
        line = yield from reader.line()
        if self._tracing:
            self.trace("<", line.decode(errors="replace"))
        return None if line == b"." else read_item(line)

    def _refused(self, error: Item, place: Place) -> Refused:
        words = cleaned(error.title).strip()
        return (NotFound if is_absent(words) else Refused)(
            operation=str(place), peer=self.target, code=error.type, words=words
        )

    # -- one item ------------------------------------------------------------------------------------------------------

    @content
    def get(self, name: str | None = None) -> Steps[Flow[bytes]]:
        """What an item holds. Of a text or a menu, a last line of one dot is left out (see the option dots); all else is as it
        was sent. size: None, but with Gopher+.

        name: its type and selector, as entries have it; or the selector alone, with a slash in front, for the bytes as they are;
        None: that of the URL. Raises NotFound, Refused, UsageError for what can only be read or is elsewhere.
        """
        place = place_of(self.target, name)
        if KINDS.get(place.type) in ("info", "error", "telnet", "phonebook"):
            raise UsageError("{name} holds nothing that could be fetched", peer=self.target, name=str(place))
        reader, link = yield from self._ask(place)
        size, dotted = None, bool(self.options.more.get("dots")) and place.type in TEXTS
        if place.plus is not None:
            header = yield from self._header(reader, link)
            size, dotted = header.size, header.dotted
        error = (yield from self._error(reader)) if place.plus is None else None
        if error is not None:
            yield from self._done(link)
            raise self._refused(error, place)

        def pieces() -> Steps[None]:
            if dotted:
                yield from reader.dotted_items()
            elif size is not None:
                left = size
                while left:
                    piece = yield from reader.piece(left)
                    left -= len(piece)
                    yield Items((piece,))
            else:
                yield from _to_the_end(reader, place.type in TEXTS and place.plus is None)
            yield from self._done(link)

        kind = MEDIA_TYPES.get(place.type)
        return Flow(pieces(), size, place.file_name, kind, leave=lambda: self._done(link))

    def _error(self, reader: Reader) -> Steps[Item | None]:
        """The error that the whole answer is, if it is one."""
        answer = b""
        while not reader.ended and answer[:1] in (b"", b"3") and len(answer) < LONGEST_ERROR:
            answer += yield from reader.rest()
        reader.put_back(answer)
        return error_in(answer) if reader.ended else None

    @procedure
    def put(self, name: str | None, data: Data) -> Steps[None]:
        """Gopher cannot: raises Unsupported."""
        raise Unsupported("gopher only fetches: nothing can be put there")
        yield

    # -- Gopher+ -------------------------------------------------------------------------------------------------------

    @procedure
    def attributes(self, name: str | None = None) -> Steps[Attributes]:
        """What a server with Gopher+ knows about an item: the names of blocks ("INFO", "ADMIN", "VIEWS"...) -> their lines."""
        return next(iter((yield from self._attributes(name, "!"))), {})

    @procedure
    def all_attributes(self, name: str | None = None) -> Steps[AllAttributes]:
        """The same for each item of a menu, at once."""
        return (yield from self._attributes(name, "$"))

    def _attributes(self, name: str | None, what: str) -> Steps[AllAttributes]:
        place = place_of(self.target, name)._replace(words=None, plus=what)
        reader, link = yield from self._ask(place)
        header = yield from self._header(reader, link)
        data = b""
        while header.size is None or len(data) < header.size:
            piece = (yield from reader.dotted()) if header.dotted else (yield from reader.rest())
            if not piece:
                break
            data += piece
            if len(data) > MOST_ATTRIBUTES:
                raise MessageTooLarge(
                    "what the server tells about {name} has more than {limit} bytes",
                    name=str(place),
                    limit=MOST_ATTRIBUTES,
                )
        if header.size is not None and len(data) < header.size:
            raise ConnectionLost("the server closed the connection in the middle of an answer", operation="receive")
        yield from self._done(link)
        return read_attributes(data)

    def _header(self, reader: Reader, link: int) -> Steps[Header]:
        """The first line of an answer of Gopher+. Raises the error that it may be."""
        header = read_header((yield from reader.line()))
        if not header.failed:
            return header
        text = b""
        while len(text) < LONGEST_ERROR and (piece := (yield from reader.rest())):
            text += piece
        yield from self._done(link)
        raise refusal_in(text[:LONGEST_ERROR], self.target)


class Gopher(GopherTalk, Session):
    """A blocking Gopher session."""


class AsyncGopher(GopherTalk, AsyncSession):
    """An asynchronous Gopher session."""


def _to_the_end(reader: Reader, text: bool) -> Steps[None]:
    """All that comes. text: without a last line of one dot."""
    held, begun = b"", False
    while data := (yield from reader.rest()):
        held += data
        if len(held) > 5:  # it may be the end: CR LF, a dot, CR LF
            yield Items((held[:-5],))
            held, begun = held[-5:], True
    if text:
        for end in (b".\r\n", b".\n"):
            if held.endswith(b"\n" + end) or (held == end and not begun):
                held = held[: -len(end)]
                break
    if held:
        yield Items((held,))
