"""The way of what arrives into the archive: in order, in chunks, the next when the one before is stored.

So whatever the archive has is a beginning of the stream without gaps, also when the disk was full in between, and its last
number says where to go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prise import PriseError
from prise.chat.events import Message
from prise.chat.store.archive import Archive, Batch, Fact, Item

CHUNK = 500
"""So much goes to the archive together, and is there as a whole or not at all."""

MOST_WAITING = 4 * CHUNK
"""What may wait for the archive; then the stream waits."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something of the stream or, fact, of the bucket. item: for the archive; None: nothing that it needs. number: there.
    last: the node is up to date then."""

    item: Message | Fact | None
    number: int
    id: str = ""
    fact: bool = False
    last: bool = False


class Copy:
    """taken: is told what is stored now, with what the archive made of it, and which messages it did not have before. failed: is
    told why a chunk is not stored; then nothing is passed on until `clear`."""

    def __init__(
        self,
        archive: Archive,
        taken: Callable[[Sequence[tuple[Arrival, Item | None]], Sequence[Message]], None],
        failed: Callable[[PriseError], None],
    ) -> None:
        self._archive = archive
        self._taken = taken
        self._failed = failed
        self._waiting: deque[Arrival] = deque()
        self._chunk: list[Arrival] = []  # what the archive has in hand
        self._broken = False

    @property
    def full(self) -> bool:
        return len(self._waiting) > MOST_WAITING

    @property
    def idle(self) -> bool:
        """The archive has nothing in hand."""
        return not self._chunk

    def clear(self) -> None:
        """Forgets what waits: it comes again."""
        self._waiting.clear()
        self._broken = False

    def add(self, arrival: Arrival) -> None:
        self._waiting.append(arrival)
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting and not self._chunk and not self._broken:
            self._chunk = [self._waiting.popleft() for _ in range(min(CHUNK, len(self._waiting)))]
            items = [arrival.item for arrival in self._chunk if arrival.item is not None]
            if items:
                self._archive.add_all(items)
            else:
                self._take(Batch([], []))

    def reported(self, batch: Batch) -> None:
        """The archive has done with the chunk."""
        self._take(batch)
        self._pass_on()

    def _take(self, batch: Batch) -> None:
        chunk, self._chunk = self._chunk, []
        error = next((error for _, error in batch.done if error is not None), None)
        if error is not None:
            self._broken = True
            self._waiting.clear()
            self._failed(error)
            return
        kept = iter(batch.done)
        self._taken([(each, None if each.item is None else next(kept)[0]) for each in chunk], batch.fresh)
