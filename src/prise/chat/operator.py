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
from prise.chat.doors.entry import harmless
from prise.chat.events import Event, Message, Notice
from prise.chat.house import House
from prise.chat.person import Person, Session
from prise.chat.room import Room
from prise.chat.store.archive import FIRST_ROOM
from prise.locale import translate as _

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

MOST_UNPRINTED = 1_000
"""Events that wait to be printed; more are left out."""

LONGEST_LINE = 64 * 1024
"""Bytes of a line on stdin."""

LAST_WORDS = 2.0
"""Seconds that the end waits for the terminal."""


class OperatorSession(Session):
    """The operator as the house sees them. print: shows events; see `events.Show`."""

    stays = True

    def __init__(self, house: House, person: Person, print: Callable[[Sequence[Event]], None]) -> None:
        super().__init__(person, translate=_)
        self._house = house
        self._print = print

    def show(self, events: Sequence[Event]) -> None:
        self._print(events)

    async def dismiss(self, why: Notice | None, again: bool) -> None:
        if why is not None:
            self._print((why,))  # the operator cannot be sent away

    async def join(self, room: Room) -> None:
        self.room = room.name
        self._print(tuple(room.recent)[-20:])
        self._house.come(self.person, room, quiet=True)


class Operator:
    """Comes into the house as its operator. `start` on the house's loop; `stop` when the house has said its last."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._news = threading.Condition()  # guards the next three
        self._unprinted: deque[Event] = deque()
        self._left_out = 0
        self._ending = False
        self._session: PromptSession[str] | None = None
        self._threads: list[threading.Thread] = []
        self._stopping = False

    async def start(self) -> None:
        person = await self._house.enter(self._house.people.free_name(_("operator")), operator=True)
        self._member = OperatorSession(self._house, person, self._show)
        self._house.attach(self._member)
        await self._member.join(await self._house.admit(person, FIRST_ROOM))
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
        line = harmless(typed).strip()
        if commands.is_command(line):
            await commands.obey(self._house, self._member, line)
        elif cleaning.is_end(line):
            self._member.inform("/stop closes the room")
        elif line:
            try:
                if not self._member.room:
                    raise prise.UsageError("you are in no room; /join one, /rooms lists them")
                room = self._house.find_room(self._member.room)
                settled = await self._house.say(self._member, line.removeprefix("/"), room=room)
                settled.add_done_callback(self._settled)
            except prise.PriseError as error:
                self._member.refuse(error)

    def _settled(self, settled: asyncio.Future[Message]) -> None:
        error = None if settled.cancelled() else settled.exception()
        if isinstance(error, prise.PriseError):
            self._member.refuse(error)

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
            self._loop.call_soon_threadsafe(self._member.refuse, error)

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
            self._loop.call_soon_threadsafe(self._house.closing.set)
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
                lines = [line for event in self._unprinted if (line := self._line(event))]
                self._unprinted.clear()
                left_out, self._left_out = self._left_out, 0
            if left_out:
                text = _("{number} lines were not shown here: this terminal is too slow")
                lines.append("* " + text.format(number=left_out))
            try:
                if lines:
                    self._write("\n".join(lines) + "\n")
            except (OSError, ValueError):
                return  # nobody reads any more: what comes is left out, and that is all

    def _line(self, event: Event) -> str:
        line = texts.line(event, _)
        place = getattr(event, "room", "")
        return f"#{place} {line}" if line and place and place != self._member.room and place[0] != "@" else line

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
