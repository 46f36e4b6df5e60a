"""What is shown to many, made once: all sessions that are shown the same events in the same way share the bytes.

A house gives the same sequence of events to everybody in turn, so remembering the last one is enough; and most of those
who follow each other see it in the same way, which costs no more than a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prise import AsyncConnection
from prise.chat.events import Event, Message

Way = tuple[str, str]
"""How something is made: by which kind of session, and its room or its language."""

Paint = Callable[[Sequence[Event]], list[str]]
"""Makes messages of events, in one of the ways."""


class Painter:
    """Shared by all sessions of one house. way: how it is made, which with the framing decides the bytes."""

    def __init__(self) -> None:
        self._events: Sequence[Event] = ()
        self._made: dict[
            tuple[Way, object], tuple[bytes, ...]
        ] = {}  # bound: the ways there are, of the last events only
        self._called: frozenset[str] = frozenset()
        self._way: Way | None = None  # of what was asked for last, with its framing and its bytes
        self._encoding: object = None
        self._bytes: tuple[bytes, ...] = ()

    def called(self, events: Sequence[Event]) -> frozenset[str]:
        """The names of people whom these events call: for them a bell rings."""
        if events is not self._events:
            self._turn_to(events)
        return self._called

    def bytes(
        self, events: Sequence[Event], connection: AsyncConnection, way: Way, paint: Paint, *, apart: bool = False
    ) -> tuple[bytes, ...]:
        """The events as bytes for this connection. apart: each on its own, for carriers that keep messages apart (WebSocket)."""
        if events is not self._events:
            self._turn_to(events)
        encoding = connection.encoding
        if encoding is self._encoding and way == self._way:
            return self._bytes
        key = (way, encoding)
        made = self._made.get(key)
        if made is None:
            pieces = tuple(map(connection.encode, paint(events)))
            made = self._made[key] = pieces if apart or len(pieces) < 2 else (b"".join(pieces),)
        self._way, self._encoding, self._bytes = way, encoding, made
        return made

    def _turn_to(self, events: Sequence[Event]) -> None:
        self._events = events
        self._made.clear()
        self._way = None
        self._called = frozenset(
            name for each in events if isinstance(each, Message) for name in (*each.mentions, each.to) if name
        )
