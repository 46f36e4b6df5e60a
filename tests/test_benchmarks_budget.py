"""Sampled stacks, as `python -m benchmarks budget` counts and draws them: pure functions, nothing is measured here."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from benchmarks import budget, flame

RAW = """\
0x1 (libc.so.6);main (server.py:9);turn (loops.py:4);on_readable (prise/connection/looped.py:60);recv (libc.so.6) 30
0x1 (libc.so.6);main (server.py:9);turn (loops.py:4);on_readable (prise/connection/looped.py:95);send (libc.so.6) 50
0x1 (libc.so.6);main (server.py:9);turn (loops.py:4);on_readable (prise/connection/looped.py:99) 15
0x1 (libc.so.6);main (server.py:9);turn (loops.py:5);poll <&> (selectmodule.c:10) 5

no count here
"""


def test_stacks_that_differ_by_their_lines_alone_are_one() -> None:
    again = "main (a.py:1);work (a.py:7) 2\nmain (a.py:1);work (a.py:8) 3\n"
    assert flame.parse(again) == [(("main (a.py)", "work (a.py)"), 5)]
    assert len(flame.parse(RAW)) == 4


def test_the_picture_begins_where_the_stacks_part() -> None:
    whole = flame.tree(flame.parse(RAW))
    assert whole.name == "turn (loops.py)"
    assert whole.count == 100
    assert {name: box.count for name, box in whole.inner.items()} == {
        "on_readable (prise/connection/looped.py)": 95,
        "poll <&> (selectmodule.c)": 5,
    }


def test_a_function_that_calls_itself_is_one_box() -> None:
    whole = flame.tree([(("a", "b", "b", "c"), 1), (("a",), 1)])
    assert whole.inner["b"].inner["c"].count == 1


def test_the_picture_is_static_and_well_formed() -> None:
    picture = flame.svg("a < b", flame.parse(RAW), {"libc": "#111111", "": "#eeeeee"})
    root = ElementTree.fromstring(picture)
    names = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert names == {"svg", "g", "rect", "text", "title"}
    titles = [element.text for element in root.iter("{http://www.w3.org/2000/svg}title")]
    assert "send (libc.so.6): 50.0%" in titles
    assert "poll <&> (selectmodule.c): 5.0%" in titles


def test_who_was_running_is_the_innermost_that_has_a_name_in_the_table() -> None:
    assert budget.shares(flame.parse(RAW)) == pytest.approx(
        {
            "send(2)": 0.5,
            "recv(2)": 0.3,
            "modules socket and select, GIL": 0.05,
            "prise: the turn (times, counts, state)": 0.15,
        }
    )


def test_each_part_has_a_colour_in_the_plots() -> None:
    assert {kind for _, kind, _ in budget.PARTS} == set(budget.KINDS)


def test_the_files_of_the_graphs() -> None:
    names = [budget.file_name(name) for name in (budget.GENERATOR, budget.COROUTINE, budget.UVLOOP)]
    assert names == ["select-generator", "select-coroutine", "asyncio-uvloop-coroutine"]
