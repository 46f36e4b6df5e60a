"""The store of several nodes: NATS JetStream gives each message its number, each node keeps its own copy in its archive.

What is said goes into one stream, and is shown when it has come back from there and is in the archive, on all nodes in the same
order. A node follows the stream from the last number in its archive, so that nothing is lost or doubled wherever either of them
is killed. Facts are in a bucket (JetStream's key-value store), copied in the same way.

While a node is cut off it takes nothing. What was on its way then is sent again, in its order and under the same id, by which
JetStream knows what it has; but first the node reads what became of it. `natslink` is one connection, `natssayings` what is on
its way there, `natscopy` what comes back, `natspresence` who is where, `natswire` and `natsstream` how it is written and kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from prise import ConnectError, PriseError, UsageError
from prise.chat.events import Message
from prise.chat.store.archive import Archive, Batch, Fact, Item
from prise.chat.store.archived import ArchivedStore
from prise.chat.store.base import House
from prise.chat.store.natscopy import Arrival, Copy
from prise.chat.store.natsfollow import TICK
from prise.chat.store.natslink import Link
from prise.chat.store.natspresence import Presence
from prise.chat.store.natssayings import ANSWER_TIME, Sayings
from prise.chat.store.natswire import Backplane, unpacked

log = logging.getLogger("prise.chat")

STOP_TIME = 5.0
"""Seconds that stopping waits for what is on its way."""

PAUSES = (0.0, 0.2, 0.5, 1.0)
"""Seconds before each attempt to find the others again; the last one before all further ones."""


class NatsStore(ArchivedStore):
    """address: see `Backplane`. Raises UsageError."""

    alone = False

    def __init__(self, archive: Archive, address: str | Backplane) -> None:
        self.backplane = Backplane.parse(address) if isinstance(address, str) else address
        self.name = f"{archive.path} ({self.backplane})"
        super().__init__(archive)
        self._house: House
        self._loop: asyncio.AbstractEventLoop
        self._link: Link | None = None  # the one that lives, or begins
        self._cut: PriseError | None = PriseError("the store is not open")
        self._opened = self._started = False
        self._tasks: list[asyncio.Task[None]] = []
        self._sayings = Sayings(self._publish, self._settled)
        self._presence = Presence(self._send_people, self._met)
        self._facts: dict[str, str] = {}
        self._foreseen: dict[str, str] = {}  # what they will be when all that has arrived is stored
        self._heard: set[str] = set()  # keys of which the bucket has told
        self._said = 0  # the last number of the stream that is in the archive
        self._noted = 0  # and of the bucket
        self._copy = Copy(archive, self._taken, self._not_taken)
        self._up_to_date = [False, False]  # of messages, of facts
        self._news = asyncio.Event()  # replaced each time it is set

    # -- starting and stopping -----------------------------------------------------------------------------------------------

    async def start(self, house: House) -> None:
        self._house, self._loop = house, asyncio.get_running_loop()
        self._archive.open(self._report)
        self._opened = True
        try:
            numbers = self._archive.rooms()
            self._said = max(numbers.values(), default=0)
            self._rooms = {room: last for room, last in numbers.items() if room[:1] not in "@!"}
            self._facts = self._archive.facts()
            self._tasks = [asyncio.create_task(self._tick())]
            link = await self._join()
            # A house that had one node until now brings its facts along. Of those that were deleted since the bucket tells.
            for key in self._facts.keys() - self._heard:
                await self._put(link, key, self._facts[key], True)
        except BaseException:
            await self.stop()
            raise
        house.learned(dict(self._facts))
        self._started, self._cut = True, None
        await self._meet(link)
        self._tasks.append(asyncio.create_task(self._stay_joined()))

    async def stop(self) -> None:
        if not self._opened:
            return
        self._opened = False
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_TIME):
                await self._until(lambda: not self._sayings or self._cut is not None)
        self._sayings.give_up(STOP_TIME)
        self._settle()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._link is not None:
            if self._cut is None:
                self._presence.leave()
                await self._link.flush()
            await self._link.close()
        self._cut = self._cut or PriseError("the store is closed")
        self._copy.clear()
        await asyncio.to_thread(self._archive.close)
        await asyncio.sleep(0)  # what the last chunk has reported

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._link is not None:
                self._link.tick()
                if not self._sayings.look_after():
                    self._link.lose("JetStream does not answer")
            self._presence.tick()
            self._settle()

    # -- the link --------------------------------------------------------------------------------------------------------------

    async def _stay_joined(self) -> None:
        while True:
            link = self._link
            assert link is not None
            self._cut_off(await asyncio.shield(link.lost))
            await link.close()
            attempt = 0
            while self._cut is not None:
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                attempt += 1
                try:
                    link = await self._join()
                except UsageError as error:  # it does not go away by itself
                    self._say_cut_off(error)
                    continue
                except PriseError:
                    continue
                except Exception as error:  # nobody else would hear of it, and the node would be cut off for ever
                    log.error("the backplane", exc_info=error)
                    continue
                self._cut = None
                self._sayings.send_again()
                self._settle()
                log.info("joined to the backplane again")
                self._house.linked(None)
                await self._meet(link)

    def _cut_off(self, cause: PriseError) -> None:
        self._say_cut_off(cause)
        self._sayings.cut()
        self._copy.clear()
        self._announce()

    def _say_cut_off(self, cause: PriseError) -> None:
        cut = ConnectError(
            "this server is cut off from the others ({cause}); nothing can be said until it is back", cause=cause
        )
        if str(cut) != str(self._cut):
            self._cut = cut
            log.info("%s", cut)
            self._house.linked(cut)

    async def _join(self) -> Link:
        """A new link, once all that was said meanwhile is in the archive. Raises PriseError."""
        await self._until(lambda: self._copy.idle)
        self._copy.clear()
        self._foreseen = dict(self._facts)
        self._noted = 0
        link = self._link = Link(self.backplane, self)
        link.lost.add_done_callback(lambda _: self._announce())
        try:
            await link.open()
            await self._compare(link)
            self._up_to_date = [False, False]
            if not await link.follow_facts():  # (what has arrived meanwhile may have set it already)
                self._up_to_date[True] = True
            if not await link.follow(self._said):
                self._up_to_date[False] = True
            await self._until(lambda: all(self._up_to_date), link)
        except BaseException:
            await link.close()
            raise
        return link

    async def _compare(self, link: Link) -> None:
        """The archive has to be a copy of this stream, if not of all of it."""
        if not self._said:
            return
        if not link.last:  # a house that had one node until now: its numbers go on
            await link.begin_behind(self._said)
        if self._said > link.last or (
            self._said >= link.first and not await self._is_here(await link.message(self._said))
        ):
            raise UsageError(
                "the store {path} does not belong to the backplane {where}, or that has lost messages: number {number} is "
                "another one there; move the store away, and this server copies what the backplane has",
                path=self._archive.path,
                where=self.backplane,
                number=self._said,
            )
        missing = link.first - self._said - 1
        if missing > 0:
            lost = PriseError(
                "{count} messages are missing on this server: the backplane had forgotten them when it came back",
                count=missing,
            )
            if self._started:
                self._house.linked(lost)
            else:  # nobody is there yet
                log.warning("%s", lost)

    async def _is_here(self, data: bytes | None) -> bool:
        """False when the archive has something else under the number of the last message."""
        if data is None:
            return True
        try:
            _, there = unpacked(data, self._said)
        except ValueError:
            return False
        here = await self._archive.read(there.room, after=self._said - 1, count=1)
        return not here or here[0].number != self._said or here[0] == there

    async def _until(self, condition: Callable[[], bool], link: Link | None = None) -> None:
        """Waits. Raises ConnectError when the link is lost before."""
        while not condition():
            if link is not None and link.lost.done():
                raise ConnectError("the backplane: {cause}", cause=link.lost.result())
            await self._news.wait()

    def _announce(self) -> None:
        """Something has changed for which somebody may wait."""
        self._news.set()
        self._news = asyncio.Event()

    # -- facts -----------------------------------------------------------------------------------------------------------------

    async def put(self, key: str, value: str, *, new: bool = False) -> None:
        link = self._link
        if self._cut is not None or link is None:
            raise self._cut or PriseError("the store is not open")
        if not await self._put(link, key, value, new):
            raise UsageError("{key} is taken", key=key)

    async def _put(self, link: Link, key: str, value: str, new: bool) -> bool:
        """False when it is another one's, of which we know then."""
        revision, ours = await link.put(key, value, new)
        try:
            async with asyncio.timeout(ANSWER_TIME):
                await self._until(lambda: self._noted >= revision)
        except TimeoutError:
            raise PriseError("{key} is kept, but this server has not heard of it yet", key=key) from None
        return ours

    async def noted(self, revision: int, key: str, value: str, pending: int) -> None:
        self._heard.add(key)
        fact = Fact(key, value) if self._foreseen.get(key, "") != value else None
        self._foreseen[key] = value
        await self._take(Arrival(fact, revision, fact=True, last=not pending))

    def _learn(self, facts: Mapping[str, str]) -> None:
        for key, value in facts.items():
            if value:
                self._facts[key] = value
            else:
                self._facts.pop(key, None)
        if self._started:
            self._house.learned(facts)

    # -- talking ---------------------------------------------------------------------------------------------------------------

    def append(self, message: Message) -> None:
        if self._sayings.add(message, self._cut):
            self._loop.call_soon(self._settle)

    def _publish(self, sending: int, room: str, data: bytes, id: str) -> None:
        assert self._link is not None
        self._link.publish(sending, room, data, id)

    def answered(self, sending: int, answer: Mapping[str, Any]) -> None:
        self._sayings.answered(sending, answer)
        self._settle()

    def _settle(self) -> None:
        self._sayings.settle(self._said)
        self._announce()

    def _settled(self, messages: Sequence[Message], error: PriseError | None) -> None:
        self._house.settled(messages, error)

    # -- what arrives ----------------------------------------------------------------------------------------------------------

    async def said(self, number: int, data: bytes, pending: int) -> None:
        assert self._link is not None
        id, message = "", None
        try:
            id, message = unpacked(data, number)
        except ValueError:
            log.warning("the backplane: number %d is not a message of a chat", number)
        await self._take(Arrival(message, number, id, last=not pending or number >= self._link.last))

    async def _take(self, arrival: Arrival) -> None:
        if self._link is None or self._link.lost.done():
            return  # what comes before it may be missing
        self._copy.add(arrival)
        await self._until(lambda: not self._copy.full)

    def _report(self, batch: Batch) -> None:
        """In the archive's thread."""
        with suppress(RuntimeError):  # the loop is over, and with it everybody who could hear
            self._loop.call_soon_threadsafe(self._reported, batch)

    def _reported(self, batch: Batch) -> None:
        self._copy.reported(batch)
        self._settle()

    def _not_taken(self, error: PriseError) -> None:
        if self._link is not None:
            self._link.lose(error)

    def _taken(self, arrivals: Sequence[tuple[Arrival, Item | None]], fresh: Sequence[Message]) -> None:
        if self._link is not None:
            self._link.alive()
        facts: dict[str, str] = {}
        for arrival, item in arrivals:
            if isinstance(item, Fact):
                facts[item.key] = item.value
            elif item is not None:
                self._sayings.stored(arrival.id, item)
                if item.room[:1] not in "@!":
                    self._rooms[item.room] = max(self._rooms.get(item.room, 0), item.number)
            if arrival.fact:
                self._noted = max(self._noted, arrival.number)
            else:
                self._said = max(self._said, arrival.number)
            self._up_to_date[arrival.fact] |= arrival.last
        if facts:
            self._learn(facts)
        if fresh and self._started:
            self._house.arrived(fresh)

    # -- who is where -----------------------------------------------------------------------------------------------

    async def _meet(self, link: Link) -> None:
        try:
            await link.listen_to_people()
        except PriseError as error:
            link.lose(error)
        else:
            self._presence.joined()

    def present(self, people: Mapping[str, Any]) -> None:
        self._presence.present(people)

    def people(self, data: bytes) -> None:
        self._presence.heard(data)

    def _send_people(self, data: bytes) -> None:
        if self._link is not None and self._cut is None:
            self._link.send_people(data)

    def _met(self, node: str, people: Mapping[str, Any] | None) -> None:
        self._house.met(node, people)
