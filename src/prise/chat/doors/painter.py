"""What is shown to many, made once: all sessions that are shown the same events in the same way share the bytes.

A house gives the same sequence of events to everybody in turn, so remembering the last one is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from prise import AsyncConnection
from prise.chat.events import Event

Paint = Callable[[Sequence[Event]], list[str]]
"""Makes messages of events, in one of the ways."""


class Painter:
    """Shared by all sessions of one house. way: how it is made, which with the framing decides the bytes."""

    def __init__(self) -> None:
        self._events: Sequence[Event] = ()
        self._made: dict[tuple[Hashable, object], bytes] = {}  # bound: the ways there are, of the last events only

    def bytes(self, events: Sequence[Event], connection: AsyncConnection, way: Hashable, paint: Paint) -> bytes:
        """The events as bytes for this connection."""
        if events is not self._events:
            self._events = events
            self._made.clear()
        key = (way, connection.encoding)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = b"".join(map(connection.encode, paint(events)))
        return made
