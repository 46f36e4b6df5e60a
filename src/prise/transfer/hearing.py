"""What receiving into a folder and into a pipe share: the list of what is to come, the bytes of a file, and how to say no."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prise.transfer.talk import MOST_ENTRIES, Entry, Refusal, Report, Talk, Watcher, broken, refused

_NAMES_SIZE = 64 * 1024 * 1024
"""Characters of the names of folders that are not listed, but that listed files are in."""


class Refuse(Exception):
    """We say no: the code of the reason, the index of the entry that it is about, and its name if it is not listed."""

    def __init__(self, code: str, index: int = -1, cause: object = "", name: str = "") -> None:
        super().__init__(code)
        self.code, self.index, self.cause, self.name = code, index, cause, name


def guarded(talk: Talk, entries: list[Entry], run: Callable[[], Report]) -> Report:
    """Runs it, tells the other side when we refuse, and makes every refusal an error that names its file."""
    try:
        with talk.alive():
            return run()
    except Refuse as no:
        talk.refuse(no.code, no.index)
        listed = 0 <= no.index < len(entries)
        raise refused(no.code, entries[no.index].name if listed else no.name, cause=no.cause) from None
    except Refusal as no:
        raise refused(no.code, entries[no.index].name if 0 <= no.index < len(entries) else "") from None


def hear_list(talk: Talk, entries: list[Entry], max_size: int | None) -> None:
    """Hears what is to come. Raises Refuse for names that come twice, or below a file, and for what is too much."""
    files: set[str] = set()
    folders: set[str] = set()
    total = held = 0
    while (message := talk.hear("entry", "listed"))["type"] == "entry":
        if len(entries) == MOST_ENTRIES:
            raise Refuse("many")
        entry = message.entry()
        if entry is None:
            raise Refuse("name", len(entries), name=str(message.get("name"))[:200])
        entries.append(entry)
        here = len(entries) - 1
        if entry.name in files or (entry.name in folders and not entry.is_folder):
            raise Refuse("twice", here)
        (folders if entry.is_folder else files).add(entry.name)
        above = entry.name.rpartition("/")[0]
        while above and above not in folders:
            if above in files:
                raise Refuse("twice", here)
            folders.add(above)
            held += len(above)
            above = above.rpartition("/")[0]
        if held > _NAMES_SIZE:
            raise Refuse("many")
        total += entry.size or 0
        if max_size is not None and total > max_size:
            raise Refuse("size")
    if message.number("count", MOST_ENTRIES) != len(entries) or not entries:
        raise broken("count")


def receive_bytes(
    talk: Talk,
    entry: Entry,
    start: int,
    running: Any,
    write: Callable[[memoryview], None],
    room: int | None,
    watcher: Watcher,
) -> tuple[int, bool]:
    """The bytes of one file, to its end: hashed and written. Returns its size and whether it is verified.

    start: bytes that were there, which `running` has seen. room: bytes that may come where the size is unknown.
    """
    size = start
    while isinstance(message := talk.hear_any(), memoryview):
        size += len(message)
        if entry.size is not None and size > entry.size:
            raise broken("size")
        if entry.size is None and room is not None and size > room:
            raise Refuse("size")
        running.update(message)
        write(message)
        watcher.moved(len(message))
    if message["type"] != "end":
        raise broken("type")
    verified = message.flag("whole") and message.digest("sha256") == running.digest()
    return size, verified and entry.size in (None, size)
