"""Who may not come in, and until when: facts of the store, "ban:NAME" -> what is known of them.

A ban holds for the name, for the person (whoever shows their token) and for the address they came from, unless that
is this very machine, which all who use it share.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

from prise import UsageError
from prise.chat import cleaning
from prise.chat.events import Notice

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_TIME = re.compile(r"(\d{1,6})([smhdw])")


def seconds(text: str) -> float:
    """How long "10m" is. Raises UsageError."""
    found = _TIME.fullmatch(text.strip().casefold())
    if found is None or not int(found[1]):
        raise UsageError(
            "not a time: {text}; write for example {example}", text=text or "?", example="30s, 10m, 2h, 7d"
        )
    return float(int(found[1]) * _UNITS[found[2]])


def ban(name: str, id: str, hosts: list[str], until: float | None, why: str) -> tuple[str, str]:
    """The fact that keeps a ban. until: seconds since 1970, None: for ever."""
    given = {"name": name, "id": id, "hosts": [host for host in hosts if host], "until": until, "why": why}
    return f"ban:{cleaning.key(name)}", json.dumps(given, ensure_ascii=False)


def every(facts: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """The bans that hold."""
    for key, text in facts.items():
        if key.startswith("ban:"):
            given: dict[str, Any] = json.loads(text)
            if given["until"] is None or given["until"] > time.time():
                yield given


def standing(facts: Mapping[str, str], *, name: str, id: str, host: str) -> dict[str, Any] | None:
    """The ban that keeps somebody out, if one does."""
    key = cleaning.key(name)
    for given in every(facts):
        if cleaning.key(given["name"]) == key or (id and given["id"] == id) or (host and host in given["hosts"]):
            return given
    return None


def until(given: Mapping[str, Any]) -> Notice:
    """How long it still holds, and why, to be put behind "you are banned"."""
    why = f" ({given['why']})" if given["why"] else ""
    if given["until"] is None:
        return Notice("{why}", why=why)
    return Notice(" for another {minutes} min{why}", minutes=round((given["until"] - time.time()) / 60 + 0.5), why=why)
