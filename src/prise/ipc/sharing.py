"""The bounds of `prise.ipc`: what travels in shared memory, and how much of it there may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from prise.core.limits import Limits
from prise.errors import UsageError

LOCAL_LIMITS: Final = Limits(message_size=64 * 1024 * 1024, idle_time=None)
"""For the processes of one machine: `message_size` is for what goes through the socket."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """When a message travels in shared memory, and how much of it there may be.

    threshold: bytes from which on a message does (default 256 KiB, as measured); None: never, all goes through the socket.
    largest: bytes of one such message, sent or received (default 1 GiB). in_flight_size, in_flight: bytes (64 MiB) and
    messages (16) sent and not yet taken by the peer before `send` waits; one message always may be on its way.
    """

    threshold: int | None = 256 * 1024
    largest: int = 1024 * 1024 * 1024
    in_flight_size: int = 64 * 1024 * 1024
    in_flight: int = 16

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if name == "threshold" and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError("{name} must be a whole number above 0, not {value!r}", name=name, value=value)
