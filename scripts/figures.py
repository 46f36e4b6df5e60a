"""Writes the measured figures of docs/explanation/models.md and its French page anew: `python scripts/figures.py`.

They are from benchmarks/results. Each figure is the best of its run, and beside it stands its ratio to a reference of the same
run. What was not measured, or failed, is left out. With `--check` nothing is written, and the exit code is 1 where a page is not
what the results say.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
MARKED = re.compile(r"(<!-- figures -->\n).*?(<!-- end of figures -->)", re.DOTALL)

QUESTIONS = [
    # the results' file, the column's key, the question, the row that all others are compared with
    ("echo", "request-response", "a message, one at a time (CPU µs)", "bare epoll"),
    ("echo", "pipelined", "a message, 16 in flight (CPU µs)", "bare epoll"),
    ("idle", "bytes", "a silent connection (bytes)", "asyncio streams"),
    ("scale", "1", "a message, 1 connection (CPU µs)", "bare epoll"),
    ("scale", "10,000", "a message, 10,000 connections (CPU µs)", "bare epoll"),
    ("accept", "talk CPU", "connections that come and go (for each CPU s)", "bare epoll"),
    ("firstbyte", "calm high", "a new client waits, p99 (µs)", "bare epoll"),
]
ROWS = [
    "prise threads, function",
    "prise processes, function",
    "prise select, generator",
    "prise select, coroutine",
    "prise asyncio, coroutine",
    "prise asyncio + uvloop, coroutine",
    "bare epoll",
    "asyncio streams",
    "asyncio Protocol",
    "uvloop Protocol",
    "socketserver",
]
SOURCE = (
    "`{name}`: {date}, commit {prise}, CPython {CPython}, {CPU} × {CPUs}; × of {reference} in the same run. "
    "[All rows, loads and spreads](../../benchmarks/README.md#{name})"
)

ENGLISH: dict[str, str] = {}
FRENCH = {
    "a message, one at a time (CPU µs)": "un message, un à la fois (µs CPU)",
    "a message, 16 in flight (CPU µs)": "un message, 16 en route (µs CPU)",
    "a silent connection (bytes)": "une connexion silencieuse (octets)",
    "a message, 1 connection (CPU µs)": "un message, 1 connexion (µs CPU)",
    "a message, 10,000 connections (CPU µs)": "un message, 10\u00a0000 connexions (µs CPU)",
    "connections that come and go (for each CPU s)": "des connexions qui vont et viennent (par s CPU)",
    "a new client waits, p99 (µs)": "un nouveau client attend, p99 (µs)",
    "prise threads, function": "prise threads, fonction",
    "prise processes, function": "prise processes, fonction",
    "prise select, generator": "prise select, générateur",
    "bare epoll": "epoll nu",
    SOURCE: "`{name}`\u00a0: {date}, commit {prise}, CPython {CPython}, {CPU} × {CPUs}\u00a0; ×\u00a0: le rapport à "
    "{reference} dans la même série. [Toutes les lignes, les charges, les dispersions](../../benchmarks/README.md#{name})",
    ",": "\u00a0",  # of thousands
    ".": ",",
}
PAGES = {ROOT / "docs/explanation/models.md": ENGLISH, ROOT / "docs/explanation/models.fr.md": FRENCH}


def table(words: Mapping[str, str] = ENGLISH, results: Path = RESULTS) -> str:
    columns = [found for question in QUESTIONS if (found := column(words, results, *question))]
    lines = [
        "| | " + " | ".join(heading for heading, _, _ in columns) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for row in ROWS:
        cells = [figures.get(row, "–") for _, figures, _ in columns]
        if set(cells) != {"–"}:
            name = words.get(row, row)
            lines.append(f"| {f'**{name}**' if row.startswith('prise') else name} | " + " | ".join(cells) + " |")
    sources = dict.fromkeys(source for _, _, source in columns)
    return "\n".join([*lines, "", *(f"- {source}" for source in sources), ""])


def column(
    words: Mapping[str, str], results: Path, name: str, key: str, question: str, reference: str
) -> tuple[str, dict[str, str], str] | None:
    """The heading, the cells by row, and where they are from; None where it was not measured."""
    file = results / f"{name}.json"
    if not file.exists():
        return None
    run: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    described = next((each for each in run["columns"] if each["key"] == key), None)
    if described is None:
        return None
    best = min if described["best"] == "min" else max
    values = {row["server"]: best(row[key]) for row in run["servers"] if row.get(key) and not row["failure"]}
    if reference not in values:
        return None
    points = str.maketrans({point: words.get(point, point) for point in ",."})
    cells = {
        server: f"{value:,.{described['digits']}f} ({value / values[reference]:.2f} ×)".translate(points)
        for server, value in values.items()
    }
    machine = run["machine"] | {"date": run["machine"]["date"].partition(" ")[0]}
    source = words.get(SOURCE, SOURCE).format(name=name, reference=words.get(reference, reference), **machine)
    return words.get(question, question), cells, source


def renewed(text: str, words: Mapping[str, str]) -> str:
    return MARKED.sub(lambda match: f"{match[1]}\n{table(words)}\n{match[2]}", text)


def main() -> int:
    stale = False
    for page, words in PAGES.items():
        text = page.read_text(encoding="utf-8")
        made = renewed(text, words)
        stale = stale or made != text
        if "--check" not in sys.argv:
            page.write_text(made, encoding="utf-8")
    return int(stale and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
