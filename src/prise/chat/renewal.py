"""A chat house goes on in a new process: what is left to the successor besides the connections, and how it is taken up.

The connections bring who they belong to (`Session.state`). The rest is in memory only as far as the store does not have it:
who is there, in which rooms, whom they ignore, whose hand is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prise.chat.house import House
from prise.chat.person import Person


def legacy(house: House, operator_password: str) -> dict[str, Any]:
    """All that the successor needs, as JSON says it. The operator at the terminal stays: the successor has its own."""
    leaving = [each for each in house.people.here() if not (each.sessions and all(s.stays for s in each.sessions))]
    return {
        "people": [_told(person) for person in leaving],
        "rooms": [
            {"name": room.name, "hands": room.hands, "last": room.last}
            for room in house.rooms.values()
            if room.hands or room.members
        ],
        "counts": house.counts,
        "opened": house.opened_at,
        "operator_password": operator_password,
    }


def _told(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "registered": person.registered,
        "operator": person.operator,
        "away": person.away,
        "rooms": list(person.rooms.values()),
        "ignored": person.ignored,
        "partner": person.partner,
        "visits": person.visits,
    }


def take_up(house: House, left: Mapping[str, Any]) -> None:
    """Everybody is where they were, without sessions so far: who has none soon is gone, as after a broken connection."""
    house.counts.update(left["counts"])
    house.opened_at = left["opened"]
    for told in left["people"]:
        facts = {**told, "rooms": {}, "partner": tuple(told["partner"]) if told["partner"] else None}
        house.bring_back(Person(**facts), told["rooms"])
    for told in left["rooms"]:
        house.take_up_room(told["name"], told["hands"], told["last"])
