"""What SEARCH is to look for (RFC 9051 §6.4.4), built so that no value can become a command.

Search(unseen=True, since=date(2024, 2, 1), from_="ada")      all of these
Search(subject="news") | ~Search(larger=1_000_000)            and &, | and ~ between them
"UNSEEN LARGER 1000"                                          a str is a search as IMAP writes it
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, TypeAlias

from prise.errors import UsageError
from prise.protocols.imap.names import Literal, Word, day, flag_list, string
from prise.protocols.imap.sets import UIDs, uid_sets

Criterion: TypeAlias = "Search | str"

_FLAGS = ("answered", "deleted", "draft", "flagged", "seen")
_STRINGS = {"from_": "FROM", "to": "TO", "cc": "CC", "bcc": "BCC", "subject": "SUBJECT", "body": "BODY", "text": "TEXT"}
_DAYS = {
    "before": "BEFORE",
    "on": "ON",
    "since": "SINCE",
    "sent_before": "SENTBEFORE",
    "sent_on": "SENTON",
    "sent_since": "SENTSINCE",
}
_SIZES = {"larger": "LARGER", "smaller": "SMALLER"}


class Search:
    """Criteria that all must be met.

    answered, deleted, draft, flagged, seen: True or False; unseen=True is seen=False. keyword, unkeyword: another flag.
    from_, to, cc, bcc, subject, body, text (header and body): hold this, in upper or lower case. header: (name, text),
    or several in a dict. before, on, since: a date, of arrival; sent_before, sent_on, sent_since: of the message.
    larger, smaller: bytes. uid: one, several or a set. Raises UsageError for another name, or another type.
    """

    __slots__ = ("words",)

    def __init__(self, **criteria: Any) -> None:
        self.words: tuple[Word, ...] = tuple(word for name, value in criteria.items() for word in _words(name, value))

    @classmethod
    def of(cls, *criteria: Criterion, **more: Any) -> Search:
        """All of these together; all messages where there are none."""
        found = cls(**more)
        words = [*(word for each in criteria for word in _read(each).words), *found.words]
        return cls._made(*(words or ("ALL",)))

    @classmethod
    def _made(cls, *words: Word) -> Search:
        made = cls()
        made.words = words
        return made

    @property
    def ascii(self) -> bool:
        """No word needs a character set."""
        return all(
            (
                b"".join(word.pieces)
                if isinstance(word, Literal)
                else bytes(word, "utf-8")
                if isinstance(word, str)
                else word
            ).isascii()
            for word in self.words
        )

    def __and__(self, other: Search) -> Search:
        return self._made(*self.words, *other.words)

    def __or__(self, other: Search) -> Search:
        return self._made("OR", *self._one(), *other._one())

    def __invert__(self) -> Search:
        return self._made("NOT", *self._one())

    def _one(self) -> tuple[Word, ...]:
        return ("(", *(self.words or ("ALL",)), ")")


def _read(criterion: Criterion) -> Search:
    return criterion if isinstance(criterion, Search) else Search._made(*_raw(criterion))


def _words(name: str, value: Any) -> tuple[Word, ...]:
    if name == "unseen":
        name, value = "seen", not value
    if name in _FLAGS and isinstance(value, bool):
        return (name.upper() if value else f"UN{name.upper()}",)
    if name in ("keyword", "unkeyword") and isinstance(value, str):
        return name.upper(), flag_list(value)[1:-1]
    if name in _STRINGS and isinstance(value, str):
        return _STRINGS[name], string(value)
    if name in _DAYS and isinstance(value, date):
        return _DAYS[name], day(value)
    if name in _SIZES and isinstance(value, int) and value >= 0:
        return _SIZES[name], str(value)
    if name == "uid":
        return _uid(value)
    if name == "header":
        pairs = list(value.items()) if isinstance(value, dict) else [value]
        if all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
            return tuple(word for field, text in pairs for word in ("HEADER", string(str(field)), string(str(text))))
    known = "unseen, keyword, unkeyword, header, uid, " + ", ".join((*_FLAGS, *_STRINGS, *_DAYS, *_SIZES))
    raise UsageError(
        "a search has no {name}={value!r}; it knows {known}", name=name, value=str(value)[:40], known=known
    )


def _uid(uids: UIDs) -> tuple[Word, ...]:
    words: tuple[Word, ...] = ()
    for text in uid_sets(uids):
        words = ("OR", *words, "UID", text) if words else ("UID", text)
    return words or ("NOT", "ALL")


_PIECE = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s"{}\x00-\x1f\x7f]+)|(\S))')


def _raw(text: str) -> tuple[Word, ...]:
    """A search as IMAP writes it, strings in quotes. Literals cannot be written, and are made where they are needed."""
    words: list[Word] = []
    for match in _PIECE.finditer(text):
        quoted, plain, wrong = match.groups()
        if wrong is not None:
            raise UsageError("a search cannot be read from here on: {text!r}", text=text[match.start(3) :][:80])
        if quoted is not None:
            words.append(string(re.sub(r"\\(.)", r"\1", quoted)))
        else:
            words.append(plain if plain.isascii() else string(plain))
    return tuple(words)
