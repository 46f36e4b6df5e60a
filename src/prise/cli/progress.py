"""How far a long transfer is, in one line on stderr: only when that is a terminal, at most ten times a second.

    photos/sea.jpg   45 %   1.2 MB of 2.7 MB   3.4 MB/s   0:12 left

The rate is that of the last seconds. What was there before (a resumed file) counts as done, but not for the rate.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from types import TracebackType
from typing import Self

from prise.cli.texts import amount, visible
from prise.locale import translate as _

EVERY = 0.1
"""Seconds between two drawings."""
WINDOW = 5.0
"""Seconds over which the rate is taken."""

_CLEAR = "\r\x1b[K"


class Progress:
    """Use it in a `with` statement; at its end the line is gone. Elsewhere than on a terminal all of it does nothing.

    total: bytes, None when nobody knows. what: shown in front, such as the name of a file.
    """

    def __init__(self, what: str = "", total: int | None = None) -> None:
        self.what = what
        self.total = total
        self.shown = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._done = 0
        self._moved = 0
        self._next = 0.0
        self._drawn = False
        self._past: deque[tuple[float, int]] = deque([(time.monotonic(), 0)], maxlen=int(WINDOW / EVERY))

    def advance(self, count: int) -> None:
        """So many bytes were moved."""
        self._done += count
        self._moved += count
        if self.shown and (now := time.monotonic()) >= self._next:
            self._next = now + EVERY
            self._draw(now)

    def skip(self, count: int) -> None:
        """So many bytes were there already."""
        self._done += count

    def clear(self) -> None:
        """Takes the line away, for other text; the next `advance` draws it again."""
        if self._drawn:
            self._drawn = False
            self._write(_CLEAR)

    def _draw(self, now: float) -> None:
        past, moved = self._past[0]
        self._past.append((now, self._moved))
        rate = (self._moved - moved) / max(now - past, 1e-3)
        text = line(visible(self.what).replace("\n", " "), self._done, self.total, rate, self._width())
        self._drawn = True
        self._write(_CLEAR + text)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80  # 0: it does not know
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            self.shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()


def line(what: str, done: int, total: int | None, rate: float, width: int) -> str:
    """What is drawn, shorter than the terminal is wide: else it would begin a second line, which cannot be cleared."""
    parts = []
    if total:
        parts += [
            f"{min(100 * done // total, 100):3d} %",
            _("{done} of {total}").format(done=amount(done), total=amount(total)),
        ]
    else:
        parts += [amount(done)]
    parts.append(f"{amount(int(rate))}/s")
    if total and rate >= 1 and total >= done:
        parts.append(_("{time} left").format(time=clock((total - done) / rate)))
    figures = "   ".join(parts)
    room = width - 1 - len(figures) - 3
    if what and room >= 8:
        figures = f"{what if len(what) <= room else '…' + what[1 - room :]}   {figures}"
    return figures[: max(width - 1, 0)]


def clock(seconds: float) -> str:
    """A duration as a clock shows it: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(int(min(seconds, 359_999)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
