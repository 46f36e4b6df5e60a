"""What was measured: columns, rows, goals; kept as NAME.json, from which `readme.py` makes the page and the plots.

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
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import harness, programs
from benchmarks.servers import Entry

FOLDER = harness.FOLDER / "results"
PACKAGES = (
    "uvloop", "trio", "anyio", "twisted", "easynetwork", "websockets", "aiohttp", "picows", "starlette", "uvicorn", "granian",
    "pynntp", "aioimaplib", "httpx", "niquests",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """key: in the JSON. heading: in the table. unit: of the figures. references: names of the servers to divide by.

    group: the table that it is in, where there are several; also the name of the axis when that is drawn as a curve.
    at: its place on that axis, above 0; a group whose columns all have one is drawn as curves, others as bars.
    derived: it says what others say already, so that nothing is said about who is first in it.
    """

    key: str
    heading: str
    unit: str
    references: tuple[str, ...] = ()
    digits: int = 2
    best: Callable[[Sequence[float]], float] = min
    group: str = ""
    at: float = 0.0
    derived: bool = False

    @property
    def more(self) -> bool:
        """True where more is better."""
        return self.best is max

    def saved(self) -> dict[str, Any]:
        return asdict(self) | {"best": "max" if self.more else "min"}

    @classmethod
    def loaded(cls, data: dict[str, Any]) -> Column:
        best = max if data["best"] == "max" else min
        return cls(**(data | {"references": tuple(data["references"]), "best": best}))


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
    """One benchmark's outcome. name: of the files. method: the settings of this run, for the reader and the JSON.

    machine: the date, the machine and the versions, filled in by `write`.
    """

    name: str
    title: str
    method: dict[str, Any]
    columns: tuple[Column, ...]
    rows: list[Row]
    goals: tuple[Goal, ...] = ()
    machine: dict[str, str] = field(default_factory=dict)

    def best(self, server: str, column: Column) -> float | None:
        """The best figure of one server."""
        return next((row.best(column) for row in self.rows if row.entry.name == server), None)

    def write(self) -> None:
        """Writes NAME.json to the folder of results, with what is known of this machine."""
        FOLDER.mkdir(exist_ok=True)
        self.machine = describe_machine()
        (FOLDER / f"{self.name}.json").write_text(json.dumps(self.saved(), indent=1) + "\n", encoding="utf-8")

    def saved(self) -> dict[str, Any]:
        """What JSON can hold."""
        return {
            "title": self.title,
            "machine": self.machine,
            "method": self.method,
            "columns": [column.saved() for column in self.columns],
            "goals": [
                {"server": goal.server, "column": goal.column.key, "factor": goal.factor, "reference": goal.reference}
                for goal in self.goals
            ],
            "servers": [
                {"server": row.entry.name, "kind": row.entry.kind, "failure": row.failure, **row.figures}
                for row in self.rows
            ],
        }

    @classmethod
    def loaded(cls, name: str, data: dict[str, Any]) -> Report:
        """From what was saved; if that was before columns and goals were, from the figures and their units."""
        if "columns" in data:
            columns = tuple(map(Column.loaded, data["columns"]))
        else:
            columns = tuple(
                Column(key, key, unit, best=max if unit.endswith(("/s", "/CPU s")) else min)
                for key, unit in data["units"].items()
            )
        by_key = {column.key: column for column in columns}
        rows = []
        for each in data["servers"]:
            figures = {key: each[key] for key in by_key if key in each}
            rows.append(Row(Entry(each["server"], each["kind"], ()), figures, each["failure"]))
        goals = tuple(
            Goal(each["server"], by_key[each["column"]], each["factor"], each["reference"])
            for each in data.get("goals", ())
        )
        return Report(name, data.get("title", name), data["method"], columns, rows, goals, data["machine"])


def saved() -> dict[str, Report]:
    """The reports that are in the folder of results, by name."""
    return {
        path.stem: Report.loaded(path.stem, json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(FOLDER.glob("*.json"))
    }


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
    rows = [Row(entry, failure=programs.missing(entry.program)) for entry in entries]
    for row in rows:
        if row.failure:
            print(f"not compared: {row.entry.name}: {row.failure}", file=sys.stderr, flush=True)
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
