"""Receiving one file, or a stream of unknown length, into a pipe: its bytes go on as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from prise import Connection
from prise.transfer.hearing import Refuse, guarded, hear_list, receive_bytes
from prise.transfer.talk import Entry, Report, Talk, Watcher, broken


def receive_into(
    connection: Connection,
    write: Callable[[memoryview], None],
    *,
    max_size: int | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Receives one file or stream and gives its bytes to `write` as they come; whether they are right is known after."""
    talk, entries = Talk(connection), list[Entry]()
    return guarded(talk, entries, lambda: _receive_stream(talk, entries, write, max_size, watcher or Watcher()))


def _receive_stream(
    talk: Talk, entries: list[Entry], write: Callable[[memoryview], None], max_size: int | None, watcher: Watcher
) -> Report:
    hear_list(talk, entries, max_size)
    if len(entries) > 1 or entries[0].is_folder:
        raise Refuse("one")
    (entry,) = entries
    watcher.begin(1, entry.size)
    talk.tell("go")
    message = talk.hear("file")
    if message.number("index") or message.number("start"):
        raise broken("start")
    watcher.file(entry.name)
    try:
        size, verified = receive_bytes(talk, entry, 0, hashlib.sha256(), write, max_size, watcher)
    except BrokenPipeError:
        talk.refuse("write", 0)
        raise
    talk.hear("over")
    talk.tell("done", files=int(verified), failed=[] if verified else [0])
    talk.finish()
    return Report(int(verified), size, 0, [] if verified else [entry.name])
