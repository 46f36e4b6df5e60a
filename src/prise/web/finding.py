"""What a URL path means in a folder: a file, a directory, the page that stands for it, or another path.

/a.txt    that file                       /about    about.html (pretty), else the directory about/
/sub/     its index.html, or its listing   /app/x    the root's index (spa), for what is nowhere
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from prise.web.cache import Checks, Signature, signature
from prise.web.folder import Folder, Opened


class Found(NamedTuple):
    """opened: what is there, for the caller to close. checks: what must stay as it is for the path to mean the same; ()
    when that is not easily said."""

    opened: Opened
    checks: Checks = ()


class Finder:
    """folder: where. index, pretty, spa: see `Site`."""

    def __init__(self, folder: Folder, index: Sequence[str], pretty: bool, spa: bool) -> None:
        self.folder = folder
        self.index = tuple(index)
        self.pretty = pretty
        self.spa = spa

    def find(self, path: str) -> Found | str:
        """What a decoded path means, or where to go instead (relative to it). Raises as `Folder.open`."""
        folder = self.folder
        parts = folder.split(path)
        slash = not parts or not parts[-1]
        try:
            found = folder.open(path)
        except FileNotFoundError:
            if self.pretty and not slash and (page := self._beside(parts)):
                return Found(page, ((folder.path(parts), None), check(page)))
            if self.spa and not (parts and "." in parts[-1]):
                with folder.open_parts(()) as root:
                    if page := self._index(root):
                        return Found(page)
            raise
        if not found.is_directory:
            return Found(found, (check(found),))
        if slash:
            if page := self._index(found):
                found.close()
                return Found(page, (check(page),))
            return Found(found)
        found.close()
        if self.pretty and (page := self._beside(parts)):
            return Found(page)
        # Relative to the path that was asked: right below any prefix, and never //host or a scheme, whatever the name is.
        return f"{quote(parts[-1], safe='')}/"

    def _index(self, directory: Opened) -> Opened | None:
        """The page that stands for a directory."""
        for name in self.index:
            try:
                page = directory.child(name)
            except FileNotFoundError:
                continue
            if not page.is_directory:
                return page
            page.close()
        return None

    def _beside(self, parts: tuple[str, ...]) -> Opened | None:
        """about.html for about."""
        try:
            page = self.folder.open_parts((*parts[:-1], f"{parts[-1]}.html"))
        except FileNotFoundError:
            return None
        if not page.is_directory:
            return page
        page.close()
        return None


def check(opened: Opened) -> tuple[str, Signature]:
    """What tells that a path still leads to this file, unchanged."""
    return (opened.folder.path(opened.parts), signature(opened.stat))
