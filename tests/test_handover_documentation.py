"""The page about handovers knows what the code knows; what it shows is run by test_documentation.py."""

from __future__ import annotations

from pathlib import Path

from prise.handover.frame import MOST_HEADER, MOST_PENDING, TAKEN

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "handover.md").read_text(encoding="utf-8")


def test_the_page_knows_the_bounds_and_the_answer() -> None:
    assert TAKEN[4:].decode() in PAGE
    assert f"{MOST_HEADER:,}" in PAGE
    assert f"{MOST_PENDING:,}" in PAGE
