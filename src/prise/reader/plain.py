"""The reader without a terminal: all of a list, or a text, is printed, and that is it."""

from __future__ import annotations

from collections.abc import Callable

from prise.errors import UsageError
from prise.reader.pages import ListPage, TextPage, page_of
from prise.reader.places import Place
from prise.reader.rows import row
from prise.reader.servers import Servers


def show(servers: Servers, place: Place, write: Callable[[str], None]) -> None:
    """Writes line by line; long lists portion by portion. Raises what the session does, and UsageError for what is no text."""
    if place.kind == "search" and place.words is None:
        raise UsageError("a search wants words: {example}", example=f"prise read {place.url}%09words")
    page = page_of(place, servers.look(place))
    if isinstance(page, TextPage):
        for line in page.whole():
            write(line.text)
        return
    if not isinstance(page, ListPage):
        raise UsageError(
            "this is not text, or too long to be read: fetch it with {example}", example=f"prise get {place.url} -O"
        )
    while True:
        for entry in page.entries:
            write(row(entry, place.target.protocol).text)
        if page.more is None:
            return
        page = ListPage(place, *servers.portion(place, page.more))
