"""Articles: overviews, single header fields, and the articles themselves (RFC 3977 §6.1.3 to §6.2 and §8)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from prise.errors import NotFound, UsageError
from prise.protocols.header import file_name
from prise.protocols.nntp import yenc
from prise.protocols.nntp.data import (
    Article,
    HeaderLine,
    Overview,
    Pointer,
    Which,
    is_empty,
    is_id,
    read_header_lines,
    read_overviews,
    wording,
)
from prise.protocols.nntp.fetching import CODES, Fetching, Part, pointed
from prise.protocols.nntp.groups import GroupsTalk
from prise.protocols.reply import Reply
from prise.protocols.session import content, procedure, streaming
from prise.protocols.steps import Flow, Items, Steps

T = TypeVar("T")

_FIELD = re.compile(r":?[!-9;-~]+")


class ArticlesTalk(GroupsTalk):
    """What is done with articles; numbers are those of the group that is selected."""

    # -- in brief ------------------------------------------------------------------------------------------------------

    @streaming
    def over(self, which: Which = None) -> Steps[Flow[Overview]]:
        """Articles in brief, as they come: 100,000 of them take no more memory than ten. which: numbers of the selected group; a
        message-id where the server can (it says OVER MSGID). Raises NotFound for a single article that is not there."""
        return (yield from self.overviews(which, read_overviews))

    @streaming
    def hdr(self, field: str, which: Which = None) -> Steps[Flow[HeaderLine]]:
        """One header field ("Subject"), ":bytes" or ":lines", of articles. Raises as `over`."""
        if not _FIELD.fullmatch(field):
            raise UsageError(
                "{field!r} is not the name of a header; example: {example}", field=field[:80], example="Subject"
            )
        old = "HDR" not in self.capabilities
        reply = yield from self._about(f"{'XHDR' if old else 'HDR'} {field}", which, 221 if old else 225)
        return Flow(_nothing() if reply is None else self.told_lines(read_header_lines))

    def overviews(self, which: Which, read: Callable[[Iterable[bytes]], Sequence[T]]) -> Steps[Flow[T]]:
        """As `over`, but what becomes of the lines is up to `read`."""
        old = "OVER" not in self.capabilities
        reply = yield from self._about("XOVER" if old else "OVER", which, 224)
        return Flow(_nothing() if reply is None else self.told_lines(read))

    def _about(self, command: str, which: Which, good: int) -> Steps[Reply | None]:
        """None: there is nothing in these numbers."""
        if is_empty(which):
            return None
        words = wording(which)
        try:
            return (yield from self.command(f"{command} {words}".rstrip(), good))
        except NotFound:
            if "-" in words and not is_id(words):
                return None
            raise

    # -- the current article -------------------------------------------------------------------------------------------

    @procedure
    def stat(self, which: int | str | None = None) -> Steps[Pointer]:
        """Whether there is such an article; a number also makes it the current one. Raises NotFound."""
        return Pointer(*pointed((yield from self.command(f"STAT {wording(which)}".rstrip(), 223))))

    @procedure
    def next(self) -> Steps[Pointer]:
        """Goes on to the next article of the group. Raises NotFound behind the last."""
        return Pointer(*pointed((yield from self.command("NEXT", 223))))

    @procedure
    def last(self) -> Steps[Pointer]:
        """Goes back to the article before. Raises NotFound at the first."""
        return Pointer(*pointed((yield from self.command("LAST", 223))))

    # -- whole ---------------------------------------------------------------------------------------------------------

    @content
    def article(self, which: int | str | None = None) -> Steps[Flow[bytes]]:
        """An article, lines end in CR LF. which: its number in the selected group, its message-id, None for the current one.
        Raises NotFound."""
        return (yield from self._whole("article", which))

    @content
    def head(self, which: int | str | None = None) -> Steps[Flow[bytes]]:
        """Its header alone."""
        return (yield from self._whole("head", which))

    @content
    def body(self, which: int | str | None = None) -> Steps[Flow[bytes]]:
        """Its body alone."""
        return (yield from self._whole("body", which))

    @streaming
    def articles(self, which: Iterable[int | str], part: Part = "article") -> Steps[Flow[Article]]:
        """Many articles, in this order, each whole (up to 64 MiB); 32 of them are asked for ahead. which: numbers of the
        selected group, or message-ids. part: "article", "head" or "body". Those that are not there are left out."""
        fetching = Fetching(self, part, which)

        def told() -> Steps[None]:
            article = first
            while article is not None:
                yield Items((article,))
                article = yield from fetching.next()

        first = yield from fetching.next()
        return Flow(told(), leave=fetching.leave)

    @content
    def file(self, which: Iterable[int | str]) -> Steps[Flow[bytes]]:
        """A file that was posted in yEnc, in one article or several. which: the articles in the order of their parts. Its
        size and name are those that the first article tells. Raises FrameError where parts are missing or damaged."""
        fetching = Fetching(self, "body", which)
        decoder = yenc.Decoder()

        def told() -> Steps[None]:
            data = begun
            while True:
                if data:
                    yield Items((data,))
                if (article := (yield from fetching.next())) is None:
                    break
                data = decoder.feed(article.data)
            decoder.finish()

        first = yield from fetching.next(ahead=False)  # nothing is on its way when it turns out to be no file
        begun = decoder.feed(first.data) if first is not None else b""
        if first is None or decoder.name is None:
            raise NotFound("none of these articles has a file in yEnc", operation="BODY", peer=self.target)
        return Flow(told(), decoder.size, decoder.name, leave=fetching.leave)

    def _whole(self, part: Part, which: int | str | None) -> Steps[Flow[bytes]]:
        reply = yield from self.command(f"{part.upper()} {wording(which)}".rstrip(), CODES[part])
        number, message_id = pointed(reply)
        name = file_name(f"{number or message_id.strip('<>').replace('/', '_') or 'article'}.eml")
        return Flow(self.reader.dotted_items(), None, name, "message/rfc822" if part == "article" else None)


def _nothing() -> Steps[None]:
    return
    yield
