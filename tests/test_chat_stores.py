"""What a chat house may expect of its store, whichever it is: one node's SQLite file, or NATS between several."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prise import UsageError
from prise.chat.events import Message
from prise.chat.store.base import Store
from store_support import NatsServer, Notes, World, said, say


@pytest.fixture(params=["sqlite", "nats"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    if request.param == "sqlite":
        yield World("sqlite", tmp_path, None)
        return
    pytest.importorskip("nats")
    with NatsServer(tmp_path / "nats") as server:
        yield World("nats", tmp_path, server)


def test_what_is_said_is_numbered_shown_and_then_settled(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            messages = [said(f"line {index}", room=("salon", "garden")[index % 2]) for index in range(20)]
            stored = await say(store, house, *messages)
            assert house.messages == stored
            assert [replace(message, number=0) for message in stored] == messages
            for room in ("salon", "garden"):
                numbers = [message.number for message in stored if message.room == room]
                assert numbers == sorted(set(numbers))
                assert numbers[0] > 0
                assert store.rooms()[room] == numbers[-1]

    asyncio.run(main())


def test_all_fields_of_a_message_are_kept(world: World) -> None:
    full = said(
        "Très bien", room="@id-Ann,id-Bob", kind="file", to="Bob", reference="Ann:1", details={"size": 3, "é": [None]}
    )

    async def main() -> None:
        async with world.open() as (store, house):
            (stored,) = await say(store, house, full)
            assert replace(stored, number=0) == full
            assert await store.read("@id-Ann,id-Bob") == [stored]
            assert store.rooms() == {}, "private logs are no rooms"

    asyncio.run(main())


def test_sixteen_writers_see_one_order(world: World) -> None:
    """On several nodes, where there can be several: each of them sees all, in the same order, and each writer's in theirs."""
    nodes = 4 if world.many else 1
    each = 50

    async def write(store: Store, name: str) -> None:
        for index in range(each):
            store.append(said(f"{index}", author=name))
            if index % 8 == 0:  # MOST_WAITING is the house's to see to
                await asyncio.sleep(0)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            open_nodes = [await stack.enter_async_context(world.open(str(node))) for node in range(nodes)]
            await asyncio.gather(*(write(open_nodes[number % nodes][0], f"writer{number}") for number in range(16)))
            for _, house in open_nodes:
                await house.all(16 * each, 16 * each // nodes)
            orders = [house.messages for _, house in open_nodes]
            assert all(order == orders[0] for order in orders)
            numbers = [message.number for message in orders[0]]
            assert numbers == sorted(set(numbers))
            for number in range(16):
                texts = [message.text for message in orders[0] if message.author == f"writer{number}"]
                assert texts == [f"{index}" for index in range(each)]
            for _, house in open_nodes:
                assert not any(error for _, error in house.outcomes)

    asyncio.run(main())


def test_a_message_that_is_sent_again_is_said_once(world: World) -> None:
    async def main() -> None:
        once = said("once", reference="Ann:1")
        async with world.open() as (store, house):
            first, second = await say(store, house, once, once)
            (third,) = await say(store, house, once)
            assert first.number == second.number == third.number
            assert house.texts == ["once"]
        async with world.open() as (store, house):
            other, again = await say(store, house, said("other", reference="Ann:2"), once)
            assert again.number == first.number < other.number
            assert house.texts == ["other"]
            assert [message.text for message in await store.read("salon")] == ["once", "other"]

    asyncio.run(main())


def test_messages_without_a_reference_are_all_different(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            await say(store, house, *[said("same")] * 3)
            assert house.texts == ["same"] * 3

    asyncio.run(main())


def test_reading_a_part_of_a_room(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            stored = await say(store, house, *(said(str(index), room=f"room{index % 2}") for index in range(40)))
            room = [message for message in stored if message.room == "room1"]
            number = [message.number for message in room]
            assert await store.read("room1", count=5) == room[-5:]
            assert await store.read("room1", before=number[10], count=5) == room[5:10]
            assert await store.read("room1", after=number[10], count=5) == room[11:16]
            assert await store.read("room1", after=number[-1]) == []
            assert await store.read("room1", before=number[0]) == []
            assert await store.read("elsewhere") == []

    asyncio.run(main())


def test_search(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            await say(
                store,
                house,
                said("L'été à la plage"),
                said("la plage en hiver"),
                said("un secret de plage", room="@a,b"),
                said('x" OR text:* NEAR(', room="garden"),
            )

            async def found(words: str, *rooms: str, count: int = 100) -> list[str]:
                return [message.text for message in await store.search(words, rooms or ("salon", "garden"), count)]

            assert await found("PLAGE") == ["la plage en hiver", "L'été à la plage"], "newest first, any case"
            assert await found("ete") == ["L'été à la plage"], "without accents"
            assert await found("plag hiv") == ["la plage en hiver"], "beginnings, and all of them"
            assert await found("plage", count=1) == ["la plage en hiver"]
            assert await found("plage", "garden") == []
            assert await found("plage", "@a,b") == ["un secret de plage"]
            for hostile in (
                '"',
                "x*",
                "NEAR(a b)",
                "text:secret",
                "a OR b",
                "-",
                "^x",
                "(",
                "' --",
                "\0",
                "* *",
                "AND",
            ):
                assert "un secret de plage" not in await found(hostile)
            assert await found("   ") == []
            assert await store.search("plage", []) == []

    asyncio.run(main())


def test_facts_are_kept_and_forgotten(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            await store.put("room:salon", '{"topic": "été"}')
            assert house.facts == {"room:salon": '{"topic": "été"}'}
            await store.put("ban:Ann.*>", "x")
            await store.put("room:salon", "")
            await store.put("room:salon", "")
            assert house.facts == {"ban:Ann.*>": "x"}
        async with world.open() as (store, house):
            assert house.facts == {"ban:Ann.*>": "x"}, "learned before the start is over"
            await store.put("room:salon", "again", new=True)
            assert house.facts["room:salon"] == "again"

    asyncio.run(main())


def test_one_of_many_gets_a_new_fact(world: World) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            names = "abc" if world.many else "a"
            nodes = [await stack.enter_async_context(world.open(name)) for name in names]
            tries = [
                asyncio.create_task(store.put("account:ann", f"{index}", new=True))
                for index, (store, _) in enumerate(nodes * (6 // len(nodes)))
            ]
            await asyncio.wait(tries)
            winners = [index for index, task in enumerate(tries) if task.exception() is None]
            assert len(winners) == 1
            losers = [error for task in tries if (error := task.exception()) is not None]
            assert all(isinstance(error, UsageError) for error in losers)
            for _, house in nodes:
                assert house.facts == {"account:ann": f"{winners[0]}"}, "whoever lost knows who won"

    asyncio.run(main())


def test_a_restart_goes_on_where_it_was(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            (first,) = await say(store, house, said("before"))
        async with world.open() as (store, house):
            assert house.messages == [], "history is read, it does not arrive"
            assert store.rooms() == {"salon": first.number}
            (second,) = await say(store, house, said("after"))
            assert second.number > first.number
            assert await store.read("salon") == [first, second]

    asyncio.run(main())


def test_stopping_settles_what_was_said_and_may_be_repeated(world: World) -> None:
    async def main() -> None:
        house = Notes()
        store = world.store()
        await store.start(house)
        for index in range(100):
            store.append(said(str(index)))
        await store.stop()
        await store.stop()
        assert [message.text for message, error in house.outcomes if error is None] == [
            str(index) for index in range(100)
        ]
        assert house.texts == [str(index) for index in range(100)]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


async def kept(store: Store, wanted: list[str]) -> None:
    """Waits until this is what is left of the room: forgetting is done beside everything else."""
    async with asyncio.timeout(20):
        while [message.text for message in await store.read("salon")] != wanted:
            await asyncio.sleep(0.01)


def test_only_the_last_messages_of_each_room_are_kept_and_numbers_are_not_given_again(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            stored = await say(store, house, *(said(str(index)) for index in range(10)))
        async with world.open(keep_messages=0) as (store, house):
            await kept(store, [])
            assert await store.search("9", ["salon"]) == []
            assert store.rooms() == {"salon": stored[-1].number}
        async with world.open(keep_messages=3) as (store, house):
            (message,) = await say(store, house, said("later"))
            assert message.number > stored[-1].number

    asyncio.run(main())


def test_old_messages_are_forgotten(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            await say(store, house, replace(said("old"), at=time.time() - 100), said("new"))
        async with world.open(keep_time=50) as (store, _):
            await kept(store, ["new"])

    asyncio.run(main())


def test_a_store_of_the_first_version_is_taken_over(world: World) -> None:
    """It had one room, and knew neither identities nor facts."""
    path = world.folder / "a.sqlite"
    with closing(sqlite3.connect(path)) as base:
        base.executescript(
            "create table messages (number integer primary key, at real not null, author text not null, text text not null)"
            " strict; pragma application_id = 0x70726973; pragma user_version = 1;"
        )
        base.executemany("insert into messages values (?, ?, ?, ?)", [(1, 5.0, "Ann", "un"), (7, 6.5, "Bob", "été")])
        base.commit()

    async def main() -> None:
        async with world.open() as (store, house):
            old = [Message("salon", 5.0, "Ann", "", "un", number=1), Message("salon", 6.5, "Bob", "", "été", number=7)]
            assert await store.read("salon") == old
            assert await store.search("ete", ["salon"]) == old[1:]
            (new,) = await say(store, house, said("more"))
            assert new.number == 8
        async with world.open() as (store, house):
            assert [message.number for message in await store.read("salon")] == [1, 7, 8]

    asyncio.run(main())


def test_a_full_disk_is_reported_and_when_there_is_room_again_it_goes_on(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            await say(store, house, said("before"))
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            size = max(path.stat().st_size for path in world.folder.glob("a.sqlite*"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, hard))
            try:
                store.append(said("x" * 200_000))
                store.append(said("y" * 200_000))
                await house.until(lambda: len(house.outcomes) == 3 or bool(house.links))
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            if world.many:  # they are in the stream, and the node has to catch up
                assert "cannot be written" in str(house.links[0])
                await house.until(lambda: house.links[-1:] == [None])
            await house.until(lambda: len(house.outcomes) == 3)
            (after,) = await say(store, house, said("after"))
            texts = ["before", "x" * 200_000, "y" * 200_000, "after"] if world.many else ["before", "after"]
            assert house.texts == texts
            assert [message.text for message in await store.read("salon")] == texts
            assert [error is not None for _, error in house.outcomes] == [False, *[not world.many] * 2, False]
            assert house.messages[-1] == after

    asyncio.run(main())


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def test_any_text_comes_back_as_it_was(world: World) -> None:
    house = Notes()
    with asyncio.Runner() as runner:
        store = world.store()
        runner.run(store.start(house))
        try:

            @settings(max_examples=60)
            @given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS), min_size=1, max_size=5))
            def round_trip(pairs: list[tuple[str, str]]) -> None:
                messages = [said(text, room="r" + room, author=text[:3], reference="") for room, text in pairs]
                stored = runner.run(say(store, house, *messages))
                assert [replace(message, number=0) for message in stored] == messages
                last = runner.run(store.read(stored[-1].room, count=1))
                assert last == stored[-1:]

            round_trip()
        finally:
            runner.run(store.stop())


def test_what_was_missed_in_private_goes_by_the_order_in_which_it_was_stored_not_by_the_clock(world: World) -> None:
    async def main() -> None:
        async with world.open() as (store, house):
            log, other = "@id-Ann,id-Bob", "@id-Ann,id-Eve"
            seen = said("the last that Ann sees")
            late = replace(said("the clock was put back", room=other), at=seen.at - 3600)
            first, _not_seen, last, *rest = await say(
                *(store, house, said("seen", room=log), said("not seen", room=log), seen, late),
                *(
                    said("one more", room=other),
                    said("nobody's business", room="@id-Bob,id-Eve"),
                    said("too", room=log),
                ),
            )
            assert await store.missed("id-Ann", {"salon": last.number, log: first.number}) == {
                log: first.number,
                other: rest[0].number - 1,
            }
            # What she does not name, but is older than what she has seen, she has seen as well.
            assert await store.missed("id-Ann", {"salon": last.number}) == {
                log: rest[3].number - 1,
                other: rest[0].number - 1,
            }
            assert await store.missed("id-Ann", {"salon": 0}) == {
                log: first.number - 1,
                other: rest[0].number - 1,
            }, "who has seen nothing has missed all"
            assert await store.missed("id-A", {}) == {}

    asyncio.run(main())
