"""Mailboxes as a whole: which there are, which is open, how they are made and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from prise.errors import NotFound, ProtocolError, UsageError
from prise.protocols.entry import Entry
from prise.protocols.imap.commands import Mailbox, pairs
from prise.protocols.imap.entrance import Entrance
from prise.protocols.imap.names import Word, decoded_name, encoded, mailbox_name, string
from prise.protocols.imap.parser import Data, bytes_of, list_of, text_of
from prise.protocols.imap.place import Place, read_place
from prise.protocols.session import procedure, streaming
from prise.protocols.steps import Flow, Items, Steps

USES = frozenset(f"\\{use}" for use in ("All", "Archive", "Drafts", "Flagged", "Important", "Junk", "Sent", "Trash"))
"""RFC 6154, and RFC 8457's \\Important."""

CLOSED = frozenset(("\\noselect", "\\nonexistent"))

COUNTED = ("MESSAGES", "UNSEEN", "UIDNEXT", "UIDVALIDITY")

BATCH = 256  # mailboxes for the caller at once, where they have come already


class Counts(NamedTuple):
    """What STATUS tells of a mailbox that is not open. size: bytes of all messages; None where the server does not say."""

    messages: int
    unseen: int
    uidnext: int
    uidvalidity: int
    size: int | None = None


class Namespace(NamedTuple):
    """Names of mailboxes that begin with `prefix`; delimiter: between a mailbox and one in it, "" where there are none."""

    prefix: str
    delimiter: str


class Namespaces(NamedTuple):
    """RFC 2342: one's own, of other users, of several."""

    personal: tuple[Namespace, ...]
    others: tuple[Namespace, ...]
    shared: tuple[Namespace, ...]


class Mailboxes(Entrance):
    _examined = False  # the mailbox that is open was opened for reading only
    _implied = False  # without being asked for

    @property
    def place(self) -> Place:
        """What the session's URL names."""
        return read_place(self.target.place)

    def _name(self, name: str | bytes) -> Word:
        return mailbox_name(name, self._utf8)

    def _decoded(self, raw: bytes) -> str:
        return decoded_name(raw, self._utf8)

    # -- opening -------------------------------------------------------------------------------------------------------

    @procedure
    def select(self, mailbox: str | bytes | None = None) -> Steps[Mailbox]:
        """Opens a mailbox, for reading and writing; None: the URL's. Gives it as it is now; `session.mailbox` is the same, and
        kept up to date. Raises NotFound, Refused."""
        return (yield from self._select("SELECT", mailbox))

    @procedure
    def examine(self, mailbox: str | bytes | None = None) -> Steps[Mailbox]:
        """Opens a mailbox for reading: nothing in it changes, no message becomes an old one."""
        return (yield from self._select("EXAMINE", mailbox))

    @procedure
    def unselect(self, expunge: bool = False) -> Steps[None]:
        """Closes the mailbox that is open. expunge: what is marked \\Deleted goes for good."""
        if self.mailbox is None:
            raise UsageError("no mailbox is open")
        if not expunge and not self._has("UNSELECT", "IMAP4REV2"):
            yield from self._select("EXAMINE", self.mailbox.name)  # what is read only is not emptied by CLOSE
        yield from self._ask("CLOSE" if expunge or not self._has("UNSELECT", "IMAP4REV2") else "UNSELECT")
        self.mailbox = None

    def _select(self, command: str, name: str | bytes | None, implied: bool = False) -> Steps[Mailbox]:
        if name is None:
            name = self.place.mailbox
            if name is None:
                raise UsageError("which mailbox? example: {example}", example=f"{self.target.at('INBOX')}")
        word = self._name(name)
        opened = self.mailbox = Mailbox(name if isinstance(name, str) else self._decoded(name), command == "EXAMINE")
        try:
            yield from self._ask(command, word, kind=NotFound)
        except BaseException:
            self.mailbox = None
            raise
        self._examined, self._implied = command == "EXAMINE", implied
        return opened

    def _open_mailbox(self, write: bool = False, afresh: bool = False) -> Steps[Mailbox]:
        """The mailbox that is open, or else the URL's, opened no further than it must be. afresh: of one that is open, what is
        new is heard first, since a server searches and lists what it has told of."""
        opened = self.mailbox
        if opened is None:
            place = self.place
            opened = yield from self._select("SELECT" if write else "EXAMINE", place.mailbox, implied=not write)
            self._same(place.uidvalidity)
        elif write and self._examined:
            if not self._implied:
                raise UsageError("{name} is open for reading only: `select` it", name=opened.name)
            opened = yield from self._select("SELECT", opened.name)
        elif afresh:
            yield from self.noop.steps()
        return opened

    def _same(self, uidvalidity: int | None) -> None:
        """Raises NotFound where the mailbox that is open is not the one that a URL meant."""
        if self.mailbox is not None and uidvalidity not in (None, self.mailbox.uidvalidity):
            self.mailbox = None
            raise NotFound(
                "the mailbox has been made anew since this URL was written (UIDVALIDITY): its uids name other messages",
                peer=self.target,
            )

    # -- which there are -----------------------------------------------------------------------------------------------

    @streaming
    def mailboxes(self, pattern: str = "*", subscribed: bool = False) -> Steps[Flow[Entry]]:
        """The mailboxes whose names fit: "*" stands for anything, "%" for anything but a delimiter.

        Entries of kind "mailbox"; of kind "folder" what has mailboxes in it and is none. facts: flags, delimiter, use (RFC 6154:
        "\\Sent", "\\Trash"...; None for most), and raw, the server's bytes, where the name cannot be written as text.
        """
        extended = self._has("LIST-EXTENDED", "IMAP4REV2")
        name = self._name(pattern)
        if subscribed:
            command: tuple[Word, ...] = ("LIST (SUBSCRIBED)", '""', name) if extended else ("LSUB", '""', name)
        else:
            command = ("LIST", '""', name)
            if extended:
                command += ("RETURN (CHILDREN SPECIAL-USE)" if self._has("SPECIAL-USE") else "RETURN (CHILDREN)",)
        yield from self._start(*command)
        return Flow(self._listed())

    def _listed(self) -> Steps[None]:
        batch: list[Entry] = []
        while isinstance(data := (yield from self._next("LIST", "LSUB")), Data):
            batch.append(self._mailbox_entry(data))
            if not self.reader.pending or len(batch) >= BATCH:
                yield Items(batch)
                batch = []
        if batch:
            yield Items(batch)
        self._answered(data)

    def _mailbox_entry(self, data: Data) -> Entry:
        if len(data.values) < 3:
            raise ProtocolError("the server lists a mailbox without a name", operation="LIST")
        flags = [text_of(flag) for flag in list_of(data.values[0])]
        raw = bytes_of(data.values[2]) if data.values[2] is not None else b"NIL"
        name = self._decoded(raw)
        facts: dict[str, object] = {
            "flags": flags,
            "delimiter": text_of(data.values[1]),
            "use": next((flag for flag in flags if flag in USES), None),
        }
        if encoded(name, self._utf8) != raw:
            facts["raw"] = raw
        closed = any(flag.lower() in CLOSED for flag in flags)
        return Entry(name, "folder" if closed else "mailbox", facts=facts)

    @procedure
    def status(self, mailbox: str | bytes | None = None) -> Steps[Counts]:
        """How much is in a mailbox, without opening it; None: the URL's. Raises NotFound."""
        name = mailbox if mailbox is not None else self.place.mailbox
        if name is None:
            raise UsageError("which mailbox? example: {example}", example=f"{self.target.at('INBOX')}")
        size = " SIZE" if self._has("STATUS=SIZE", "IMAP4REV2") else ""
        items = f"({' '.join(COUNTED)}{size})"
        found = yield from self._ask("STATUS", self._name(name), items, want=("STATUS",), kind=NotFound)
        if not found:
            raise ProtocolError("the server tells no STATUS", operation="STATUS")
        said = {key.upper(): int(value) for key, value in pairs(found[-1]) if value.isdigit() and len(value) < 20}
        messages, unseen, uidnext, uidvalidity = (said.get(key, 0) for key in COUNTED)
        return Counts(messages, unseen, uidnext, uidvalidity, said.get("SIZE"))

    # -- making and removing -------------------------------------------------------------------------------------------

    @procedure
    def create(self, mailbox: str | bytes) -> Steps[None]:
        """Makes a mailbox. Raises Refused."""
        yield from self._ask("CREATE", self._name(mailbox))

    @procedure
    def delete(self, mailbox: str | bytes) -> Steps[None]:
        """Removes a mailbox, with all that is in it. Raises NotFound, Refused."""
        yield from self._ask("DELETE", self._name(mailbox))

    @procedure
    def rename(self, mailbox: str | bytes, name: str | bytes) -> Steps[None]:
        """Raises NotFound, Refused."""
        yield from self._ask("RENAME", self._name(mailbox), self._name(name))

    @procedure
    def subscribe(self, mailbox: str | bytes) -> Steps[None]:
        """Has `mailboxes(subscribed=True)` list it."""
        yield from self._ask("SUBSCRIBE", self._name(mailbox))

    @procedure
    def unsubscribe(self, mailbox: str | bytes) -> Steps[None]:
        """Has it no longer listed there."""
        yield from self._ask("UNSUBSCRIBE", self._name(mailbox))

    # -- the server ----------------------------------------------------------------------------------------------------

    @procedure
    def namespaces(self) -> Steps[Namespaces]:
        """Where one's own mailboxes begin, and those of others (RFC 2342). Raises Refused where the server has no NAMESPACE."""
        found = yield from self._ask("NAMESPACE", want=("NAMESPACE",))
        if not found or len(found[-1].values) < 3:
            raise ProtocolError("the server tells no NAMESPACE", operation="NAMESPACE")
        kinds = []
        for value in found[-1].values[:3]:
            spaces = [list_of(space) for space in list_of(value)]
            kinds.append(
                tuple(Namespace(self._decoded(bytes_of(each[0])), text_of(each[1])) for each in spaces if len(each) > 1)
            )
        return Namespaces(*kinds)

    @procedure
    def id(self, about: Mapping[str, str] | None = None) -> Steps[dict[str, str]]:
        """What the server says about itself (RFC 2971): "name", "version"... about: what to tell it, nothing by default."""
        words: list[Word] = ["NIL"]
        if about:
            words = ["(", *(string(text, self._utf8) for pair in about.items() for text in pair), ")"]
        found = yield from self._ask("ID", *words, want=("ID",))
        return {name.lower(): text_of(value) for data in found for name, value in pairs(data)}

    @procedure
    def noop(self) -> Steps[None]:
        """Shows the server that we are still here, and hears what is new in the mailbox that is open."""
        yield from self._ask("NOOP")
