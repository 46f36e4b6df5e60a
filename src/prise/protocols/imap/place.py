"""What an IMAP URL names (RFC 5092): mailboxes, a mailbox, messages that are looked for, a message, a part of it.

/                               the mailboxes
/INBOX;UIDVALIDITY=385759       a mailbox; with `;UIDVALIDITY=` the uids below are known to mean the same as then
/INBOX?SUBJECT%20x              messages in it: a search
/INBOX/;UID=7                   a message; for people /INBOX/7 does as well (a mailbox of that name is written INBOX%2F7)
/INBOX/;UID=7/;SECTION=1.2      a part of it; and ;PARTIAL=1024.512 behind it: 512 bytes from 1024 on
"""

from __future__ import annotations

import re
from typing import NamedTuple

from prise.errors import AddressError
from prise.protocols.target import decoded


class Place(NamedTuple):
    """None for what is not named. offset, length: of PARTIAL."""

    mailbox: str | None = None
    uidvalidity: int | None = None
    uid: int | None = None
    section: str | None = None
    offset: int = 0
    length: int | None = None
    search: str | None = None


_PLACE = re.compile(
    r"(?P<mailbox>[^;?]*?)"
    r"(?:;UIDVALIDITY=(?P<uidvalidity>[1-9]\d{0,9}))?"
    r"(?:/?;UID=(?P<uid>[1-9]\d{0,9}))?"
    r"(?:/?;SECTION=(?P<section>[^;?/]+))?"
    r"(?:/?;PARTIAL=(?P<offset>\d{1,18})(?:\.(?P<length>[1-9]\d{0,9}))?)?"
    r"/?(?:\?(?P<search>.*))?",
    re.IGNORECASE,
)
_FOR_PEOPLE = re.compile(r"(?P<mailbox>.+)/(?P<uid>[1-9]\d{0,9})")
_NAME = re.compile(r"(?P<uid>[1-9]\d{0,9})(?:/(?P<section>\d[\d.]*(?:\.[A-Za-z.]+)?|[A-Za-z]+))?")


def read_place(place: str) -> Place:
    """place: behind the host and its slash, percent-encoded. Raises AddressError."""
    match = _PLACE.fullmatch(place)
    if match is None:
        raise AddressError(
            "{place} is no place in a mailbox: they are like {example}", place=place[:80], example="INBOX/;UID=7"
        )
    mailbox, uidvalidity, uid, section, offset, length, search = match.groups()
    if uid is None and search is None and (people := _FOR_PEOPLE.fullmatch(mailbox)):
        mailbox, uid = people.groups()
    if uid is None and (section or offset):
        raise AddressError("a part of a message needs the message: {example}", example="INBOX/;UID=7/;SECTION=1.2")
    return Place(
        decoded(mailbox) or None,
        int(uidvalidity) if uidvalidity else None,
        int(uid) if uid else None,
        decoded(section) if section else None,
        int(offset or 0),
        int(length) if length else None,
        decoded(search) if search else None,
    )


def read_name(name: str | int) -> Place:
    """What `get` takes, in the mailbox that is selected: a uid, "7", or a part of a message as `list` names it, "7/1.2"; and
    places as in a URL, "INBOX/;UID=7". Raises AddressError."""
    match = _NAME.fullmatch(str(name))
    if match is None:
        return read_place(str(name))
    return Place(uid=int(match["uid"]), section=match["section"])
