"""The sending side: says what is to come, compares what is there already, then sends the rest without waiting.

A file is read once: its hash is made of the bytes as they go, and follows them. What the other side has of it is hashed
here as well, and goes on being hashed from there.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from prise import Connection, PeerError
from prise.transfer.listing import Listing
from prise.transfer.talk import CHUNK, Entry, Message, Refusal, Report, Talk, Watcher, broken, refused


def send(connection: Connection, what: Listing, watcher: Watcher | None = None) -> Report:
    """Sends everything. Returns when the other side has verified it all, but for what the report says has failed.

    Raises PeerError (the other side said no, before any byte of a file), ConnectionLost (cut short).
    """
    sender = Sender(Talk(connection), what, watcher or Watcher())
    try:
        with sender.talk.alive():
            return sender.send()
    except Refusal as refusal:
        raise refusal.error(what.entries) from None


class Sender:
    def __init__(self, talk: Talk, what: Listing, watcher: Watcher) -> None:
        self.talk = talk
        self._what = what
        self._watcher = watcher
        self._begun: dict[int, Any] = {}  # index -> the hash of what the other side has of the file
        self._have: dict[int, int] = {}  # index -> how much that is
        self._same: set[int] = set()
        self._failed: set[int] = set()
        self._streamed = 0

    def send(self) -> Report:
        entries = self._what.entries
        for index, entry in enumerate(entries):
            self.talk.tell(
                "entry", name=entry.name, folder=entry.is_folder, size=entry.size, mode=entry.mode, mtime=entry.mtime
            )
            if index % 100 == 99:
                self.talk.check()
        self.talk.tell("listed", count=len(entries))
        claims: list[Message] = []
        while (message := self.talk.hear("have", "go"))["type"] == "have":
            if len(claims) == len(entries):
                raise broken("have")
            claims.append(message)
        self._watcher.begin(self._what.files, self._what.size)
        for claim in claims:
            self._compare(claim)
        for index, entry in enumerate(entries):
            if index in self._same:
                self.talk.tell("same", index=index)
                self._watcher.kept(entry.size or 0)
            elif not entry.is_folder:
                self._send_file(index, entry, self._what.sources[index])
        self.talk.tell("over")
        return self._result(self.talk.hear("done"))

    def _compare(self, claim: Message) -> None:
        """Whether what the other side has is the beginning of our file, or all of it."""
        index = claim.number("index", len(self._what.entries) - 1)
        entry, source = self._what.entries[index], self._what.sources[index]
        if entry.is_folder or entry.size is None or not isinstance(source, str) or index in self._begun:
            raise broken("index")
        size, whole = claim.number("size", entry.size), claim.flag("whole")
        running = hashlib.sha256()
        try:
            with opened(source, entry) as file:
                agrees = feed(file, size, running.update) == size and running.digest() == claim.digest("sha256")
        except OSError:
            agrees = False
        if agrees and whole and size == entry.size:
            self._same.add(index)
        elif agrees and not whole:
            self._begun[index], self._have[index] = running, size
        elif claim.flag("keep"):
            code = "exists" if whole else "part"
            self.talk.refuse(code, index)
            raise refused(code, entry.name, there=True)

    def _send_file(self, index: int, entry: Entry, source: str | BinaryIO) -> None:
        self._watcher.file(entry.name)
        start, running = self._have.get(index, 0), self._begun.pop(index, None) or hashlib.sha256()
        self._watcher.kept(start)
        self.talk.tell("file", index=index, start=start)
        if isinstance(source, str):
            try:
                with opened(source, entry) as file:
                    os.lseek(file, start, os.SEEK_SET)
                    sent = feed(file, (entry.size or 0) - start, lambda chunk: self._send_chunk(chunk, running))
                    whole = sent == (entry.size or 0) - start and unchanged(file, entry)
            except PeerError:
                raise
            except OSError:
                whole = False
        else:
            self._streamed = feed(source.fileno(), None, lambda chunk: self._send_chunk(chunk, running))
            whole = True
        if not whole:
            self._failed.add(index)
        self.talk.tell("end", sha256=running.hexdigest(), whole=whole)

    def _send_chunk(self, chunk: bytes, running: Any) -> None:
        running.update(chunk)
        self.talk.data(chunk)
        self._watcher.moved(len(chunk))
        self.talk.check()

    def _result(self, done: Message) -> Report:
        entries = self._what.entries
        failed = done.get("failed")
        if not isinstance(failed, list) or not all(type(i) is int and 0 <= i < len(entries) for i in failed):
            raise broken("failed")
        self._failed.update(failed)
        good = [i for i, entry in enumerate(entries) if not entry.is_folder and i not in self._failed]
        if done.number("files") != len(good):
            raise broken("files")
        self.talk.connection.send_eof()
        return Report(
            len(good),
            sum(entries[i].size or 0 for i in good) + self._streamed,
            len(self._same),
            [entries[i].name for i in sorted(self._failed)],
        )


@contextmanager
def opened(path: str, entry: Entry) -> Iterator[int]:
    """The file for reading. Raises OSError when it is not as it was when it was listed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not unchanged(descriptor, entry):
            raise OSError(0, "changed", path)
        yield descriptor
    finally:
        os.close(descriptor)


def unchanged(descriptor: int, entry: Entry) -> bool:
    status = os.fstat(descriptor)
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (entry.size, entry.mtime)


def feed(descriptor: int, size: int | None, take: Any) -> int:
    """Reads so many bytes, or to the end, in chunks; returns how many there were."""
    done = 0
    while size is None or done < size:
        chunk = os.read(descriptor, CHUNK if size is None else min(CHUNK, size - done))
        if not chunk:
            break
        take(chunk)
        done += len(chunk)
    return done
