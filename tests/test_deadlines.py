"""Deadlines as data: who is due when, without any clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from prise.core.deadlines import NEVER, Deadlines


class Item:
    def __init__(self, name: str = "") -> None:
        self.name = name
        self.scheduled = NEVER

    def __repr__(self) -> str:
        return self.name


def test_nothing_is_due_in_an_empty_table() -> None:
    deadlines = Deadlines()
    assert deadlines.next() == NEVER
    assert list(deadlines.due(1e9)) == []
    assert len(deadlines) == 0


def test_items_come_up_in_the_order_of_their_times() -> None:
    deadlines = Deadlines()
    late, early, same = Item("late"), Item("early"), Item("same")
    for item, when in ((late, 30.0), (early, 10.0), (same, 10.0)):
        assert deadlines.schedule(item, when)
    assert deadlines.next() == 10.0
    assert list(deadlines.due(9.9)) == []
    assert list(deadlines.due(10.0)) == [early, same]
    assert early.scheduled == NEVER
    assert deadlines.next() == 30.0


def test_an_item_comes_up_once_until_it_is_scheduled_again() -> None:
    deadlines, item = Deadlines(), Item()
    deadlines.schedule(item, 1.0)
    assert list(deadlines.due(5.0)) == [item]
    assert list(deadlines.due(5.0)) == []
    assert deadlines.schedule(item, 6.0)
    assert list(deadlines.due(6.0)) == [item]


def test_later_costs_nothing_because_the_item_says_so_when_it_comes_up() -> None:
    deadlines, item = Deadlines(), Item()
    deadlines.schedule(item, 1.0)
    for when in range(2, 1000):
        assert not deadlines.schedule(item, float(when))
    assert len(deadlines) == 1
    assert deadlines.next() == 1.0


def test_earlier_moves_the_entry() -> None:
    deadlines, item = Deadlines(), Item()
    deadlines.schedule(item, 10.0)
    assert deadlines.schedule(item, 5.0)
    assert deadlines.next() == 5.0
    assert list(deadlines.due(20.0)) == [item], "the old entry is dead"


def test_a_cancelled_item_never_comes_up() -> None:
    deadlines, gone, kept = Deadlines(), Item("gone"), Item("kept")
    deadlines.schedule(gone, 1.0)
    deadlines.schedule(kept, 2.0)
    deadlines.cancel(gone)
    deadlines.cancel(gone)
    assert deadlines.next() == 2.0
    assert list(deadlines.due(3.0)) == [kept]


def test_cancelled_and_scheduled_for_the_same_time_again() -> None:
    deadlines, item = Deadlines(), Item()
    for _ in range(10):
        deadlines.schedule(item, 1.0)
        deadlines.cancel(item)
    deadlines.schedule(item, 1.0)
    assert list(deadlines.due(1.0)) == [item]
    assert deadlines.next() == NEVER
    assert len(deadlines) == 0


def test_dead_entries_do_not_pile_up() -> None:
    """Ten thousand connections, each asking again and again for something earlier, and leaving."""
    deadlines, last = Deadlines(), Item("last")
    deadlines.schedule(last, 1e6)
    for number in range(10_000):
        item = Item()
        for when in (600.0, 60.0, 5.0):
            deadlines.schedule(item, number + when)
        deadlines.cancel(item)
        assert len(deadlines) <= 2 * 1 + 65 + 3
    assert deadlines.next() == 1e6


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100)), max_size=200))
def test_whoever_is_due_comes_up_at_its_earliest_time(requests: list[tuple[int, int]]) -> None:
    deadlines = Deadlines()
    items = [Item(str(number)) for number in range(10)]
    wanted: dict[Item, int] = {}
    for number, when in requests:
        deadlines.schedule(items[number], float(when))
        wanted[items[number]] = min(when, wanted.get(items[number], when))
    for now in range(101):
        due = list(deadlines.due(float(now)))
        assert set(due) == {item for item, when in wanted.items() if when == now}
        assert len(due) == len(set(due))


class Machine(RuleBasedStateMachine):
    """Any order of scheduling, cancelling and waiting agrees with a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.deadlines = Deadlines()
        self.items = [Item(str(number)) for number in range(5)]
        self.model: dict[Item, float] = {}
        self.now = 0.0

    @rule(number=st.integers(0, 4), after=st.integers(0, 5))
    def schedule(self, number: int, after: int) -> None:
        item, when = self.items[number], self.now + after
        moved = self.deadlines.schedule(item, when)
        assert moved == (when < self.model.get(item, NEVER))
        if moved:
            self.model[item] = when

    @rule(number=st.integers(0, 4))
    def cancel(self, number: int) -> None:
        self.deadlines.cancel(self.items[number])
        self.model.pop(self.items[number], None)

    @rule(seconds=st.integers(0, 3))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        due = list(self.deadlines.due(self.now))
        assert sorted(map(repr, due)) == sorted(repr(item) for item, when in self.model.items() if when <= self.now)
        for item in due:
            assert isinstance(item, Item)
            del self.model[item]

    @invariant()
    def knows_the_next(self) -> None:
        assert self.deadlines.next() == min(self.model.values(), default=NEVER)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=50)
