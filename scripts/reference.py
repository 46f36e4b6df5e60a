"""Writes docs/reference/command.md from the command itself: `python scripts/reference.py`.

What `--help` says of each command, laid out as a page: usage, options, examples. `--check` writes nothing, and the exit code is 1
where the page is not what the command says (a test asks it).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from prise import locale
from prise.cli.root import COMMANDS, build

PAGE = Path(__file__).resolve().parent.parent / "docs/reference/command.md"
HEAD = """# The command

Written from the command itself: `prise COMMAND --help` says the same, in French too. Addresses are written alike in all
commands ([transports](../transports.md)). Data goes to standard output, all else to standard error.

Exit codes: 0 done, 1 the other side said no, 2 usage, 3 no such name, 4 refused or unreachable, 5 too slow, 6 TLS,
7 login, 8 cut short, 130 Ctrl-C.

Every command has `--help` and `--lang en|fr`; they are left out below.
"""
EVERYWHERE = ("help", "lang")


def page() -> str:
    """The whole page, in English."""
    locale.choose("en")
    root = build()
    context = click.Context(root, info_name="prise")
    parts = [HEAD, "\n".join([f"| `{name}` | {_words(text)} |" for name, text in _summaries()])]
    parts[1] = "| command | |\n|---|---|\n" + parts[1] + "\n"
    for name in COMMANDS:
        command = root.get_command(context, name)
        assert command is not None
        parts += _sections(command, context, name, "##")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def _summaries() -> list[tuple[str, str]]:
    from prise.cli.root import summaries

    return [(f"prise {name}", text) for name, text in summaries().items()]


def _sections(command: click.Command, above: click.Context, name: str, level: str) -> list[str]:
    """One command, and those below it."""
    context = click.Context(command, info_name=name, parent=above)
    usage = command.get_usage(context).removeprefix("Usage: ")
    parts = [
        f"{level} {context.command_path}\n",
        f"```text\n{' '.join(usage.split())}\n```\n",
        _prose(command.help or ""),
    ]
    rows = [
        record for each in command.params if each.name not in EVERYWHERE and (record := each.get_help_record(context))
    ]
    if rows:
        parts.append(
            "\n".join(["| option | |", "|---|---|", *(f"| `{_cell(a)}` | {_words(_cell(b))} |" for a, b in rows)])
            + "\n"
        )
    parts.append(_examples(command.epilog or ""))
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            if below is not None and not below.hidden:
                parts += _sections(below, context, each, level + "#")
    return parts


def _prose(text: str) -> str:
    """click's own marks go: a form feed ends what is shown, a backspace keeps the lines of a paragraph."""
    paragraphs = [part.strip("\n") for part in text.partition("\f")[0].split("\n\n")]
    shown = [
        f"```text\n{part.removeprefix(chr(8)).strip(chr(10))}\n```"
        if part.startswith("\b")
        else _words(" ".join(part.split()))
        for part in paragraphs
    ]
    return "\n\n".join(shown) + "\n"


def _examples(epilog: str) -> str:
    """The examples: command lines, each with what it does behind it."""
    lines = [line for line in epilog.splitlines() if line.startswith(" ")]
    if not lines:
        return ""
    commands = [line.strip() for line in lines[0::2]]
    does = [line.strip() for line in lines[1::2]]
    return (
        "\n".join(
            [
                "| example | |",
                "|---|---|",
                *(f"| `{_cell(a)}` | {_words(_cell(b))} |" for a, b in zip(commands, does, strict=True)),
            ]
        )
        + "\n"
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _words(text: str) -> str:
    """Words for people, in which Markdown is to see no HTML; what stands in backticks is as it is."""
    return re.sub(r"(`[^`]*`)|<", lambda match: match[1] or "&lt;", text)


def main() -> int:
    made = page()
    if "--check" in sys.argv:
        return int(made != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
