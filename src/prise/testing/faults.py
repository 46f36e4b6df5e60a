"""Bad networks and bad peers, for tests: a proxy between a client and a server that does to the bytes what these do.

    with prise.listen(conversation, ":0") as server:
        with faults.proxy(server.address, faults.Split(1), faults.Delay(0.01)) as address:
            with prise.connect(address) as connection: ...

Faults apply in the order in which they are given, to both directions; `only="up"` is from client to server, `only="down"` back.
Streams (TCP, and TLS and WebSocket on it, Unix) have Delay, Split, Coalesce, Throttle, Truncate, Reset and HalfOpen;
datagrams (UDP) have Delay, Drop, Duplicate, Reorder and HalfOpen.

A fault is data and arithmetic, without I/O: it is given pieces with the times at which they are to be delivered, and gives
pieces with other times. `prise.testing.faultproxy` moves them. What is random follows from the seed, which is in the proxy's
`repr` and is noted on any exception that leaves its `with` block; the same seed and the same bytes give the same faults.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias

from prise.address import AddressLike
from prise.errors import UsageError

if TYPE_CHECKING:
    from prise.testing.faultproxy import Proxy

__all__ = [
    "Coalesce",
    "Delay",
    "Drop",
    "Duplicate",
    "Fault",
    "HalfOpen",
    "Reorder",
    "Reset",
    "Split",
    "Throttle",
    "Truncate",
    "proxy",
]


def proxy(address: AddressLike, *faults: Fault, seed: int | None = None) -> Proxy:
    """A proxy to `address`, on the same transport; in a `with` statement it gives the address where it listens.

    address: of a server that may be started later: `tcp`, `tls`, `ws`, `wss`, `udp`, or a Unix stream socket. The proxy listens
    on loopback, or on a Unix path of its own; TLS passes through it untouched, so the server's name stays the one that is
    checked where it is a name of this machine. seed: of all that is random; by default a new one.
    Leaving the block cuts what is still open. At most `faultproxy.MOST` connections are open, and in each direction of one
    no more than `faultlinks.MOST_WAITING` bytes wait: a stream is then read no further, a datagram is lost.

    Raises UsageError for another transport, or a fault that this one cannot have; AddressError, BindError, ResolveError.
    """
    from prise.testing.faultproxy import Proxy

    return Proxy(address, faults, seed)


class Sign(Enum):
    """What else travels in a stream besides bytes."""

    END = "the end of the stream"
    RESET = "the connection is reset, on both sides"
    CUT = "nothing passes any more, in either direction"


Way: TypeAlias = Literal["up", "down"]
"""From the client to the server, and back."""

Piece: TypeAlias = "bytes | Sign"
Timed: TypeAlias = "tuple[float, Piece]"
"""When a piece is to be delivered, in seconds of the monotonic clock, and the piece: each is written by itself."""


@dataclass
class Fault:
    """What happens to one direction of one connection. A fault of your own overrides `put`, and `late` where it holds back.

    only: "up" (client to server), "down", or None for both. on: the kinds of transport that can have it.
    Each direction of each connection has a copy of its own, with random numbers of its own in `dice`.
    """

    only: Way | None = field(default=None, kw_only=True)
    dice: Random = field(init=False, repr=False, compare=False, default_factory=Random)
    due: float = field(init=False, repr=False, compare=False, default=math.inf)
    """When `late` is to be called; inf: never."""

    on: ClassVar[frozenset[str]] = frozenset({"stream"})

    def fresh(self, dice: Random) -> Self:
        """A copy for one direction of one connection, in its first state."""
        copy = replace(self)
        copy.dice = dice
        return copy

    def put(self, at: float, piece: Piece) -> Iterable[Timed]:
        """A piece that is to be delivered at this time; returns what is to be delivered instead, and when."""
        return ((at, piece),)

    def late(self) -> Iterable[Timed]:
        """The time `due` has come; what was held back."""
        return ()


@dataclass
class Delay(Fault):
    """Each piece comes so many seconds later, and up to `jitter` more, at random. A stream stays in order, datagrams do not."""

    seconds: float
    jitter: float = 0.0
    on = frozenset({"stream", "datagrams"})

    def __post_init__(self) -> None:
        _check(self.seconds >= 0 and self.jitter >= 0, self)

    def put(self, at: float, piece: Piece) -> Iterable[Timed]:
        return ((at + self.seconds + (self.dice.uniform(0, self.jitter) if self.jitter else 0.0), piece),)


@dataclass
class Split(Fault):
    """The stream is written `size` bytes at a time; with `most`, a random number from `size` to `most` of them.

    pause: seconds between two writes. Without one, the kernel may join again what the reader has not read yet.
    """

    size: int
    most: int = 0
    pause: float = 0.0

    def __post_init__(self) -> None:
        _check(self.size >= 1 and (not self.most or self.most >= self.size) and self.pause >= 0, self)
        self._left = 0  # of the present part; parts follow from the stream, not from how it was read
        self._free = 0.0

    def put(self, at: float, piece: Piece) -> Iterator[Timed]:
        if isinstance(piece, Sign):
            yield max(at, self._free), piece
            return
        while piece:
            if not self._left:
                self._left = self.dice.randint(self.size, self.most) if self.most else self.size
            part, piece = piece[: self._left], piece[self._left :]
            self._left -= len(part)
            at = max(at, self._free)
            yield at, part
            self._free = at + self.pause


@dataclass
class Coalesce(Fault):
    """Bytes are held back until there are `size` of them, or the first has waited `seconds`; then they are written together."""

    size: int
    seconds: float = 0.05

    def __post_init__(self) -> None:
        _check(self.size >= 1 and self.seconds > 0, self)
        self._held = b""

    def put(self, at: float, piece: Piece) -> Iterator[Timed]:
        if self._held and at >= self.due:
            yield from self.late()
        if isinstance(piece, Sign):
            yield from self._all(at)
            yield at, piece
            return
        if not self._held:
            self.due = at + self.seconds
        self._held += piece
        if len(self._held) >= self.size:
            yield from self._all(at)

    def late(self) -> Iterator[Timed]:
        yield from self._all(self.due)

    def _all(self, at: float) -> Iterator[Timed]:
        held, self._held, self.due = self._held, b"", math.inf
        if held:
            yield at, held


@dataclass
class Throttle(Fault):
    """No more than `rate` bytes pass in a second."""

    rate: int

    def __post_init__(self) -> None:
        _check(self.rate >= 1, self)
        self._free = 0.0  # when all that came before has passed

    def put(self, at: float, piece: Piece) -> Iterator[Timed]:
        if isinstance(piece, Sign):
            yield max(at, self._free), piece
            return
        step = max(self.rate // 100, 1)  # a hundredth of a second: smooth, and not a write for each byte
        for start in range(0, len(piece), step):
            part = piece[start : start + step]
            self._free = max(at, self._free) + len(part) / self.rate
            yield self._free, part


@dataclass
class _After(Fault):
    """The first `after` bytes of a direction pass as they are; then a sign, and nothing behind it. With 0, at the first byte."""

    after: int
    sign: ClassVar[Sign]

    def __post_init__(self) -> None:
        _check(self.after >= 0, self)
        self._left = self.after
        self._over = False

    def put(self, at: float, piece: Piece) -> Iterator[Timed]:
        if self._over:
            return
        if isinstance(piece, Sign):
            yield at, piece
            return
        if passes := piece[: self._left]:
            self._left -= len(passes)
            yield at, passes
        if not self._left:
            self._over = True
            yield at, self.sign


class Truncate(_After):
    """After so many bytes the receiver sees the end of the stream (FIN). The rest is thrown away; the other direction goes on."""

    sign = Sign.END


class Reset(_After):
    """After so many bytes of a direction the connection is reset (RST), for both sides. Bytes on their way may be lost with it.

    A Unix socket knows no reset: there both sides see an end, and who writes a broken pipe.
    """

    sign = Sign.RESET


class HalfOpen(_After):
    """After so many bytes of a direction nothing passes any more, in either one, and nobody is told: no FIN, no RST.

    So it is when a machine vanishes, or a firewall forgets a connection. Nothing is read from then on either: what a side sends
    fills the buffers of the system.
    """

    sign = Sign.CUT
    on = frozenset({"stream", "datagrams"})


@dataclass
class _Chance(Fault):
    """chance: from 0 (never) to 1 (every datagram)."""

    chance: float
    on = frozenset({"datagrams"})

    def __post_init__(self) -> None:
        _check(0 <= self.chance <= 1, self)

    def happens(self) -> bool:
        return self.dice.random() < self.chance


class Drop(_Chance):
    """Some datagrams are lost. chance: from 0 (none) to 1 (all)."""

    def put(self, at: float, piece: Piece) -> Iterable[Timed]:
        return () if self.happens() else ((at, piece),)


class Duplicate(_Chance):
    """Some datagrams come twice. chance: from 0 (none) to 1 (all)."""

    def put(self, at: float, piece: Piece) -> Iterable[Timed]:
        return ((at, piece),) * (2 if self.happens() else 1)


@dataclass
class Reorder(_Chance):
    """Some datagrams come `seconds` late, so that others overtake them. chance: from 0 (none) to 1 (all)."""

    seconds: float = 0.02

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.seconds > 0, self)

    def put(self, at: float, piece: Piece) -> Iterable[Timed]:
        return ((at + self.seconds if self.happens() else at, piece),)


def _check(sound: bool, fault: Any) -> None:
    if not sound:
        raise UsageError("a fault cannot be {fault}: see its docstring for the bounds", fault=repr(fault))
