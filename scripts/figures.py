"""Writes the measured figures of docs/explanation/models.md anew, from benchmarks/results: `python scripts/figures.py`.

Each figure is the best of its run, and beside it stands its ratio to a reference of the same run. What was not measured, or
failed, is left out. With `--check` nothing is written, and the exit code is 1 where the page is not what the results say.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/explanation/models.md"
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


def table(results: Path = RESULTS) -> str:
    columns = [found for question in QUESTIONS if (found := column(results, *question))]
    lines = [
        "| | " + " | ".join(heading for heading, _, _ in columns) + " |",
        "|---|" + "--:|" * len(columns),
    ]
    for row in ROWS:
        cells = [figures.get(row, "–") for _, figures, _ in columns]
        if set(cells) != {"–"}:
            lines.append(f"| {f'**{row}**' if row.startswith('prise') else row} | " + " | ".join(cells) + " |")
    sources = dict.fromkeys(source for _, _, source in columns)
    return "\n".join([*lines, "", *(f"- {source}" for source in sources), ""])


def column(results: Path, name: str, key: str, question: str, reference: str) -> tuple[str, dict[str, str], str] | None:
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
    cells = {
        server: f"{value:,.{described['digits']}f} ({value / values[reference]:.2f} ×)"
        for server, value in values.items()
    }
    machine = run["machine"]
    source = (
        f"`{name}`: {machine['date'].partition(' ')[0]}, commit {machine['prise']}, CPython {machine['CPython']}, "
        f"{machine['CPU']} × {machine['CPUs']}; × of {reference} in the same run. "
        f"[All rows, loads and spreads](../../benchmarks/README.md#{name})"
    )
    return question, cells, source


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    made = MARKED.sub(lambda match: f"{match[1]}\n{table()}\n{match[2]}", page)
    if "--check" in sys.argv:
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
