"""The code blocks of a page of Markdown, and what a comment before a block says about how it is run.

A fenced block names its language. What it is then follows from the page itself:

- ```` ```python ```` is run, all those of a page in one namespace, from top to bottom. `prise.serve` serves in the
  background there.
- ```` ```console ```` has commands behind "$ ". They are run by bash, each has to succeed, and where lines follow, they are what
  it prints (stdout and stderr), in which "…" stands for anything: within a line, or as a line for any number of lines.
- ```` ```python title="server.py" ```` in any language is a file, written into the folder in which everything runs.
- ```` ```text ```` is for looking at. Behind `<!-- output -->` it is what the Python block before it has printed.

A comment `<!-- run: ... -->` on the line before the fence says otherwise, by words that are joined by ", ":

- `background`: each command is started, waited for until it listens, and goes on until the page ends. It must then end well on
  SIGTERM. With `instead`, what was started before is ended first, as by Ctrl-C. With `fails`, it ends by itself, and not well.
- `types: Bonjour | FIN` (the last word): these lines are its standard input; the block shows them too, as a terminal would.
- `fails`: it is to end with another exit code than 0 (a command), or with an exception (Python), shown in the lines that follow.
- `parse`: the commands are read as the command line reads them, and nothing more: for lists of what there is.
- `by tests/test_x.py`: a test of its own runs this block. It has to name the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(
    r"(?:^ *<!-- (?P<comment>[^\n]*?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>[\w+-]*)(?P<more>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
TITLE = re.compile(r'title="([^"]+)"')
LANGUAGES = {
    "python",
    "console",
    "text",
    "ini",
    "json",
    "php",
    "sh",
    "toml",
    "yaml",
    "html",
    "javascript",
    "dockerfile",
}


@dataclass(frozen=True)
class Block:
    """line: where its fence stands, from 1. words: of the comment, `{"types": "Bonjour | FIN"}` or `{"background": ""}`."""

    language: str
    text: str
    line: int
    title: str = ""
    words: dict[str, str] = field(default_factory=dict)
    output: bool = False


def blocks(page: Path) -> list[Block]:
    """Raises ValueError for a comment or a language that nobody knows."""
    source = page.read_text(encoding="utf-8")
    return [_block(page, source, match) for match in FENCE.finditer(source)]


def _block(page: Path, source: str, match: re.Match[str]) -> Block:
    line = source.count("\n", 0, match.start("language")) + 1
    if match["language"] not in LANGUAGES:
        raise ValueError(
            f"{page.name}:{line}: a block in {match['language'] or 'no language'}; see tests/pages/blocks.py"
        )
    indent, text = match["indent"], match["text"]
    if indent:
        text = "".join(part.removeprefix(indent) for part in text.splitlines(keepends=True))
    title = TITLE.search(match["more"])
    comment = match["comment"] or ""
    if comment.startswith("test: "):  # the older way to say that a test runs it: tests/test_readme.py
        comment = "run: by tests/test_readme.py"
    words = _words(comment.removeprefix("run: "), f"{page.name}:{line}") if comment.startswith("run: ") else {}
    return Block(match["language"], text, line, title[1] if title else "", words, comment == "output")


def _words(said: str, where: str) -> dict[str, str]:
    found = {}
    said, typing, typed = said.partition("types: ")  # comes last, and may have commas in it
    if typing:
        found["types"] = typed
    for part in filter(None, said.removesuffix(", ").split(", ")):
        name, _, value = part.partition(" ")
        name = name.removesuffix(":")
        if name not in ("background", "instead", "fails", "parse", "by"):
            raise ValueError(f"{where}: nobody knows `run: {name}`; see tests/pages/blocks.py")
        found[name] = value
    return found


def commands(text: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it is to print. A command goes on behind a last backslash."""
    found: list[tuple[str, list[str]]] = []
    unfinished = False
    for line in text.splitlines():
        if unfinished:
            found[-1] = (f"{found[-1][0]}\n{line.removeprefix('> ')}", found[-1][1])
        elif line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
            continue
        else:
            raise ValueError(f"a console block begins with a command, not with {line!r}")
        unfinished = line.endswith("\\")
    return found


def alike(expected: list[str], said: list[str]) -> bool:
    """Whether these lines were said, where "…" stands for anything."""
    pattern = "\n".join(
        r"(?:.*\n?)*?" if line.strip() == "…" else ".*".join(map(re.escape, line.rstrip().split("…")))
        for line in expected
    )
    # A line that stands for any number of lines has its newlines in itself.
    pattern = pattern.replace("(?:.*\\n?)*?\n", "(?:.*\\n)*?").replace("\n(?:.*\\n?)*?", "(?:\\n.*)*?")
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in said).rstrip()) is not None
