"""How many bytes may pass in a second: a token bucket, as data. No clock here: the time comes in as an argument."""

from __future__ import annotations

BURST_TIME = 0.05
"""Seconds whose bytes may come at once. Shorter is smoother, and wakes up more often."""


class Bucket:
    """Holds at most `burst` bytes and fills with `rate` bytes a second. What is taken beyond it is owed."""

    __slots__ = ("_at", "_left", "burst", "rate")

    def __init__(self, rate: int, now: float) -> None:
        self.rate = rate
        self.burst = max(int(rate * BURST_TIME), 1)
        self._left = float(self.burst)
        self._at = now

    def allowed(self, now: float) -> int:
        """Bytes that may pass now."""
        self._left = min(self._left + (now - self._at) * self.rate, self.burst)
        self._at = now
        return max(int(self._left), 0)

    def spend(self, count: int) -> None:
        self._left -= count

    def ready(self) -> float:
        """When half of a burst may pass again (not one byte: that would be a wake-up for each)."""
        return self._at + max(max(self.burst / 2, 1) - self._left, 0.0) / self.rate
