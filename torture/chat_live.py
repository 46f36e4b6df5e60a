"""A chat house in this process: real sockets and a real SQLite file, on a loop in a thread of its own, so that a test can ask it
for anything, stop it, and open it again on the same file.

SECONDS scales all that takes as long as one likes: the environment variable TORTURE_SECONDS.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Self, TypeVar

import prise
from prise.chat.admission import Options
from prise.chat.doors.entry import FRAMING, LIMITS
from prise.chat.doors.lines import LineDoor
from prise.chat.doors.objects import ObjectDoor
from prise.chat.doors.painter import Painter
from prise.chat.events import Notice
from prise.chat.house import House
from prise.chat.store import store_of
from prise.chat.web import page
from prise.layers.telnet import Telnet

SECONDS = float(os.environ.get("TORTURE_SECONDS", "5"))
"""About how long each test that could go on for ever does. Hours make sense, too."""

PATIENCE = 30.0
T = TypeVar("T")


class LiveHouse:
    """A context manager. complaints: what was logged as an error, or met by the loop and nobody's business."""

    def __init__(self, store: Path, **options: Any) -> None:
        self.store = store
        self.complaints: list[str] = []
        self.port = 0
        self._options = Options(**{"rate": None, "operator_password": "letmein", **options})
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Raises what keeps the house from opening."""
        self._failure: BaseException | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure

    def end(self) -> None:
        """As SIGTERM does: what was said is stored, everybody is told."""
        self.loop.call_soon_threadsafe(self.house.closing.set)

    def close(self) -> None:
        """The same, and waits until the file is free."""
        if self._thread is None:
            return
        with suppress(RuntimeError):  # it is over already
            self.loop.call_soon_threadsafe(self.house.closing.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the house does not close"
        self._thread = None

    def ask(self, question: Callable[[], T]) -> T:
        """Calls something on the house's loop and returns its answer."""
        answered = threading.Event()
        answer: list[T] = []

        def call() -> None:
            try:
                answer.append(question())
            finally:
                answered.set()

        self.loop.call_soon_threadsafe(call)
        assert answered.wait(PATIENCE)
        return answer[0]

    def _run(self) -> None:
        watcher = _Watcher(self.complaints)
        for name in ("prise", "asyncio"):
            logging.getLogger(name).addHandler(watcher)
        try:
            with asyncio.Runner() as runner:
                runner.run(self._hold())
        except BaseException as error:
            self._failure = error
            if self._ready.is_set():
                self.complaints.append(repr(error))
        finally:
            self._ready.set()
            for name in ("prise", "asyncio"):
                logging.getLogger(name).removeHandler(watcher)

    async def _hold(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _loop, context: self.complaints.append(str(context)))
        options = self._options
        store = store_of(f"sqlite:{self.store}", "", options.keep_time, options.keep_messages)
        house = self.house = House(store, options)
        painter = Painter()
        objects = ObjectDoor(house, painter)
        doors = prise.Multiplex(
            lines=(LineDoor(house, painter, objects), FRAMING, [Telnet]),
            websocket=(objects, FRAMING),
            http=page(house, None),
        )
        doors.patience = 2.0  # the usual 0.3 s of silence happen to clients of a busy machine, too
        try:
            await house.open()
            server = prise.listen(doors, "127.0.0.1:0", model="asyncio", limits=LIMITS, drain_time=3.0)
            async with server:
                self.server = server
                self.port = int(server.addresses[0].port or 0)
                self._ready.set()
                await house.closing.wait()
                await house.close(Notice("the room is closing. Goodbye"))
        finally:
            await store.stop()


class _Watcher(logging.Handler):
    def __init__(self, complaints: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._complaints = complaints

    def emit(self, record: logging.LogRecord) -> None:
        self._complaints.append(record.getMessage())


def stored(store: Path) -> list[tuple[str, int, str]]:
    """Room, number and text of each message, in the order in which they were stored; the file is sound."""
    with closing(sqlite3.connect(store)) as base:
        assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
        base.execute(
            "insert into search (search) values ('integrity-check')"
        )  # https://www.sqlite.org/fts5.html#the_integrity_check_command
        base.rollback()
        return base.execute("select room, number, text from messages order by id").fetchall()
