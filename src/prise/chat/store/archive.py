"""What was said, in an SQLite file (WAL) with a full-text index (FTS5), and facts: small texts under a key.

One thread writes; it commits whatever has come in since its last commit. So a quiet house waits for nothing but one
commit, and a busy one shares it among up to a hundred messages (group commit). `synchronous=FULL`: once a batch is
reported, neither a killed server nor a power cut loses it. Another thread reads. One archive serves one house at a
time: a lock beside the file, held as long as the process lives, sees to that, and lets the file be read by others
meanwhile.
"""

from __future__ import annotations

import json
import os
import queue
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from prise import PriseError, UsageError
from prise.chat.events import Message
from prise.chat.store.base import MOST_WAITING

APPLICATION = 0x70726973
""""pris": tells our files from others (https://www.sqlite.org/pragma.html#pragma_application_id)."""

VERSION = 2
FIRST_ROOM = "salon"

LONGEST_BATCH = MOST_WAITING
"""Messages and facts in one commit; more only when they were given together."""

CLOSE_TIME = 5.0
"""Seconds that closing waits for a disk that hangs."""

SEARCH_TIME = 3.0
"""Seconds of one search."""

TRIM_EVERY = 60.0
"""Seconds between two looks for what is old enough to be forgotten."""

TRIM_ROWS = 1_000
"""Messages forgotten in one transaction; in between others are stored."""

_SCHEMA = """
    create table messages (
        id integer primary key, room text not null, number integer not null, at real not null, author text not null,
        by text not null, text text not null, kind text not null, recipient text not null, reference text, details text
    ) strict;
    create unique index messages_number on messages (room, number);
    create unique index messages_reference on messages (reference) where reference is not null;
    create index messages_at on messages (at);
    create virtual table search using fts5(
        text, content='messages', content_rowid='id', tokenize='unicode61 remove_diacritics 2'
    );
    create trigger messages_added after insert on messages begin
        insert into search (rowid, text) values (new.id, new.text);
    end;
    create trigger messages_removed after delete on messages begin
        insert into search (search, rowid, text) values ('delete', old.id, old.text);
    end;
    create table facts (key text primary key, value text not null) strict, without rowid;
"""

_FROM_1 = f"""
    alter table messages rename to old;
    {_SCHEMA}
    insert into messages (room, number, at, author, by, text, kind, recipient)
        select '{FIRST_ROOM}', number, at, author, '', text, 'say', '' from old order by number;
    drop table old;
"""

_COLUMNS = "room, at, author, by, text, kind, recipient, reference, details, number"


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact to be kept; value "" forgets it. new: only where there is none yet."""

    key: str
    value: str
    new: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of what was added, in that order. done: each item (messages numbered), or the error that it met.
    fresh: the messages that were not known before.
    """

    done: Sequence[tuple[Message | Fact, PriseError | None]]
    fresh: Sequence[Message]


Item: TypeAlias = Message | Fact
Report: TypeAlias = Callable[[Batch], None]
"""Called from the writer's thread. Must not raise."""


class Archive:
    """path: the file; it is created, with its folders, readable by the user alone. keep_time: seconds after which
    messages are forgotten; keep_messages: how many of each room are kept; None: all.

    Opening raises UsageError.
    """

    def __init__(self, path: Path, *, keep_time: float | None = None, keep_messages: int | None = None) -> None:
        self.path = path
        self._keep_time, self._keep_messages = keep_time, keep_messages
        self._lock = -1
        self._base: sqlite3.Connection | None = None
        self._numbers: dict[str, int] = {}  # the writer's: the last number of each room
        # Its length is bounded by the house, which has at most MOST_WAITING messages on their way.
        self._queue: queue.SimpleQueue[Sequence[Item] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reader: ThreadPoolExecutor | None = None
        self._reading: sqlite3.Connection | None = None
        self._trimmed = 0.0

    # -- opening and closing ---------------------------------------------------------------------------------------------

    def open(self, report: Report) -> None:
        """From now on it takes items, and reports on them in the same order."""
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
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prise-chat-reader")
        self._writer = threading.Thread(target=self._write, args=(report,), name="prise-chat-store", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Whatever was added is written first. A disk that hangs is waited for `CLOSE_TIME` seconds."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(CLOSE_TIME)
            if self._writer.is_alive():
                return  # it ends with the process; the file is as after a SIGKILL
        self._close()

    def _open(self) -> None:
        for folder in reversed(self.path.absolute().parents):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)  # `parents=True` would make those in between open to all
        self._lock = self._locked(f"{self.path}.lock")
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite's own files take its mode
        base = self._base = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._set_up(base)
        for room, number in base.execute("select room, max(number) from messages group by room"):
            self._numbers[room] = number
        # Forgotten messages have had their numbers: they are not given again.
        for key, number in base.execute("select key, value from facts where key like 'last:%'"):
            room = key.removeprefix("last:")
            self._numbers[room] = max(self._numbers.get(room, 0), int(number))
        self._reading = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)

    def _set_up(self, base: sqlite3.Connection) -> None:
        application, version, tables = (
            base.execute(question).fetchone()[0]
            for question in ("pragma application_id", "pragma user_version", "select count(*) from sqlite_schema")
        )
        if (tables and application != APPLICATION) or version > VERSION:
            raise UsageError(
                "{path} is not a chat's store, or one of a newer prise; choose another one with --store sqlite:PATH",
                path=self.path,
            )
        if not base.execute("select 1 from pragma_compile_options where compile_options = 'ENABLE_FTS5'").fetchone():
            raise UsageError("this Python's SQLite has no full-text search (FTS5); use another build of Python")
        base.execute("pragma journal_mode = wal")
        base.execute("pragma synchronous = full")
        if version < VERSION:
            schema = _FROM_1 if tables else _SCHEMA
            base.executescript(
                f"begin; {schema} pragma application_id = {APPLICATION}; pragma user_version = {VERSION}; commit"
            )

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
        for base in (self._reading, self._base):
            if base is not None:
                with closing(base):
                    pass
        self._reading = self._base = None
        if self._lock >= 0:
            os.close(self._lock)  # and free; the file stays, for whoever removes it may remove another one's lock
            self._lock = -1

    # -- reading: in the reader's thread, but for what is asked at the start -----------------------------------------------

    def facts(self) -> dict[str, str]:
        assert self._reading is not None
        return dict(self._reading.execute("select key, value from facts where key not like 'last:%'"))

    def rooms(self) -> dict[str, int]:
        """Rooms and the number of the last message of each; at the start, before anything is added."""
        return dict(self._numbers)

    async def read(self, room: str, *, after: int = 0, before: int = 0, count: int = 50) -> list[Message]:
        """See `Store.read`."""
        forward = after or not before
        if after:
            where, order, bound = "number > ?", "asc", after
        else:
            where, order, bound = "number < ?", "desc", before or sys.maxsize
        rows = await self._ask(
            f"select {_COLUMNS} from messages where room = ? and {where} order by number {order} limit ?",
            (room, bound, count),
        )
        found = list(map(_message, rows))
        return found if forward and after else found[::-1]

    async def search(self, words: str, rooms: Sequence[str], count: int) -> list[Message]:
        """See `Store.search`."""
        # Every word in quotes is a word, not a part of FTS5's query language; the star finds those that begin like it.
        # SQLite takes text that is UTF-8, and FTS5 ends a query at NUL.
        words = words.replace("\0", " ").encode(errors="replace").decode()
        query = " ".join('"{}"*'.format(word.replace('"', '""')) for word in words.split()[:20])
        if not query or not rooms:
            return []
        marks = ", ".join("?" * len(rooms))
        columns = ", ".join(f"messages.{column}" for column in _COLUMNS.split(", "))
        try:
            rows = await self._ask(
                f"select {columns} from search join messages on messages.id = search.rowid "
                f"where search match ? and room in ({marks}) order by search.rowid desc limit ?",
                (query, *rooms, count),
            )
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise UsageError(
                    "that search took more than {seconds:g} s; use rarer words", seconds=SEARCH_TIME
                ) from error
            raise
        return list(map(_message, rows))

    async def private(self, person: str) -> dict[str, int]:
        """See `Store.private`."""
        rows = await self._ask(
            "select room, max(number) from messages where room > '@' and room < 'A' and instr(room, ?) group by room",
            (person,),
        )
        return {room: number for room, number in rows if _is_of(room, person)}

    async def missed(self, person: str, seen: Mapping[str, int]) -> dict[str, int]:
        """See `Store.missed`."""
        newest = 0  # by the order in which they were stored: the clock may have been put back meanwhile
        for room, number in seen.items():
            for (row,) in await self._ask(
                "select id from messages where room = ? and number <= ? order by number desc limit 1", (room, number)
            ):
                newest = max(newest, row)
        rows = await self._ask(
            "select room, min(number) - 1 from messages where room > '@' and room < 'A' and instr(room, ?) and id > ? "
            "group by room",
            (person, newest),
        )
        return {room: number for room, number in (*rows, *seen.items()) if room[:1] == "@" and _is_of(room, person)}

    async def _ask(self, question: str, values: Iterable[Any]) -> list[tuple[Any, ...]]:
        import asyncio

        assert self._reader is not None, "the archive is not open"
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._answer, question, tuple(values))

    def _answer(self, question: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        base = self._reading
        assert base is not None
        until = time.monotonic() + SEARCH_TIME
        base.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        return base.execute(question, values).fetchall()

    # -- the writer's thread ---------------------------------------------------------------------------------------------

    def add(self, item: Item) -> None:
        """Takes a message or a fact to be kept; never waits. A message that has a number keeps it."""
        self._queue.put((item,))

    def add_all(self, items: Sequence[Item]) -> None:
        """The same for several, which are kept all of them or none."""
        self._queue.put(items)

    def _write(self, report: Report) -> None:
        while (batch := self._batch()) is not None:
            if batch:
                try:
                    result = self._commit(batch)
                except Exception as error:  # whatever it was, the house must hear of it: it waits
                    failed = self._cannot(error)
                    result = Batch([(item, failed) for item in batch], [])
                report(result)
            if time.monotonic() >= self._trimmed:
                self._trim()

    def _batch(self) -> list[Item] | None:
        """All that has come in, in order; None at the end."""
        try:
            items = self._queue.get(timeout=max(0.0, self._trimmed - time.monotonic()))
        except queue.Empty:
            return []
        batch: list[Item] = []
        while items is not None:
            batch.extend(items)
            if len(batch) >= LONGEST_BATCH:
                return batch
            try:
                items = self._queue.get_nowait()
            except queue.Empty:
                return batch
        if batch:
            self._queue.put(None)  # the end, once more, for the next call: nothing is added after it
        return batch or None

    def _commit(self, batch: Sequence[Item]) -> Batch:
        base = self._base
        assert base is not None
        numbers: dict[str, int] = {}
        done: list[tuple[Item, PriseError | None]] = []
        fresh: list[Message] = []
        try:
            base.execute("begin immediate")
            for item in batch:
                if isinstance(item, Fact):
                    done.append((item, self._keep(base, item)))
                    continue
                known = self._known(base, item)
                if known is not None:
                    done.append((known, None))
                    continue
                last = numbers.get(item.room) or self._numbers.get(item.room, 0)
                message = item if item.number else replace(item, number=last + 1)
                base.execute(_INSERT, _row(message))
                numbers[item.room] = max(last, message.number)
                fresh.append(message)
                done.append((message, None))
            base.execute("commit")
        except BaseException:
            if base.in_transaction:  # SQLite has rolled back some errors itself
                base.execute("rollback")
            raise
        self._numbers.update(numbers)
        return Batch(done, fresh)

    def _known(self, base: sqlite3.Connection, message: Message) -> Message | None:
        """The message that is stored already under this number or reference."""
        row = None
        if message.number:
            row = base.execute(
                f"select {_COLUMNS} from messages where room = ? and number = ?", (message.room, message.number)
            ).fetchone()
        if row is None and message.reference:
            row = base.execute(f"select {_COLUMNS} from messages where reference = ?", (message.reference,)).fetchone()
        else:
            return None
        return None if row is None else _message(row)

    def _keep(self, base: sqlite3.Connection, fact: Fact) -> PriseError | None:
        if fact.new and base.execute("select 1 from facts where key = ?", (fact.key,)).fetchone():
            return UsageError("{key} is taken", key=fact.key)
        if fact.value:
            base.execute("insert or replace into facts values (?, ?)", (fact.key, fact.value))
        else:
            base.execute("delete from facts where key = ?", (fact.key,))
        return None

    def _cannot(self, error: Exception) -> PriseError:
        return PriseError("the chat's store {path} cannot be written: {cause}", path=self.path, cause=error)

    # -- forgetting --------------------------------------------------------------------------------------------------------

    def _trim(self) -> None:
        """Forgets some of what is old, and comes back at once when there is more."""
        base = self._base
        assert base is not None
        self._trimmed = time.monotonic() + TRIM_EVERY
        try:
            rows = self._trim_time(base) + self._trim_rooms(base)
        except sqlite3.Error:
            return  # a disk that is full, say: those who write are told, and it is tried again
        if rows >= TRIM_ROWS:
            self._trimmed = 0.0

    def _trim_time(self, base: sqlite3.Connection) -> int:
        if self._keep_time is None:
            return 0
        oldest = time.time() - self._keep_time
        return self._forget(base, "select id from messages where at < ? order by at limit ?", (oldest, TRIM_ROWS))

    def _trim_rooms(self, base: sqlite3.Connection) -> int:
        if self._keep_messages is None:
            return 0
        rows = 0
        for room, last in self._numbers.items():
            rows += self._forget(
                base,
                "select id from messages where room = ? and number <= ? order by number limit ?",
                (room, last - self._keep_messages, TRIM_ROWS),
            )
        return rows

    def _forget(self, base: sqlite3.Connection, which: str, values: tuple[Any, ...]) -> int:
        base.execute("begin immediate")
        try:
            for room, last in self._numbers.items():
                base.execute("insert or replace into facts values (?, ?)", (f"last:{room}", str(last)))
            rows = base.execute(f"delete from messages where id in ({which})", values).rowcount
            base.execute("commit")
        except BaseException:
            if base.in_transaction:
                base.execute("rollback")
            raise
        return rows


_INSERT = (
    "insert into messages (room, number, at, author, by, text, kind, recipient, reference, details) "
    "values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


def _is_of(log: str, person: str) -> bool:
    """Whether a private log is one of this person."""
    return person in log.removeprefix("@").split(",")


def _row(message: Message) -> tuple[Any, ...]:
    details = None if message.details is None else json.dumps(message.details, ensure_ascii=False)
    return (
        *(message.room, message.number, message.at, message.author, message.by, message.text, message.kind, message.to),
        *(message.reference or None, details),
    )


def _message(row: tuple[Any, ...]) -> Message:
    room, at, author, by, text, kind, to, reference, details, number = row
    return Message(
        *(room, at, author, by, text, kind, to, reference or ""), json.loads(details) if details else None, number
    )
