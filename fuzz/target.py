"""What a target is: a function that takes bytes and raises when a parser does what it must not do.

    @target(seed(b"hello\n"), words=(b"\r\n",))
    def framing_lines(given: Given) -> None: ...

An input of the fuzzer is what the peer sends, and two bytes behind it: `Given` takes them off. The last but one chooses (which
framing, which limit), the last cuts the bytes into the pieces in which they arrive. So a corpus file reads as what was sent.

What every target checks by itself: only the errors that it names come out, each can be printed, and no input takes long.
"""

from __future__ import annotations

import atexit
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, TypeVar

from prise.errors import PriseError

LONGEST = 4096
"""Bytes of an input. What needs more to break is looked for by `stretch`."""

SECONDS = 2.0
"""CPU seconds of one input: hundreds of times what the slowest takes, since what is measured runs beside other things."""

T = TypeVar("T")


class Wrong(Exception):
    """A parser did what it must not do."""


@dataclass(frozen=True, slots=True)
class Given:
    """data: what the peer sends. choice, cut: 0 to 255, see above."""

    data: bytes
    choice: int = 0
    cut: int = 0

    @classmethod
    def of(cls, blob: bytes) -> Given:
        if len(blob) < 2:
            return cls(blob)
        return cls(blob[:-2], blob[-2], blob[-1])

    def among(self, options: Sequence[T]) -> T:
        """The chosen one of these."""
        return options[self.choice % len(options)]

    def pieces(self) -> Iterator[bytes]:
        """The bytes in the pieces in which they arrive: whole, byte by byte, or in pieces of sizes that alternate."""
        data = self.data
        if not self.cut:
            yield data
            return
        sizes = (self.cut & 15 or 16, self.cut >> 4 or 64)
        at = turn = 0
        while at < len(data):
            size = sizes[turn & 1]
            yield data[at : at + size]
            at += size
            turn += 1


@dataclass(frozen=True, slots=True)
class Target:
    """name: of the folder of its corpus. run: raises for what is wrong. seeds: inputs to begin with. words: that the parser
    looks for, so that the fuzzer need not guess them. raises: what may come out, besides nothing."""

    name: str
    run: Callable[[Given], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...]
    raises: tuple[type[BaseException], ...]

    def __call__(self, blob: bytes) -> None:
        """One input. Raises Wrong, or whatever the parser let out."""
        start = time.thread_time()
        self.run_unlimited(blob)
        taken = time.thread_time() - start
        if taken > SECONDS:
            raise Wrong(f"{len(blob)} bytes took {taken:.1f} s")

    def run_unlimited(self, blob: bytes) -> None:
        """The same, however long it takes."""
        try:
            self.run(Given.of(blob))
        except PriseError as error:
            if not isinstance(error, self.raises):
                raise
            told(error)


TARGETS: dict[str, Target] = {}


def target(
    *seeds: bytes, words: Sequence[bytes] = (), raises: tuple[type[BaseException], ...] = ()
) -> Callable[[Callable[[Given], None]], Callable[[Given], None]]:
    """Makes a function a target, named as it is."""

    def add(run: Callable[[Given], None]) -> Callable[[Given], None]:
        name = run.__name__.replace("_", "-")
        TARGETS[name] = Target(name, run, seeds, tuple(words), raises)
        return run

    return add


def seed(data: bytes, choice: int = 0, cut: int = 0) -> bytes:
    """An input that is this data, chosen and cut so."""
    return data + bytes((choice, cut))


def must(holds: bool, what: str, *details: Any) -> None:
    """Raises Wrong unless it holds."""
    if not holds:
        raise Wrong(" ".join((what, *map(repr, details))))


def told(error: PriseError) -> str:
    """An error as people see it. Its template must fit its details, and what a peer sent must not make it endless:
    the longest quote what a server says when it refuses, which is bounded where it is read."""
    sentence = str(error)
    must(len(sentence) < 500_000, "an error is endless:", sentence[:200])
    return sentence


def outcome(run: Callable[[], T], *kinds: type[PriseError]) -> T | str:
    """What a call gives, or the sentence of its error: to compare two ways of doing the same."""
    try:
        return run()
    except kinds as error:
        return f"{type(error).__name__}: {told(error)}"


def alike(given: Given, read: Callable[[list[bytes]], T], *kinds: type[PriseError]) -> T | str:
    """What is read of the whole, or the sentence of its error; cut into pieces it must be the same."""
    whole = outcome(partial(read, [given.data]), *kinds)
    pieces = outcome(partial(read, list(given.pieces())), *kinds)
    # Of several bounds, which one is passed first may depend on the pieces.
    must(len(given.data) > LONGEST or whole == pieces, "what is read depends on how bytes arrive:", whole, pieces)
    return whole


def scratch() -> Path:
    """A folder for what a target needs on disk; removed when the process ends."""
    folder = mkdtemp(prefix="prise-fuzz-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
