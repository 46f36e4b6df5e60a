"""Whether a command line is one that its program would take, without running it."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import click

from prise import Address
from prise.cli.parameters import ADDRESS
from prise.cli.root import build

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = {
    "SHA256": "ab" * 32,
    "host:8000-8010": "host:8000",  # a range: `prise check` reads it itself
}


def understood(command: str) -> None:
    """Reads every `prise` and `make` of a command line. Raises what click raises, AddressError, or ValueError."""
    for part in re.split(r" \| | && |; ", command.split("  # ")[0]):
        words = shlex.split(re.split(r" [<>] ?", part)[0], comments=True)
        if words[:1] == ["prise"]:
            _prise(words[1:])
        elif words[:1] == ["make"]:
            subprocess.run(
                ["make", "--dry-run", "--no-print-directory", *words[1:]], cwd=ROOT, check=True, capture_output=True
            )


def _prise(words: list[str]) -> None:
    for old, new in EXAMPLES.items():
        words = [word.replace(old, new) for word in words]
    group: click.Command | None = build()
    context = click.Context(build())
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        chosen = group.get_command(context, words[0])
        if chosen is None:
            raise ValueError(f"prise has no command {words[0]}")
        group, words = chosen, words[1:]
    if words in (["--version"], ["--help"]):
        return
    assert group is not None
    with group.make_context("prise", words) as context:
        for parameter in group.params:
            given = context.params.get(str(parameter.name)) if parameter.type is ADDRESS else None
            for each in [given] if isinstance(given, str) else given or ():
                if not each.startswith(("telnet", "http")):  # a URL of a protocol
                    Address.parse(each.removeprefix("listen:").removeprefix("connect:"))
