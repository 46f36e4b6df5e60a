"""Messages in the mailbox that is open: found, fetched, marked, copied and removed. All by uid."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from prise.errors import NotFound, ProtocolError, Unsupported, UsageError
from prise.protocols.header import file_name
from prise.protocols.imap.commands import LARGEST_ANSWER, LONGEST_LINE, LONGEST_LIST, Unfinished
from prise.protocols.imap.decoding import Decoder, decoder_for
from prise.protocols.imap.mailboxes import Mailboxes
from prise.protocols.imap.message import Message, Part, read_message
from prise.protocols.imap.names import flag_list
from prise.protocols.imap.parser import Data, Status, Value, text_of
from prise.protocols.imap.search import Criterion, Search
from prise.protocols.imap.sets import MOST_UIDS, UIDs, read_numbers, read_set, uid_sets
from prise.protocols.session import content, procedure, streaming
from prise.protocols.steps import Flow, Items, Steps

OVERVIEW = ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE")

LARGEST_MESSAGE = 64 * 1024 * 1024
"""Bytes of a message that `messages` holds as a whole."""

BATCH = 64 * 1024
"""Bytes of messages for the caller at once, where they have come already."""

_ITEM = re.compile(r"[A-Za-z0-9.-]+(?:\[[^\]\r\n{}]*\](?:<\d+\.\d+>)?)?")
_SECTION = re.compile(
    r"(?:\d{1,9}(?:\.\d{1,9})*)?(?:(?:^|(?<=\d)\.)(?:HEADER|TEXT|MIME|HEADER\.FIELDS(?:\.NOT)? \([^\]()\r\n{}]*\)))?",
    re.I,
)
_SORT = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")


class Messages(Mailboxes):
    # -- finding -------------------------------------------------------------------------------------------------------

    @procedure
    def search(self, /, *criteria: Criterion, **more: Any) -> Steps[list[int]]:
        """The uids of the messages that fit all criteria (see `Search`), or of all messages. Raises Refused."""
        yield from self._open_mailbox(afresh=True)
        found = Search.of(*criteria, **more)
        extended = "UID SEARCH RETURN (ALL)" if self._has("ESEARCH", "IMAP4REV2") else "UID SEARCH"
        # A character set is needed, and must not be named where the server was told that all is UTF-8 (RFC 6855 §3).
        charset = () if found.ascii or self._utf8 else ("CHARSET UTF-8",)
        return (yield from self._found(extended, *charset, *found.words))

    @procedure
    def sort(self, order: str, /, *criteria: Criterion, **more: Any) -> Steps[list[int]]:
        """The same in an order: "REVERSE DATE", "SUBJECT"... (RFC 5256: ARRIVAL, CC, DATE, FROM, SIZE, SUBJECT, TO, each with
        REVERSE before it). Raises Unsupported where the server has no SORT."""
        if not self._has("SORT"):
            raise Unsupported("the server does not sort", peer=self.target)
        if not _SORT.fullmatch(order):
            raise UsageError(
                "{order!r} is no order of messages: they are like {example}", order=order[:40], example="REVERSE DATE"
            )
        yield from self._open_mailbox(afresh=True)
        return (yield from self._found("UID SORT", f"({order})", "UTF-8", *Search.of(*criteria, **more).words))

    def _found(self, *words: Any) -> Steps[list[int]]:
        yield from self._start(*words)
        uids: list[int] = []
        self._longest = LONGEST_LIST
        try:
            while isinstance(data := (yield from self._next("SEARCH", "ESEARCH", "SORT")), Data):
                self._heard(data)  # as one of those that are counted: there are few, and may be as many as they like
                uids += _numbers(data)
                if len(uids) > MOST_UIDS:
                    raise ProtocolError("the answer has more than {limit} numbers", limit=MOST_UIDS)
        finally:
            self._longest = LONGEST_LINE
        self._answered(data)
        return uids

    # -- fetching ------------------------------------------------------------------------------------------------------

    @streaming
    def fetch(
        self, uids: UIDs, items: str | Iterable[str] = OVERVIEW, largest: int = LARGEST_ANSWER
    ) -> Steps[Flow[Message]]:
        """What is asked about messages, one `Message` after the other, in the server's order; none for uids that are not there.

        items: FLAGS, INTERNALDATE, RFC822.SIZE, ENVELOPE, BODYSTRUCTURE, BODY.PEEK[HEADER], BODY.PEEK[1.2]... (RFC 9051 §6.4.5);
        BODY[...] without PEEK marks them as seen. largest: bytes that the server may tell of one message: MessageTooLarge.
        """
        names = (items,) if isinstance(items, str) else tuple(items)
        for name in names:
            if not _ITEM.fullmatch(name):
                raise UsageError("{name!r} is nothing to fetch", name=name[:80])
        sets = list(uid_sets(uids))
        yield from self._open_mailbox()
        return Flow(self._fetched(sets, names, largest))

    @streaming
    def messages(self, uids: UIDs, largest: int = LARGEST_MESSAGE) -> Steps[Flow[Message]]:
        """Whole messages: `data`, uid and flags. Many with one command; each is held as one bytes. They are not marked as seen.

        largest: bytes; a longer one raises MessageTooLarge, which ends the session; `get` would read it piece by piece.
        """
        return (yield from self.fetch.steps(uids, ("FLAGS", "BODY.PEEK[]"), largest + LONGEST_LINE))

    def _fetched(
        self,
        sets: list[str],
        items: tuple[str, ...],
        largest: int = LARGEST_ANSWER,
        form: Callable[[Message], Any] | None = None,
        command: str = "UID FETCH",
    ) -> Steps[None]:
        """form: what becomes of each message for the caller. command: FETCH, where the sets are places in the mailbox."""
        only_flags = {name.upper() for name in items} <= {"FLAGS", "UID"}
        for uids in sets:
            yield from self._start(command, uids, f"(UID {' '.join(items)})")
            batch: list[Any] = []
            size = 0
            self._largest = largest
            try:
                while isinstance(data := (yield from self._next("FETCH")), Data):
                    message = read_message(data.number, data.values)
                    if not message.uid or (not only_flags and message[3:] == _NOTHING):
                        self._heard(data)  # somebody has changed its flags
                    else:
                        batch.append(message if form is None else form(message))
                        size += 1000 + self._size
                    if batch and (size > BATCH or not self.reader.pending):
                        yield Items(batch)
                        batch, size = [], 0
            finally:
                self._largest = LARGEST_ANSWER
            if batch:
                yield Items(batch)
            self._answered(data)

    @content
    def part(self, uid: int | str, section: str = "", raw: bool = False, offset: int = 0) -> Steps[Flow[bytes]]:
        """A part of a message, its transfer encoding (base64, quoted-printable) taken off; its file's name and type are known.

        section: a number of `Part`, "1.2"; also "HEADER", "TEXT", "1.MIME", "2.HEADER"...; "" the whole message. raw: as it is
        in the message. offset: bytes of that to leave out; only what is raw can be resumed. Raises NotFound.
        """
        uid = _uid(uid)
        yield from self._open_mailbox()
        if raw or not section.replace(".", "").isdecimal():
            return (yield from self._text(uid, section, offset))
        if offset:
            raise UsageError("what is decoded cannot be resumed: ask for it raw")
        part = next((part for part in (yield from self._structure(uid)).walk() if part.number == section), None)
        if part is None:
            raise NotFound("message {uid} has no part {section}", peer=self.target, uid=uid, section=section)
        flow = yield from self._text(uid, section, decoder=decoder_for(part.encoding))
        if part.encoding in ("base64", "quoted-printable"):
            flow.size = None
        flow.name, flow.kind = file_name(part.filename) if part.filename else None, part.type
        return flow

    def _structure(self, uid: int) -> Steps[Part]:
        yield from self._start("UID FETCH", str(uid), "(UID BODYSTRUCTURE)")
        structure = None
        while isinstance(data := (yield from self._next("FETCH")), Data):
            message = read_message(data.number, data.values)
            if message.uid == uid and structure is None and message.structure is not None:
                structure = message.structure
            else:
                self._heard(data)
        self._answered(data)
        if structure is None:
            raise self._no_message(uid)
        return structure

    def _text(
        self, uid: int, section: str = "", offset: int = 0, length: int | None = None, decoder: Decoder | None = None
    ) -> Steps[Flow[bytes]]:
        """A section of a message, or so much of it, as it comes."""
        if not _SECTION.fullmatch(section):
            raise UsageError(
                "{section!r} is no part of a message: they are like {example}", section=section[:40], example="1.2"
            )
        window = f"<{offset}.{length or 2**32 - 1}>" if offset or length else ""
        yield from self._start("UID FETCH", str(uid), f"(BODY.PEEK[{section}]{window})")
        told: bytes | None = None
        while True:
            response = yield from self._response_or_text([])
            if isinstance(response, Unfinished):
                if window and b"<%d>" % offset not in response.parts[-1]:
                    raise ProtocolError("the server does not send the piece of the message that was asked for")
                return Flow(self._pieces(response, decoder or decoder_for("")), response.size)
            if isinstance(response, Data) and response.name == "FETCH":
                told = read_message(response.number, response.values).sections.get(section.upper(), told)
            if isinstance(status := self._sorted(response, ()), Status):
                break
        self._answered(status)
        if told is None:
            raise self._no_message(uid)
        return Flow(_given(told if decoder is None else decoder.decode(told) + decoder.end()), len(told))

    def _pieces(self, begun: Unfinished, decoder: Decoder) -> Steps[None]:
        left = begun.size
        while left:
            piece = yield from self.reader.piece(left)
            left -= len(piece)
            if data := decoder.decode(piece):
                yield Items((data,))
        if data := decoder.end():
            yield Items((data,))
        response = yield from self._response([*begun.parts, b""])
        while not isinstance(status := self._sorted(response, ()), Status):
            response = yield from self._response()
        self._answered(status)

    def _no_message(self, uid: int) -> NotFound:
        return NotFound("no message here has the uid {uid}, or not this part", peer=self.target, uid=uid)

    # -- changing ------------------------------------------------------------------------------------------------------

    @procedure
    def add_flags(self, uids: UIDs, flags: str | Iterable[str]) -> Steps[None]:
        r"""Marks messages: "\Seen", "\Answered", "\Flagged", "\Draft", "\Deleted", or words of one's own. Raises Refused."""
        yield from self._store(uids, "+FLAGS.SILENT", flags)

    @procedure
    def remove_flags(self, uids: UIDs, flags: str | Iterable[str]) -> Steps[None]:
        """Takes marks away."""
        yield from self._store(uids, "-FLAGS.SILENT", flags)

    @procedure
    def set_flags(self, uids: UIDs, flags: str | Iterable[str]) -> Steps[None]:
        """Gives messages these marks and no others."""
        yield from self._store(uids, "FLAGS.SILENT", flags)

    def _store(self, uids: UIDs, change: str, flags: str | Iterable[str]) -> Steps[None]:
        words = flag_list(flags)
        yield from self._each(uids, "UID STORE", change, words)

    @procedure
    def copy(self, uids: UIDs, mailbox: str | bytes) -> Steps[dict[int, int]]:
        """Copies messages into another mailbox. Gives uid -> uid there; empty where the server does not say (no UIDPLUS).
        Raises NotFound where there is no such mailbox."""
        return (yield from self._each(uids, "UID COPY", self._name(mailbox), write=False))

    @procedure
    def move(self, uids: UIDs, mailbox: str | bytes) -> Steps[dict[int, int]]:
        """Moves messages into another mailbox; gives what `copy` does. Where the server has no MOVE they are copied, marked
        \\Deleted and expunged. Raises NotFound, and Unsupported where it has no UIDPLUS either."""
        if self._has("MOVE", "IMAP4REV2"):
            return (yield from self._each(uids, "UID MOVE", self._name(mailbox)))
        self._need_uidplus()
        # A set as text, "5:*", may name more when they are removed than when they were copied.
        if isinstance(uids, str):
            uids = yield from self.search.steps(uid=uids)
        elif not isinstance(uids, int):
            uids = list(uids)
        moved = yield from self._each(uids, "UID COPY", self._name(mailbox))
        yield from self.remove.steps(uids)
        return moved

    @procedure
    def remove(self, uids: UIDs) -> Steps[None]:
        """Removes messages for good: marks them \\Deleted and expunges them. Raises Unsupported where the server has
        no UIDPLUS."""
        self._need_uidplus()
        uids = uids if isinstance(uids, int | str) else list(uids)
        yield from self._store(uids, "+FLAGS.SILENT", "\\Deleted")
        yield from self._each(uids, "UID EXPUNGE")

    @procedure
    def expunge(self, uids: UIDs) -> Steps[None]:
        """Removes those of these messages that are marked \\Deleted, and no others. Raises Unsupported, see `remove`."""
        self._need_uidplus()
        yield from self._each(uids, "UID EXPUNGE")

    def _need_uidplus(self) -> None:
        if not self._has("UIDPLUS", "IMAP4REV2"):
            raise Unsupported(
                "the server can only remove all messages that anybody has marked as deleted (it has no UIDPLUS)",
                peer=self.target,
            )

    def _each(self, uids: UIDs, command: str, *words: Any, write: bool = True) -> Steps[dict[int, int]]:
        """One command for these messages, or several for very many. Gives what COPYUID says."""
        sets = list(uid_sets(uids))
        yield from self._open_mailbox(write)
        copied: dict[int, int] = {}
        for text in sets:
            yield from self._ask(command, text, *words)
            _, _, both = self._told.get("COPYUID", "").partition(" ")
            old, _, new = both.partition(" ")
            if new:
                copied |= zip(read_set(old), read_set(new), strict=False)
        return copied


_NOTHING = Message(0, 0)[3:]


def _given(data: bytes) -> Steps[None]:
    yield Items((data,))


def _uid(uid: int | str) -> int:
    (text,) = uid_sets(int(uid) if str(uid).isdecimal() else 0)
    return int(text)


def _numbers(data: Data) -> list[int]:
    """Of SEARCH and SORT; of ESEARCH (RFC 4731): (TAG "A1") UID ALL 1:3,7."""
    values: list[Value] = data.values
    if data.name != "ESEARCH":
        return read_numbers(values[0] if isinstance(values[0], bytes) else b"")
    for at, value in enumerate(values[:-1]):
        if isinstance(value, str) and value.upper() == "ALL":
            return read_set(text_of(values[at + 1]))
    return []
