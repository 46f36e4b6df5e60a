"""Who is on which node: each tells the others, and is believed as long as it is heard. Nothing of it is stored.

A node sends its whole table when it has changed, and each second a beat with the table's version alone; whoever has another
version asks for the table. A large table goes in parts. A node that is not heard for 3.5 s, or says goodbye, is gone.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger("prise.chat")

BEAT_TICKS = 2
"""A beat every so many calls of `tick`, which come every 0.5 s."""

GONE_TICKS = 7
"""Calls of `tick` after which a node that is not heard is gone. When we ourselves are held up, we do not count."""

SHORTEST_PAUSE = 0.1
"""Seconds between two tables."""

BYTES_EACH_SECOND = 2_000_000
"""Of tables; larger ones are sent less often."""

PART = 256 * 1024
"""Bytes of a part, which has to stay below NATS' limit of 1 MiB for a message."""

MOST_PARTS = 64
MOST_NODES = 1_000


@dataclass(slots=True)
class _Node:
    """version: of the table that was passed on, collecting: of the one of which parts have come."""

    version: str = ""
    silence: int = 0
    collecting: str = ""
    parts: dict[int, dict[str, Any]] = field(default_factory=dict)


class Presence:
    """send: to all nodes, as well as it goes. met: see `House.met`. Everything is on one loop, and nothing waits."""

    def __init__(
        self, send: Callable[[bytes], None], met: Callable[[str, Mapping[str, Any] | None], None], node: str = ""
    ) -> None:
        self.node = node or secrets.token_hex(8)
        self._send = send
        self._met = met
        self._people: Mapping[str, Any] = {}
        self._count = 0
        self._nodes: dict[str, _Node] = {}
        self._ticks = 0
        self._timer: asyncio.TimerHandle | None = None
        self._free_at = 0.0

    @property
    def _version(self) -> str:
        return f"{self.node}.{self._count}"

    # -- our own -------------------------------------------------------------------------------------------------------------

    def present(self, people: Mapping[str, Any]) -> None:
        """This is who is here now."""
        self._people = people
        self._count += 1
        self._tell_soon()

    def joined(self) -> None:
        """We hear the others, again or for the first time."""
        self._say(ask="")
        self._tell_soon()

    def leave(self) -> None:
        """The others need not wait for us."""
        if self._timer is not None:
            self._timer.cancel()
        self._say(gone=True)

    def tick(self) -> None:
        """To be called every 0.5 s."""
        self._ticks += 1
        if self._ticks % BEAT_TICKS == 0:
            self._say(version=self._version)
        for name, node in list(self._nodes.items()):
            node.silence += 1
            if node.silence > GONE_TICKS:
                self._gone(name)

    def _tell_soon(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._free_at), self._tell)

    def _tell(self) -> None:
        self._timer = None
        parts = list(_parts(self._people))[:MOST_PARTS]
        size = 0
        for number, part in enumerate(parts):
            size += self._say(version=self._version, part=number, parts=len(parts), people=part)
        self._free_at = asyncio.get_running_loop().time() + max(SHORTEST_PAUSE, size / BYTES_EACH_SECOND)

    def _say(self, **what: Any) -> int:
        data = json.dumps({"node": self.node, **what}, separators=(",", ":")).encode()
        self._send(data)
        return len(data)

    # -- the others ------------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """What a node has sent, be it ourselves."""
        try:
            said = json.loads(data)
            name = said["node"]
            if not isinstance(name, str):
                raise TypeError
            if name != self.node:
                self._take(name, said)
        except (ValueError, KeyError, TypeError, RecursionError):
            log.warning("the backplane: not a word of a node: %r", data[:100])

    def _take(self, name: str, said: Mapping[str, Any]) -> None:
        if "ask" in said:
            if said["ask"] in ("", self.node):
                self._tell_soon()
            return
        if said.get("gone"):
            self._gone(name)
            return
        node = self._nodes.get(name)
        if node is None:
            if len(self._nodes) >= MOST_NODES:
                return
            node = self._nodes[name] = _Node()
        node.silence = 0
        if "people" in said:
            self._collect(name, node, said)
        elif said["version"] != node.version:
            self._say(ask=name)

    def _collect(self, name: str, node: _Node, said: Mapping[str, Any]) -> None:
        version, number, count, people = said["version"], said["part"], said["parts"], said["people"]
        if not isinstance(people, dict) or not 0 <= number < count <= MOST_PARTS:
            raise ValueError
        if not all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in people.values()):
            raise ValueError
        if version == node.version:
            return
        if version != node.collecting:
            node.collecting, node.parts = version, {}
        node.parts[number] = people
        if len(node.parts) == count:
            whole = {id: each for part in node.parts.values() for id, each in part.items()}
            node.version, node.parts = version, {}
            self._met(name, whole)

    def _gone(self, name: str) -> None:
        node = self._nodes.pop(name, None)
        if node is not None and node.version:
            self._met(name, None)


def _parts(people: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The table in parts; one at least."""
    part: dict[str, Any] = {}
    size = 0
    for id, each in people.items():
        length = len(id) + len(json.dumps(each)) + 8
        if part and size + length > PART:
            yield part
            part, size = {}, 0
        part[id] = each
        size += length
    yield part
