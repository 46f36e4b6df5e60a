"""The page of one-liners says nothing that the command would not take: each line is read as the command reads it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("click")

import click

from prise import Address
from prise.cli.root import build

PAGES = [Path(__file__).parent.parent / each for each in ("docs/one-liners.md", "docs/transports.md", "docs/web.md")]
SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")

EXAMPLES = {
    "SHA256": "ab" * 32,
    "host:8000-8010": "host:8000",  # a range: `prise check` reads it itself
}


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
    for old, new in EXAMPLES.items():
        line = line.replace(old, new)
    words = shlex.split(line.split(" < ")[0])
    command = build().get_command(click.Context(build()), words[1])
    assert command is not None
    with command.make_context(words[1], words[2:]) as context:
        for name in ("address", "a", "b", "on"):
            given = context.params.get(name)
            for each in [given] if isinstance(given, str) else given or ():
                Address.parse(each.removeprefix("listen:").removeprefix("connect:"))
