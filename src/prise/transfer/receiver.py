"""The receiving side: refuses before any byte flows, writes below its folder only, and believes hashes alone.

The whole list is known before the first file, and everything that can be checked is checked then: names, what exists,
the room on the disk. What is there already is hashed and told to the sender, who compares.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from dataclasses import dataclass
from typing import Any

from prise import Connection, PeerError
from prise.transfer.folder import Folder
from prise.transfer.hearing import Refuse, guarded, hear_list, receive_bytes
from prise.transfer.sender import feed
from prise.transfer.talk import Entry, Message, Report, Talk, Watcher, broken

_MOST_FAILED = 1_000
"""Failures that are told one by one; at the next one the transfer ends."""


def receive(
    connection: Connection,
    folder: str,
    *,
    overwrite: bool = False,
    max_size: int | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Receives everything into the folder, which is made if it is not there (but not those above it).

    overwrite: whether files that are there may be replaced. max_size: bytes in all.
    Raises PeerError (refused by either side, before any byte of a file, or the disk failed), ConnectionLost (cut short;
    what has arrived is kept), FrameError; OSError when the folder cannot be used.
    """
    talk = Talk(connection)
    with Folder(folder) as into:
        receiver = Receiver(talk, into, overwrite, watcher or Watcher())
        return guarded(talk, receiver.entries, lambda: receiver.receive(max_size))


@dataclass(slots=True)
class Begun:
    """What is there of a file: so many bytes, and their hash. whole: it has its name already."""

    size: int
    running: Any
    whole: bool


class Receiver:
    def __init__(self, talk: Talk, folder: Folder, overwrite: bool, watcher: Watcher) -> None:
        self.entries: list[Entry] = []
        self._talk = talk
        self._folder = folder
        self._overwrite = overwrite
        self._watcher = watcher
        self._max_size: int | None = None
        self._parts: dict[int, str] = {}
        self._begun: dict[int, Begun] = {}
        self._done: set[int] = set()
        self._failed: set[int] = set()
        self._report = Report()

    def receive(self, max_size: int | None) -> Report:
        self._max_size = max_size
        hear_list(self._talk, self.entries, max_size)
        names = {entry.name for entry in self.entries}
        present = [found for index, entry in enumerate(self.entries) if (found := self._check(index, entry, names))]
        coming = sum(entry.size or 0 for entry in self.entries) - sum(size for _index, _name, size in present)
        if coming > self._folder.free:
            raise Refuse("space")
        for index, name, size in present:
            self._tell_have(index, name, size)
        self._watcher.begin(
            sum(not entry.is_folder for entry in self.entries),
            None
            if any(entry.size is None for entry in self.entries)
            else sum(entry.size or 0 for entry in self.entries),
        )
        self._talk.tell("go")
        new_folders = self._make_folders()
        while (message := self._talk.hear("file", "same", "over"))["type"] != "over":
            index = self._index(message)
            if message["type"] == "same":
                self._note_same(index)
            else:
                self._receive_file(index, message)
        self._dress_folders(new_folders)
        return self._finish()

    # -- before any byte flows ---------------------------------------------------------------------------------------

    def _check(self, index: int, entry: Entry, names: set[str]) -> tuple[int, str, int] | None:
        """Refuses what could not be written in the end. Returns (index, name, size) of what is there to be compared."""
        try:
            found = self._folder.look(entry.name)
            if entry.is_folder:
                if found is not None and not stat.S_ISDIR(found.st_mode):
                    raise Refuse("kind", index)
                return None
            part = f"{entry.name}.part"
            while part in names:  # it is the name of another file
                part += ".part"
            self._parts[index] = part
            begun = self._folder.look(part)
        except OSError as error:
            raise Refuse("kind", index, error.strerror) from None
        if found is not None:
            if not stat.S_ISREG(found.st_mode):
                raise Refuse("kind", index)
            if not self._overwrite:
                if found.st_size != entry.size:
                    raise Refuse("exists", index)
                return index, entry.name, found.st_size
        if begun is not None:
            ours = stat.S_ISREG(begun.st_mode) and begun.st_uid == os.geteuid()
            fits = entry.size is not None and begun.st_size <= entry.size
            if not ours or not (fits or self._overwrite):
                raise Refuse("part", index)
            if fits and begun.st_size:
                return index, part, begun.st_size
        if found is not None and found.st_size == entry.size:
            return index, entry.name, found.st_size
        return None

    def _tell_have(self, index: int, name: str, size: int) -> None:
        running = hashlib.sha256()
        try:
            descriptor = self._folder.open(name)
        except OSError as error:
            raise Refuse("write", index, error.strerror) from None
        try:
            size = feed(descriptor, size, running.update)
        finally:
            os.close(descriptor)
        whole = name == self.entries[index].name
        self._begun[index] = Begun(size, running, whole)
        self._talk.tell(
            "have", index=index, size=size, sha256=running.hexdigest(), whole=whole, keep=not self._overwrite
        )

    def _make_folders(self) -> list[Entry]:
        new = []
        for index, entry in enumerate(self.entries):
            if entry.is_folder:
                try:
                    if self._folder.make_folder(entry.name):
                        new.append(entry)
                except OSError as error:
                    raise Refuse("write", index, error.strerror) from None
        return new

    def _dress_folders(self, new: list[Entry]) -> None:
        """At the end: writing into a folder changes its time, and its mode may forbid it."""
        for entry in reversed(new):
            try:
                self._folder.dress_folder(entry.name, entry.mode, entry.mtime)
            except OSError:
                pass  # everything in it is there

    # -- the files ---------------------------------------------------------------------------------------------------

    def _index(self, message: Message) -> int:
        index = message.number("index", len(self.entries) - 1)
        if self.entries[index].is_folder or index in self._done or index in self._failed:
            raise broken("index")
        return index

    def _note_same(self, index: int) -> None:
        begun = self._begun.get(index)
        if begun is None or not begun.whole or begun.size != self.entries[index].size:
            raise broken("index")
        self._done.add(index)
        self._report.same += 1
        self._report.size += begun.size
        self._watcher.kept(begun.size)

    def _receive_file(self, index: int, message: Message) -> None:
        entry, part = self.entries[index], self._parts[index]
        begun, start = self._begun.pop(index, None), message.number("start")
        if start and (begun is None or begun.whole or start != begun.size):
            raise broken("start")
        if not start and begun is not None and not self._overwrite:
            raise broken("start")  # the sender should have refused
        running = begun.running if begun is not None and start else hashlib.sha256()
        self._watcher.file(entry.name)
        self._watcher.kept(start)
        kept = entry.size is not None  # a stream that was cut cannot be continued
        try:
            descriptor = self._folder.open(part, os.O_WRONLY | os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # another receiver may have the same in hand
                if not start:
                    os.ftruncate(descriptor, 0)
                if os.lseek(descriptor, 0, os.SEEK_END) != start:
                    raise Refuse("part", index)  # somebody else writes to it
                size, kept = self._write(descriptor, entry, start, running)
                if kept:
                    self._folder.dress(descriptor, entry.mode, entry.mtime)
            finally:
                os.close(descriptor)
                if not kept:
                    self._folder.remove(part)
            if kept:
                self._folder.place(part, entry.name, self._overwrite)
                self._done.add(index)
                self._report.size += size
            else:
                self._fail(index)
        except PeerError:
            raise
        except FileExistsError:
            raise Refuse("exists", index) from None
        except OSError as error:
            raise Refuse("write", index, error.strerror or error) from None

    def _write(self, descriptor: int, entry: Entry, start: int, running: Any) -> tuple[int, bool]:
        """The bytes of one file, to its end. Returns its size, and whether the hash agrees."""

        def write(data: memoryview) -> None:
            while data:
                data = data[os.write(descriptor, data) :]

        room = None if self._max_size is None else self._max_size - self._report.size
        return receive_bytes(self._talk, entry, start, running, write, room, self._watcher)

    def _fail(self, index: int) -> None:
        self._failed.add(index)
        self._report.failed.append(self.entries[index].name)
        if len(self._failed) > _MOST_FAILED:
            raise Refuse("many")

    def _finish(self) -> Report:
        files = sum(not entry.is_folder for entry in self.entries)
        if len(self._done) + len(self._failed) != files:
            raise broken("over")
        self._report.files = len(self._done)
        self._talk.tell("done", files=len(self._done), failed=sorted(self._failed))
        self._talk.finish()
        return self._report
