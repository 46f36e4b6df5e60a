"""The page of one-liners says nothing that the command would not take: each line is read as the command reads it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("click")

import click

from pages.parsing import understood
from prise.errors import AddressError

PAGES = [Path(__file__).parent.parent / each for each in ("docs/one-liners.md", "docs/transports.md", "docs/web.md")]
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def lines() -> list[str]:
    """Every `prise ...` of the pages, without what the shell does before and behind it."""
    found = []
    for page in PAGES:
        for span in SPAN.findall(page.read_text()):
            for part in re.split(r" \\\| | \| ", span):
                if part.startswith("prise "):
                    found.append(part)
    return found


def test_there_are_many() -> None:
    assert len(lines()) > 45


@pytest.mark.parametrize("line", lines())
def test_the_command_takes_it(line: str) -> None:
    understood(line)


@pytest.mark.parametrize(
    "line", ["prise", "prise conect host:80", "prise serve echo --no-such", "prise connect host:70000"]
)
def test_what_it_would_not_take_is_found(line: str) -> None:
    with pytest.raises((click.ClickException, AddressError, ValueError)):
        understood(line)
