"""Everybody who is in the house, found by id and by name, on this node and on the others.

A name is taken when somebody has it, or one that looks like it, here or elsewhere. Two nodes that let the same name
in at the same time find out when they hear of each other; then the one with the greater id gets another name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from prise import UsageError
from prise.chat import cleaning
from prise.chat.errors import Denied
from prise.chat.events import Away, Joined, Left, Renamed
from prise.chat.person import Elsewhere, Person

MOST_PEOPLE = 20_000
"""On one node."""

Change: TypeAlias = tuple[Joined | Left | Renamed | Away, tuple[str, ...]]
"""What happened to somebody elsewhere, and in which rooms it is to be shown."""


class People:
    """The registry of a house."""

    def __init__(self) -> None:
        self._ids: dict[str, Person] = {}
        self._names: dict[str, Person] = {}
        self._looks: dict[str, str] = {}  # look -> id
        self._nodes: dict[str, dict[str, Elsewhere]] = {}
        self._elsewhere: dict[str, Elsewhere] = {}  # by key of the name

    def __len__(self) -> int:
        return len(self._ids)

    def here(self) -> list[Person]:
        """Everybody on this node, in the order in which they came."""
        return list(self._ids.values())

    def everywhere(self) -> Iterator[Person | Elsewhere]:
        yield from self._ids.values()
        for people in self._nodes.values():
            yield from people.values()

    def find_id(self, id: str) -> Person | None:
        """Somebody on this node."""
        return self._ids.get(id)

    def find(self, name: str) -> Person | Elsewhere | None:
        """Somebody on any node, by their name in any case, with or without "@" in front."""
        key = cleaning.key(name.removeprefix("@"))
        return self._names.get(key) or self._elsewhere.get(key)

    def elsewhere(self, id: str) -> Elsewhere | None:
        return next((people[id] for people in self._nodes.values() if id in people), None)

    def refuse_if_taken(self, name: str, person: Person | None = None) -> None:
        """Raises Denied when somebody else has this name, or one that looks the same."""
        if person is None and len(self._ids) >= MOST_PEOPLE:
            raise Denied("the house is full", code="full")
        key = cleaning.key(name)
        holder = self._names.get(key) or self._elsewhere.get(key)
        if holder is not None and holder is not person:
            raise Denied("the nickname {name} is taken", code="taken", name=name)
        alike = self._looks.get(cleaning.look(name))
        if alike is not None and (person is None or alike != person.id):
            raise Denied(
                "the nickname {name} looks like that of {other}", code="taken", name=name, other=self._ids[alike].name
            )

    def free_name(self, name: str) -> str:
        """This name, or one like it, that nobody has."""
        for number in range(1, 10_000):
            tail = f"_{number}" if number > 1 else ""
            candidate = name[: cleaning.LONGEST_NAME - len(tail)] + tail
            try:
                self.refuse_if_taken(candidate)
            except UsageError:
                continue
            return candidate
        raise AssertionError("ten thousand people have nearly the same name")

    def add(self, person: Person) -> None:
        self._ids[person.id] = person
        self._names[person.key] = person
        self._looks[cleaning.look(person.name)] = person.id

    def remove(self, person: Person) -> bool:
        """False when they were not here."""
        if self._ids.get(person.id) is not person:
            return False
        del self._ids[person.id]
        self._forget_name(person)
        return True

    def _forget_name(self, person: Person) -> None:
        if self._names.get(person.key) is person:
            del self._names[person.key]
        look = cleaning.look(person.name)
        if self._looks.get(look) == person.id:
            del self._looks[look]

    def rename(self, person: Person, new: str) -> None:
        """Raises Denied when it is taken."""
        self.refuse_if_taken(new, person)
        self._forget_name(person)
        person.name = new
        self._names[person.key] = person
        self._looks[cleaning.look(new)] = person.id

    # -- other nodes -----------------------------------------------------------------------------------------------------

    def met(self, node: str, people: Mapping[str, Any] | None) -> list[Change]:
        """Takes who is on another node now, and returns what has changed there."""
        old = self._nodes.pop(node, {})
        new = {id: _elsewhere(id, node, given) for id, given in (people or {}).items()}
        if new:
            self._nodes[node] = new
        for somebody in old.values():
            self._elsewhere.pop(cleaning.key(somebody.name), None)
        for somebody in new.values():
            self._elsewhere[cleaning.key(somebody.name)] = somebody
        return list(_changes(old, new))

    def collisions(self) -> list[Person]:
        """Those of this node who have to give up their name to somebody elsewhere."""
        return [
            person
            for key, person in self._names.items()
            if (other := self._elsewhere.get(key)) is not None and other.id < person.id
        ]


def _elsewhere(id: str, node: str, given: Mapping[str, Any]) -> Elsewhere:
    return Elsewhere(
        id, given["name"], bool(given.get("operator")), given.get("away", ""), tuple(given.get("rooms", ())), node
    )


def _changes(old: Mapping[str, Elsewhere], new: Mapping[str, Elsewhere]) -> Iterator[Change]:
    now = time.time()
    for id in {**old, **new}:
        before, after = old.get(id), new.get(id)
        left = [room for room in (before.rooms if before else ()) if not after or room not in after.rooms]
        come = [room for room in (after.rooms if after else ()) if not before or room not in before.rooms]
        if before and left:
            yield Left("", now, before.name, id), tuple(left)
        if after and come:
            yield Joined("", now, after.name, id), tuple(come)
        if before and after:
            stayed = tuple(room for room in after.rooms if room in before.rooms)
            if before.name != after.name:
                yield Renamed(now, before.name, after.name, id), stayed
            if before.away != after.away:
                yield Away(now, after.name, id, after.away), stayed
