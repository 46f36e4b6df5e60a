"""What a script waits for: `Kept` is the text that has come, `Search` looks for patterns in it, as it grows. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from prise.errors import UsageError

MOST_KEPT = 1024 * 1024
"""Characters that are looked back on; the oldest of more are forgotten."""

Pattern: TypeAlias = "str | bytes | re.Pattern[str]"
"""Words as they are, or a regular expression."""


@dataclass(frozen=True, slots=True)
class Match:
    """index: which of the patterns. match: of a regular expression; None for words. before: what came before it. text: all, up
    to its end."""

    index: int
    match: re.Match[str] | None
    before: str
    text: str


class Kept:
    """Text that has come and was not taken. forgotten: characters that were too many."""

    def __init__(self) -> None:
        self.text = ""
        self.forgotten = 0

    def add(self, text: str) -> None:
        self.text += text
        if (excess := len(self.text) - MOST_KEPT) > 0:
            self.text = self.text[excess:]
            self.forgotten += excess

    def take(self, count: int | None = None) -> str:
        """So many characters from the front; None: all."""
        taken, self.text = (self.text, "") if count is None else (self.text[:count], self.text[count:])
        return taken

    def put_back(self, text: str) -> None:
        """Text that was taken, and comes first again."""
        self.text = text + self.text


class Search:
    """patterns: one or several. encoding: of those that are bytes. Raises UsageError."""

    def __init__(self, patterns: Pattern | Sequence[Pattern], encoding: str) -> None:
        several = [patterns] if isinstance(patterns, str | bytes | re.Pattern) else patterns
        self._patterns: list[str | re.Pattern[str]] = []
        for pattern in several:
            if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, bytes):
                raise UsageError(
                    "what comes is text, and the regular expression {pattern!r} is for bytes", pattern=pattern
                )
            # As what comes is decoded.
            text = pattern.decode(encoding, "surrogateescape") if isinstance(pattern, bytes) else pattern
            self._patterns.append(text)
        if not self._patterns or "" in self._patterns:
            raise UsageError("expect what? Give words, or a compiled regular expression")
        self._looked = 0  # characters in which no words were found, with those forgotten

    def __str__(self) -> str:
        return ", ".join(repr(pattern if isinstance(pattern, str) else pattern.pattern) for pattern in self._patterns)

    def take(self, kept: Kept) -> Match | None:
        """The pattern that begins first, and is the first of those that begin there; the text up to its end is taken."""
        best: tuple[int, int, int, re.Match[str] | None] | None = None
        looked = max(self._looked - kept.forgotten, 0)
        for index, pattern in enumerate(self._patterns):
            match = None
            if isinstance(pattern, str):
                start = kept.text.find(pattern, max(looked - len(pattern) + 1, 0))
                end = start + len(pattern)
            else:
                match = pattern.search(kept.text)
                start, end = match.span() if match is not None else (-1, -1)
            if start >= 0 and (best is None or start < best[0]):
                best = start, end, index, match
        if best is None:
            self._looked = kept.forgotten + len(kept.text)
            return None
        start, end, index, match = best
        text = kept.take(end)
        return Match(index, match, text[:start], text)
