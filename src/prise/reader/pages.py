"""A list or a text that is looked at, through a window of so many rows: what is selected, where the window is, what is found.

`draw(columns, lines)` gives the rows of the window and keeps its size; nothing else knows how large the screen is.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import Any

from prise.cli.columns import Row
from prise.protocols.entry import Entry
from prise.reader import mail
from prise.reader.mail import Attachment, Letter
from prise.reader.markup import text_of
from prise.reader.places import LETTERS, UNREADABLE, Place
from prise.reader.portions import Portion
from prise.reader.rows import letter_rows, row, text_rows, wrapped
from prise.reader.servers import Thing

SELECTED = "selected"
FOUND = "found"

_CHARSET = re.compile(r""";\s*charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)


class Page(ABC):
    """place: what is shown; None for what is nowhere (the help)."""

    def __init__(self, place: Place | None) -> None:
        self.place = place
        self.top = 0
        self.lines = 1  # until it is drawn
        self.columns = 80
        self._hit = -1  # the row that was found

    @property
    @abstractmethod
    def count(self) -> int:
        """Rows in all."""

    @abstractmethod
    def row(self, number: int) -> Row: ...

    @property
    @abstractmethod
    def position(self) -> str:
        """Where in it we are, for the line below."""

    @abstractmethod
    def move(self, step: int) -> None:
        """One up (-1) or down (1)."""

    @abstractmethod
    def turn(self, pages: int) -> None:
        """So many windows up or down."""

    @abstractmethod
    def go(self, number: int) -> None:
        """To a row."""

    def draw(self, columns: int, lines: int) -> list[Row]:
        """The rows of the window."""
        self.columns, self.lines = columns, max(lines, 1)
        self.scroll(0)
        return [self.row(number) for number in range(self.top, min(self.top + self.lines, self.count))]

    def scroll(self, rows: int) -> None:
        """Moves the window."""
        self.top = max(0, min(self.top + rows, self.count - self.lines))

    def find(self, words: str) -> bool:
        """Goes to the next row with these words, whatever their case; behind the end it begins anew."""
        count, wanted = self.count, words.casefold()
        begin = self._here + 1
        for number in (*range(begin, count), *range(min(begin, count))):
            if wanted in self.row(number).text.casefold():
                self._hit = number
                self.go(number)
                return True
        return False

    @property
    def _here(self) -> int:
        return self._hit if self.top <= self._hit < self.top + self.lines else self.top - 1


class ListPage(Page):
    """entries: what is there. more: what the next portion begins with. held: what the entries are, where they are here already
    (attachments)."""

    def __init__(
        self, place: Place, entries: list[Entry], more: Any = None, held: list[Attachment] | None = None
    ) -> None:
        super().__init__(place)
        self.entries = entries
        self.more = more
        self.held = held
        self.selected = next((number for number in range(len(entries)) if self._can(number)), 0)

    @property
    def entry(self) -> Entry | None:
        """The one that is selected; None where there is none."""
        return self.entries[self.selected] if self.entries and self._can(self.selected) else None

    @property
    def attachment(self) -> Attachment | None:
        return self.held[self.selected] if self.held and self.entry is not None else None

    @property
    def at_end(self) -> bool:
        return self.selected >= len(self.entries) - 1 or self.top + self.lines >= len(self.entries)

    def draw(self, columns: int, lines: int) -> list[Row]:
        if self.lines > lines and not self._beyond(self.selected):
            self.lines = lines  # in a lower window, what is selected stays in sight
            self.scroll(self._beyond(self.selected))
        return super().draw(columns, lines)

    def extend(self, portion: Portion) -> None:
        self.entries += portion.entries
        self.more = portion.more

    @property
    def count(self) -> int:
        return len(self.entries)

    def row(self, number: int) -> Row:
        assert self.place is not None
        plain = row(self.entries[number], self.place.target.protocol)
        return Row(plain.text, SELECTED) if number == self.selected and self.entry is not None else plain

    @property
    def position(self) -> str:
        if not self.entries:
            return "0+" if self.more is not None else "0"
        return f"{self.selected + 1}/{len(self.entries)}{'+' if self.more is not None else ''}"

    def move(self, step: int) -> None:
        ahead = self._beyond(self.selected) * step > 0  # the first one, below a long text
        number = self._next(self.selected if ahead else self.selected + step, step)
        # A long text between two things that can be selected is to be seen, too.
        if number is None or abs(self._beyond(number)) > self.lines // 2:
            self.scroll(step * max(1, self.lines // 2))
        else:
            self._select(number)

    def turn(self, pages: int) -> None:
        rows = pages * max(1, self.lines - 1)
        self.scroll(rows)
        wanted = max(0, min(self.selected + rows, self.count - 1))
        step = 1 if pages > 0 else -1
        number = self._next(wanted, -step)
        number = self._next(wanted, step) if number is None or self._beyond(number) else number
        if number is not None and not self._beyond(number):
            self.selected = number

    def go(self, number: int) -> None:
        number = max(0, min(number, self.count - 1))
        if self.count and self._can(number):
            self._select(number)
            return
        self.scroll(self._beyond(number))
        near = self._next(number, 1)
        near = self._next(number, -1) if near is None or self._beyond(near) else near
        if near is not None and not self._beyond(near):
            self.selected = near

    @property
    def _here(self) -> int:
        return self._hit if self._hit >= 0 and not self._beyond(self._hit) else self.selected

    def _select(self, number: int) -> None:
        self.selected = number
        self.scroll(self._beyond(number))

    def _beyond(self, number: int) -> int:
        """Rows by which the window would have to move for this one to be in it."""
        return min(number - self.top, 0) + max(number - self.top - self.lines + 1, 0)

    def _next(self, number: int, step: int) -> int | None:
        while 0 <= number < len(self.entries):
            if self._can(number):
                return number
            number += step
        return None

    def _can(self, number: int) -> bool:
        return self.entries[number].kind not in UNREADABLE


class TextPage(Page):
    """A text, or a message. thing: what it was made from; to be saved. letter: of a message."""

    def __init__(self, place: Place | None, text: str = "", letter: Letter | None = None, thing: Thing | None = None):
        super().__init__(place)
        self.thing = thing
        self.letter = letter
        self.full = False
        self._text = text
        self._rows: tuple[int, list[Row]] | None = None  # of so many columns

    @property
    def rows(self) -> list[Row]:
        if self._rows is None or self._rows[0] != self.columns:
            self._hit = -1  # that row is another one now
            self._rows = self.columns, wrapped(self.whole(), self.columns)
        return self._rows[1]

    def whole(self) -> list[Row]:
        """All of it, not wrapped."""
        return text_rows(self._text) if self.letter is None else letter_rows(self.letter, self.full)

    def show_header(self) -> None:
        """All of it, or the short one again."""
        self.full, self._rows, self.top = not self.full, None, 0

    def draw(self, columns: int, lines: int) -> list[Row]:
        if columns != self.columns and self._rows is not None:
            # What is read stays in sight when the window changes its width.
            part = self.top / max(1, len(self._rows[1]))
            self.columns = columns
            self.top = int(part * self.count)
        return super().draw(columns, lines)

    @property
    def count(self) -> int:
        return len(self.rows)

    def row(self, number: int) -> Row:
        found = self.rows[number]
        return Row(found.text, FOUND) if number == self._hit else found

    @property
    def position(self) -> str:
        seen = min(self.top + self.lines, self.count)
        return f"{100 * seen // max(1, self.count)} %"

    def move(self, step: int) -> None:
        self.scroll(step)

    def turn(self, pages: int) -> None:
        self.scroll(pages * max(1, self.lines - 1))

    def go(self, number: int) -> None:
        self.top = number
        self.scroll(0)


def page_of(place: Place, found: Portion | Thing) -> Page | None:
    """The page for what was found there; None for what is no text, or too large to be shown."""
    if isinstance(found, Portion):
        return ListPage(place, found.entries, found.more)
    if not found.is_text:
        return None
    kind = (found.kind or "").partition(";")[0].lower()
    if place.kind in LETTERS or kind == "message/rfc822":
        return TextPage(place, letter=mail.read(found.data), thing=found)
    charset = _CHARSET.search(found.kind or "")
    text = mail.text(found.data, charset[1] if charset else None)
    if kind in ("text/html", "application/xhtml+xml") or (place.kind == "page" and "<" in text):
        text = text_of(text)
    return TextPage(place, text, thing=found)


def attachments_of(place: Place, letter: Letter) -> ListPage:
    entries = [
        Entry(str(number), "attachment", each.name or each.kind, len(each.data))
        for number, each in enumerate(letter.attachments, 1)
    ]
    return ListPage(place, entries, held=letter.attachments)
