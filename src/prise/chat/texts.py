"""How events read on a line of text, in the language in use (see `prise.locale`).

14:02 <alice> bonjour          14:02 * bob joined          * nobody is called carol
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from prise.chat.events import Event, Joined, Left, Message, Notice, Renamed
from prise.locale import translate as _


def line(event: Event) -> str:
    """The event as one line."""
    match event:
        case Message(at, author, text):
            return f"{stamp(at)} <{author}> {text}"
        case Notice(text):
            return f"* {text}"
        case Joined(at, name):
            what = _("{name} joined").format(name=name)
        case Left(at, name, ""):
            what = _("{name} left").format(name=name)
        case Left(at, name, reason):
            what = _("{name} is gone: {reason}").format(name=name, reason=reason)
        case Renamed(at, name, new):
            what = _("{name} is now called {new}").format(name=name, new=new)
    return f"{stamp(at)} * {what}"


def stamp(at: float) -> str:
    """The local time, HH:MM; with the date in front when that is not today's."""
    then, today = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def enumerated(names: Iterable[str], most: int = 100) -> str:
    """Names for a list that is read by people; the first so many of them."""
    every = list(names)
    more = _(" and {number} more").format(number=len(every) - most) if len(every) > most else ""
    return ", ".join(every[:most]) + more
