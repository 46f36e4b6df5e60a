"""Everybody who is in the house, found by id and by name, on this node and on the others.

A name is taken when somebody has it, or one that looks like it, here or elsewhere. Two nodes that let the same name
in at the same time find out when they hear of each other; then the one with the greater id gets another name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from prise import UsageError
from prise.chat import cleaning
from prise.chat.errors import Denied
from prise.chat.person import Elsewhere, Person

MOST_PEOPLE = 20_000
"""On one node."""

Change: TypeAlias = tuple[Elsewhere | None, Elsewhere | None]
"""Somebody on another node, as they were there and as they are now; None: they are not there."""


class People:
    """The registry of a house."""

    def __init__(self) -> None:
        self._ids: dict[str, Person] = {}
        self._names: dict[str, Person] = {}
        self._looks: dict[str, str] = {}  # look -> id
        self._nodes: dict[str, dict[str, Elsewhere]] = {}
        # By key, and by look of the name. Until two nodes with the same name have heard of each other, there are several.
        self._elsewhere: dict[str, list[Elsewhere]] = {}
        self._elsewhere_looks: dict[str, list[Elsewhere]] = {}

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
        return self._names.get(key) or self._named_elsewhere(key)

    def anywhere(self, id: str) -> Person | Elsewhere | None:
        """Somebody on any node."""
        return self._ids.get(id) or next((people[id] for people in self._nodes.values() if id in people), None)

    def _named_elsewhere(self, key: str) -> Elsewhere | None:
        """Where there are several, the one who may keep the name."""
        return min(self._elsewhere.get(key, ()), key=lambda each: each.id, default=None)

    def refuse_if_taken(self, name: str, person: Person | None = None) -> None:
        """Raises Denied when somebody else has this name, or one that looks the same."""
        if person is None and len(self._ids) >= MOST_PEOPLE:
            raise Denied("the house is full", code="full")
        key = cleaning.key(name)
        holder = self._names.get(key) or self._named_elsewhere(key)
        if holder is not None and holder is not person:
            raise Denied("the nickname {name} is taken", code="taken", name=name)
        look = cleaning.look(name)
        here = self._looks.get(look)
        alike = [self._ids[here]] if here is not None else self._elsewhere_looks.get(look, ())
        if alike and (person is None or alike[0].id != person.id):
            raise Denied("the nickname {name} looks like that of {other}", code="taken", name=name, other=alike[0].name)

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
        """Takes who is on another node now, and returns whoever is not as they were."""
        old = self._nodes.pop(node, {})
        new = {id: _elsewhere(id, node, given) for id, given in (people or {}).items()}
        if new:
            self._nodes[node] = new
        changes = [(before, after) for id in {**old, **new} if (before := old.get(id)) != (after := new.get(id))]
        for before, after in changes:
            if before is not None:
                _remove(self._elsewhere, cleaning.key(before.name), before)
                _remove(self._elsewhere_looks, cleaning.look(before.name), before)
            if after is not None:
                self._elsewhere.setdefault(cleaning.key(after.name), []).append(after)
                self._elsewhere_looks.setdefault(cleaning.look(after.name), []).append(after)
        return changes

    def collisions(self) -> list[Person]:
        """Those of this node who have to give up their name to somebody elsewhere."""
        return [person for person in self._names.values() if self.collides(person)]

    def collides(self, person: Person) -> bool:
        """Whether this person of this node is one of them."""
        other = self._named_elsewhere(person.key)
        return other is not None and other.id < person.id


def _elsewhere(id: str, node: str, given: Mapping[str, Any]) -> Elsewhere:
    return Elsewhere(
        id, given["name"], bool(given.get("operator")), given.get("away", ""), tuple(given.get("rooms", ())), node
    )


def _remove(index: dict[str, list[Elsewhere]], key: str, somebody: Elsewhere) -> None:
    index[key].remove(somebody)
    if not index[key]:
        del index[key]
