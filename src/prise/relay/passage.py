"""One conversation that is relayed, and those who look on: what is said of it, dumped, recorded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prise.address import Address

Side = Literal["client", "server"]
"""Who speaks: the side that came (A), or the one that was sought for it (B)."""


@dataclass(slots=True, eq=False)
class Passage:
    """A client, the server it was joined to, and what became of them.

    number: counted from 1 in each relay. client, server: the peers' addresses, None while (or if never) known.
    to_server, to_client: bytes carried, known at the end; seconds: how long it was there, too.
    error: what ended it, if it was neither side's plain end: a reset, an idle time that passed, a server out of reach.
    """

    number: int
    client: Address | None = None
    server: Address | None = None
    to_server: int = 0
    to_client: int = 0
    seconds: float = 0.0
    error: Exception | None = None


class Tap:
    """Looks on at what passes; subclasses fill in what they want to know. All calls come from the relay's own thread.

    wants_data: True for taps whose `data` has something to do. Then the bytes go through this process; else the kernel
    may join the sockets without it. A call that raises ends the relay: what is to be recorded is recorded, or nothing runs.
    """

    wants_data: bool = False

    def opened(self, passage: Passage) -> None:
        """The two sides are joined."""

    def data(self, passage: Passage, side: Side, data: bytes) -> None:
        """This side said this: any piece of a stream, or one whole message where the transport keeps messages."""

    def ended(self, passage: Passage, side: Side) -> None:
        """This side has ended its input; the other one may go on."""

    def reset(self, passage: Passage, side: Side) -> None:
        """This side broke the connection off."""

    def closed(self, passage: Passage) -> None:
        """It is over; also for one that was never joined."""
