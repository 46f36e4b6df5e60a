"""`Entry`: one line of what `list()` gives, the same for a folder, a group of news, a mailbox or a menu."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that a server has.

    name: what `get` and `list` take to go on from here. kind: "file", "folder", "link", "group", "article", "mailbox", "message",
    "menu", "search", "text"... title: for people, where it is not the name: a subject, a menu's line. size: bytes, or
    how many things are in it; None where the server does not say. modified: with a time zone, None likewise. url: of a thing
    that is elsewhere. facts: what else the protocol tells, by its own names.
    """

    name: str
    kind: str
    title: str = ""
    size: int | None = None
    modified: datetime | None = None
    url: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """True for what has a list of its own."""
        return self.kind in ("folder", "group", "mailbox", "menu")
