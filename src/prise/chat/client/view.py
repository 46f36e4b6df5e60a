"""The messages of a room as rows of a terminal: wrapped, coloured, with a line where a day begins; scrolled by rows.

Only what is on the screen is made, from the bottom up; what was made of an entry is kept with it while the width is the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from zlib import crc32

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout.controls import GetLinePrefixCallable, UIContent, UIControl
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.utils import get_cwidth

from prise.chat import cleaning
from prise.chat.client.pipe import described
from prise.chat.client.room import FAILED, Entry, Pending, Room
from prise.chat.events import Announcement, Message
from prise.locale import translate as _

COLOURS = tuple(
    f"ansi{each}"
    for each in ("red", "green", "yellow", "blue", "magenta", "cyan", "brightred", "brightgreen", "brightmagenta")
)
INDENT = 6
WHEEL = 3
"""Rows for a turn of the mouse wheel."""

Row = list[tuple[str, str]]


def colour(name: str) -> str:
    """The same for a name in every house."""
    return COLOURS[crc32(cleaning.key(name).encode(errors="replace")) % len(COLOURS)]


def wrapped(parts: Row, width: int) -> list[Row]:
    """Styled text on rows of so many columns, broken between words where that is possible."""
    rows: list[Row] = []
    cells: list[tuple[str, str]] = []
    used = 0
    for style, text in parts:
        for character in text.replace("\t", "    "):
            columns = get_cwidth(character)
            if used + columns > width and cells:
                space = max((i for i, (_s, c) in enumerate(cells) if c == " "), default=-1)
                begin = INDENT if rows else 0
                keep, rest = (cells[:space], cells[space + 1 :]) if space > begin + width // 3 else (cells, [])
                rows.append(_joined(keep))
                indent = min(INDENT, width // 4)
                cells = [("", " ")] * indent + rest
                used = indent + sum(get_cwidth(each) for _style, each in rest)
                if character == " " and not rest:
                    continue
            cells.append((style, character))
            used += columns
    return [*rows, _joined(cells)]


def _joined(cells: Row) -> Row:
    """Neighbours of one style as one."""
    row: Row = []
    for style, text in cells:
        if row and row[-1][0] == style:
            row[-1] = (style, row[-1][1] + text)
        else:
            row.append((style, text))
    return row


def entry_parts(entry: Entry, url: Callable[[str], str]) -> Row:
    """An entry as styled text."""
    event = entry.event
    mark = "bold " if entry.calls else ""
    if isinstance(event, Message) and event.kind == "say":
        clock = time.strftime("%H:%M", time.localtime(event.at))
        whom = f"<{event.author} → {event.to}>" if event.to else f"<{event.author}>"
        parts = [("class:dim", f"{clock} "), (f"{mark}fg:{colour(event.author)}", whom), (mark, f" {event.text}")]
        return [*parts, ("class:dim", " ✓")] if entry.mine else parts
    style = (
        "bold" if isinstance(event, Announcement) or entry.calls else "" if isinstance(event, Message) else "class:dim"
    )
    return [(style, described(entry, url))]


def pending_parts(pending: Pending, name: str) -> Row:
    if pending.state == FAILED:
        why = _("nobody has seen this: {why}").format(why=pending.why)
        return [("", f"    ✗ <{name}> {pending.text} "), ("class:failed", f"({why})")]
    return [("class:dim", f"    … <{name}> {pending.text}")]


class MessageArea(UIControl):
    """room: gives the one to show. name: ours. top: called when somebody has scrolled to the oldest entry."""

    def __init__(
        self, room: Callable[[], Room], name: Callable[[], str], url: Callable[[str], str], top: Callable[[], None]
    ) -> None:
        self._room, self._name, self._url, self._top = room, name, url, top
        self._shown: Room | None = None
        self._anchor = -1  # `Room.appended` when scrolling began; -1: the newest is shown
        self._offset = 0  # rows between the bottom and the newest entry of then
        self._size = (80, 20)

    @property
    def scrolled(self) -> bool:
        return self._anchor >= 0

    def page(self, pages: int) -> None:
        self.scroll(pages * max(1, self._size[1] - 2))

    def scroll(self, rows: int) -> None:
        """Up by so many rows, or down."""
        room = self._room()
        if self._anchor < 0:
            if rows <= 0:
                return
            self._anchor = room.appended
        self._offset += rows
        while self._offset < 0 and self._anchor < room.appended:
            entry = room.entries[max(0, len(room.entries) - (room.appended - self._anchor))]
            self._anchor += 1
            self._offset += len(self._rows(entry, self._size[0]))
        if self._offset <= 0 and self._anchor >= room.appended:
            self.follow()

    def follow(self) -> None:
        """Shows the newest again."""
        self._anchor, self._offset = -1, 0

    def create_content(self, width: int, height: int) -> UIContent:
        room = self._room()
        if room is not self._shown:
            self._shown = room
            self.follow()
        self._size = (width, height)
        rows = self._visible(room, width, height)

        def line(number: int) -> StyleAndTextTuples:
            return list(rows[number])

        return UIContent(get_line=line, line_count=len(rows), show_cursor=False)

    def _visible(self, room: Room, width: int, height: int) -> list[Row]:
        found: list[Row] = []  # from the bottom up
        end = len(room.entries)
        if self.scrolled:
            end = max(0, end - (room.appended - self._anchor))
        else:
            for pending in reversed(room.pending):
                if not pending.shown:
                    found += reversed(wrapped(pending_parts(pending, self._name()), width))
        wanted = height + self._offset
        while end and len(found) < wanted:
            end -= 1
            entry = room.entries[end]
            found += reversed(self._rows(entry, width))
            if entry.at and (end == 0 or _day(room.entries[end - 1].at or entry.at) != _day(entry.at)):
                found.append(self._separator(entry.at, width))
        if len(found) < wanted:
            self._offset = max(0, len(found) - height)
            if self.scrolled or len(found) < height:
                self._top()
        seen = found[self._offset : self._offset + height]
        return [[("", "")]] * (height - len(seen)) + seen[::-1]

    def _rows(self, entry: Entry, width: int) -> list[Row]:
        if entry.drawn is None or entry.drawn[0] != width:
            entry.drawn = (width, wrapped(entry_parts(entry, self._url), width))
        rows: list[Row] = entry.drawn[1]
        return rows

    @staticmethod
    def _separator(at: float, width: int) -> Row:
        day = time.strftime(" %Y-%m-%d ", time.localtime(at))
        return [("class:dim", f"──{day}{'─' * max(0, width - len(day) - 2)}")]

    def mouse_handler(self, mouse_event: MouseEvent) -> object:
        if mouse_event.event_type is MouseEventType.SCROLL_UP:
            self.scroll(WHEEL)
        elif mouse_event.event_type is MouseEventType.SCROLL_DOWN:
            self.scroll(-WHEEL)
        else:
            return NotImplemented
        return None

    def preferred_height(
        self, width: int, max_available_height: int, wrap_lines: bool, get_line_prefix: GetLinePrefixCallable | None
    ) -> int | None:
        return max_available_height

    def is_focusable(self) -> bool:
        return False


def _day(at: float) -> tuple[int, int, int]:
    return time.localtime(at)[:3]
