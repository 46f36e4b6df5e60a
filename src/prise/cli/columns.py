"""Rows of a terminal, and how many columns a text takes there: none, one or two for each character (Unicode's UAX #11)."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from prise.cli.texts import visible


class Row(NamedTuple):
    """style: a class of the screen's style: "", "dim", "bold", "error"; the reader has more."""

    text: str
    style: str = ""


def flat(text: str) -> str:
    """A text on one line. What came from the network shows its control characters and moves no cursor."""
    return visible(text).replace("\n", " ").replace("\t", " ")


def width(text: str) -> int:
    """Columns that a text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(columns_of, text))


def cut(text: str, columns: int) -> str:
    """As much of the text as so many columns hold."""
    if text.isascii():
        return text[:columns]
    used = 0
    for place, character in enumerate(text):
        used += columns_of(character)
        if used > columns:
            return text[:place]
    return text


def fitted(text: str, columns: int) -> str:
    """Cut or filled up to so many columns."""
    kept = cut(text, columns)
    return kept + " " * (columns - width(kept))


def columns_of(character: str) -> int:
    if character < "\u0300":
        return 1
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
