"""The client without a screen: each line of standard input is said, and what is said is printed, one line each.

A line is never a command here: what comes from a log or a program cannot kick anybody. It ends when the input has ended and
the house has stored all of it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import threading
from collections.abc import Callable
from typing import Any

import prise
from prise.chat.client.model import Model, News
from prise.chat.client.room import Entry, Room
from prise.chat.client.session import Session
from prise.chat.events import Message
from prise.chat.texts import line
from prise.locale import translate as _

MOST_UNSETTLED = 50
"""Lines that are on their way at once."""

Say = Callable[[str], None]


class Pipe:
    """A `session.Listener` for pipes.

    tell: says something to the user, on stderr. secrets: "passphrase" and "password", as far as they are known.
    """

    def __init__(self, tell: Say, as_json: bool, secrets: dict[str, str], url: Callable[[str], str]) -> None:
        self._tell = tell
        self._json = as_json
        self._secrets = secrets
        self._url = url
        self.ready = asyncio.Event()  # we are in a room
        self._refused: list[str] = []
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def news(self, kind: str, given: Any, news: News) -> None:
        if kind == "room":
            self.ready.set()
        if kind == "failed" and isinstance(given, dict):
            self._refused.append(str(given.get("why", ""))[:500])
        try:
            if self._json:
                self._write(json.dumps({kind: given}, ensure_ascii=False))
            else:
                for room, entry in news.entries:
                    self._show(room, entry)
        except OSError as error:  # nobody reads any more
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Ends it all."""
        if not self.failed.done():
            self.failed.set_exception(error)

    def _show(self, room: Room | None, entry: Entry) -> None:
        text = described(entry, self._url)
        if not text:
            return
        if isinstance(entry.event, Message):
            self._write(f"#{room.name} {text}" if room is not None and room.known >= 0 and self.several else text)
        else:
            self._tell(text)

    several = False
    """Whether the room is shown with each message."""

    def _write(self, text: str) -> None:
        data = (text + "\n").encode(errors="replace")
        while data:
            data = data[os.write(1, data) :]

    def changed(self, state: str, detail: str = "") -> None:
        if state == "lost":
            self._tell(_("the connection is lost, trying again: {why}").format(why=detail))

    async def answer(self, code: str, why: str) -> str | None:
        return self._secrets.pop(code, None)

    def refused(self) -> list[str]:
        """Why lines were not said, since the last time."""
        refused, self._refused = self._refused, []
        return refused


def described(entry: Entry, url: Callable[[str], str]) -> str:
    """An entry as one line, with whole URLs."""
    event = entry.event
    if isinstance(event, Message) and event.details is not None:
        from dataclasses import replace

        event = replace(event, details=event.details | {"url": url(event.details["url"])})
    return line(event, _)


async def run(session: Session, pipe: Pipe, model: Model, rooms: int) -> int:
    """Says the lines of standard input. Returns the exit code; raises what `Session.run` raises."""
    pipe.several = rooms > 1
    listening = asyncio.create_task(session.run())
    speaking = asyncio.create_task(_speak(session, pipe, model))
    try:
        await asyncio.wait((listening, speaking, pipe.failed), return_when=asyncio.FIRST_COMPLETED)
        if pipe.failed.done():
            pipe.failed.result()
        if not speaking.done():
            await listening  # raises
            return 8
        code = speaking.result()
        await session.leave()
        await asyncio.wait((listening,), timeout=2.0)
        return code
    finally:
        for task in (listening, speaking):
            task.cancel()
        await asyncio.gather(listening, speaking, return_exceptions=True)


async def _speak(session: Session, pipe: Pipe, model: Model) -> int:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    space = asyncio.Semaphore(MOST_UNSETTLED)
    _read(loop, lines, space, pipe.fail)
    await pipe.ready.wait()
    code = 0
    while (said := await lines.get()) is not None:
        space.release()
        room = model.current
        if not said.strip() or room is None:
            continue
        await session.all_settled(MOST_UNSETTLED)
        session.say(said, room)
        code |= _complain(pipe)
    await session.all_settled()
    return code | _complain(pipe)


def _complain(pipe: Pipe) -> int:
    reasons = pipe.refused()
    for why in reasons:
        pipe._tell(_("not said: {why}").format(why=why))
    return 1 if reasons else 0


def _read(
    loop: asyncio.AbstractEventLoop,
    lines: asyncio.Queue[str | None],
    space: asyncio.Semaphore,
    failed: Callable[[Exception], object],
) -> None:
    """Puts the lines of stdin into the queue, None at the end; a thread, since files and terminals are not for a poller.

    It reads the descriptor itself: a daemon thread in `sys.stdin` would hold its lock when the interpreter ends.
    """

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(_put(lines, line, space), loop).result()

    def read() -> None:
        decoder = prise.Lines().decoder(prise.Limits().message_size)
        try:
            while data := os.read(0, 65536):
                for line in decoder.feed(data):
                    put(line.decode(errors="replace").rstrip("\r"))
                while decoder.more:
                    for line in decoder.feed(b""):
                        put(line.decode(errors="replace").rstrip("\r"))
            for line in decoder.end():
                put(line.decode(errors="replace").rstrip("\r"))
            put(None)
        except (RuntimeError, OSError, asyncio.CancelledError, concurrent.futures.CancelledError):
            pass  # the loop has ended
        except prise.PriseError as error:
            loop.call_soon_threadsafe(failed, error)

    threading.Thread(target=read, name="stdin", daemon=True).start()


async def _put(lines: asyncio.Queue[str | None], line: str | None, space: asyncio.Semaphore) -> None:
    if line is not None:
        await space.acquire()
    lines.put_nowait(line)
