"""How much a peer may take: one frozen value, on by default, the same for every model and transport."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from prise.errors import UsageError

_NEEDED = ("message_size", "outbox_mark", "outbox_size", "datagram_queue", "linger_time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what peers may use. None switches a bound off, except `message_size`, `outbox_*`, `datagram_queue` and
    `linger_time`.

    connections: open connections in all; at the limit the server stops accepting and the kernel queues (default 2,000).
    connections_per_peer: open connections from one IPv4 address or one IPv6 /64; more are refused at once (default 1,000).
    message_size: bytes of one message (default 1 MiB).
    handshake_time: seconds for the layers to become ready, TLS for example (default 10).
    idle_time: seconds without a byte in either direction (default 600).
    message_time: seconds for one whole message, from its first byte to its last (default 60).
    write_time: seconds for what waits to be sent, from when the peer stopped taking it (default 30).
    outbox_mark: bytes waiting to be sent above which nothing more is read for that peer (default 64 KiB).
    outbox_size: bytes waiting to be sent above which `post` gives the peer up as too slow (default 1 MiB).
    ping_time: seconds of silence after which a peer is asked whether it is still there, where a layer can: WebSocket
    (default 30).
    datagram_queue: bytes of datagrams, each with 256 more, that wait for a conversation which does not keep up; above that the
    oldest is dropped (default 256 KiB).
    amplification: how many times the bytes that came from a peer over UDP are sent to it, both with their headers, until the
    conversation calls `vouch` (default 10). A forged sender would have us flood somebody else; DNS servers reached 50.
    linger_time: seconds granted to a peer to read the last answer after we closed our side (default 2).
    """

    connections: int | None = 2_000
    connections_per_peer: int | None = 1_000
    message_size: int = 1024 * 1024
    handshake_time: float | None = 10.0
    idle_time: float | None = 600.0
    message_time: float | None = 60.0
    write_time: float | None = 30.0
    outbox_mark: int = 64 * 1024
    outbox_size: int = 1024 * 1024
    ping_time: float | None = 30.0
    datagram_queue: int = 256 * 1024
    amplification: int | None = 10
    linger_time: float = 2.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name not in _NEEDED:
                continue
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
                raise UsageError(
                    "the limit {name} must be a number above 0, not {value!r}", name=field.name, value=value
                )
            if "time" not in field.name and not isinstance(value, int):
                raise UsageError("the limit {name} must be a whole number, not {value!r}", name=field.name, value=value)
