"""What is counted, and the snapshot that `server.stats()` gives.

`Counters` is written by one owner (a loop, a worker, a forked child) with plain additions; sums over several owners are made
by `Counters.sum`. `Stats` is what people read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from operator import attrgetter

FIELDS = (
    "accepted",
    "closed",
    "refused_per_peer",
    "refused_resources",
    "refused_sessions",
    "messages_received",
    "messages_sent",
    "bytes_received",
    "bytes_sent",
    "error_conversation",
    "error_frame",
    "error_handshake",
    "error_too_slow",
    "error_lost",
    "dropped_queue",
    "dropped_too_large",
    "dropped_malformed",
    "dropped_amplification",
)

_values = attrgetter(*FIELDS)


class Counters:
    """Plain additive counters, all starting at 0."""

    __slots__ = FIELDS

    accepted: int
    closed: int
    refused_per_peer: int
    refused_resources: int
    refused_sessions: int
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    error_conversation: int
    error_frame: int
    error_handshake: int
    error_too_slow: int
    error_lost: int
    dropped_queue: int
    dropped_too_large: int
    dropped_malformed: int
    dropped_amplification: int

    def __init__(self, values: Iterable[int] = ()) -> None:
        for name, value in zip(FIELDS, chain(values, repeat(0)), strict=False):
            setattr(self, name, value)

    def values(self) -> tuple[int, ...]:
        found: tuple[int, ...] = _values(self)
        return found

    @classmethod
    def sum(cls, several: Iterable[Counters]) -> Counters:
        return cls(map(sum, zip(*(one.values() for one in several), strict=True)))


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot of a server's counts.

    open: connections open now. total: connections accepted since the start. refused: connections turned away, by cause
    ("per_peer": over the limit for one peer; "resources": the system had no descriptor, thread or process to give;
    "sessions": the first datagram of a peer over the limit of all).
    messages_*, bytes_*: in both directions. errors: connections that ended badly, by cause ("conversation": the user's function
    raised; "frame": the peer broke the framing; "handshake": TLS, WebSocket or another layer could not be set up; "too_slow": a
    deadline or the outbox limit; "lost": reset).
    dropped: datagrams, by cause ("queue": the oldest, where the conversation does not keep up or the system has no room;
    "too_large": longer than the limit or than could be read; "malformed": no message in this framing; "amplification": the
    answer would be too large for what the peer has sent).
    """

    open: int
    total: int
    refused: Mapping[str, int]
    messages_received: int
    messages_sent: int
    bytes_received: int
    bytes_sent: int
    errors: Mapping[str, int]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, counters: Counters) -> Stats:
        def group(prefix: str) -> dict[str, int]:
            return {name.removeprefix(prefix): getattr(counters, name) for name in FIELDS if name.startswith(prefix)}

        return cls(
            open=counters.accepted - counters.closed,
            total=counters.accepted,
            refused=group("refused_"),
            messages_received=counters.messages_received,
            messages_sent=counters.messages_sent,
            bytes_received=counters.bytes_received,
            bytes_sent=counters.bytes_sent,
            errors=group("error_"),
            dropped=group("dropped_"),
        )
