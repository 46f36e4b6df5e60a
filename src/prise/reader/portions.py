"""A list in portions: of news and mail the newest first, so that 100,000 are there as soon as ten; others as they are."""

from __future__ import annotations

from collections.abc import Iterable
from email.parser import BytesHeaderParser
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from prise.errors import Refused
from prise.protocols.entry import Entry
from prise.reader.mail import header
from prise.reader.places import Place

PORTION = 1000
"""Articles or messages that are fetched at once."""
PORTION_POP3 = 50
"""The same where each header takes a question of its own."""
MOST_LISTED = 100_000
"""Entries of other lists."""
MOST_TEXT = 32 * 1024 * 1024
"""Characters of the entries of one portion."""
MOST_HEADER = 256 * 1024
"""Bytes of a header that are read for the list (POP3)."""
WIDEST = 64 * PORTION
"""Numbers of articles that one question is about, where most have expired."""
MOST_QUESTIONS = 100
"""About numbers without articles, before the person is shown that there is still nothing."""


class Portion(NamedTuple):
    """more: what the next portion begins with, to be given back as it is; None: there is no more."""

    entries: list[Entry]
    more: Any = None


def portion(session: Any, place: Place, more: Any = None) -> Portion:
    """The first portion of a list, or the one that `more` leads to. Raises what the session does."""
    match place.target.protocol:
        case "nntp" if place.kind == "group":
            return _articles(session, place, more)
        case "imap" if place.kind == "mailbox" and (place.name is not None or "?" not in place.target.place):
            return _messages(session, place, more)
        case "pop3":
            return _pop3_messages(session, more)
    if place.words is not None:
        entries = session.search(place.name, place.words)
    else:
        entries = session.list() if place.name is None else session.list(place.name)
    with entries:
        return Portion(_bounded(entries, MOST_LISTED))


def _bounded(entries: Iterable[Entry], most: int) -> list[Entry]:
    """As many as that, and no more text than MOST_TEXT: a server may send lines without end, and long ones."""
    found: list[Entry] = []
    size = 0
    for entry in entries:
        size += len(entry.name) + len(entry.title) + sum(len(str(value)) for value in entry.facts.values())
        if len(found) == most or size > MOST_TEXT:
            found.append(Entry("", "info", "[...]"))
            break
        found.append(entry)
    return found


def _articles(session: Any, place: Place, more: tuple[int, int] | None) -> Portion:
    numbers = session.group(place.group).numbers  # also selects it, in a session that was opened anew
    low, high = (numbers.start, numbers.stop - 1) if more is None else more
    found: list[Entry] = []
    width = PORTION
    for _question in range(MOST_QUESTIONS):
        if high < low or found:
            break
        first = max(low, high - width + 1)
        with session.over((first, high)) as articles:
            found = _bounded(map(_article_entry, articles), high - first + 1)
        high = first - 1
        width = min(width * 4, WIDEST)  # numbers without articles are passed quickly
    return Portion(_newest_first(found), (low, high) if high >= low else None)


def _article_entry(article: Any) -> Entry:
    facts = {"from": article.from_}
    return Entry(str(article.number), "article", article.subject, article.bytes, article.date, facts=facts)


def _newest_first(entries: list[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: int(entry.name or -1), reverse=True)


def _messages(session: Any, place: Place, more: list[int] | None) -> Portion:
    session.examine(place.mailbox)  # nothing is marked as seen, and no message stops being new
    if more is None:
        more = session.search() if place.words is None else session.search(text=place.words)
        more.sort()
    uids, rest = more[-PORTION:], more[:-PORTION]
    if not uids:
        return Portion([])
    with session.fetch(uids) as messages:
        found = _bounded((message.entry() for message in messages), len(uids))
    return Portion(_newest_first(found), rest or None)


class _Numbers(NamedTuple):
    """session: for which the numbers hold; in another one they may be those of other messages (RFC 1939 §7). of: name -> number.
    left: names and sizes of what was not listed yet, the oldest first."""

    session: Any
    of: dict[str, int]
    left: list[tuple[str, int]]


def _pop3_messages(session: Any, more: _Numbers | None) -> Portion:
    if more is None:
        sizes = session.sizes()
        of = _pop3_numbers(session) or {str(number): number for number in sizes}
        more = _Numbers(
            session, of, sorted(((name, sizes.get(of[name], 0)) for name in of), key=lambda each: of[each[0]])
        )
    elif more.session is not session:
        more = _Numbers(session, _pop3_numbers(session) or more.of, more.left)
    here, rest = more.left[-PORTION_POP3:], more.left[:-PORTION_POP3]
    found = []
    knows_top = True
    for name, size in reversed(here):
        number = more.of.get(name)
        if number is None:
            continue  # it was deleted meanwhile
        entry = Entry(name, "message", size=size, facts={"number": number})
        if knows_top:
            try:
                with session.top(number) as pieces:
                    entry = _with_header(entry, _beginning(pieces, MOST_HEADER))
            except Refused:
                knows_top = False  # it is optional
        found.append(entry)
    return Portion(_bounded(found, len(found)), more._replace(left=rest) if rest else None)


def _pop3_numbers(session: Any) -> dict[str, int]:
    """name -> number. The name is one that stays; empty where the server knows none (UIDL is optional)."""
    try:
        return {f"uid:{uid}": number for number, uid in session.uids().items()}
    except Refused:
        return {}


def _beginning(pieces: Iterable[bytes], most: int) -> bytes:
    found = b""
    for piece in pieces:
        found += piece[: most - len(found)]
        if len(found) == most:
            break
    return found


def _with_header(entry: Entry, data: bytes) -> Entry:
    # Raw, since other ways lose what is neither ASCII nor encoded; the first of each name.
    fields = {
        name.lower(): str(value) for name, value in reversed(list(BytesHeaderParser().parsebytes(data).raw_items()))
    }
    modified = None
    try:
        modified = parsedate_to_datetime(fields.get("date", ""))
        if modified.tzinfo is None:
            modified = modified.astimezone()
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        pass  # no date, or none that is one
    facts = {**entry.facts, "from": header(fields.get("from", ""))}
    return Entry(entry.name, entry.kind, header(fields.get("subject", "")), entry.size, modified, facts=facts)
