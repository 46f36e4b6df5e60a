"""What FETCH tells about a message (RFC 9051 §7.5.2), as values: `Message`, its `Envelope` and the tree of its `Part`s."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import NamedTuple

from prise.errors import ProtocolError
from prise.protocols.entry import Entry
from prise.protocols.header import decoded_words
from prise.protocols.imap.names import MONTHS
from prise.protocols.imap.parser import Value, bytes_of, list_of, number_of, text_of
from prise.protocols.talk import cleaned


class Person(NamedTuple):
    """name: for people, "" where there is none. address: "ada@example.org"."""

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


class Envelope(NamedTuple):
    """A message's header, as the server has read it. Texts are decoded (RFC 2047). date: as written, unchecked."""

    date: str
    subject: str
    from_: tuple[Person, ...]
    sender: tuple[Person, ...]
    reply_to: tuple[Person, ...]
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    bcc: tuple[Person, ...]
    in_reply_to: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message (MIME, RFC 2045), or several in one (type "multipart/...").

    number: what `part` takes: "1.2"; "" for the whole of a multipart. type: in lower case. encoding: base64, quoted-printable...
    size: in bytes, still encoded; lines: None where there is none. disposition: "attachment", "inline" or "". parts: those in it.
    envelope: of a message in the message.
    """

    number: str
    type: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    id: str = ""
    description: str = ""
    encoding: str = ""
    size: int = 0
    lines: int | None = None
    disposition: str = ""
    filename: str | None = None
    parts: tuple[Part, ...] = ()
    envelope: Envelope | None = None

    def walk(self) -> Iterator[Part]:
        """This part and all that are in it, in their order."""
        yield self
        for part in self.parts:
            yield from part.walk()


class Message(NamedTuple):
    """What was asked about a message; None (or empty) for what was not, or what the server does not say.

    uid: its number for good in this mailbox (with the mailbox's `uidvalidity`). number: its place in the mailbox now.
    size: in bytes. date: when it came. sections: "" is the whole message, "HEADER", "1.2"... as they were asked for;
    None where the message has no such section.
    """

    uid: int
    number: int
    flags: frozenset[str] | None = None
    size: int | None = None
    date: datetime | None = None
    envelope: Envelope | None = None
    structure: Part | None = None
    sections: Mapping[str, bytes | None] = {}
    facts: Mapping[str, Value] = {}

    @property
    def data(self) -> bytes:
        """The whole message, where it was fetched; else b""."""
        return self.sections.get("") or b""

    def entry(self) -> Entry:
        """The same as `list` gives it."""
        facts: dict[str, object] = {"flags": sorted(self.flags or ())}
        title = ""
        if self.envelope is not None:
            title = cleaned(self.envelope.subject)
            facts["from"] = cleaned(", ".join(map(str, self.envelope.from_)))
            facts["message_id"] = cleaned(self.envelope.message_id)
        return Entry(str(self.uid), "message", title, self.size, self.date, facts=facts)


_SECTION = re.compile(r"(?:BODY|BINARY)\[([^\]]*)\](?:<\d+>)?")


def read_message(number: int, values: list[Value]) -> Message:
    """A FETCH response. uid is 0 where it has none. Raises ProtocolError."""
    items = list_of(values[0]) if len(values) == 1 else []
    if not number or len(items) % 2:
        raise ProtocolError("the answer to FETCH has no pairs of names and values")
    uid = 0
    size = flags = date = envelope = structure = None
    sections: dict[str, bytes | None] = {}
    facts: dict[str, Value] = {}
    for at in range(0, len(items), 2):
        name, value = items[at], items[at + 1]
        match name.upper() if isinstance(name, str) else name:
            case "UID":
                uid = number_of(value)
            case "FLAGS":
                flags = frozenset(map(text_of, list_of(value)))
            case "RFC822.SIZE":
                size = number_of(value)
            case "INTERNALDATE":
                date = read_date(bytes_of(value))
            case "ENVELOPE":
                envelope = read_envelope(list_of(value))
            case "BODYSTRUCTURE" | "BODY":
                structure = read_structure(list_of(value))
            case str(other):
                if section := _SECTION.match(other):
                    sections[section[1]] = None if value is None else bytes_of(value)
                else:
                    facts[other] = value
            case _:
                raise ProtocolError("the answer to FETCH has no pairs of names and values")
    return Message(uid, number, flags, size, date, envelope, structure, sections, facts)


_DATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z")
_MONTH_NUMBERS = {name.lower().encode(): number for number, name in enumerate(MONTHS, 1)}


def read_date(value: bytes) -> datetime | None:
    """17-Jul-2024 02:44:25 -0700; None for what is none."""
    match = _DATE.match(value)
    if match is None or match[2].lower() not in _MONTH_NUMBERS:
        return None
    day, _, year, hour, minute, second, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    try:
        return datetime(
            int(year),
            _MONTH_NUMBERS[match[2].lower()],
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=timezone(-offset if sign == b"-" else offset),
        )
    except ValueError:
        return None


# -- texts of a header -----------------------------------------------------------------------------------------------------


def words_of(value: Value) -> str:
    """A header's text as it was meant: encoded words (RFC 2047) are decoded, folded lines joined."""
    text = decoded_words(bytes_of(value).decode(errors="replace"))
    if "\n" in text or "\r" in text:
        text = text.replace("\r\n", " ").replace("\n", " ").replace("\r", " ")
    return text


def read_envelope(values: list[Value]) -> Envelope:
    """Raises ProtocolError."""
    if len(values) < 10:
        raise ProtocolError("an envelope has {count} fields and not 10", count=len(values))
    from_, sender, reply_to, to, cc, bcc = (_people(list_of(value)) for value in values[2:8])
    date, subject, in_reply_to, message_id = text_of(values[0]), words_of(values[1]), *map(text_of, values[8:10])
    return Envelope(date, subject, from_, sender, reply_to, to, cc, bcc, in_reply_to, message_id)


def _people(values: list[Value]) -> tuple[Person, ...]:
    people = []
    for value in values:
        fields = list_of(value)
        if len(fields) < 4:
            raise ProtocolError("an address has {count} fields and not 4", count=len(fields))
        if fields[3] is not None:  # else it begins or ends a group, whose members stand between
            people.append(Person(words_of(fields[0]), f"{text_of(fields[2])}@{text_of(fields[3])}"))
    return tuple(people)


# -- the tree of parts -----------------------------------------------------------------------------------------------------


def read_structure(values: list[Value], number: str = "", only: bool = True) -> Part:
    """A BODY or BODYSTRUCTURE. number: of what it is in; only: it is the whole of that. Raises ProtocolError."""
    if values and isinstance(values[0], list):
        return _multipart(values, number)
    number = (f"{number}.1" if number else "1") if only else number
    if len(values) < 7:
        raise ProtocolError("a part of a message has {count} fields and not 7", count=len(values))
    kind = f"{text_of(values[0])}/{text_of(values[1])}".lower()
    parameters = _parameters(values[2])
    rest = values[7:]
    lines = None
    envelope = None
    parts: tuple[Part, ...] = ()
    if (
        kind in ("message/rfc822", "message/global")
        and len(rest) >= 3
        and isinstance(rest[0], list)
        and isinstance(rest[1], list)
    ):
        envelope = read_envelope(rest[0])
        parts = (read_structure(rest[1], number),)
        rest = rest[2:]
    if rest and isinstance(rest[0], str) and (kind.startswith("text/") or envelope is not None):
        lines, rest = number_of(rest[0]), rest[1:]
    disposition, more = _disposition(rest[1:])
    return Part(
        number,
        kind,
        parameters,
        text_of(values[3]),
        words_of(values[4]),
        text_of(values[5]).lower(),
        number_of(values[6]) if values[6] is not None else 0,
        lines,
        disposition,
        more.get("filename") or parameters.get("name"),
        parts,
        envelope,
    )


def _multipart(values: list[Value], number: str) -> Part:
    count = next((at for at, value in enumerate(values) if not isinstance(value, list)), len(values))
    parts = tuple(
        read_structure(list_of(values[at]), f"{number}.{at + 1}" if number else str(at + 1), only=False)
        for at in range(count)
    )
    rest = values[count:]
    subtype = text_of(rest[0]).lower() if rest else "mixed"
    parameters = _parameters(rest[1]) if len(rest) > 1 else {}
    disposition, _ = _disposition(rest[2:])
    return Part(number, f"multipart/{subtype}", parameters, disposition=disposition, parts=parts)


def _disposition(values: list[Value]) -> tuple[str, dict[str, str]]:
    """values: from the disposition on, of the extension fields."""
    fields = list_of(values[0]) if values and isinstance(values[0], list) else []
    return (text_of(fields[0]).lower(), _parameters(fields[1])) if len(fields) > 1 else ("", {})


def _parameters(value: Value) -> dict[str, str]:
    """Names in lower case. Those in pieces, or in another character set (RFC 2231), are put together."""
    fields = list_of(value) if isinstance(value, list) else []
    plain = {text_of(name).lower(): words_of(text) for name, text in zip(fields[::2], fields[1::2], strict=False)}
    if not any("*" in name for name in plain):
        return plain
    from email.utils import collapse_rfc2231_value, decode_params

    pairs = [("", ""), *((name, f'"{text}"') for name, text in plain.items())]
    try:
        return {name: collapse_rfc2231_value(text).strip('"') for name, text in decode_params(pairs)[1:]}
    except (ValueError, LookupError, TypeError):  # TypeError: pieces with numbers and without
        return plain
