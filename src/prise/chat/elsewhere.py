"""What happens on other nodes, as the rooms of this one show it.

Nodes tell each other who is there, not what has happened (`House.met`): that follows from how somebody was and is. Several
things at once are shown in an order that makes sense to who knows somebody by their old name.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from prise.chat.events import Away, Joined, Left, Renamed
from prise.chat.person import Elsewhere
from prise.chat.room import Room, show_once


def follow(before: Elsewhere | None, after: Elsewhere | None, room_of: Callable[[str], Room]) -> None:
    """Somebody on another node is not as they were (None: not there): rooms know it, and who is in them sees it.

    room_of: the room of a name, made when there is none.
    """
    now = time.time()
    old = {} if before is None else {room.key: room for room in map(room_of, before.rooms)}
    new = {} if after is None else {room.key: room for room in map(room_of, after.rooms)}
    if before is not None:
        for key, room in old.items():
            # Who has moved from there to a third node is there already, when that one was heard first.
            if key not in new and room.elsewhere.get(before.id) is before:
                del room.elsewhere[before.id]
                room.show((Left(room.name, now, before.name, before.id),))
    if after is None:
        return
    come = [room for room in new.values() if after.id not in room.elsewhere]
    for room in new.values():
        room.elsewhere[after.id] = after
    if before is not None:
        stayed = [room for key, room in new.items() if key in old]
        if before.name != after.name:
            show_once(stayed, Renamed(now, before.name, after.name, after.id))
        if before.away != after.away:
            show_once(stayed, Away(now, after.name, after.id, after.away))
    for room in come:
        room.show((Joined(room.name, now, after.name, after.id),))
