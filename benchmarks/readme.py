"""The one page, README.md: text by hand, and between the marks `<!-- NAME -->` and `<!-- end of NAME -->` what NAME.json gives.

    renew()        # rewrites these parts of the page from results/*.json, and draws the plots anew

A part of the page whose file is not there says so. Nothing here measures anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from benchmarks import harness, plot, results
from benchmarks.results import FOLDER, Column, Goal, Report, Row

PAGE = harness.FOLDER / "README.md"
LEVEL = 1.005  # ratios up to this are 1.00 when written
MARKED = re.compile(r"(<!-- (?P<name>[a-z]+) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)


def renew() -> None:
    """Rewrites the page and the plots from the results that are there."""
    reports = results.saved()
    for name, report in reports.items():
        (FOLDER / f"{name}.svg").write_text(picture(report), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), reports), encoding="utf-8")


def page(text: str, reports: dict[str, Report]) -> str:
    """The page with each of its marked parts as the report of that name gives it.

    Raises ValueError for a report without marks: it would get lost.
    """

    def part(found: re.Match[str]) -> str:
        report = reports.get(found["name"])
        return f"{found[1]}\n{section(report) if report else '*Not measured yet.*'}\n\n{found[3]}"

    lost = reports.keys() - {found["name"] for found in MARKED.finditer(text)}
    if lost:
        raise ValueError(f"no marks in {PAGE.name} for {', '.join(sorted(lost))}")
    return MARKED.sub(part, text)


def section(report: Report) -> str:
    """All that one part has to say: title, machine, versions, method, plot, tables, who is first, and goals."""
    facts = dict(report.machine)
    when, commit = facts.pop("date", "at some time"), facts.pop("prise", "")
    machine = f"{facts.pop('CPU', 'an unknown processor')} × {facts.pop('CPUs', '?')}, Linux {facts.pop('Linux', '?')}"
    versions = ", ".join(f"{key} {value}" for key, value in facts.items())
    method = "; ".join(f"{key}: {value}" for key, value in report.method.items())
    blocks = [
        f"**{report.title}**",
        f"Measured {when}{f' at commit {commit}' if commit else ''} on {machine}, with {versions}. How: {method}.",
        f"![{report.title}](results/{report.name}.svg)",
        outcome(report),
    ]
    return "\n\n".join(blocks)


def outcome(report: Report) -> str:
    """The tables and what follows from them."""
    lines = "\n".join([*standing(report), *goals(report), *failures(report)])
    return f"{tables(report)}\n\n{lines}".strip()


# -- tables --


def groups(report: Report) -> dict[str, list[Column]]:
    """The columns of each table, by its name."""
    found: dict[str, list[Column]] = {}
    for column in report.columns:
        found.setdefault(column.group, []).append(column)
    return found


def tables(report: Report) -> str:
    """One for each group of columns, of the servers that have a figure in it."""
    return "\n\n".join(filter(None, (_table(report, name, columns) for name, columns in groups(report).items())))


def _table(report: Report, name: str, columns: list[Column]) -> str:
    head = ["server"]
    for column in columns:
        # What is derived from others has the spread that they have.
        spread = () if column.derived else ("spread",)
        head += [f"{column.heading}, {column.unit}", *spread, *(f"÷ {other}" for other in column.references)]
    lines = [f"*{name}:*", ""] if name else []
    lines += [f"| {' | '.join(head)} |", f"|---|{'--:|' * (len(head) - 1)}"]
    rows = [row for row in report.rows if any(row.best(column) for column in columns)]
    for row in rows:
        cells = [f"**{row.entry.name}**" if row.entry.kind == "prise" else row.entry.name]
        for column in columns:
            cells += _cells(report, row, column)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) if rows else ""


def _cells(report: Report, row: Row, column: Column) -> list[str]:
    best = row.best(column)
    if not best:
        return ["–"] * (2 - column.derived + len(column.references))
    figures = row.figures[column.key]
    cells = [f"{best:,.{column.digits}f}"]
    if not column.derived:
        cells.append(f"{(max(figures) - min(figures)) / best:.0%}")
    for name in column.references:
        reference = report.best(name, column)
        cells.append(f"{best / reference:.2f}" if reference else "–")
    return cells


# -- who is first --


def _what(column: Column) -> str:
    return f"{_where(column)}, {column.unit}"


def _where(column: Column) -> str:
    return f"{column.group}: {column.heading}" if column.group else column.heading


def standing(report: Report) -> list[str]:
    """Where prise's best row is not first among the peers that do comparable work, which are all but the bare loops.

    These have neither framing, nor limits, nor time limits; what they are ahead by is said beside.
    """
    behind, first = [], []
    for column in report.columns:
        if column.derived:
            continue
        rows = [(best, row.entry) for row in report.rows if (best := row.best(column))]
        order = sorted(rows, key=lambda row: row[0], reverse=column.more)
        ours = next((best for best, entry in order if entry.kind == "prise"), None)
        peers = [(best, entry.name) for best, entry in order if entry.kind not in ("prise", "bare")]
        bare = [(best, entry.name) for best, entry in order if entry.kind == "bare"]
        if ours is None or not (peers or bare):
            continue
        ahead = [
            (ratio, name)
            for best, name in (peers[:1] + bare[:1])
            if (ratio := best / ours if column.more else ours / best) > LEVEL
        ]
        less = [f"{name}, with no framework, by {ratio:.2f} ×" for ratio, name in ahead if bare and name == bare[0][1]]
        like = [f"{name} is, by {ratio:.2f} ×" for ratio, name in ahead if peers and name == peers[0][1]]
        if like:
            behind.append(f"- {_what(column)}: **prise is not first**: {'; '.join(like + less)}.")
        elif less:
            others = "first of those that do comparable work" if peers else "not first"
            behind.append(f"- {_what(column)}: prise is {others}; ahead is {less[0]}.")
        else:
            first.append(_what(column))
    return behind + ([f"- prise is first in: {'; '.join(first)}."] if first else [])


# -- goals --


def goals(report: Report) -> list[str]:
    """One line for each kind of goal (how far from whom), with the worst of its ratios."""
    kinds: dict[tuple[str, str], list[tuple[float, Goal]]] = {}
    for goal in report.goals:
        mine = report.best(goal.server, goal.column)
        other = report.best(goal.reference, goal.column) if goal.reference else 1.0
        if not mine or not other:  # not measured this time
            continue
        unit = f"× {goal.reference}" if goal.reference else goal.column.unit
        bound = f"at {'least' if goal.column.more else 'most'} {goal.factor:,g} {unit}"
        kinds.setdefault((bound, "" if goal.reference else goal.column.key), []).append((mine / other, goal))
    return [_goal(bound, outcomes) for (bound, _), outcomes in kinds.items()]


def _goal(bound: str, outcomes: list[tuple[float, Goal]]) -> str:
    more = outcomes[0][1].column.more
    missed = sum(ratio < goal.factor if more else ratio > goal.factor for ratio, goal in outcomes)
    ratio, goal = (min if more else max)(outcomes, key=lambda outcome: outcome[0])
    count = len(outcomes)
    said = "**missed**" if missed else "reached"
    if count > 1:
        said += f" by {missed} of {count}, at worst" if missed else f" by all {count}, at worst"
    return f"- Goal, {bound}: {said} by {goal.server}, {_where(goal.column)}: {ratio:,.2f}."


def failures(report: Report) -> Iterable[str]:
    """Which servers could not be measured, and why."""
    return (f"- **failed**: {row.entry.name}: {row.failure.splitlines()[0]}" for row in report.rows if row.failure)


# -- the plot --


def picture(report: Report) -> str:
    """The plot of all figures, as SVG."""
    panels: list[plot.Panel | plot.Curves] = []
    for name, columns in groups(report).items():
        if all(column.at for column in columns):
            panels.append(_curves(report, name, columns))
        else:
            panels += [_bars(report, column) for column in columns]
    return plot.svg(report.title, panels)


def _bars(report: Report, column: Column) -> plot.Panel:
    bars = [(row.entry.name, row.entry.kind, best) for row in report.rows if (best := row.best(column))]
    bars.sort(key=lambda bar: bar[2], reverse=column.more)
    return plot.Panel(_what(column), column.digits, bars)


def _curves(report: Report, name: str, columns: list[Column]) -> plot.Curves:
    ticks = [(column.at, column.heading) for column in columns]
    lines = []
    for row in report.rows:
        points = [(column.at, best) for column in columns if (best := row.best(column))]
        if points:
            lines.append((row.entry.name, row.entry.kind, points))
    return plot.Curves(f"{name}: {columns[0].unit}", ticks, lines)
