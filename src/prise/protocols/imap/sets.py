"""Sets of uids, as IMAP writes them (RFC 9051 §9, sequence-set): "1:3,7", and "5:*" for all from 5 on.

Consecutive uids become ranges; what is too long for one command is cut into several sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from prise.errors import ProtocolError, UsageError

UIDs: TypeAlias = "int | str | Iterable[int]"
"""One uid, several, or a set as text: "1:3,7", "5:*"."""

LARGEST_UID = 2**32 - 1
MOST_UIDS = 4_000_000
"""Uids in one list from a server, which can name them all in ten bytes ("1:4294967295")."""

LONGEST_SET = 4000
"""Characters of a set in one command."""

_SET = re.compile(r"(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?(?:,(?:\d{1,10}|\*)(?::(?:\d{1,10}|\*))?)*")


def uid_sets(uids: UIDs) -> Iterator[str]:
    """The sets for commands that together name these uids; none for no uid. Raises UsageError."""
    if isinstance(uids, str):
        if not _SET.fullmatch(uids):
            raise UsageError("{uids!r} is no set of uids: they are like {example}", uids=uids[:80], example="1:3,7,9:*")
        yield uids
        return
    ranges: list[str] = []
    length = 0
    for first, last in _ranges((uids,) if isinstance(uids, int) else uids):
        text = str(first) if first == last else f"{first}:{last}"
        length += len(text) + 1
        if length > LONGEST_SET:
            yield ",".join(ranges)
            ranges, length = [], len(text)
        ranges.append(text)
    if ranges:
        yield ",".join(ranges)


def _ranges(uids: Iterable[int]) -> Iterator[tuple[int, int]]:
    first = last = 0
    for uid in sorted(uids):
        if not 0 < uid <= LARGEST_UID:
            raise UsageError("{uid} is no uid: they go from 1 to {limit}", uid=uid, limit=LARGEST_UID)
        if uid > last + 1 or not first:
            if first:
                yield first, last
            first = uid
        last = uid
    if first:
        yield first, last


def read_numbers(text: bytes) -> list[int]:
    """The numbers of a SEARCH or SORT response: "2 84 882". Raises ProtocolError."""
    numbers = []
    for word in text.split():
        if not word.isdigit() or len(word) > 10:
            if word.startswith(b"("):
                break  # (MODSEQ ...), which follows where CONDSTORE is on
            raise ProtocolError("the answer has {word!r} among its numbers", word=word[:40].decode(errors="replace"))
        numbers.append(int(word))
    if len(numbers) > MOST_UIDS:
        raise ProtocolError("the answer has more than {limit} numbers", limit=MOST_UIDS)
    return numbers


def read_set(text: str) -> list[int]:
    """The uids of a set that a server has sent, in its order. Raises ProtocolError."""
    found: list[int] = []
    if "*" in text or not _SET.fullmatch(text):
        raise ProtocolError("{text!r} is no set of uids", text=text[:40])
    for piece in text.split(","):
        first, _, last = piece.partition(":")
        low, high = sorted((int(first), int(last or first)))
        if len(found) + high - low >= MOST_UIDS:
            raise ProtocolError("the answer has more than {limit} numbers", limit=MOST_UIDS)
        found.extend(range(low, high + 1))
    return found
