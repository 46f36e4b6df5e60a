"""results.md: what all runs of each target have come to, a row each, so that targets may be run one by one."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fuzz.engine import Result

FILE = Path(__file__).parent / "results.md"

SHORT = 20
"""CPU seconds: a shorter run is for trying something out, and not written down."""

HEAD = """# Fuzzing: what the runs of each target have come to

Written by `python -m fuzz` (see README.md). Seconds (of CPU) and executions are those of all runs, each of which began with
the corpus that those before it had left; the rest is of the last run.

| target | last run | engine | seconds | executions | corpus files | corpus bytes |
|---|---|---|--:|--:|--:|--:|
"""

_ROW = re.compile(
    r"^\| (?P<name>[a-z0-9-]+) \| [0-9]{4}-[^|]*\|[^|]*\| (?P<seconds>[0-9,]+) \| (?P<executions>[0-9,]+) \|.*",
    re.MULTILINE,
)


def write(result: Result) -> None:
    """Adds a run to the row of its target, unless something broke or the run was short."""
    if result.why or result.seconds < SHORT:
        return
    rows = {match["name"]: match for match in _ROW.finditer(FILE.read_text() if FILE.exists() else "")}
    texts = {name: match[0] for name, match in rows.items()}
    seconds, executions = result.seconds, result.executions
    if before := rows.get(result.name):
        seconds += int(before["seconds"].replace(",", ""))
        executions += int(before["executions"].replace(",", ""))
    engine = f"atheris {version('atheris')}, Python {platform.python_version()}"
    figures = f"{seconds:,} | {executions:,} | {result.files} | {result.size:,}"
    texts[result.name] = f"| {result.name} | {datetime.now(UTC):%Y-%m-%d} | {engine} | {figures} |"
    FILE.write_text(HEAD + "".join(f"{texts[name]}\n" for name in sorted(texts)))
