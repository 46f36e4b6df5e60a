"""What a house needs of a store: somewhere that what is said is numbered and kept, and from where it comes back.

There are two: `sqlite.py` for one node, `nats.py` for several. The house shows a message when it comes back, to its
author too: what anybody has seen is stored, and everybody sees it in the same order. Besides messages a store keeps
facts, small texts under a key (a room's topic, an account, a ban), and tells nodes of each other's people.

    append(message)      never waits; the house hears `arrived`, then `settled`
    put(key, value)      a fact; the house hears `learned`
    read, search         what was said earlier

Everything here belongs to one asyncio loop, on which the house is called too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from prise import PriseError
from prise.chat.events import Message

MOST_WAITING = 128
"""Messages of all people of a node together that are on their way to the store. All of them may be shown in one turn
of the loop, so this many of the longest must fit into somebody's outbox.
"""

RECENT = 200
"""Messages of each room that `recent` gives at the start."""


class House(Protocol):
    """Who hears of it. None of these waits or raises."""

    def arrived(self, messages: Sequence[Message], /) -> None:
        """Messages of any node, numbered, stored, in their order; each once."""

    def settled(self, messages: Sequence[Message], error: PriseError | None, /) -> None:
        """What became of messages that this node appended, in the order in which it did: stored (and `arrived`
        before, now or at the first time if the reference is known already), or not stored, nor ever will be, for this
        reason.
        """

    def learned(self, facts: Mapping[str, str], /) -> None:
        """Facts that have changed; "" for one that is gone."""

    def linked(self, error: PriseError | None, /) -> None:
        """This node is cut off from the others for this reason, or (None) joined to them again. One node alone never is."""

    def met(self, node: str, people: Mapping[str, Any] | None, /) -> None:
        """Who is on another node: id -> what that node's house has given to `present`; None: the node is gone."""


class Store(ABC):
    """See the head of this file. alone: there can be no other nodes. name: for people, where it is kept."""

    alone: bool = True
    name: str = ""

    @abstractmethod
    async def start(self, house: House) -> None:
        """Opens it; `learned` is called with all facts before this returns. Raises UsageError, ConnectError."""

    @abstractmethod
    async def stop(self) -> None:
        """What was appended is settled first, within seconds."""

    @abstractmethod
    def append(self, message: Message) -> None:
        """Takes a message to be stored. The house sees to it that at most `MOST_WAITING` are on their way. While the node is
        cut off it is refused at once, by `settled` in a later turn of the loop."""

    @abstractmethod
    async def put(self, key: str, value: str, *, new: bool = False) -> None:
        """Keeps a fact; "" forgets it. Returns when it is kept and `learned` was called. new: only if there is none
        under this key on any node, else UsageError. Raises PriseError when it cannot be kept.
        """

    @abstractmethod
    def rooms(self) -> dict[str, int]:
        """The rooms in which something was said (without private ones), and the number of the last message of each."""

    @abstractmethod
    async def read(self, room: str, *, after: int = 0, before: int = 0, count: int = 50) -> list[Message]:
        """Messages of a room in their order: the first `count` behind `after`, or the last `count` before `before` (0: all)."""

    @abstractmethod
    async def private(self, person: str) -> dict[str, int]:
        """The private logs ("@ID,ID") that the person of this id shares, and the number of the last message of each."""

    @abstractmethod
    async def missed(self, person: str, seen: Mapping[str, int]) -> dict[str, int]:
        """The private logs in which this person may have missed something, and the number behind which that begins.

        seen: logs of any kind, and the last number seen of each. Those are gone on with; of others counts what was stored
        after all that was seen, which is all of it where nothing was.
        """

    @abstractmethod
    async def search(self, words: str, rooms: Sequence[str], count: int = 100) -> list[Message]:
        """Messages of these rooms that have all these words, newest first. Words are plain text."""

    def present(self, people: Mapping[str, Any]) -> None:  # noqa: B027 - nobody to tell
        """Tells the other nodes who is here: id -> anything that JSON can carry. Called whenever that changes."""
