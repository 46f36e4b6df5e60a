"""How the fields of what a house sends are read: whatever is there, what comes out has the right kind and is harmless."""

from __future__ import annotations

from typing import Any

from prise.chat import cleaning

LONGEST_TEXT = 20_000
"""Characters; houses allow less."""


def text(given: Any, name: str) -> str:
    """A field that is a text, harmless for a terminal; "" where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return cleaning.line(value[:LONGEST_TEXT].replace("\n", " ")) if isinstance(value, str) else ""


def number(given: Any, name: str) -> int:
    """A field that is a whole number from 0; 0 where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def moment(given: Any, name: str = "at") -> float:
    """A field that is a time that clocks can show; 0.0 where there is none."""
    value = given.get(name) if isinstance(given, dict) else None
    return float(value) if isinstance(value, (int, float)) and 0 <= value < 2**36 else 0.0


def listed(given: Any, name: str, most: int) -> list[Any]:
    value = given.get(name) if isinstance(given, dict) else None
    return value[:most] if isinstance(value, list) else []
