"""What a protocol asks of whoever moves its bytes (see mover.py): the steps that its generators yield.

    yield b"STAT\r\n"               these bytes are sent; it goes on at once, with None
    data = yield                    the next bytes that have come; b"" at the end of the input
    data = yield Receive(5.0)       the same, but None when nothing comes within 5 seconds
    yield Items([...])              for the caller, who iterates over them
    link = yield Dial(2121)         another connection to the same host (FTP), and then Send, Receive, Close with its number
    seconds = yield Now()           what a clock shows, for a procedure that keeps a time limit of its own

A step that fails raises its PriseError at the `yield`. Time limits belong to the mover: see `Session`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from prise.protocols.target import Target

T = TypeVar("T")
R = TypeVar("R")

MAIN = 0
"""The number of the link that the session was opened with."""


@dataclass(frozen=True, slots=True)
class Send:
    """Sends data on a link. Gives None."""

    data: bytes
    link: int = MAIN


@dataclass(frozen=True, slots=True)
class Receive:
    """Gives the next bytes of a link, b"" at its end, or None when there are none within `seconds` (None: the usual limit,
    and TooSlow)."""

    seconds: float | None = None
    link: int = MAIN


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Encrypts a link from here on. On another link than the main one, TLS's session is that of the main one, resumed."""

    link: int = MAIN


@dataclass(frozen=True, slots=True)
class Dial:
    """Connects to another port of the same host, by the same proxies. Gives the number of the new link."""

    port: int


@dataclass(frozen=True, slots=True)
class Listen:
    """Listens on the address that the main link has here. Gives that address, a `prise.Address` with host and port."""


@dataclass(frozen=True, slots=True)
class Accept:
    """Waits for the one connection to what `Listen` opened. Gives the number of the new link."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Ends all connections at once and makes the main link anew, to the server of this URL (HTTP). Gives what TLS agreed on, a
    `TLSInfo`, None in clear."""

    target: Target


@dataclass(frozen=True, slots=True)
class Peer:
    """Gives the address of a link's other end, a `prise.Address`; behind a proxy, that of the server as it is known here."""

    link: int = MAIN


@dataclass(frozen=True, slots=True)
class End:
    """Ends our side of a link, after what was sent; what comes is still received. Gives None."""

    link: int


@dataclass(frozen=True, slots=True)
class Close:
    """Closes a link, after what was sent. Gives None."""

    link: int


@dataclass(frozen=True, slots=True)
class Now:
    """Gives the seconds that a clock shows which only goes forward (time.monotonic)."""


@dataclass(frozen=True, slots=True)
class Items(Generic[T]):
    """What the caller gets next, in this order."""

    values: Sequence[T]


Step: TypeAlias = (
    "bytes | Send | Receive | StartTLS | Dial | Listen | Accept | Peer | End | Reconnect | Close | Now"
    " | Items[Any] | None"
)

Steps: TypeAlias = Generator[Step, Any, R]
"""A procedure: steps that end in a result."""


@dataclass(slots=True)
class Flow(Generic[T]):
    """What a procedure returns whose result comes bit by bit: the steps that produce the `Items`, and what is known already.

    size: of the whole in bytes (or items), None where the server does not say. name: a file name for it. kind: its type where the
    protocol tells one (a MIME type). leave: the procedure that leaves it in the middle, if there is a better way than to read on.
    endless: there is no end to read to, so it is left as well when the session is used for something else.
    """

    steps: Steps[None]
    size: int | None = None
    name: str | None = None
    kind: str | None = None
    leave: Callable[[], Steps[None]] | None = None
    endless: bool = False
