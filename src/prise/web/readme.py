"""A folder's README as HTML, for below its listing. Markdown by `markdown-it-py` where that is installed; text otherwise.

HTML inside Markdown is shown as text, and links lead only where markdown-it lets them (no `javascript:`), so that somebody who
may only put a file there cannot put a program into the page. What is made is remembered by what the file is.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from importlib import import_module
from typing import Any, Final

from prise.web.entries import Entry
from prise.web.folder import Opened

LARGEST: Final = 256 * 1024
"""Bytes of a README that is shown; the rest of a longer one is left out."""
LARGEST_MARKDOWN: Final = 64 * 1024
"""Bytes that are taken for Markdown: parsing some texts takes time that grows with the square. Longer ones are shown as text."""
NAMES: Final = ("readme.md", "readme.markdown", "readme.txt", "readme")
"""What is looked for, in this order, in any case."""


def name_in(entries: list[Entry]) -> str | None:
    """The README among these."""
    found = {each.name.lower(): each.name for each in entries if not each.is_directory and each.name[:1] in "rR"}
    return next((found[name] for name in NAMES if name in found), None)


def shown(directory: Opened, name: str) -> str:
    """The README of that name as HTML; "" when it cannot be read. Blocks, for a file of the worst kind about a second."""
    try:
        with directory.child(name) as opened:
            if opened.is_directory:
                return ""
            status = opened.stat
            data = opened.read(LARGEST)
    except OSError:
        return ""
    markdown = name.lower().endswith((".md", ".markdown")) and len(data) <= LARGEST_MARKDOWN
    return _rendered(status.st_dev, status.st_ino, status.st_mtime_ns, data, markdown)


@lru_cache(32)  # the key holds the data: at most 32 times LARGEST, and as much of what comes out of it
def _rendered(device: int, inode: int, changed: int, data: bytes, markdown: bool) -> str:
    text = data.decode("utf-8-sig", "replace").replace("\0", "\ufffd")
    renderer = _renderer() if markdown else None
    if renderer is None:
        return f"<pre>{escape(text)}</pre>"
    html: str = renderer.render(text)
    # A page has one <h1>, which is ours.
    return re.sub(r"(</?h)([1-5])(?=>)", lambda match: f"{match[1]}{int(match[2]) + 1}", html)


@cache
def _renderer() -> Any:
    """None where markdown-it-py is not installed."""
    try:
        markdown = import_module("markdown_it").MarkdownIt
    except ImportError:
        return None
    return markdown("commonmark", {"html": False}).enable("table").enable("strikethrough")
