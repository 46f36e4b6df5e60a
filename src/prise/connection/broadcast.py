"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prise.connection.base import BaseConnection


def broadcast(connections: Iterable[BaseConnection], message: Any) -> int:
    """Posts one message to many connections and returns how many took it. It is encoded once for each framing.

    Never waits; a peer that stays too far behind is given up, see `BaseConnection.post`.
    """
    encoded: dict[int, bytes] = {}  # by identity: equal framings are rare, and comparing them costs more than encoding
    taken = 0
    encoding: object = None  # of the connection before: mostly all have the same
    data = b""
    for connection in list(connections):  # a copy: conversations may come and go meanwhile; and it keeps the keys alive
        if (other := connection.encoding) is not encoding:
            encoding = other
            known = encoded.get(id(other))
            if known is None:
                known = encoded[id(other)] = connection.encode(message)
            data = known
        taken += connection.post_encoded(data)
    return taken
