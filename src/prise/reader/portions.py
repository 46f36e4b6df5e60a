"""A list in portions: of news and mail the newest first, so that 100,000 are there as soon as ten; others as they are."""

from __future__ import annotations

from email import message_from_bytes
from email.utils import parsedate_to_datetime
from itertools import islice
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
WIDEST = 64 * PORTION
"""Numbers of articles that one question is about, where most have expired."""


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
        found = list(islice(entries, MOST_LISTED + 1))
    if len(found) > MOST_LISTED:
        found[-1] = Entry("", "info", "[...]")
    return Portion(found)


def _articles(session: Any, place: Place, more: tuple[int, int] | None) -> Portion:
    numbers = session.group(place.group).numbers  # also selects it, in a session that was opened anew
    low, high = (numbers.start, numbers.stop - 1) if more is None else more
    found: list[Entry] = []
    width = PORTION
    while high >= low and not found:
        first = max(low, high - width + 1)
        for article in session.over((first, high)):
            facts = {"from": article.from_}
            found.append(
                Entry(str(article.number), "article", article.subject, article.bytes, article.date, facts=facts)
            )
        high = first - 1
        width = min(width * 4, WIDEST)  # numbers without articles are passed quickly
    more = (low, high) if high >= low else None
    kept = sorted(found, key=lambda entry: int(entry.name), reverse=True)
    return Portion(kept, more)


def _messages(session: Any, place: Place, more: list[int] | None) -> Portion:
    session.examine(place.mailbox)  # nothing is marked as seen, and no message stops being new
    if more is None:
        more = session.search() if place.words is None else session.search(text=place.words)
        more.sort()
    uids, rest = more[-PORTION:], more[:-PORTION]
    found = [message.entry() for message in session.fetch(uids)] if uids else []
    found.sort(key=lambda entry: int(entry.name), reverse=True)
    return Portion(found, rest or None)


def _pop3_messages(session: Any, more: list[tuple[int, int]] | None) -> Portion:
    if more is None:
        more = sorted(session.sizes().items())
    here, rest = more[-PORTION_POP3:], more[:-PORTION_POP3]
    found = []
    knows_top = True
    for number, size in reversed(here):
        entry = Entry(str(number), "message", size=size)
        if knows_top:
            try:
                entry = _with_header(entry, session.top(number).read())
            except Refused:
                knows_top = False  # it is optional
        found.append(entry)
    return Portion(found, rest or None)


def _with_header(entry: Entry, data: bytes) -> Entry:
    message = message_from_bytes(data)
    modified = None
    try:
        modified = parsedate_to_datetime(str(message["Date"]))
    except ValueError:
        pass  # no date, or none that is one
    if modified is not None and modified.tzinfo is None:
        modified = modified.astimezone()
    facts = {"from": header(str(message["From"] or ""))}
    return Entry(entry.name, entry.kind, header(str(message["Subject"] or "")), entry.size, modified, facts=facts)
