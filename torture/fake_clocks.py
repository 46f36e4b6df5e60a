"""Clocks that jump. `Clocks` are those of this process, for what runs in its threads; `WallClock` is that of programs that are
started meanwhile (libfaketime), and only the wall clock: no machine's monotonic clock can be set.
"""

from __future__ import annotations

import os
import time
from glob import glob
from pathlib import Path
from typing import Self

import pytest

HOUR = 3600.0


class Clocks:
    """`time.time` and `time.monotonic` of all threads here. A context manager."""

    def __init__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._wall = self._passed = 0.0

    def __enter__(self) -> Self:
        wall, monotonic = time.time, time.monotonic
        self._patch.setattr(time, "time", lambda: wall() + self._wall + self._passed)
        self._patch.setattr(time, "monotonic", lambda: monotonic() + self._passed)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def pass_time(self, seconds: float) -> None:
        """So much time has passed. Whoever sleeps in the kernel does not notice: wake them."""
        self._passed += seconds

    def set_back(self, seconds: float) -> None:
        """Somebody sets the wall clock; no time passes. Negative: they set it forward."""
        self._wall -= seconds


class WallClock:
    """file: where the programs read how wrong their clock is. A context manager; start them inside."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._patch = pytest.MonkeyPatch()
        self.offset = 0.0
        self.set(0.0)

    def __enter__(self) -> Self:
        libraries = glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not libraries:
            assert os.environ.get("PRISE_ALL_PROGRAMS") != "1", "libfaketime is missing"
            pytest.skip("faketime is not installed")
        self._patch.setenv("LD_PRELOAD", libraries[0])
        self._patch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._file))
        self._patch.setenv("FAKETIME_NO_CACHE", "1")
        self._patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def set(self, offset: float) -> None:
        """From now on the programs' clock is so many seconds ahead."""
        self.offset = offset
        beside = self._file.with_suffix(".new")
        beside.write_text(f"{offset:+.0f}")
        beside.replace(self._file)  # never half written
