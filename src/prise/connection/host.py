"""What all looped connections of one server (or one client) share, held once: each connection needs one reference to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.loops.base import Loop


def _nothing(*_: Any) -> None:
    pass


@dataclass(slots=True)
class Host:
    """loop, limits and counters of the connections.

    ended(connection, error): a conversation is over, with what it raised or None. closed(connection): its socket is closed.
    linger_time: seconds that a peer is given to end its side after we ended ours; 0 for clients, which ask for no such thing.
    """

    loop: Loop
    limits: Limits
    counters: Counters = field(default_factory=Counters)
    ended: Callable[[Any, BaseException | None], None] = _nothing
    closed: Callable[[Any], None] = _nothing
    linger_time: float = 0.0
