"""The page of the benchmarks: what is committed is what the committed results give, and what it says of results."""

from __future__ import annotations

import itertools
import json
import re
import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import plot, readme, results
from benchmarks.parts import NAMES
from benchmarks.results import FOLDER, Column, Goal, Report, Row
from benchmarks.servers import Entry

COST = Column("cost", "one in flight", "µs/message", ("bare loop",))
RATE = Column("rate", "throughput", "messages/s", digits=0, best=max, group="Both CPUs")


def row(name: str, kind: str, **figures: list[float]) -> Row:
    return Row(Entry(name, kind, ()), dict(figures))


def report(*rows: Row, columns: tuple[Column, ...] = (COST,), goals: tuple[Goal, ...] = ()) -> Report:
    machine = {"date": "2026-11-21 10:00 UTC", "CPU": "Abacus", "CPUs": "2", "Linux": "6.1", "prise": "abc1234"}
    return Report("sample", "A title", {"rounds": 2}, columns, list(rows), goals, machine)


def test_the_committed_page_is_what_the_committed_results_give():
    text = readme.PAGE.read_text(encoding="utf-8")
    assert readme.page(text, results.saved()) == text, "run: python -m benchmarks --page"


def test_the_committed_plots_are_what_the_committed_results_give():
    for name, each in results.saved().items():
        drawn = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
        assert readme.picture(each) == drawn, f"{name}.svg; run: python -m benchmarks --page"


def test_every_part_has_its_place_on_the_page_and_in_its_table_of_contents():
    text = readme.PAGE.read_text(encoding="utf-8")
    assert [found["name"] for found in readme.MARKED.finditer(text)] == re.findall(
        r"^\| \[`(\w+)`\]\(#\1\)", text, re.M
    )
    assert {found["name"] for found in readme.MARKED.finditer(text)} == set(NAMES)


def test_text_by_hand_stays_and_what_is_between_the_marks_is_renewed():
    text = "before\n<!-- sample -->\nold\n<!-- end of sample -->\nafter\n<!-- other -->\n<!-- end of other -->\n"
    page = readme.page(text, {"sample": report(row("prise", "prise", cost=[2.0]))})
    assert page.startswith("before\n<!-- sample -->\n\n**A title**\n")
    assert "old" not in page
    assert page.endswith("after\n<!-- other -->\n\n*Not measured yet.*\n\n<!-- end of other -->\n")
    assert readme.page(page, {"sample": report(row("prise", "prise", cost=[2.0]))}) == page


def test_results_without_a_place_on_the_page_are_not_lost_silently():
    with pytest.raises(ValueError, match=r"no marks in README\.md for sample"):
        readme.page("nothing", {"sample": report()})


def test_a_section_says_when_where_and_how_it_was_measured():
    said = readme.section(report(row("prise", "prise", cost=[2.0])))
    assert "Measured 2026-11-21 10:00 UTC at commit abc1234 on Abacus × 2, Linux 6.1" in said
    assert "How: rounds: 2." in said
    assert "![A title](results/sample.svg)" in said


def test_a_table_shows_the_best_round_the_spread_and_how_often_the_reference_fits_in():
    said = readme.tables(report(row("bare loop", "bare", cost=[4.0]), row("prise", "prise", cost=[6.0, 9.0])))
    assert "| server | one in flight, µs/message | spread | ÷ bare loop |" in said
    assert "| **prise** | 6.00 | 50% | 1.50 |" in said


def test_each_group_of_columns_has_a_table_with_the_servers_that_have_figures_in_it():
    rows = (row("A", "framework", cost=[1.0]), row("prise", "prise", cost=[2.0], rate=[10.0]))
    first, second = readme.tables(report(*rows, columns=(COST, RATE))).split("*Both CPUs:*")
    assert "| A |" in first
    assert "| A |" not in second


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ((("A", "framework", 10.0),), "prise is first in: one in flight, µs/message."),
        ((("A", "framework", 4.0), ("B", "program", 5.0)), "**prise is not first**: A is, by 1.50 ×."),
        (
            (("A", "platform", 10.0), ("loop", "bare", 3.0)),
            "prise is first of those that do comparable work; ahead is loop, with no framework, by 2.00 ×.",
        ),
        (
            (("A", "platform", 5.0), ("loop", "bare", 3.0)),
            "**prise is not first**: A is, by 1.20 ×; loop, with no framework, by 2.00 ×.",
        ),
        ((("loop", "bare", 3.0),), "prise is not first; ahead is loop, with no framework, by 2.00 ×."),
    ],
)
def test_the_page_says_who_is_ahead_of_prise_s_best_row(rows, said):
    peers = [row(name, kind, cost=[figure]) for name, kind, figure in rows]
    ours = [row("prise one", "prise", cost=[8.0]), row("prise two", "prise", cost=[6.0])]
    (line,) = readme.standing(report(*peers, *ours))
    assert line.endswith(said)


def test_who_is_first_is_who_has_most_where_more_is_better():
    rows = (row("A", "framework", rate=[300.0]), row("prise", "prise", rate=[200.0]))
    (line,) = readme.standing(report(*rows, columns=(RATE,)))
    assert line == "- Both CPUs: throughput, messages/s: **prise is not first**: A is, by 1.50 ×."


def test_nothing_is_said_where_nobody_else_was_measured():
    assert readme.standing(report(row("prise", "prise", cost=[2.0]))) == []


def test_goals_of_one_kind_are_one_line_with_the_worst():
    rows = (row("A", "framework", cost=[4.0]), row("prise x", "prise", cost=[3.0]), row("prise y", "prise", cost=[5.0]))
    goals = tuple(Goal(name, COST, 1.0, "A") for name in ("prise x", "prise y", "not measured"))
    assert readme.goals(report(*rows, goals=goals)) == [
        "- Goal, at most 1 × A: **missed** by 1 of 2, at worst by prise y, one in flight: 1.25."
    ]
    assert readme.goals(report(*rows, goals=goals[:1])) == [
        "- Goal, at most 1 × A: reached by prise x, one in flight: 0.75."
    ]


def test_a_goal_may_be_a_figure():
    goals = (Goal("prise", RATE, 1000.0),)
    assert readme.goals(report(row("prise", "prise", rate=[1500.0]), columns=(RATE,), goals=goals)) == [
        "- Goal, at least 1,000 messages/s: reached by prise, Both CPUs: throughput: 1,500.00."
    ]


def test_a_server_that_failed_is_named():
    failed = Row(Entry("A", "program", ()), failure="not installed: a (Debian: apt-get install a-light)\nmore")
    assert "- **failed**: A: not installed: a (Debian: apt-get install a-light)" in readme.section(report(failed))


def test_results_of_before_columns_and_goals_were_kept_are_shown_too():
    servers = [{"server": "prise", "kind": "prise", "failure": "", "cost": [2.0], "rate": [5.0]}]
    units = {"cost": "µs/message", "rate": "messages/CPU s"}
    old = Report.loaded("old", {"machine": {}, "method": {"rounds": 1}, "units": units, "servers": servers})
    assert [column.more for column in old.columns] == [False, True]
    assert "| **prise** | 2.00 | 0% | 5.00 | 0% |" in readme.section(old)


def test_what_is_kept_as_json_is_the_same_when_it_is_read():
    rows = (row("bare loop", "bare", cost=[4.0], rate=[9.0]), row("prise", "prise", cost=[6.0, 9.0], rate=[7.0, 8.0]))
    sample = report(*rows, columns=(COST, RATE), goals=(Goal("prise", COST, 1.5, "bare loop"),))
    assert Report.loaded("sample", json.loads(json.dumps(sample.saved()))) == sample


def test_columns_with_a_place_on_an_axis_are_drawn_as_curves():
    columns = tuple(Column(f"{at}", f"{at} B", "µs", group="Size", at=at) for at in (16, 1024, 65536))
    rows = (
        row("A", "bare", **{"16": [1.0], "1024": [2.0]}),
        row("prise", "prise", **{"16": [1.0], "1024": [1.5], "65536": [9.0]}),
    )
    picture = readme.picture(report(*rows, columns=columns))
    ElementTree.fromstring(picture)
    assert "Size: µs" in picture
    assert picture.count("<polyline") > len(rows)


def test_labels_of_curves_that_end_together_do_not_overlap():
    heights = plot._apart([10.0, 11.0, 12.0, 99.0, 100.0], 0.0, 100.0)
    assert all(after - before >= plot.BAR for before, after in itertools.pairwise(heights))
    assert heights[-1] <= 100.0
