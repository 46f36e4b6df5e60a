"""Commands and their responses (RFC 9051 §2.2): the tag, literals either way, and what a server says without being asked.

    yield from self._start("UID FETCH", "1:*", "(FLAGS)")            sends a command
    response = yield from self._next("FETCH")                        Data("FETCH", ...), ..., at last the Status of the command
    found = yield from self._ask("STATUS", name, "(MESSAGES)", want=("STATUS",))        the same in one

A server may say at any time how many messages there are now, which are gone, whose flags have
changed: `mailbox` is kept up to date.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prise.errors import ConnectionLost, MessageTooLarge, NotFound, PriseError, ProtocolError, Refused, UsageError
from prise.protocols.imap.message import Message, read_message
from prise.protocols.imap.names import Literal, Word
from prise.protocols.imap.parser import Continue, Data, Status, announced, bytes_of, list_of, parse, text_of
from prise.protocols.mover import Way
from prise.protocols.source import Failed
from prise.protocols.steps import Steps
from prise.protocols.talk import Options, Talk, cleaned
from prise.protocols.target import Target

LONGEST_LINE = 1024 * 1024
"""Bytes of a response's line: an envelope may have some thousand receivers."""

LONGEST_LIST = 16 * 1024 * 1024
"""The same, where the uids of a million messages that were found are on one."""

LARGEST_ANSWER = 16 * 1024 * 1024
"""Bytes of one response with its literals, where the caller sets no other bound."""

MOST_UNASKED = 1_000_000
"""Responses to one command that nobody has asked for. A message that is gone counts once, all others count a hundred times or,
if they are about a message, ten times."""

MOST_ASKED = 100
"""Responses that are gathered before they are used; most commands have one."""

MISSING = frozenset({"NONEXISTENT", "TRYCREATE"})
"""Codes (RFC 5530) of a no to something that is not there; older servers say none."""


@dataclass(slots=True)
class Mailbox:
    """The mailbox that is open, as it is now.

    exists: how many messages. uidvalidity: uids mean the same as long as this does; uidnext: the next message has at least this
    uid; both 0 where the server does not say. flags: those that are known; permanent: those that can be changed for good,
    with "\\*" new ones too. readonly: nothing can be changed.
    """

    name: str
    readonly: bool = False
    exists: int = 0
    uidvalidity: int = 0
    uidnext: int = 0
    flags: tuple[str, ...] = ()
    permanent: tuple[str, ...] = ()


class Event(NamedTuple):
    """Something has happened in the mailbox that is open.

    kind: "exists", "expunge" or "flags". number: how many messages there are now; for the others, the place of the
    message. message: with "flags", what was told, its flags at least.
    """

    kind: str
    number: int
    message: Message | None = None


class Unfinished(NamedTuple):
    """A response whose next literal, of `size` bytes, is a message's text that the caller reads himself."""

    parts: list[bytes]
    size: int


Response = Status | Data | Continue

_TEXT = re.compile(rb"(?:BODY|BINARY)\[[^\[\]]*\](?:<\d+>)? ~?\{\d+\+?\}\Z", re.IGNORECASE)


class Commands(Talk):
    """capabilities: in upper case. enabled: what ENABLE has switched on. mailbox: the one that is open. alerts: the last words
    that the server wants people to see."""

    def __init__(self, target: Target, options: Options, *way: Way) -> None:
        super().__init__(target, options, *way)
        self.capabilities: frozenset[str] = frozenset()
        self.enabled: frozenset[str] = frozenset()
        self.mailbox: Mailbox | None = None
        self.alerts: deque[str] = deque(maxlen=20)
        self._numbers = 0
        self._tag = ""
        self._operation = "the greeting"
        self._unasked = 0
        self._leaving = False
        self._told: dict[str, str] = {}  # codes that came with the last command
        self._events: list[Event] | None = None  # where somebody waits for them
        self._size = 0  # bytes of the last response
        self._largest = LARGEST_ANSWER
        self._longest = LONGEST_LINE

    def _has(self, *names: str) -> bool:
        """Whether the server offers one of these."""
        return any(name in self.capabilities for name in names)

    @property
    def _utf8(self) -> bool:
        """Whether strings may hold UTF-8 (RFC 6855 §3, RFC 9051 §5.1)."""
        rev2_only = self._has("IMAP4REV2") and not self._has("IMAP4REV1")
        return rev2_only or not self.enabled.isdisjoint(("UTF8=ACCEPT", "IMAP4REV2"))

    # -- out -----------------------------------------------------------------------------------------------------------

    def _start(self, *words: Word, shown: str | None = None) -> Steps[None]:
        """Sends a command. The first word names it. shown: what a trace shows behind the tag (a password). Raises Refused
        where the server does not take a literal."""
        self._numbers += 1
        self._tag = f"A{self._numbers}"
        self._operation = words[0] if isinstance(words[0], str) else "command"
        self._unasked = 0
        self._told.clear()
        line = self._tag.encode()
        for word in words:
            space = b"" if word == ")" or line.endswith(b"(") else b" "
            if isinstance(word, Literal):
                yield from self._say_literal(line + space, word, shown)
                line = b""
            else:
                line += space + (word.encode(errors="surrogateescape") if isinstance(word, str) else word)
        yield from self.say(line, None if shown is None else f"{self._tag} {shown}")

    def _say_literal(self, line: bytes, literal: Literal, shown: str | None) -> Steps[None]:
        at_once = self._has("LITERAL+") or (literal.size <= 4096 and self._has("LITERAL-", "IMAP4REV2"))
        at_once = at_once and not literal.waits
        mark = f"{'~' if literal.binary else ''}{{{literal.size}{'+' if at_once else ''}}}"
        yield from self.say(line + mark.encode(), None if shown is None else f"{self._tag} {shown}")
        if not at_once:
            yield from self._go_on()
        sent = 0
        # What goes wrong here is no UsageError: the server waits for the rest, so the session cannot go on.
        try:
            for piece in literal.pieces:
                sent += len(piece)
                if sent > literal.size:
                    break
                yield bytes(piece)
        except UsageError as error:
            raise Failed(error) from None
        if sent != literal.size:
            raise PriseError(
                "what was to be sent has not the {size} bytes that it was said to have",
                operation=self._operation,
                size=literal.size,
            )

    def _go_on(self) -> Steps[None]:
        """Waits for "+". Raises Refused for a no."""
        while not isinstance(response := (yield from self._response()), Continue):
            if isinstance(status := self._sorted(response, ()), Status):
                self._answered(status)
                raise ProtocolError("the server answered before it had the command", operation=self._operation)

    # -- in ------------------------------------------------------------------------------------------------------------

    def _response(self, parts: Sequence[bytes] = ()) -> Steps[Response]:
        """The next response, whole. parts: of it, which were read before."""
        response = yield from self._response_or_text([*parts], aside=False)
        assert not isinstance(response, Unfinished)
        return response

    def _response_or_text(self, parts: list[bytes], aside: bool = True) -> Steps[Response | Unfinished]:
        """The next response. parts: of it, which were read before. aside: stop in front of a literal that is a message's text,
        or a part's. Raises ProtocolError, MessageTooLarge, ConnectionLost."""
        size = 0
        while True:
            line = yield from self.reader.line(self._longest)
            if self._tracing:
                self.trace("<", line.decode(errors="surrogateescape"))
            literal = announced(line, first=not parts)
            parts.append(line)
            if literal is None:
                self._size = size + len(line)
                return parse(parts)
            if aside and _TEXT.search(line):
                return Unfinished(parts, literal)
            size += len(line) + literal + 256  # what an empty one takes as well
            if size > self._largest:
                raise MessageTooLarge(
                    "the server announces an answer of {size} bytes, more than {limit}; `get` reads a message piece by piece",
                    operation=self._operation,
                    size=size,
                    limit=self._largest,
                )
            parts.append((yield from self.reader.exactly(literal)))

    def _next(self, *want: str) -> Steps[Data | Status]:
        """The next response of these names; or the status that ends the command, whatever it is."""
        while True:
            response = yield from self._response()
            if (found := self._sorted(response, want)) is not None:
                return found

    def _sorted(self, response: Response, want: tuple[str, ...]) -> Data | Status | None:
        """A response that the command is about; None for all others, which are taken note of."""
        if isinstance(response, Data):
            if response.name in want:
                return response
        elif isinstance(response, Continue):
            raise ProtocolError("the server waits for more than it was told", operation=self._operation)
        elif response.tag != "*":
            if response.tag != self._tag:
                raise ProtocolError(
                    "the answer is to no command: {tag!r}", operation=self._operation, tag=response.tag[:20]
                )
            self._note(response)
            return response
        self._heard(response)
        return None

    def _ask(
        self, *words: Word, want: tuple[str, ...] = (), kind: type[Refused] = Refused, shown: str | None = None
    ) -> Steps[list[Data]]:
        """A command to its end; gives the responses of the name that is wanted. kind: of a no without a code."""
        yield from self._start(*words, shown=shown)
        found: list[Data] = []
        while isinstance(response := (yield from self._next(*want)), Data):
            found.append(response)
            if len(found) > MOST_ASKED:
                raise ProtocolError(
                    "the answer has more than {limit} lines", operation=self._operation, limit=MOST_ASKED
                )
        self._answered(response, kind)
        return found

    def _answered(self, status: Status, kind: type[Refused] = Refused) -> None:
        """Raises Refused for a command that did not go well: `kind` for a no without a code, NotFound where the code says so."""
        if status.kind == "OK":
            return
        if status.kind not in ("NO", "BAD"):
            raise ProtocolError(
                "the answer is neither OK nor NO nor BAD: {kind}", operation=self._operation, kind=status.kind
            )
        if status.kind == "NO" and status.code in MISSING:
            kind = NotFound
        elif kind is NotFound and (status.kind != "NO" or status.code):
            kind = Refused
        raise kind(operation=self._operation, peer=self.target, code=status.kind, words=cleaned(status.words))

    # -- what nobody has asked for -------------------------------------------------------------------------------------

    def _heard(self, response: Response) -> None:
        """Takes note of a response. Raises ConnectionLost for BYE."""
        name = response.name if isinstance(response, Data) else ""
        gone = name == "EXPUNGE" and self.mailbox is not None and self.mailbox.exists > 0
        self._unasked += 1 if gone else 10 if name == "FETCH" else 100
        if self._unasked > MOST_UNASKED:
            raise ProtocolError("the server does not stop to say what nobody has asked for", operation=self._operation)
        if isinstance(response, Status):
            if response.kind == "BYE" and not self._leaving:
                raise ConnectionLost(
                    "the server ended the session: {words}", peer=self.target, words=cleaned(response.words)
                )
            self._note(response)
            return
        if isinstance(response, Continue):
            raise ProtocolError("the server waits for more than it was told", operation=self._operation)
        match response.name:
            case "CAPABILITY":
                self.capabilities = frozenset(text_of(value).upper() for value in response.values)
            case "ENABLED":
                self.enabled |= {text_of(value).upper() for value in response.values}
            case _ if self.mailbox is not None:
                self._changed(self.mailbox, response)

    def _note(self, status: Status) -> None:
        """What a status has in its brackets."""
        code, arguments, mailbox = status.code, status.arguments, self.mailbox
        if code == "CAPABILITY":
            self.capabilities = frozenset(arguments.upper().split())
        elif code == "ALERT":
            self.alerts.append(cleaned(status.words))
        elif code in ("COPYUID", "APPENDUID"):
            self._told[code] = arguments
        elif mailbox is not None:
            if code in ("READ-ONLY", "READ-WRITE"):
                mailbox.readonly = code == "READ-ONLY"
            elif code in ("UIDNEXT", "UIDVALIDITY") and arguments.isdecimal() and len(arguments) <= 10:
                setattr(mailbox, code.lower(), int(arguments))
            elif code == "PERMANENTFLAGS":
                mailbox.permanent = tuple(arguments.strip("()").split())

    def _changed(self, mailbox: Mailbox, data: Data) -> None:
        event = None
        match data.name:
            case "EXISTS":
                mailbox.exists = data.number
                event = Event("exists", data.number)
            case "EXPUNGE":
                mailbox.exists = max(mailbox.exists - 1, 0)  # 0: it is about the mailbox that was open before
                event = Event("expunge", data.number)
            case "FETCH":
                event = Event("flags", data.number, read_message(data.number, data.values))
            case "FLAGS":
                mailbox.flags = tuple(text_of(value) for value in list_of(data.values[0] if data.values else None))
        if event is not None and self._events is not None:
            self._events.append(event)


def pairs(data: Data) -> Iterator[tuple[str, bytes]]:
    """Names and values of a list in a response: `("name" "Dovecot")`, (MESSAGES 3 UNSEEN 1)."""
    values = list_of(data.values[-1] if data.values else None)
    for name, value in zip(values[::2], values[1::2], strict=False):
        yield text_of(name), bytes_of(value)
