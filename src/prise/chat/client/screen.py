"""The client on the whole terminal: messages above, a line about the state, and below it the line that is typed.

What arrives is drawn into its own area, so it never comes between what is typed. The house is listened to in the same
asyncio loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.layout import (
    BufferControl,
    ConditionalContainer,
    Dimension,
    Float,
    FloatContainer,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.layout.menus import CompletionsMenu
from prompt_toolkit.layout.processors import BeforeInput, ConditionalProcessor, PasswordProcessor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

import prise
from prise.chat.client.input import OURS, SECRET, KeptHistory, Words
from prise.chat.client.keys import bindings
from prise.chat.client.model import Model, News
from prise.chat.client.room import Entry, Room
from prise.chat.client.session import Session
from prise.chat.client.upload import in_thread, length_of, path_of, upload, web_url
from prise.chat.client.view import MessageArea
from prise.chat.events import Plain
from prise.chat.texts import size
from prise.locale import N_
from prise.locale import translate as _

LAST_WORDS = 2.0
"""Seconds that leaving waits for what is not settled yet."""
ASK_ABOVE = 3
"""Pasted lines that are said without a question."""
MOST_PASTED = 500
"""Lines pasted at once."""

FLAGS = {"locked": N_("locked"), "muted": N_("muted"), "slow": N_("slow")}

STYLE = Style.from_dict(
    {
        "dim": "fg:ansigray",
        "failed": "fg:ansired",
        "status": "reverse",
        "unread": "reverse bold",
        "here": "bold reverse",
    }
)


class Screen:
    """A `session.Listener` for a person."""

    def __init__(self, where: prise.Address, connect_bytes: Callable[[prise.Address], prise.Connector]) -> None:
        self.model = Model()
        self.session: Session
        self.started = asyncio.Event()
        self.code = 0
        self._where = where
        self._connect_bytes = connect_bytes
        self._lobby = Room("", more=False)
        self._state = _("connecting")
        self._uploading = ""
        self._question: tuple[str, bool, asyncio.Future[str | None]] | None = None
        self._wanted = ""  # the room of our last /join
        self.tasks: set[asyncio.Future[Any]] = set()
        self.area = MessageArea(self.room, lambda: self.model.name, lambda url: web_url(where, url), self._older)
        self.buffer = Buffer(multiline=False, history=KeptHistory(), completer=Words(self.model))
        self.app = self._application()

    def room(self) -> Room:
        return self.model.current or self._lobby

    # -- what it looks like ----------------------------------------------------------------------------------------------

    def _application(self) -> Application[None]:
        secret = Condition(lambda: self._question is not None and self._question[1])
        several = Condition(lambda: len(self.model.rooms) > 1 and self.app.output.get_size().columns >= 70)
        typing = BufferControl(
            self.buffer,
            input_processors=[ConditionalProcessor(PasswordProcessor(), secret), BeforeInput(self._prompt)],
        )
        rooms = Window(FormattedTextControl(self._rooms), width=20, wrap_lines=False)
        body = HSplit(
            [
                VSplit([ConditionalContainer(VSplit([rooms, Window(width=1, char="│")]), several), Window(self.area)]),
                Window(FormattedTextControl(self._status), height=1, style="class:status"),
                Window(typing, wrap_lines=True, height=Dimension(min=1, max=5), dont_extend_height=True),
            ]
        )
        menu = Float(CompletionsMenu(max_height=8), xcursor=True, ycursor=True)
        return Application(
            Layout(FloatContainer(body, [menu])),
            key_bindings=bindings(self),
            style=STYLE,
            full_screen=True,
            mouse_support=True,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
        )

    def _prompt(self) -> str:
        return f"{self._question[0]} " if self._question else "> "

    def _status(self) -> StyleAndTextTuples:
        model, room = self.model, self.room()
        flags = "".join(f" [{_(FLAGS[flag])}]" for flag in sorted(room.flags))
        people = f" ({len(room.people) + room.others})" if room.people else ""
        here = f" {model.house} │ #{room.name}{people}{flags}" if not room.other else f" {model.house} │ {room.title}"
        parts: StyleAndTextTuples = [("class:status", f"{here} │ {model.name}" if room.title else f" {self._where}")]
        if self._state:
            parts.append(("class:unread", f" │ {self._state}"))
        for number, each in enumerate(model.rooms.values(), 1):
            if each.unread:
                parts.append(("class:unread", f" │ {number}:{each.title} {each.unread}{'!' if each.calls else ''}"))
        if self._uploading:
            parts.append(("class:status", f" │ {self._uploading}"))
        if self.area.scrolled:
            parts.append(("class:unread", f" │ {_('older; Page Down')}"))
        if room.topic:
            parts.append(("class:status", f" │ {room.topic}"))
        return parts

    def _rooms(self) -> StyleAndTextTuples:
        parts: StyleAndTextTuples = []
        for number, room in enumerate(self.model.rooms.values(), 1):
            unread = f" {room.unread}{'!' if room.calls else ''}" if room.unread else ""
            style = "class:here" if room is self.model.current else "bold" if room.unread else ""
            parts += [(style, f"{number} {room.title[: 17 - len(unread)]}{unread}"), ("", "\n")]
        return parts

    # -- what the session tells ------------------------------------------------------------------------------------------

    def news(self, kind: str, given: Any, news: News) -> None:
        for room, entry in news.entries:
            if room is None:
                self._lobby.append(entry)
        if kind == "room" and self._wanted and (room := self.model.find(self._wanted)) is not None:
            self._wanted = ""
            self.model.look_at(room)
        if news.ring:
            self.app.output.bell()
            self.app.output.flush()
        self.app.invalidate()

    def changed(self, state: str, detail: str = "") -> None:
        if state == "in":
            self._state = ""
            self.started.set()
        elif state == "lost":
            self._state = _("not connected, trying again")
            if detail:
                self.note(_("the connection is lost, trying again: {why}").format(why=detail))
        self.app.invalidate()

    async def answer(self, code: str, why: str) -> str | None:
        self.started.set()
        if why:
            self.note(why)
        labels = {"passphrase": _("Passphrase?"), "password": _("Password of the house?")}
        return await self.ask(labels.get(code, _("Your nickname?")), secret=code in labels)

    async def ask(self, label: str, secret: bool = False) -> str | None:
        """Asks in the line that is typed; None for Ctrl-C or Ctrl-D."""
        typed = self.buffer.text
        self.buffer.reset()
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._question = (label, secret, future)
        self.app.invalidate()
        try:
            return await future
        finally:
            self._question = None
            self.buffer.text = typed
            self.buffer.cursor_position = len(typed)
            self.app.invalidate()

    def note(self, text: str) -> None:
        """Something for our own eyes."""
        self.room().append(Entry(Plain(text)))
        self.app.invalidate()

    def _older(self) -> None:
        if self.model.current is not None:
            self.session.older(self.model.current)

    # -- what the person does --------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """The line is finished."""
        line = self.buffer.text
        if self._question is not None:
            self._resolve(line)
            return
        if line.strip() and not SECRET.match(line):
            self.buffer.append_to_history()
        self.buffer.reset()
        self.area.follow()
        if line.strip().casefold() == "fin":
            self.leave()
        elif line.startswith("/") and not line.startswith("//"):
            self._command(line)
        elif line.strip():
            self.say(line.removeprefix("/"))

    def _resolve(self, answer: str | None) -> None:
        assert self._question is not None
        if not self._question[2].done():
            self._question[2].set_result(answer)

    def interrupt(self, code: int) -> None:
        """Ctrl-C or Ctrl-D."""
        if self._question is not None:
            self._resolve(None)
            if self.session.connected:
                return
        elif self.buffer.text:
            if code:
                self.buffer.reset()
            return
        self.code = code
        self.leave()

    def say(self, text: str) -> None:
        room = self.model.current
        if room is None:
            self.note(_("you are in no room; /join one, /rooms lists them"))
        elif len(text.encode(errors="replace")) > self.model.longest:
            self.note(_("this is longer than {most} bytes; /send FILE shows a file").format(most=self.model.longest))
        elif self.session.say(text, room) is None:
            self.note(_("too much waits to be sent; try again when you are connected"))
        self.app.invalidate()

    def pasted(self, text: str) -> None:
        """Several lines are said one by one, after a question when they are many; they are never commands."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if len(lines) == 1 or self._question is not None:
            self.buffer.insert_text(lines[0])
            return
        lines = [each for each in lines if each.strip()]
        if len(lines) > MOST_PASTED:
            self.note(_("{number} lines are too many; /send FILE shows a file").format(number=len(lines)))
        elif len(lines) > ASK_ABOVE:
            self.soon(self._paste(lines))
        else:
            self._say_all(lines)

    async def _paste(self, lines: list[str]) -> None:
        answer = await self.ask(_("Say {number} lines? (y/n)").format(number=len(lines)))
        if (answer or "").strip().casefold() in ("y", "yes", "o", "oui"):
            self._say_all(lines)

    def _say_all(self, lines: list[str]) -> None:
        before, self.buffer.text = self.buffer.text, ""
        for line in (before + lines[0], *lines[1:]):
            self.say(line)

    def _command(self, line: str) -> None:
        name, _space, rest = line[1:].strip().partition(" ")
        rest = rest.strip()
        if name == "send":
            self.soon(self._send_file(rest))
        elif name in ("quit", "exit"):
            self.leave()
        elif name == "join" and " " not in rest and (room := self.model.find(rest)) is not None:
            self.model.look_at(room)
        elif name in ("register", "op") and not rest:
            self.soon(self._secret(name))
        elif not self.session.do(line, self.model.current):
            self.note(_("not connected; try again in a moment"))
        else:
            self._wanted = rest.split(" ")[0] if name == "join" else ""
            if name == "help" and not rest:
                arguments, help = OURS["send"]
                self.note(f"{'/send ' + _(arguments):<26} {_(help)}")

    async def _secret(self, name: str) -> None:
        answer = await self.ask(_("Passphrase?"), secret=True)
        if answer and not self.session.do(f"/{name} {answer}", self.model.current):
            self.note(_("not connected; try again in a moment"))

    def look(self, number: int) -> None:
        """Looks at the room with this place in the list, from 0."""
        rooms = list(self.model.rooms.values())
        if number < len(rooms):
            self.model.look_at(rooms[number])

    def turn(self, step: int) -> None:
        rooms = list(self.model.rooms.values())
        if self.model.current in rooms:
            self.model.look_at(rooms[(rooms.index(self.model.current) + step) % len(rooms)])

    # -- files -----------------------------------------------------------------------------------------------------------

    async def _send_file(self, typed: str) -> None:
        path, room, model = path_of(typed), self.model.current, self.model
        if not typed or room is None or room.other:
            self.note(_("write /send FILE, in a room"))
        elif not model.uploads:
            self.note(_("this house takes no files from you"))
        elif self._uploading:
            self.note(_("another file is being sent; wait until it is done"))
        elif length_of(path) > model.most_upload > 0:
            self.note(_("{name} is larger than {most}").format(name=path.name, most=size(model.most_upload)))
        else:
            self._uploading = path.name
            try:
                where, connect, token = self._where, self._connect_bytes, self.session.token
                show = partial(self._sent, path.name)
                await in_thread(lambda: upload(path, room.name, token, where, connect, show))
            except prise.PriseError as error:
                self.note(error.sentence(_))
            finally:
                self._uploading = ""
                self.app.invalidate()

    def _sent(self, name: str, sent: int, total: int) -> None:
        """From the thread that sends."""
        self._uploading = f"{name} {100 * sent // max(total, 1)} %"
        self.app.invalidate()

    # -- the end ---------------------------------------------------------------------------------------------------------

    def soon(self, what: Any) -> None:
        task = asyncio.ensure_future(what)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def leave(self) -> None:
        self.soon(self._leave())

    async def _leave(self) -> None:
        if self.session.connected and self.model.pending:
            self._state = _("sending what you said")
            await asyncio.wait((asyncio.ensure_future(self.session.all_settled()),), timeout=LAST_WORDS)
        await self.session.leave()
        if self.app.is_running and not self.app.is_done:
            self.app.exit()
