"""What was said, kept in an SQLite file (WAL). One thread writes; it commits whatever has come in since its last commit.

So a quiet room waits for nothing but one commit, and a busy one shares it among up to a hundred messages (group commit).
`synchronous=FULL`: once `begin`'s report says that messages are committed, neither a killed server nor a power cut loses them.

A message has a number, from 1, without gaps: the key of the table. One store serves one room at a time: a lock beside the
file, held as long as the process lives, sees to that, and lets the file be read meanwhile.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import sys
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from prise import PriseError, UsageError
from prise.chat.events import Message
from prise.chat.room import MOST_WAITING, Report

APPLICATION = (
    0x70726973  # "pris": tells our files from others (https://www.sqlite.org/pragma.html#pragma_application_id)
)
VERSION = 1
LONGEST_BATCH = MOST_WAITING
"""Messages in one commit."""

CLOSE_TIME = 5.0

_SCHEMA = """
    create table messages (number integer primary key, at real not null, author text not null, text text not null) strict;
"""


def default_path() -> Path:
    """In the user's data directory: $XDG_DATA_HOME, or ~/.local/share (XDG Base Directory Specification)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # A relative path is to be ignored, says the specification.
    return (Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share") / "prise" / "chat.sqlite"


def store_of(text: str | None) -> SqliteStore:
    """The store that `sqlite:PATH` names; the default one for None. Raises UsageError."""
    if text is None:
        return SqliteStore(default_path())
    scheme, colon, path = text.partition(":")
    if scheme != "sqlite" or not colon or not path.removeprefix("//"):
        raise UsageError("not a store: {text}; write for example {example}", text=text, example="sqlite:chat.sqlite")
    return SqliteStore(Path(path.removeprefix("//")).expanduser())


class SqliteStore:
    """A store for a room (see `room.Store`), in a `with` statement: opened at its beginning, closed at its end.

    path: the file; it is created, with its folders, readable by the user alone. Opening raises UsageError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._base: sqlite3.Connection | None = None
        self._number = 0
        # Its length is bounded by the room, which has at most MOST_WAITING messages on their way.
        self._queue: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._close()
            raise UsageError(
                "the chat's store {path} cannot be used: {cause}; choose another one with --store sqlite:PATH",
                path=self.path,
                cause=(isinstance(error, OSError) and error.strerror) or error,
            ) from error
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Whatever was added is written first. A disk that hangs is waited for `CLOSE_TIME` seconds."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(CLOSE_TIME)
            if self._thread.is_alive():
                return  # it ends with the process; the file is as after a SIGKILL
        self._close()

    def last(self, count: int) -> list[Message]:
        rows = self._connection.execute(
            "select at, author, text, number from messages order by number desc limit ?", (count,)
        )
        return [Message(*row) for row in rows][::-1]

    def begin(self, report: Report) -> None:
        self._thread = threading.Thread(target=self._write, args=(report,), name="prise-chat-store", daemon=True)
        self._thread.start()

    def add(self, message: Message) -> None:
        self._queue.put(message)

    # -- opening and closing ---------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._base is not None, "the store is not open"
        return self._base

    def _open(self) -> None:
        for folder in reversed(self.path.absolute().parents):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would make those in between open to all
        self._lock = self._locked(f"{self.path}.lock")
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's own files take its mode
        base = self._base = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        application, version, tables = (
            base.execute(question).fetchone()[0]
            for question in ("pragma application_id", "pragma user_version", "select count(*) from sqlite_schema")
        )
        if (tables and application != APPLICATION) or version > VERSION:
            raise UsageError(
                "{path} is not a chat's store, or one of a newer prise; choose another one with --store sqlite:PATH",
                path=self.path,
            )
        base.execute("pragma journal_mode = wal")
        base.execute("pragma synchronous = full")
        if not tables:
            base.executescript(
                f"begin; {_SCHEMA} pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; commit"
            )
        self._number = base.execute("select coalesce(max(number), 0) from messages").fetchone()[0]

    def _locked(self, path: str) -> int:
        if sys.platform == "win32":
            return -1
        import fcntl

        # A file of its own: closing any descriptor of SQLite's file would drop SQLite's locks (fcntl(2)).
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UsageError(
                "another chat room is using the store {path}; stop it, or choose another one with --store sqlite:PATH",
                path=self.path,
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _close(self) -> None:
        if self._base is not None:
            with closing(self._base):
                self._base = None
        if self._lock >= 0:
            os.close(self._lock)  # and free; the file stays, for whoever removes it may remove another one's lock
            self._lock = -1

    # -- the writer's thread ---------------------------------------------------------------------------------------------

    def _write(self, report: Report) -> None:
        while (batch := self._batch()) is not None:
            try:
                messages = self._commit(batch)
            except Exception as error:  # whatever it was, the room must hear of it: it waits
                report(batch, self._cannot(error))
            else:
                report(messages, None)

    def _batch(self) -> list[Message] | None:
        """All that has come in, in order; None at the end."""
        message = self._queue.get()
        batch: list[Message] = []
        while message is not None:
            batch.append(message)
            if len(batch) == LONGEST_BATCH:
                return batch
            try:
                message = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)  # the end, once more, for the next call: nothing is added after it
        return batch or None

    def _commit(self, batch: Sequence[Message]) -> list[Message]:
        numbered = [
            Message(message.at, message.author, message.text, number)
            for number, message in enumerate(batch, self._number + 1)
        ]
        rows = [(message.number, message.at, message.author, message.text) for message in numbered]
        base = self._connection
        try:
            base.execute("begin immediate")
            base.executemany("insert into messages values (?, ?, ?, ?)", rows)
            base.execute("commit")
        except BaseException:
            if base.in_transaction:  # SQLite has rolled back some errors itself
                base.execute("rollback")
            raise
        self._number += len(numbered)
        return numbered

    def _cannot(self, error: Exception) -> PriseError:
        return PriseError("the chat's store {path} cannot be written: {cause}", path=self.path, cause=error)
