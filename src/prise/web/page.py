"""The page of a directory, in HTML, for people: made of data alone, so it can be tested without a folder or a request.

It works without JavaScript; assets/listing.js adds filtering while one types, dates of the reader's own place, and uploading by
dropping files. It has no style or script inside, as its Content-Security-Policy wants.

Names are untrusted. In text every one is escaped, isolated (`<bdi>`) and what cannot be seen, or turns the writing round, is
shown as its number; in links all but letters and digits is %-encoded, and each begins with `./`, so none is taken for a scheme.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from html import escape
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode

from prise.locale import translator
from prise.web import assets, thumbnails
from prise.web.access import Permission
from prise.web.entries import PER_PAGE, Entry, Wish

LARGEST_INLINE: Final = 2 * 2**20
"""Bytes of a picture that is shown as it is where no thumbnails can be made."""

_INLINE: Final = frozenset((".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp"))
# C0, DEL, C1, surrogates; what has no width; what turns the direction of writing (UAX #9) or ends a line.
_INVISIBLE: Final = re.compile("[\0-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


class Reader(NamedTuple):
    """Whom the page is for. language: "en" or "fr". login: who may not upload may log in. archives: folders can be downloaded."""

    language: str = "en"
    permission: Permission = Permission.READ
    login: bool = False
    archives: bool = True


class Page(NamedTuple):
    """What the page shows. root: the name of the folder that is served. entries: filtered and sorted, all pages. total: before
    filtering. more: the folder holds more than were read. readme: its name, and its HTML, which is put in as it is."""

    parts: tuple[str, ...]
    root: str
    entries: Sequence[Entry]
    total: int
    more: bool = False
    wish: Wish = Wish()
    readme: tuple[str, str] | None = None

    def html(self, reader: Reader) -> str:
        """The whole page."""
        _ = translator(reader.language)
        title = visible(self.parts[-1] if self.parts else self.root)
        body = "\n".join(
            part
            for part in (
                self._crumbs(_),
                f"<main>\n<h1><bdi>{title}</bdi></h1>",
                self._tools(_, reader),
                self._uploading(_, reader),
                self._table(_, reader),
                self._pages(_),
                self._readme(_),
                "</main>",
            )
            if part
        )
        return (
            f'<!DOCTYPE html>\n<html lang="{reader.language}">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{title}</title>\n"
            f'<link rel="icon" href="{assets.address("icon.svg")}">\n'
            f'<link rel="stylesheet" href="{assets.address("listing.css")}">\n'
            f'<script src="{assets.address("listing.js")}" defer></script>\n'
            f"</head>\n<body>\n{body}\n</body>\n</html>\n"
        )

    def _crumbs(self, _: Callable[[str], str]) -> str:
        if not self.parts:
            return ""
        names = (self.root, *self.parts)
        items = []
        for index, name in enumerate(names):
            up = len(names) - 1 - index
            inner = (
                f'<a href="{"../" * up}"><bdi>{visible(name)}</bdi></a>'
                if up
                else f'<span aria-current="page"><bdi>{visible(name)}</bdi></span>'
            )
            items.append(f"<li>{inner}</li>")
        return f'<nav aria-label="{escape(_("Path"))}"><ol class="crumbs">{"".join(items)}</ol></nav>'

    def _tools(self, _: Callable[[str], str], reader: Reader) -> str:
        wish = self.wish
        kept = "".join(
            f'<input type="hidden" name="{name}" value="{value}">'
            for name, value in (("sort", wish.sort), ("order", "desc" if wish.descending else "asc"))
            if (name, value) not in (("sort", "name"), ("order", "asc"))
        )
        filtering = (
            f'<form class="filter" method="get" role="search" data-all="{int(len(self.entries) <= PER_PAGE)}">{kept}'
            f'<label for="filter">{escape(_("Filter by name"))}</label> '
            f'<input id="filter" type="search" name="filter" value="{escape(visible(wish.filter))}" autocomplete="off"> '
            f"<button>{escape(_('Filter'))}</button></form>"
        )
        saving = ""
        if reader.archives:
            links = " ".join(f'<a href="?download={kind}" download>{kind}</a>' for kind in ("zip", "tar", "tar.gz"))
            saving = f'<p class="save">{escape(_("Download this folder:"))} {links}</p>'
        return f'<div class="tools">\n{filtering}\n{saving}\n</div>'

    def _uploading(self, _: Callable[[str], str], reader: Reader) -> str:
        if reader.permission < Permission.UPLOAD:
            return f'<p><a href="?login">{escape(_("Log in to upload"))}</a></p>' if reader.login else ""
        texts = {
            "sending": _("sending"),
            "done": _("stored"),
            "failed": _("failed"),
            "retry": _("interrupted, trying again"),
            "drop": _("Files can also be dropped here."),
        }
        data = "".join(f' data-{name}="{escape(text)}"' for name, text in texts.items())
        form = (
            f'<form class="upload" method="post" enctype="multipart/form-data"{data}>'
            f'<label for="files">{escape(_("Upload files"))}</label> '
            '<input id="files" type="file" name="file" multiple required> '
            f"<button>{escape(_('Upload'))}</button>"
            '<p class="hint" hidden></p><ul class="progress" aria-live="polite"></ul></form>'
        )
        if reader.permission >= Permission.WRITE:
            form += (
                '\n<form class="new" method="post" action="?mkdir">'
                f'<label for="folder">{escape(_("New folder"))}</label> '
                '<input id="folder" type="text" name="name" required maxlength="200" autocomplete="off"> '
                f"<button>{escape(_('Create'))}</button></form>"
            )
        return f'<div class="writing">\n{form}\n</div>'

    def _table(self, _: Callable[[str], str], reader: Reader) -> str:
        heads = "".join(
            self._head(name, text)
            for name, text in (("name", _("Name")), ("size", _("Size")), ("date", _("Modified (UTC)")))
        )
        start = (self.wish.page - 1) * PER_PAGE
        rows = "\n".join(_row(each, reader.language) for each in self.entries[start : start + PER_PAGE])
        if self.parts:
            up = f'<tr class="up"><th scope="row" colspan="3"><a href="../">{escape(_("Parent folder"))}</a></th></tr>'
            rows = f"{up}\n{rows}"
        folders = sum(each.is_directory for each in self.entries)
        count = _("Folders: {folders}. Files: {files}.").format(folders=folders, files=len(self.entries) - folders)
        if self.wish.filter:
            count += " " + _("{hidden} more do not match the filter.").format(hidden=self.total - len(self.entries))
        if self.more:
            count += " " + _("There are more than can be shown.")
        return (
            f'<table>\n<caption role="status">{escape(count)}</caption>\n<thead><tr>{heads}</tr></thead>\n'
            f"<tbody>\n{rows}\n</tbody>\n</table>"
        )

    def _head(self, name: str, text: str) -> str:
        wish = self.wish
        current = wish.sort == name
        state = f' aria-sort="{"descending" if wish.descending else "ascending"}"' if current else ""
        # A second click turns the order; sizes and dates begin with what people look for: the largest, the newest.
        descending = not wish.descending if current else name != "name"
        link = self._link(wish._replace(sort=name, descending=descending, page=1))
        return f'<th scope="col" class="{name}"{state}><a href="{link}">{escape(text)}</a></th>'

    def _pages(self, _: Callable[[str], str]) -> str:
        last = max(-(-len(self.entries) // PER_PAGE), 1)
        page = self.wish.page
        if last == 1 and page == 1:
            return ""
        links = []
        if page > 1:
            before = self._link(self.wish._replace(page=min(page - 1, last)))
            links.append(f'<a rel="prev" href="{before}">{escape(_("Previous page"))}</a>')
        links.append(f"<span>{escape(_('Page {page} of {last}').format(page=page, last=last))}</span>")
        if page < last:
            after = self._link(self.wish._replace(page=page + 1))
            links.append(f'<a rel="next" href="{after}">{escape(_("Next page"))}</a>')
        return f'<nav class="pages" aria-label="{escape(_("Pages"))}">{" ".join(links)}</nav>'

    def _readme(self, _: Callable[[str], str]) -> str:
        if self.readme is None or not self.readme[1]:
            return ""
        name, html = self.readme
        return f'<article class="readme" aria-label="{visible(name)}">\n{html}\n</article>'

    def _link(self, wish: Wish) -> str:
        """The same folder, seen in another way."""
        pairs = {"sort": wish.sort, "order": "desc" if wish.descending else "asc"}
        if wish.filter:
            pairs["filter"] = wish.filter
        if wish.page > 1:
            pairs["page"] = str(wish.page)
        return escape(f"?{urlencode(pairs, errors='replace')}")


def _row(entry: Entry, language: str) -> str:
    name, kind = visible(entry.name), "folder" if entry.is_directory else "file"
    slash = "/" if entry.is_directory else ""
    href = f"./{quote(entry.name, safe='')}{slash}" if entry.reachable else ""
    inner = f"<bdi>{name}</bdi>{slash}"
    picture = "" if entry.is_directory or not href else _picture(entry, href)
    link = f'<a href="{href}">{picture}{inner}</a>' if href else f"<span>{inner}</span>"
    moment = time.gmtime(max(entry.modified, 0))
    when = f'<time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}">{time.strftime("%Y-%m-%d %H:%M", moment)}</time>'
    size = "" if entry.is_directory else f'<data value="{entry.size}">{human(entry.size, language)}</data>'
    return (
        f'<tr class="{kind}"><th scope="row">{link}</th><td class="size">{size}</td><td class="date">{when}</td></tr>'
    )


def _picture(entry: Entry, href: str) -> str:
    """alt is empty: the name stands beside it."""
    extension = os.path.splitext(entry.name)[1].lower()
    if extension in thumbnails.EXTENSIONS and entry.size <= thumbnails.LARGEST and thumbnails.available():
        return f'<img src="{href}?thumb=1" alt="" loading="lazy" decoding="async">'
    if extension in _INLINE and entry.size <= LARGEST_INLINE:
        return f'<img src="{href}" alt="" loading="lazy" decoding="async">'
    return ""


def visible(name: str) -> str:
    """A name as text for HTML: what cannot be seen is shown as its number, "\\u202e"; a byte that is no UTF-8 as "\\xff"."""

    def number(match: re.Match[str]) -> str:
        code = ord(match[0])
        if 0xDC80 <= code <= 0xDCFF:  # how Python keeps such a byte
            return f"\\x{code - 0xDC00:02x}"
        return f"\\u{code:04x}" if code > 0xFF else f"\\x{code:02x}"

    return escape(_INVISIBLE.sub(number, name))


def human(size: int, language: str) -> str:
    """A number of bytes for people: "1.4 MiB", in French "1,4 Mio"."""
    _ = translator(language)
    if size < 1024:
        return _("{number} B").format(number=size)
    number = float(size)
    templates = [_("{number} KiB"), _("{number} MiB"), _("{number} GiB"), _("{number} TiB")]
    power = 0
    while (number := number / 1024) >= 1023.95 and power < len(templates) - 1:
        power += 1
    shown = f"{number:.1f}" if number < 99.95 else f"{number:.0f}"
    return templates[power].format(number=shown.replace(".", ",") if language == "fr" else shown)
