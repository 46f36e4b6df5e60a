"""From whom and to whom a message goes (RFC 5321 §2.3.1): what was said, or else what its header says; and how commands write it.

An address goes into a command between angle brackets, so what could end them is refused here. A domain in other letters than
ASCII is sent in its ASCII form (IDNA, RFC 5890); a local part in other letters needs a server with SMTPUTF8 (RFC 6531).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.errors import InvalidHeaderDefect
from email.headerregistry import Address, HeaderRegistry
from email.message import Message
from typing import Any, Literal, NamedTuple, TypeAlias

from prise.errors import UsageError
from prise.protocols.target import refuse_line_ends

Addresses: TypeAlias = "str | Iterable[str]"
"""One address, several with commas between, or an iterable of such; with names or without: `Ada <ada@example.org>`."""

MOST_RECIPIENTS = 100_000
EXAMPLE = "ada@example.org"

_ADDRESS = re.compile(
    r"""(?P<local> [^\s<>()\[\]\\,;:@"\x00-\x20\x7f\ud800-\udfff]+ | "(?:[^"\\\x00-\x1f\x7f\ud800-\udfff]|\\[\x20-\x7e])*" )
        (?: @ (?P<domain> [^\s<>()\[\]\\,;:@"\x00-\x20\x7f\ud800-\udfff]+ | \[[!-Z^-~]+\] ) )?""",
    re.VERBOSE,
)


class Envelope(NamedTuple):
    """sender: "" for none, so that nobody is told when it cannot be delivered."""

    sender: str
    recipients: tuple[str, ...]

    @property
    def international(self) -> str | None:
        """An address that only a server with SMTPUTF8 takes."""
        return next((address for address in (self.sender, *self.recipients) if not address.isascii()), None)


def envelope_of(
    fields: Message, sender: str | None, recipients: Addresses | None, usual: str | None = None
) -> Envelope:
    """What was said, and for the rest the header: Sender or From; To, Cc and Bcc; those of Resent- where there are such.

    usual: the sender where nobody else is named. Raises UsageError.
    """
    resent = any(fields.get(f"resent-{name}") is not None for name in ("from", "sender", "to", "cc", "bcc"))
    prefix = "resent-" if resent else ""
    if resent and None in (sender, recipients) and len(fields.get_all("resent-from", [])) > 1:
        raise UsageError("the message was resent more than once: say the sender and the recipients outright")
    if sender is None:
        found = _in_header(fields, f"{prefix}sender") or _in_header(fields, f"{prefix}from")
        sender = found[0] if found else usual
        if sender is None:
            raise UsageError("the message has no sender: give it a From header, or say the sender outright")
    else:
        sender = _one(sender)
    if recipients is None:
        there = [address for name in ("to", "cc", "bcc") for address in _in_header(fields, prefix + name)]
    else:
        there = addresses(recipients)
    if not there:
        raise UsageError("the message has no recipients: give it a To header, or say them outright")
    if len(there) > MOST_RECIPIENTS:
        raise UsageError("more than {limit} recipients", limit=MOST_RECIPIENTS)
    return Envelope(sender, tuple(dict.fromkeys(there)))


def addresses(given: Addresses) -> list[str]:
    """The bare addresses, their domains in ASCII. Raises UsageError for what is none."""
    return [person.addr_spec for person in people(given)]


def people(given: Addresses) -> tuple[Address, ...]:
    """The addresses with the names of people, as headers take them. Raises UsageError."""
    found: list[Address] = []
    for text in (given,) if isinstance(given, str) else given:
        refuse_line_ends(address=text)
        there = _read(HeaderRegistry(), text)
        if not there:
            raise UsageError("{text!r} is not an address; example: {example}", text=text[:80], example=EXAMPLE)
        found += there
    return tuple(found)


def checked(address: str) -> str:
    """A bare address, its domain in ASCII. Raises UsageError."""
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise UsageError("{address!r} is not an address; example: {example}", address=address[:80], example=EXAMPLE)
    domain = match["domain"]
    return address if domain is None or domain.isascii() else f"{match['local']}@{ascii_domain(domain)}"


def ascii_domain(domain: str) -> str:
    """A domain as names are looked up. Raises UsageError."""
    try:
        name = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        name = ""
    # IDNA makes an ASCII sign of its wide form, such as the one that ends an address in a command.
    if not domain.isascii() and re.fullmatch(r"[\w.-]+", name, re.ASCII) is None:
        raise UsageError("{domain!r} is not the name of a domain", domain=domain[:80])
    return name


def _one(text: str) -> str:
    if text in ("", "<>"):
        return ""
    found = addresses(text)
    if len(found) != 1:
        raise UsageError("the sender is one address, not {count}", count=len(found))
    return found[0]


def _in_header(fields: Message, name: str) -> list[str]:
    """The addresses of all headers of this name; a group may have none."""
    registry = HeaderRegistry()
    found: list[str] = []
    # The raw text: in what its values give, names are decoded already, and could then pass for addresses.
    for value in (value for key, value in fields.raw_items() if key.lower() == name):
        there = _read(registry, re.sub(r"[\r\n]", "", value))
        if there is None:
            raise UsageError("the header {name} cannot be read: say the sender and the recipients outright", name=name)
        found += [person.addr_spec for person in there]
    return found


def _read(registry: HeaderRegistry, text: str) -> list[Address] | None:
    """The addresses in a header's text; None where it is not clear what they are: mail for somebody else is no guess."""
    bare = [_ADDRESS.fullmatch(part.strip()) for part in text.split(",")]
    if any(match is not None and match["local"].startswith("=?") for match in bare):
        return None  # an encoded word, into which the old classes of `email` put name and address: who that is is not clear
    if all(match is not None and not match["local"].startswith('"') for match in bare):
        # So most are; and the parser below, which takes a hundred times as long, knows no local users without a domain.
        return [Address("", match["local"], ascii_domain(match["domain"] or "")) for match in bare if match is not None]
    try:
        header: Any = registry("to", text)
        if any(isinstance(defect, InvalidHeaderDefect) for defect in header.defects):
            return None
        found = [
            Address(person.display_name, person.username, ascii_domain(person.domain))
            for person in header.addresses
            if person.addr_spec != "<>"
        ]
    except UsageError:
        raise
    except Exception:  # the parser of the standard library fails in many ways at what is no address
        return None
    return found if all(_ADDRESS.fullmatch(person.addr_spec) for person in found) else None


@dataclass(frozen=True, slots=True)
class Notices:
    """What is to be told about the delivery, to the sender (DSN, RFC 3461).

    notify: when: "never", or some of "success", "failure" and "delay". ret: what of the message comes back with it. envid: a
    word of ours that comes back. originals: address -> the one that was meant at first; by default the same.
    """

    notify: tuple[str, ...] = ()
    ret: str | None = None
    envid: str | None = None
    originals: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def wanted(
        cls,
        notify: str | Iterable[str] | None,
        ret: Literal["full", "headers"] | None,
        envid: str | None,
        orcpt: Mapping[str, str] | None,
    ) -> Notices:
        """Raises UsageError for what there is not."""
        words = notify.split(",") if isinstance(notify, str) else list(notify or ())
        when = tuple(dict.fromkeys(word.strip().upper() for word in words))
        if not set(when) <= {"NEVER", "SUCCESS", "FAILURE", "DELAY"} or ("NEVER" in when and len(when) > 1):
            raise UsageError(
                "notify is never, or some of success, failure and delay; not {given}", given=",".join(words)[:80]
            )
        if ret not in (None, "full", "headers"):
            raise UsageError("ret is full or headers, not {given}", given=str(ret)[:80])
        if envid is not None and not re.fullmatch(r"[\x20-\x7e]{1,100}", envid):
            raise UsageError("envid is at most 100 characters of ASCII: {envid!r}", envid=envid[:100])
        originals = {checked(address): checked(original) for address, original in (orcpt or {}).items()}
        return cls(when, ret, envid, originals)

    @property
    def any(self) -> bool:
        return bool(self.notify or self.ret or self.envid or self.originals)

    def for_sender(self) -> list[str]:
        """Parameters of MAIL."""
        said = [] if self.ret is None else [f"RET={'FULL' if self.ret == 'full' else 'HDRS'}"]
        return said if self.envid is None else [*said, f"ENVID={xtext(self.envid)}"]

    def for_recipient(self, address: str) -> list[str]:
        """Parameters of RCPT."""
        said = [f"NOTIFY={','.join(self.notify)}"] if self.notify else []
        original = self.originals.get(address, address)
        if original.isascii() and (self.notify or self.originals):
            said.append(f"ORCPT=rfc822;{xtext(original)}")
        return said


def xtext(text: str) -> str:
    """ASCII as a parameter holds it (RFC 3461 §4)."""
    return re.sub(r"[^!-*,-<>-~]", lambda match: f"+{ord(match[0]):02X}", text)
