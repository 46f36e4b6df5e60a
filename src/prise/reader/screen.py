"""The reader on the whole terminal: the page, a line about where we are, and a line with the keys, in which questions are asked.

What takes time is done in a thread that does not keep the program alive, so that every key is heard at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    FormattedTextControl,
    HSplit,
    Layout,
    Window,
)
from prompt_toolkit.layout.controls import GetLinePrefixCallable, UIContent, UIControl
from prompt_toolkit.layout.processors import BeforeInput, ConditionalProcessor, PasswordProcessor
from prompt_toolkit.mouse_events import MouseEvent, MouseEventType
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from prise.cli.columns import fitted, flat
from prise.cli.texts import amount
from prise.locale import translate as _
from prise.reader.commands import COMMANDS
from prise.reader.model import Finish, Question, Reader
from prise.reader.pages import Page
from prise.reader.servers import Servers

WHEEL = 3
"""Rows for a turn of the mouse wheel."""
MOST_MARKS = 10
"""Characters for each column: letters with accents of their own, one above the other."""
KEY_TIME = 0.1
"""Seconds after Escape in which the rest of an arrow key's sequence may come."""
MOST_TOLD = 4
"""Rows of what is told or asked below the page."""

STYLE = Style.from_dict(
    {
        "dim": "fg:ansigray",
        "bold": "bold",
        "error": "fg:ansired",
        "selected": "reverse",
        "found": "reverse",
        "status": "reverse",
    }
)


class Screen:
    """The application, around a `Reader`."""

    def __init__(self, servers: Servers, page: Page) -> None:
        self.reader = Reader(servers, page, self._run)
        self.buffer = Buffer(multiline=False)
        self._terminated = False
        self._asked: Question | None = None  # the question that the buffer holds the answer of
        self.app = self._application()
        servers.ask = self._ask_login
        servers.told = self._told

    def run(self) -> None:
        """Until the person leaves."""
        self.app.run(pre_run=self._begin)
        if self._terminated:  # the terminal is as it was
            signal.raise_signal(signal.SIGTERM)

    def _begin(self) -> None:
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not on this system, or not the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._terminate)
        place = self.reader.page.place
        if place is not None and place.kind == "search" and place.words is None:
            self.reader.search()
            self._follow()

    def _terminate(self) -> None:
        self._terminated = True
        self.reader.quit()
        self._follow()

    # -- what it looks like --------------------------------------------------------------------------------------------

    def _application(self) -> Application[None]:
        asking = Condition(lambda: self._asked is not None)
        secret = Condition(lambda: self._asked is not None and self._asked.secret)
        self._body = Window(Area(lambda: self.reader.page))
        typing = BufferControl(
            self.buffer,
            input_processors=[
                ConditionalProcessor(PasswordProcessor(), secret),
                BeforeInput(lambda: f"{flat(self._asked.label)} " if self._asked else ""),
            ],
        )
        self._line = Window(typing, wrap_lines=True, height=Dimension(min=1, max=MOST_TOLD), dont_extend_height=True)
        # A whole sentence fits, also on a narrow terminal.
        height = Dimension(min=1, max=MOST_TOLD)
        below = Window(FormattedTextControl(self._keys), wrap_lines=True, height=height, dont_extend_height=True)
        root = HSplit(
            [
                self._body,
                Window(FormattedTextControl(self._status), height=1, style="class:status"),
                ConditionalContainer(below, ~asking),
                ConditionalContainer(self._line, asking),
            ]
        )
        application: Application[None] = Application(
            Layout(root, focused_element=self._body),
            key_bindings=self._bindings(asking),
            style=STYLE,
            full_screen=True,
            mouse_support=True,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
        )
        application.ttimeoutlen = application.timeoutlen = KEY_TIME
        return application

    def _status(self) -> StyleAndTextTuples:
        return [("class:status", f" {self.reader.status}")]

    def _keys(self) -> StyleAndTextTuples:
        if self.reader.message:
            return [("bold", f" {flat(self.reader.message)}")]
        return [("class:dim", _(" Enter opens  ← back  / finds  s saves  u URL  ? help  q quits"))]

    # -- keys ----------------------------------------------------------------------------------------------------------

    def _bindings(self, asking: Condition) -> KeyBindings:
        keys = KeyBindings()

        def bind(key: str, method: str) -> None:
            @keys.add(key, filter=~asking)
            def _do(event: KeyPressEvent) -> None:
                self.reader.do(method)
                self._follow()

        for command in COMMANDS:
            for key in command.keys:
                bind(key, command.method)

        @keys.add("enter", filter=asking)
        def _answer(event: KeyPressEvent) -> None:
            self._answer(self.buffer.text)

        @keys.add("escape", filter=asking)
        @keys.add("c-c", filter=asking)
        def _none(event: KeyPressEvent) -> None:
            self._answer(None)

        @keys.add("c-l")
        def _draw(event: KeyPressEvent) -> None:
            event.app.renderer.clear()

        return keys

    def _answer(self, text: str | None) -> None:
        self.reader.answer(text)
        self._follow()

    def _follow(self) -> None:
        """Shows what has come of a key or an answer."""
        question = self.reader.question
        if question is not self._asked:
            self._asked = question
            # Anew, so that nothing brings back the last answer, which may have been a password.
            self.buffer.reset(Document(question.text if question is not None else ""))
            self.app.layout.focus(self._body if question is None else self._line)
        if self.reader.ended and self.app.is_running and not self.app.is_done:
            self.app.exit()
        self.app.invalidate()

    # -- threads -------------------------------------------------------------------------------------------------------

    def _run(self, job: Callable[[], Any], finish: Finish) -> None:
        loop = self.app.loop
        assert loop is not None

        def done(result: Any, error: Exception | None) -> None:
            finish(result, error)
            self._follow()

        def work() -> None:
            result: Any = None
            failure: Exception | None = None
            try:
                result = job()
            except Exception as error:
                failure = error
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(done, result, failure)

        threading.Thread(target=work, name="reader", daemon=True).start()

    def _told(self, count: int) -> None:
        """From the thread: so many bytes have come."""

        def show() -> None:
            if self.reader.busy:
                self.reader.busy = _("fetching: {size}").format(size=amount(count))
                self.app.invalidate()

        if self.app.loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self.app.loop.call_soon_threadsafe(show)

    def _ask_login(self, host: str, user: str | None) -> tuple[str, str] | None:
        """From the thread, which waits for the answer."""
        loop = self.app.loop
        if loop is None:
            return None
        name = user if user is not None else self._wait_for(_("user at {host}:").format(host=host), secret=False)
        if not name:
            return None
        label = _("password of {user} at {host}:").format(user=name, host=host)
        password = self._wait_for(label, secret=True)
        return None if password is None else (name, password)

    def _wait_for(self, label: str, secret: bool) -> str | None:
        future: Future[str | None] = Future()

        def ask() -> None:
            self.reader.question = Question(label, future.set_result, secret=secret)
            self._follow()

        assert self.app.loop is not None
        self.app.loop.call_soon_threadsafe(ask)
        return future.result()


class Area(UIControl):
    """The page."""

    def __init__(self, page: Callable[[], Page]) -> None:
        self._page = page

    def create_content(self, width: int, height: int) -> UIContent:
        rows = self._page().draw(width, height)

        def line(number: int) -> StyleAndTextTuples:
            row = rows[number]
            # What is beyond the edge may be long, and drawing looks at each character.
            text = fitted(row.text[: MOST_MARKS * width], width)
            return [(f"class:{row.style}" if row.style else "", text)]

        return UIContent(get_line=line, line_count=len(rows), show_cursor=False)

    def mouse_handler(self, mouse_event: MouseEvent) -> object:
        if mouse_event.event_type is MouseEventType.SCROLL_UP:
            self._page().scroll(-WHEEL)
        elif mouse_event.event_type is MouseEventType.SCROLL_DOWN:
            self._page().scroll(WHEEL)
        else:
            return NotImplemented
        return None

    def preferred_height(
        self, width: int, max_available_height: int, wrap_lines: bool, get_line_prefix: GetLinePrefixCallable | None
    ) -> int | None:
        return max_available_height

    def is_focusable(self) -> bool:
        return True
