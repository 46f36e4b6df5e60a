"""Where what is said is numbered and kept: `base` says what the house needs, `sqlite` is one node, `nats` several.

`archive` is the SQLite file that both have (`archived`): for one node the truth, for several each node's own copy, to read.
"""

from __future__ import annotations

import os
from pathlib import Path

from prise import UsageError
from prise.chat.store.archive import Archive
from prise.chat.store.base import Store
from prise.chat.store.sqlite import SqliteStore


def store_of(
    text: str | None, backplane: str = "", keep_time: float | None = None, keep_messages: int | None = None
) -> Store:
    """The store that `sqlite:PATH` names, by default in the user's data directory; its copy with a backplane. UsageError."""
    archive = Archive(_path(text), keep_time=keep_time, keep_messages=keep_messages)
    if backplane:
        from prise.chat.store.nats import NatsStore

        return NatsStore(archive, backplane)
    return SqliteStore(archive)


def _path(text: str | None) -> Path:
    if text is None:
        return default_path()
    scheme, colon, path = text.partition(":")
    if scheme != "sqlite" or not colon or not path.removeprefix("//"):
        raise UsageError("not a store: {text}; write for example {example}", text=text, example="sqlite:chat.sqlite")
    return Path(path.removeprefix("//")).expanduser()


def default_path() -> Path:
    """In the user's data directory: $XDG_DATA_HOME, or ~/.local/share (XDG Base Directory Specification)."""
    data = os.environ.get("XDG_DATA_HOME", "")
    # A relative path is to be ignored, says the specification.
    return (Path(data) if os.path.isabs(data) else Path.home() / ".local" / "share") / "prise" / "chat.sqlite"
