"""How events read on a line of text, in the language of their reader.

14:02 <alice> bonjour          14:02 * bob joined          14:02 * bob waves          * nobody is called carol
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice

from prise.chat.events import Announcement, Away, Event, Hands, Joined, Left, Link, Message, Notice, Renamed
from prise.locale import N_

_STARS = {
    Joined: N_("{name} joined"),
    Left: N_("{name} left"),
    Renamed: N_("{name} is now called {new}"),
}

Translate = Callable[[str], str]


def line(event: Event, _: Translate = str) -> str:
    """The event as one line; "" for what has none."""
    match event:
        case Message():
            return f"{stamp(event.at)} {_said(event, _)}"
        case Notice():
            return f"* {event.text(_)}"
        case Joined():
            what = _(_STARS[Joined]).format(name=event.name)
        case Left(reason=None):
            what = _(_STARS[Left]).format(name=event.name)
        case Left(reason=Notice() as reason):
            what = _(N_("{name} is gone: {reason}")).format(name=event.name, reason=reason.text(_))
        case Renamed():
            what = _(_STARS[Renamed]).format(name=event.name, new=event.new)
        case Away(text=""):
            what = _(N_("{name} is back")).format(name=event.name)
        case Away():
            what = _(N_("{name} is away: {text}")).format(name=event.name, text=event.text)
        case Announcement():
            return f"{stamp(event.at)} *** {event.author}: {event.text} ***"
        case Link():
            return f"* {event.why.text(_)}"
        case Hands():
            names = enumerated((f"{name} ({about})" if about else name for name, about in event.hands), _)
            return "* " + _(N_("raised hands: {names}")).format(names=names or "-")
        case _other:
            return ""
    return f"{stamp(event.at)} * {what}"


def _said(message: Message, _: Translate) -> str:
    author, text = message.author, message.text
    if message.to:
        return f"<{author} → {message.to}> {text}"
    if message.kind == "me":
        return f"* {author} {text}"
    if message.kind == "topic":
        return "* " + _(N_("{author} has set the topic: {text}")).format(author=author, text=text)
    if message.kind == "file" and message.details is not None:
        given = message.details
        return "* " + _(N_("{author} sends {name} ({size}): {url}")).format(
            author=author, name=given["name"], size=size(given["size"]), url=given["url"]
        )
    return f"<{author}> {text}"


def stamp(at: float) -> str:
    """The local time, HH:MM; with the date in front when that is not today's."""
    then, today = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)


def size(count: int) -> str:
    """Bytes for people: 1.5 MB."""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"


def enumerated(names: Iterable[str], _: Translate = str, count: int | None = None, most: int = 100) -> str:
    """Names for a list that is read by people; the first so many of them. count: how many there are, where that is known:
    then no more are looked at than are shown."""
    shown = list(names if count is None else islice(names, most))
    count = len(shown) if count is None else count
    more = _(N_(" and {number} more")).format(number=count - most) if count > most else ""
    return ", ".join(shown[:most]) + more
