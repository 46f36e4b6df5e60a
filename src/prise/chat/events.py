"""What can happen in a room, as data. Whoever shows an event decides how it looks (see `texts` for lines).

at: seconds since 1970, as `time.time()` gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Message:
    """Something that somebody said. number: counts the messages of a store from 1; 0 as long as it is not stored."""

    at: float
    author: str
    text: str
    number: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """Somebody came."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class Left:
    """Somebody is gone. reason: for people, in their language; empty when they simply left."""

    at: float
    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Renamed:
    """Somebody has another name now."""

    at: float
    name: str
    new: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What the room itself has to say, usually to one person: the answer to a command, a refusal."""

    text: str


Event: TypeAlias = Message | Joined | Left | Renamed | Notice

Show: TypeAlias = Callable[[Sequence[Event]], object]
"""Shows events to one member, in this order. It must never wait, and never raise. Everybody is given the same sequence
object, so what is made of it for one may be kept for the next."""
