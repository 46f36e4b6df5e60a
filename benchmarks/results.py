"""What was measured, and the three forms it is kept in: a table to read, a plot, and the figures for a program.

A `Row` is one server with its figures, a list (one per round) for each `Column`. The best of the rounds is what is
reported, since everything else on the machine can only make a server look worse; the spread tells how far to believe it.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import harness, plot
from benchmarks.servers import Entry

FOLDER = harness.FOLDER / "results"
PACKAGES = (
    "uvloop", "trio", "anyio", "twisted", "easynetwork", "websockets", "aiohttp", "picows", "starlette", "uvicorn", "granian",
    "pynntp", "aioimaplib", "httpx", "niquests",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """key: in the JSON. heading: in the table. unit: of the figures. references: names of the servers to divide by."""

    key: str
    heading: str
    unit: str
    references: tuple[str, ...]
    digits: int = 2
    best: Callable[[Sequence[float]], float] = min


@dataclass
class Row:
    entry: Entry
    figures: dict[str, list[float]] = field(default_factory=dict)
    failure: str = ""

    def best(self, column: Column) -> float | None:
        figures = self.figures.get(column.key)
        return column.best(figures) if figures else None


@dataclass(frozen=True)
class Goal:
    """The best figure of `server` in `column` is to be at most `factor` times that of `reference`, or `factor` itself.

    Where more is better, it is to be at least that.
    """

    server: str
    column: Column
    factor: float
    reference: str = ""


@dataclass
class Report:
    """One benchmark's outcome. name: of the files. method: the settings of this run, for the reader and the JSON."""

    name: str
    title: str
    method: dict[str, Any]
    columns: tuple[Column, ...]
    rows: list[Row]
    goals: tuple[Goal, ...] = ()

    def best(self, server: str, column: Column) -> float | None:
        return next((row.best(column) for row in self.rows if row.entry.name == server), None)

    def table(self) -> str:
        """Markdown: a line per server; under it, the goals and what failed."""
        head = ["server"]
        for column in self.columns:
            head += [f"{column.heading}, {column.unit}", "spread", *(f"÷ {name}" for name in column.references)]
        lines = [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
        for row in self.rows:
            cells = [f"**{row.entry.name}**" if row.entry.kind == "prise" else row.entry.name]
            for column in self.columns:
                cells += self._cells(row, column)
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", *filter(None, map(self._goal, self.goals))]
        lines += [f"- **failed**: {row.entry.name}: {row.failure.splitlines()[0]}" for row in self.rows if row.failure]
        return "\n".join(lines).rstrip() + "\n"

    def _cells(self, row: Row, column: Column) -> list[str]:
        best = row.best(column)
        if not best:
            return ["–"] * (2 + len(column.references))
        figures = row.figures[column.key]
        cells = [f"{best:,.{column.digits}f}", f"{(max(figures) - min(figures)) / best:.0%}"]
        for name in column.references:
            reference = self.best(name, column)
            cells.append(f"{best / reference:.2f}" if reference else "–")
        return cells

    def _goal(self, goal: Goal) -> str:
        mine = self.best(goal.server, goal.column)
        other = self.best(goal.reference, goal.column) if goal.reference else 1.0
        if not mine or not other:  # not measured this time
            return ""
        more = goal.column.best is max
        what = f"{goal.server}, {goal.column.heading}, {goal.column.unit}"
        wanted = f"at {'least' if more else 'most'} {goal.factor:g}{f' × {goal.reference}' if goal.reference else ''}"
        ratio = mine / other
        reached = ratio >= goal.factor if more else ratio <= goal.factor
        return f"- {what}: {wanted}: {ratio:.2f}, {'reached' if reached else '**missed**'}"

    def write(self) -> None:
        """Writes NAME.md, NAME.svg and NAME.json to the folder of results."""
        FOLDER.mkdir(exist_ok=True)
        machine = describe_machine()
        facts = "; ".join(f"{key} {value}" for key, value in (machine | self.method).items())
        text = f"# {self.title}\n\n{facts}.\n\n![plot]({self.name}.svg)\n\n{self.table()}"
        (FOLDER / f"{self.name}.md").write_text(text, encoding="utf-8")
        panels = []
        for column in self.columns:
            bars = [(row.entry.name, row.entry.kind, best) for row in self.rows if (best := row.best(column))]
            bars.sort(key=lambda bar: bar[2], reverse=column.best is max)
            panels.append(plot.Panel(f"{column.heading}: {column.unit}", column.digits, bars))
        (FOLDER / f"{self.name}.svg").write_text(plot.svg(self.title, panels), encoding="utf-8")
        figures = [
            {"server": row.entry.name, "kind": row.entry.kind, "failure": row.failure, **row.figures}
            for row in self.rows
        ]
        units = {column.key: column.unit for column in self.columns}
        data = {"machine": machine, "method": self.method, "units": units, "servers": figures}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def describe_machine() -> dict[str, str]:
    """The date, the machine and the versions, by name."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    facts = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "CPU": models[0].partition(":")[2].strip() if models else platform.machine(),
        "CPUs": str(os.cpu_count()),
        "Linux": platform.release(),
        platform.python_implementation(): platform.python_version(),
    }
    for name in PACKAGES:
        facts[name] = importlib.metadata.version(name)
    command = ["git", "-C", str(harness.FOLDER), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return facts | ({"prise": commit} if commit else {})


def interleaved(entries: Sequence[Entry], rounds: int, once: Callable[[Entry], dict[str, float]]) -> list[Row]:
    """Measures each server once a round, so that what changes on the machine meanwhile meets them all."""
    rows = [Row(entry) for entry in entries]
    for number in range(1, rounds + 1):
        for row in rows:
            if row.failure:
                continue
            try:
                figures = once(row.entry)
            except harness.Failure as failure:
                row.failure = str(failure)
                print(f"round {number}  {row.entry.name}: FAILED: {failure}", file=sys.stderr, flush=True)
                continue
            for key, value in figures.items():
                row.figures.setdefault(key, []).append(value)
            shown = "  ".join(f"{key} {value:,.2f}" for key, value in figures.items())
            print(f"round {number}  {row.entry.name:34} {shown}", file=sys.stderr, flush=True)
    return rows
