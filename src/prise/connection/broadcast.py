"""One message to many connections."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prise.connection.base import BaseConnection


def broadcast(connections: Iterable[BaseConnection], message: Any) -> int:
    """Posts one message to many connections and returns how many took it. It is encoded once for each framing.

    Never waits; a peer that stays too far behind is given up, see `BaseConnection.post`.
    """
    encoded: dict[
        int, bytes
    ] = {}  # by identity: equal framings are rare, and to compare them costs more than to encode
    taken = 0
    for connection in list(connections):  # a copy: conversations may come and go meanwhile; and it keeps the keys alive
        key = connection.encoding
        data = encoded.get(id(key)) if key is not None else None
        if data is None:
            data = encoded[id(key)] = connection.encode(message)
        taken += connection.post_encoded(data)
    return taken
