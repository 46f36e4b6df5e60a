"""The sessions of IMAP: the three verbs that all protocols have, on top of what is IMAP's own."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prise.errors import Refused, UsageError
from prise.protocols.entry import Entry
from prise.protocols.imap.idle import Idle
from prise.protocols.imap.mailboxes import CLOSED
from prise.protocols.imap.message import Message, Part
from prise.protocols.imap.messages import OVERVIEW
from prise.protocols.imap.names import Literal, Word, flag_list, moment
from prise.protocols.imap.parser import Data, list_of, text_of
from prise.protocols.imap.place import Place, read_name
from prise.protocols.imap.sets import uid_sets
from prise.protocols.session import AsyncSession, Session, content, procedure, streaming
from prise.protocols.source import Data as Sent
from prise.protocols.source import Source
from prise.protocols.steps import Flow, Items, Steps
from prise.protocols.talk import cleaned


class IMAPTalk(Idle):
    """capabilities, enabled: what the server offers, and what was switched on. mailbox: the one that is open, or None.
    alerts: what the server wants people to see."""

    @streaming
    def list(self, name: str | None = None, last: int | None = None) -> Steps[Flow[Entry]]:
        """The mailboxes; in a mailbox, its messages; of a message, its parts; of a search in the URL, what was found.

        name: a mailbox, "" for the top; None: what the URL names. last: of a mailbox's messages only the newest, so many.
        A message's `name` is its uid, for `get`; size in bytes; modified: when it came; facts: flags, from, message_id. The
        mailbox is opened for reading only, unless it is open.
        Raises NotFound.
        """
        place = self.place if name is None else Place(name or None)
        if place.mailbox is None:
            return (yield from self.mailboxes.steps())
        if place.uid is not None:
            yield from self._at(place)
            structure = yield from self._structure(place.uid)
            parts = [_part_entry(place.uid, part) for part in structure.walk()]
            return Flow(_told(parts), len(parts))
        try:
            yield from self._at(place, afresh=place.search is None)
        except Refused:
            inside = yield from self._mailboxes_in(place.mailbox)
            if inside is None:
                raise
            return inside
        if place.search is not None:
            uids = yield from self.search.steps(place.search)
            return Flow(self._fetched(list(uid_sets(uids)), OVERVIEW, form=Message.entry), len(uids))
        assert self.mailbox is not None
        exists = self.mailbox.exists
        count = exists if last is None else min(max(last, 0), exists)
        places = [f"{exists - count + 1}:{exists}"] if count else []
        return Flow(self._fetched(places, OVERVIEW, form=Message.entry, command="FETCH"), count)

    @content
    def get(self, name: str | int | None = None, offset: int = 0) -> Steps[Flow[bytes]]:
        """A message, whole, as it was mailed (RFC 5322), or a part of one, decoded. It is not marked as seen.

        name: the uid of a message in the mailbox that is open (or the URL's), "7"; "7/1.2" for a part of it, as `list` has it;
        or a place as in a URL, "INBOX/;UID=7". None: what the URL names. offset: bytes of a whole message to leave out: size
        is then that of the rest. Raises NotFound.
        """
        place = self.place if name is None else read_name(name)
        if place.uid is None:
            raise UsageError("which message? example: {example}", example=f"{self.target.at('INBOX/;UID=7')}")
        if place.mailbox is None:
            yield from self._open_mailbox()
        else:
            yield from self._at(place)
        if place.section is not None and not place.offset and not place.length:
            return (yield from self.part.steps(place.uid, place.section, offset=offset))
        length = place.length
        if length is not None and (length := length - offset) <= 0:
            return Flow(_told(()), 0)
        flow = yield from self._text(place.uid, place.section or "", place.offset + offset, length)
        if place.section is None:
            flow.name, flow.kind = f"{place.uid}.eml", "message/rfc822"
        return flow

    @procedure
    def put(
        self,
        name: str | bytes | None,
        data: Sent,
        flags: str | Iterable[str] = (),
        date: datetime | None = None,
        binary: bool = False,
    ) -> Steps[int | None]:
        r"""Puts a message into a mailbox. Gives its uid there, None where the server does not say (no UIDPLUS).

        name: the mailbox; None: the URL's. data: the message (RFC 5322, lines end in CR LF), as it is to be; its size is said
        first, so an iterable is held as a whole. flags: "\Seen"... date: when it is to have come; None: now. binary: it may
        hold NUL (RFC 3516; the server must have BINARY).
        Raises NotFound where there is no such mailbox, Refused.
        """
        mailbox = name if name is not None else self.place.mailbox
        if mailbox is None:
            raise UsageError("into which mailbox? example: {example}", example=f"{self.target.at('INBOX')}")
        source = Source.of(data)
        if source.size is None:
            source = Source.of(source.read())
        assert source.size is not None
        words: tuple[Word, ...] = ("APPEND", self._name(mailbox))
        if flags:
            words += (flag_list(flags),)
        if date is not None:
            words += (moment(date),)
        # Dovecot 2.3 takes a message that comes at once for commands, if it does not like what stands before it.
        yield from self._ask(*words, Literal(source, source.size, binary, waits=True))
        uid = self._told.get("APPENDUID", "").rpartition(" ")[2]
        return int(uid) if uid.isdecimal() and len(uid) <= 10 else None

    def _at(self, place: Place, afresh: bool = False) -> Steps[None]:
        """Opens the mailbox of a place, for reading, unless it is the one that is open. afresh: see `_open_mailbox`."""
        assert place.mailbox is not None
        if self.mailbox is None or self.mailbox.name != place.mailbox:
            yield from self._select("EXAMINE", place.mailbox, implied=True)
        elif afresh:
            yield from self.noop.steps()
        self._same(place.uidvalidity)

    def _mailboxes_in(self, name: str) -> Steps[Flow[Entry] | None]:
        """Those in what is no mailbox itself; None where it is not even that."""
        yield from self._start("LIST", '""', self._name(name))
        delimiter = ""
        while isinstance(data := (yield from self._next("LIST")), Data):
            self._heard(data)  # as one of those that are counted: there is one, or there are a few
            if len(data.values) > 2 and not CLOSED.isdisjoint(
                text_of(flag).lower() for flag in list_of(data.values[0])
            ):
                delimiter = text_of(data.values[1])
        self._answered(data)
        # One character (RFC 3501 §7.2.2): what is none is no way down.
        sound = len(delimiter) == 1 and delimiter.isascii()
        return (yield from self.mailboxes.steps(f"{name}{delimiter}*")) if sound else None


def _part_entry(uid: int, part: Part) -> Entry:
    facts = {"type": part.type, "encoding": part.encoding, "disposition": part.disposition}
    name = f"{uid}/{part.number}" if part.number else str(uid)
    return Entry(name, "part", cleaned(part.filename or part.description), part.size or None, facts=facts)


def _told(entries: Iterable[Entry]) -> Steps[None]:
    yield Items(tuple(entries))


class IMAP(IMAPTalk, Session):
    """A blocking IMAP session."""


class AsyncIMAP(IMAPTalk, AsyncSession):
    """An asynchronous IMAP session."""
