"""How fast one client may speak: so many at once, then so many a second. What is too fast waits; nothing is lost.

A bucket of tokens, kept as the one time at which it is full again.
"""

from __future__ import annotations

from dataclasses import dataclass

from prise import UsageError


@dataclass(frozen=True, slots=True)
class Rate:
    """burst: messages at once. seconds: between two, then."""

    burst: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Rate | None:
        """ "10/5s" is ten in five seconds, "none" no bound. Raises UsageError."""
        if text == "none":
            return None
        count, slash, time = text.partition("/")
        try:
            burst, seconds = int(count), float(time.removesuffix("s") or 1)
            if slash and burst > 0 and seconds > 0:
                return cls(burst, seconds / burst)
        except ValueError:
            pass
        raise UsageError("not a rate: {text}; write for example {example}, or none", text=text, example="10/5s")


USUAL = Rate(10, 0.5)


class Pace:
    """One client's pace. rate None: any."""

    __slots__ = ("_full_at", "_rate")

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._full_at = 0.0

    def wait(self, now: float) -> float:
        """Takes one, and returns how many seconds to wait before it is said. now: of any clock that only goes forward."""
        rate = self._rate
        if rate is None:
            return 0.0
        self._full_at = max(self._full_at, now) + rate.seconds
        return max(0.0, self._full_at - now - rate.burst * rate.seconds)
