"""Articles one after the other, with the next commands sent ahead (RFC 3977 §3.5), so that a distant server costs one delay
and not one for each.

How far ahead is bounded: what was sent and not answered must fit into the buffers of the network, or both sides would wait for
the other to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Literal

from prise.errors import MessageTooLarge, PriseError, Refused
from prise.protocols.contents import MOST_SKIPPED
from prise.protocols.nntp.base import MISSING, NewsTalk
from prise.protocols.nntp.data import Article, wording
from prise.protocols.reply import Reply, read_reply
from prise.protocols.steps import Steps

Part = Literal["article", "head", "body"]

CODES = {"article": 220, "head": 221, "body": 222}

AHEAD = 32
"""Commands that are sent before the first of them is answered: at most 8 KB."""

MOST_ARTICLE = 64 * 1024 * 1024
"""Bytes of an article that is held as a whole."""


class Fetching:
    """The articles that are wanted, of which some are on their way."""

    def __init__(self, talk: NewsTalk, part: Part, wanted: Iterable[int | str]) -> None:
        self._talk = talk
        self._good = CODES[part]
        wanted = (wanted,) if isinstance(wanted, str) else wanted  # one article, and not one for each of its characters
        self._wanted: Iterator[str] = (f"{part.upper()} {wording(which)}" for which in wanted)
        self._asked: deque[str] = deque()
        self._let_in = False  # the server has shown that it does not want a login first
        self._refusal: PriseError | None = None

    def next(self, ahead: bool = True) -> Steps[Article | None]:
        """The next one that there is; None behind the last. ahead: more may be asked for behind it. Raises Refused, once all
        that was asked for has been answered."""
        while True:
            yield from self._ask(AHEAD if ahead and self._let_in else 1)
            if not self._asked:
                if self._refusal is not None:
                    raise self._refusal
                return None
            reply = yield from read_reply(self._talk, several=False)
            line = self._asked.popleft()
            if reply.code == self._good:
                self._let_in = True
                return (yield from self._read(reply))
            if reply.code == 480 and not self._asked and (yield from self._talk.late_login()):
                self._wanted = chain((line,), self._wanted)
            elif reply.code in MISSING:
                self._let_in = True
            else:
                error = self._talk.refused(reply, line.partition(" ")[0])
                if not isinstance(error, Refused):
                    raise error
                self._refusal = self._refusal or error

    def leave(self) -> Steps[None]:
        """Asks for nothing more, and reads away what was asked for. Raises MessageTooLarge where that would take long."""
        size = 0
        while self._asked:
            reply = yield from read_reply(self._talk, several=False)
            self._asked.popleft()
            if reply.code != self._good:
                continue
            while (piece := (yield from self._talk.reader.dotted())) is not None:
                size += len(piece)
                if size > MOST_SKIPPED:
                    raise MessageTooLarge(
                        "the articles that were asked for ahead have more than {limit} bytes", limit=MOST_SKIPPED
                    )

    def _ask(self, room: int) -> Steps[None]:
        if self._refusal is not None or len(self._asked) > room // 2:
            return
        data = []
        try:
            for line in islice(self._wanted, room - len(self._asked)):
                data.append(self._talk.said(line))
                self._asked.append(line)
        except PriseError as error:
            self._refusal = error  # not before what was asked for is here
        if data:
            yield from self._talk.send(b"".join(data))  # one packet, not one each

    def _read(self, reply: Reply) -> Steps[Article]:
        pieces, size = [], 0
        while (piece := (yield from self._talk.reader.dotted())) is not None:
            pieces.append(piece)
            size += len(piece)
            if size > MOST_ARTICLE:
                raise MessageTooLarge(
                    "an article has more than {limit} bytes: get it alone, piece by piece",
                    operation="receive",
                    limit=MOST_ARTICLE,
                )
        number, message_id = pointed(reply)
        return Article(number, message_id, b"".join(pieces))


def pointed(reply: Reply) -> tuple[int, str]:
    """The number and message-id in an answer of ARTICLE, STAT, NEXT... Old servers may leave them out."""
    words = [*reply.text.split(None, 2), "", ""]
    number = int(words[0]) if words[0].isdecimal() and len(words[0]) < 20 else 0
    return number, words[1] if words[1].startswith("<") else ""
