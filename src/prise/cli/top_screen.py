"""`prise top` on the whole terminal. Each server is read by a thread of its own, so one that is slow holds up nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from prise.cli.columns import Row, cut
from prise.cli.top_table import Watched, table
from prise.locale import translate as _

STYLE = Style.from_dict({"bold": "bold", "dim": "fg:ansigray", "error": "fg:ansired", "status": "reverse"})


class Screen:
    """The application. It shows what is in `servers` whenever `changed` is called, from any thread."""

    def __init__(self, servers: Sequence[Watched], every: float) -> None:
        self._servers = servers
        self._every = every
        self._top = 0  # the first row that is shown
        self._window = Window(FormattedTextControl(self._rows), wrap_lines=False)
        status = Window(FormattedTextControl(self._status), height=1, style="class:status")
        self.app: Application[None] = Application(
            Layout(HSplit([self._window, status])),
            key_bindings=self._bindings(),
            style=STYLE,
            full_screen=True,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
        )
        self.app.ttimeoutlen = self.app.timeoutlen = 0.1

    def run(self, begin: Callable[[], None]) -> None:
        """Until q or Ctrl-C. begin: called when the screen is there."""
        self.app.run(pre_run=begin)

    def changed(self) -> None:
        self.app.invalidate()

    def _rows(self) -> StyleAndTextTuples:
        size = self.app.output.get_size()
        shown = table(self._servers, size.columns)
        room = max(size.rows - 1, 1)
        self._top = max(min(self._top, len(shown) - room), 0)
        return [part for row in shown[self._top : self._top + room] for part in _parts(row)]

    def _status(self) -> StyleAndTextTuples:
        keys = _(" every {seconds} s   ↑ ↓ move   q quits").format(seconds=f"{self._every:g}")
        return [("", cut(keys, self.app.output.get_size().columns))]

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("q")
        @keys.add("Q")
        @keys.add("escape", eager=True)
        @keys.add("c-c")
        @keys.add("c-d")
        def _quit(event: KeyPressEvent) -> None:
            event.app.exit()

        def move(key: str, rows: int) -> None:
            @keys.add(key)
            def _move(event: KeyPressEvent) -> None:
                self._top += rows

        for key, rows in (("up", -1), ("down", 1), ("k", -1), ("j", 1), ("pageup", -10), ("pagedown", 10)):
            move(key, rows)
        return keys


def _parts(row: Row) -> StyleAndTextTuples:
    return [(f"class:{row.style}" if row.style else "", row.text), ("", "\n")]
