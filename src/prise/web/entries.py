"""What is in a directory: read in a thread, filtered, sorted, cut into pages. The rules are those of serving (folder.py)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from prise.web.folder import Opened

MOST: Final = 500_000
"""Entries of one directory that are read; about 300 bytes each, for as long as the answer is made."""
PER_PAGE: Final = 1000
HIDDEN: Final = ".prise-"
"""How names of unfinished uploads begin, which are never shown, even where other dot files are."""

_DIGITS: Final = re.compile(r"[0-9]+")
_RUN: Final = 10_000  # entries that are sorted in one go


class Entry(NamedTuple):
    """name: as the system gives it (bytes that are no UTF-8 as surrogates). size: bytes; of a directory 0. modified: seconds
    since 1970. reachable: it has a URL: its name is UTF-8."""

    name: str
    is_directory: bool
    size: int
    modified: float
    reachable: bool = True


class Wish(NamedTuple):
    """What a reader wants to see. sort: "name", "size" or "date". filter: a part of the name, in any case. page: from 1 on."""

    sort: str = "name"
    descending: bool = False
    filter: str = ""
    page: int = 1

    @classmethod
    def of(cls, query: dict[str, str]) -> Wish:
        """From `?sort=size&order=desc&filter=x&page=2`. What makes no sense is left out, not refused: people edit addresses."""
        sort = query.get("sort", "name")
        page = query.get("page", "1")
        return cls(
            sort if sort in ("name", "size", "date") else "name",
            query.get("order") == "desc",
            query.get("filter", "")[:200],
            max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 9 else 1,
        )


def scan(directory: Opened) -> tuple[list[Entry], bool]:
    """What may be served of a directory, unsorted, and whether there is more than that. Blocks. Raises OSError."""
    entries: list[Entry] = []
    with os.scandir(directory.descriptor) as found:
        for each in found:
            if each.name.startswith(HIDDEN):
                continue
            if len(entries) == MOST:
                return entries, True
            try:
                directory.folder.check((*directory.parts, each.name))
                status = each.stat(follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    with directory.child(each.name) as target:
                        status = target.stat
            except OSError:  # not served, or gone
                continue
            if stat.S_ISDIR(status.st_mode):
                entries.append(Entry(each.name, True, 0, status.st_mtime, _is_utf8(each.name)))
            elif stat.S_ISREG(status.st_mode):
                entries.append(Entry(each.name, False, status.st_size, status.st_mtime, _is_utf8(each.name)))
    return entries, False


def select(entries: Sequence[Entry], wish: Wish) -> list[Entry]:
    """Filtered and sorted: directories first, then as wished; names in the order of people: file2 before file10."""
    wanted = wish.filter.casefold()
    kept = [each for each in entries if wanted in each.name.casefold()] if wanted else list(entries)
    backwards = wish.descending and wish.sort == "name"
    for start in range(0, len(kept), _RUN):
        kept[start : start + _RUN] = sorted(kept[start : start + _RUN], key=_by_name, reverse=backwards)
    kept.sort(key=_by_name, reverse=backwards)  # which only merges those
    if wish.sort != "name":
        by: Callable[[Entry], Any] = (lambda each: each.size) if wish.sort == "size" else (lambda each: each.modified)
        kept.sort(key=by, reverse=wish.descending)
    kept.sort(key=lambda each: not each.is_directory)
    return kept


def _by_name(entry: Entry) -> str:
    # One text, not a list of texts and numbers: sorting compares in C without letting other threads run, so it must be quick.
    # A number is preceded by how many digits it has, which puts 9 before 10.
    return f"{_DIGITS.sub(_sortable, entry.name.casefold())}\0{entry.name}"


def _sortable(number: re.Match[str]) -> str:
    digits = number[0].lstrip("0")
    return f"{len(digits):03}{digits}"


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
