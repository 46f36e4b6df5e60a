"""The operator: the person at the terminal in which the room runs. Also the room's log: what happens is printed there.

On a terminal there is a line to edit, which what happens is printed above; elsewhere (a pipe, a service) lines are read from
stdin as they are, and its end changes nothing. The room never waits for any of it: reading and printing have threads of their
own, so a terminal that hangs, or a pipe that nobody reads, stops nobody; what cannot be printed in time is left out, and said.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import prise
from prise.chat import cleaning, commands, texts
from prise.chat.events import Event
from prise.chat.room import Room
from prise.locale import translate as _

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

MOST_UNPRINTED = 1_000
"""Events that wait to be printed; more are left out."""

LONGEST_LINE = 64 * 1024
"""Bytes of a line on stdin."""

LAST_WORDS = 2.0
"""Seconds that the end waits for the terminal."""


class Operator:
    """Joins the room as its operator. `start` on the room's loop; `stop` when the room has said its last."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()  # guards the next three
        self._unprinted: deque[Event] = deque()
        self._left_out = 0
        self._ending = False
        self._session: PromptSession[str] | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = False

    def start(self) -> None:
        self._member = self._room.join(_("operator"), self._show, self._nothing, operator=True)
        self._session = _session()
        self._run("print", self._print)
        if self._session is not None:
            self._run("prompt", self._prompt)
        else:
            # It may read for ever, and is not waited for: it holds no lock, and ends with the process.
            threading.Thread(target=self._read, name="prise-chat-read", daemon=True).start()

    async def stop(self) -> None:
        """Prints what is left and gives the terminal back. A terminal that hangs is given up."""
        self._stopping = True
        if self._session is not None:
            self._end_prompt()
        with self._news:
            self._ending = True
            self._news.notify()
        await asyncio.gather(*(asyncio.to_thread(thread.join, LAST_WORDS) for thread in self._threads))

    def _run(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=f"prise-chat-{name}", daemon=True)
        thread.start()
        self._threads.append(thread)

    # -- what the operator says ------------------------------------------------------------------------------------------

    async def _take(self, typed: str) -> None:
        line = cleaning.line(typed).strip()
        if line.startswith("/") and not line.startswith("//"):
            await commands.obey(self._room, self._member, line)
        elif cleaning.is_end(line):
            self._member.tell(_("/stop closes the room"))
        elif line:
            await self._room.say(self._member, line.removeprefix("/"))

    def _taken(self, typed: str) -> None:
        """From the reading thread: one line after the other, so that no more than one waits."""
        try:
            asyncio.run_coroutine_threadsafe(self._take(typed), self._loop).result()
        except RuntimeError:
            pass  # the loop is closed: the room is over

    def _read(self) -> None:
        """Lines of stdin where it is no terminal. It reads the descriptor itself: a thread that waits in Python's own
        buffered reader would abort the interpreter at its end."""
        decoder = (prise.Lines() | prise.text("utf-8", errors="replace")).decoder(LONGEST_LINE)
        try:
            while data := os.read(0, 4096):
                lines = decoder.feed(data)
                while lines:
                    for line in lines:
                        self._taken(line)
                    lines = decoder.feed(b"") if decoder.more else []
            for line in decoder.end():
                self._taken(line)
        except OSError:
            pass  # no stdin, no operator
        except prise.FrameError as error:
            self._loop.call_soon_threadsafe(self._member.tell, error.sentence(_))

    def _prompt(self) -> None:
        """Lines of the terminal. Ctrl-C and Ctrl-D close the room, as /stop does."""
        from prompt_toolkit.patch_stdout import patch_stdout

        assert self._session is not None
        with patch_stdout():
            while not self._stopping:
                try:
                    typed = self._session.prompt("> ", pre_run=self._leave_if_stopping)
                except (EOFError, KeyboardInterrupt, OSError):
                    break
                for line in typed.split("\n"):  # several may have been pasted
                    self._taken(line)
        try:
            self._loop.call_soon_threadsafe(self._room.closing.set)
        except RuntimeError:
            pass  # it is over already

    def _end_prompt(self) -> None:
        assert self._session is not None
        loop = self._session.app.loop
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._leave_if_stopping)
            except RuntimeError:
                pass  # the prompt has just ended by itself

    def _leave_if_stopping(self) -> None:
        assert self._session is not None
        app = self._session.app
        if self._stopping and app.is_running and not app.is_done:
            app.exit(exception=EOFError)

    # -- what the operator sees ------------------------------------------------------------------------------------------

    async def _nothing(self) -> None:
        """The operator cannot be sent away."""

    def _show(self, events: Sequence[Event]) -> None:
        with self._news:
            room = MOST_UNPRINTED - len(self._unprinted)
            self._unprinted.extend(events[:room])
            self._left_out += len(events[room:])
            self._news.notify()

    def _print(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._unprinted or self._ending)
                if not self._unprinted:
                    return
                lines = [texts.line(event) for event in self._unprinted]
                self._unprinted.clear()
                left_out, self._left_out = self._left_out, 0
            if left_out:
                text = _("{number} lines were not shown here: this terminal is too slow")
                lines.append("* " + text.format(number=left_out))
            try:
                self._write("\n".join(lines) + "\n")
            except (OSError, ValueError):
                return  # nobody reads any more: what comes is left out, and that is all

    def _write(self, text: str) -> None:
        if self._session is None:
            data = text.encode(sys.stdout.encoding or "utf-8", "replace")
            while data:
                data = data[os.write(1, data) :]
            return
        sys.stdout.write(text)  # prompt_toolkit's, which prints above the prompt and never waits
        sys.stdout.flush()
        loop = self._session.app.loop
        if loop is not None:
            printed = threading.Event()
            try:
                loop.call_soon_threadsafe(printed.set)
            except RuntimeError:
                return
            printed.wait(
                LAST_WORDS
            )  # while the terminal hangs so does this loop, and what comes waits in our queue, not in its own


def _session() -> PromptSession[str] | None:
    """A prompt where somebody can use it: on a terminal that is in the foreground (reading it from the background would stop
    the whole server, tty(4)) and with prompt_toolkit installed."""
    try:
        if not (os.isatty(0) and os.isatty(1) and os.tcgetpgrp(0) == os.getpgrp()) or os.environ.get("TERM") == "dumb":
            return None
        from prompt_toolkit import PromptSession
    except (ImportError, OSError):
        return None
    return PromptSession(erase_when_done=True)  # what was typed is shown again, once it is said
