"""HTML reduced to text: paragraphs, lists, quotations; links are numbered, and their addresses stand at the end.

It is for reading mail, not for surfing: no styles, no scripts, and nothing is fetched. The tags are found here and not by the
standard `html.parser`: 256 KiB of "<!--" keep that of an older Python busy for half a minute (CVE-2025-6069).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

MOST_MARKUP = 4 * 1024 * 1024
"""Characters of HTML that are read."""
MOST_LINKS = 500
DEEPEST = 20
"""Quotations in quotations, lists in lists."""

_SKIPPED = frozenset(("script", "style", "title", "template"))
_SPACED = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "blockquote", "pre", "table"))
_PLAIN = (
    "address",
    "article",
    "aside",
    "div",
    "dl",
    "dt",
    "dd",
    "fieldset",
    "figure",
    "footer",
    "form",
    "header",
    "hr",
)
_BLOCKS = _SPACED.union(_PLAIN, ("li", "main", "nav", "section", "tr"))
_SPACE = re.compile(r"\s+")
_TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9:-]*)([^>]*)")
_CLOSING = {name: re.compile(f"</{name}", re.IGNORECASE) for name in _SKIPPED}
_ATTRIBUTE = re.compile(r"""\b(href|alt)\s*=\s*("[^"]*"|'[^']*'|[^\s"'>]+)""", re.IGNORECASE)


def text_of(html: str) -> str:
    """The text of a page or a message in HTML; what is longer than MOST_MARKUP is left out, and that is said."""
    reading = _Reading()
    for tag, text in _pieces(html[:MOST_MARKUP]):
        if not tag:
            reading.text(_unescaped(text))
        elif tag.startswith("/"):
            reading.end(tag[1:])
        else:
            reading.begin(tag, text)
    lines = reading.finish()
    if len(html) > MOST_MARKUP:
        lines.append("[...]")
    if reading.links:
        lines += ["", *(f"[{number}] {link}" for number, link in enumerate(reading.links, 1))]
    return "\n".join(lines)


def _pieces(html: str) -> Iterator[tuple[str, str]]:
    """("", text), ("p", its attributes) or ("/p", ""). Each search goes on from the last, so the time is that of one reading."""
    at = 0
    closing = 0  # where the next ">" is: one that ends no tag is not looked for again behind each "<"
    while (begin := html.find("<", at)) >= 0:
        if begin > at:
            yield "", html[at:begin]
        comment = html.startswith("<!--", begin)
        if 0 <= closing <= begin:
            closing = html.find(">", begin + 1)
        end = html.find("-->", begin + 2) if comment else closing
        if end < 0:
            at = begin
            break
        tag = _TAG.match(html, begin, end)
        if tag is None and not comment and html[begin + 1] not in "!?/":
            yield "", "<"  # a sign of its own, as in a < b
            at = begin + 1
            continue
        at = end + (3 if comment else 1)
        if tag is None:
            continue
        name = tag[1].lower()
        if name in _SKIPPED:
            close = _CLOSING[name].search(html, at)
            end = -1 if close is None else html.find(">", close.end())
            if end < 0:
                return
            at = end + 1
        else:
            yield name, tag[2]
    yield "", html[at:]


class _Reading:
    """The lines, as tags and text come."""

    def __init__(self) -> None:
        self.links: list[str] = []
        self._numbers: dict[str, int] = {}
        self._lines: list[str] = []
        self._line: list[str] = []  # its pieces
        self._mark = ""  # what the next line of text begins with
        self._pre = 0
        self._quotes = 0
        self._lists: list[int] = []  # the number of the last item; -1: without numbers
        self._link: int | None = None

    def finish(self) -> list[str]:
        self._break()
        while self._lines and not self._lines[-1]:
            self._lines.pop()
        return self._lines

    def begin(self, tag: str, attributes: str) -> None:
        if tag in _BLOCKS:
            self._block(tag)
            self._open_block(tag)
        elif tag == "br":
            self._break()
        elif tag in ("td", "th"):
            self.text(" ")
        elif tag == "img" and (words := _attribute(attributes, "alt")):
            self.text(f"[{words}]")
        elif tag == "a" and (address := _attribute(attributes, "href")) and not address.startswith("#"):
            self._link = self._numbers.get(address)
            if self._link is None and len(self.links) < MOST_LINKS:
                self.links.append(address)
                self._link = self._numbers[address] = len(self.links)

    def _open_block(self, tag: str) -> None:
        if tag == "pre":
            self._pre += 1
        elif tag == "blockquote":
            self._quotes += 1
        elif tag in ("ul", "ol") and len(self._lists) < DEEPEST:
            self._lists.append(0 if tag == "ol" else -1)
        elif tag == "li":
            self._mark = "* "
            if self._lists and self._lists[-1] >= 0:
                self._lists[-1] += 1
                self._mark = f"{self._lists[-1]}. "
        elif tag == "hr":
            self._lines.append("-" * 20)

    def end(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            self._line.append(f"[{self._link}]")
            self._link = None
        elif tag in _BLOCKS:
            self._block(tag)
            if tag == "pre":
                self._pre = max(0, self._pre - 1)
            elif tag == "blockquote":
                self._quotes = max(0, self._quotes - 1)
            elif tag in ("ul", "ol") and self._lists:
                self._lists.pop()

    def text(self, data: str) -> None:
        if self._pre:
            first, *others = data.split("\n")
            self._line.append(first)
            for line in others:
                self._break()
                self._line.append(line)
            return
        text = _SPACE.sub(" ", data)
        if not self._line or self._line[-1].endswith(" "):
            text = text.removeprefix(" ")
        if text:
            self._line.append(text)

    def _block(self, tag: str) -> None:
        self._break(empty=False)
        if tag in _SPACED and self._lines and self._lines[-1]:
            self._lines.append("")

    def _break(self, empty: bool = True) -> None:
        """The line is complete. empty: also where there is nothing in it, but never two such lines together."""
        line, self._line = "".join(self._line).rstrip(), []
        if line:
            indent = "  " * max(0, len(self._lists) - 1)
            self._lines.append(f"{'> ' * min(self._quotes, DEEPEST)}{indent}{self._mark}{line}")
            self._mark = ""
        elif empty and self._lines and self._lines[-1]:
            self._lines.append("")


def _attribute(attributes: str, name: str) -> str:
    for match in _ATTRIBUTE.finditer(attributes):
        if match[1].lower() == name:
            return _SPACE.sub(" ", _unescaped(match[2].strip("\"'"))).strip()
    return ""


def _unescaped(text: str) -> str:
    try:
        return unescape(text)
    except ValueError:
        return text  # &#9999...; with more digits than Python makes a number of
