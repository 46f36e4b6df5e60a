"""Several nodes of one chat house, with a real nats-server between them, of which anything may be killed or cut off."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_support import OPERATORS, Chat
from chat_support import said as lines_said
from prise import ConnectError, PriseError, UsageError
from prise.chat.events import Message
from prise.chat.store import natspresence, natssayings
from prise.chat.store.archive import Archive
from prise.chat.store.nats import NatsStore
from prise.chat.store.natspresence import Presence
from prise.chat.store.natswire import Backplane, name_of, packed, token, unpacked
from prise.chat.store.sqlite import SqliteStore
from store_support import PATIENCE, NatsServer, Notes, Wire, free_port, said, say

nats = pytest.importorskip("nats")

LONG = pytest.mark.skipif("PRISE_LONG_TESTS" not in os.environ, reason="half a minute; PRISE_LONG_TESTS=1 runs it")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with NatsServer(tmp_path / "nats") as server:
        yield server


@asynccontextmanager
async def opened(folder: Path, url: str, name: str = "a") -> AsyncIterator[tuple[NatsStore, Notes]]:
    store, house = NatsStore(Archive(folder / f"{name}.sqlite"), url), Notes()
    await store.start(house)
    try:
        yield store, house
    finally:
        await store.stop()


async def fails(folder: Path, url: str, name: str = "a") -> PriseError:
    with pytest.raises(PriseError) as caught:
        async with opened(folder, url, name):
            pass
    return caught.value


# -- what is killed, cut off, or away --------------------------------------------------------------------------------------


def test_the_server_is_killed_in_mid_talk(tmp_path: Path, server: NatsServer) -> None:
    """Nothing is lost, doubled or reordered; what could not be taken was refused with a reason."""

    async def talk(store: NatsStore, house: Notes, name: str) -> None:
        for index in range(600):
            store.append(said(str(index), author=name))
            if index % 20 == 0:
                await house.all(0, index - 80)

    async def main() -> None:
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(opened(tmp_path, server.url, name)) for name in "abc"]
            talks = [asyncio.create_task(talk(*node, name)) for node, name in zip(nodes, "abc", strict=True)]
            await nodes[0][1].all(300)
            server.kill()
            for _, house in nodes:
                await house.until(lambda house=house: house.links != [])  # type: ignore[misc]
            server.start()
            for _, house in nodes:
                await house.until(lambda house=house: house.links[-1] is None)  # type: ignore[misc]
                await house.until(lambda house=house: len(house.outcomes) == 600)  # type: ignore[misc]
            await asyncio.gather(*talks)
            stored = sum(error is None for _, house in nodes for _, error in house.outcomes)
            for _, house in nodes:
                await house.all(stored)
            orders = [house.messages for _, house in nodes]
            assert orders[0] == orders[1] == orders[2]
            assert len(orders[0]) == stored
            for (_, house), name in zip(nodes, "abc", strict=True):
                mine = [message for message in orders[0] if message.author == name]
                assert mine == [message for message, error in house.outcomes if error is None]
                refused = [error for _, error in house.outcomes if error is not None]
                assert all("cut off" in str(error) for error in refused)
                assert [int(message.text) for message, _ in house.outcomes] == list(range(600)), "settled in order"

    asyncio.run(main())


TALKER = """
import asyncio, sys, time
from pathlib import Path
from prise.chat.events import Message
from prise.chat.store.archive import Archive
from prise.chat.store.nats import NatsStore

class House:
    def arrived(self, messages): pass
    def learned(self, facts): pass
    def linked(self, error): print("linked", error, file=sys.stderr)
    def met(self, node, people): pass
    def settled(self, messages, error):
        for message in messages:
            print(message.text, message.number, error, flush=True)

async def main(path, url, first):
    store = NatsStore(Archive(Path(path)), url)
    await store.start(House())
    for number in range(first, 1_000_000):
        store.append(Message("salon", time.time(), "killed", "id", str(number), reference=f"id:{number}"))
        await asyncio.sleep(0.001)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_a_node_is_killed_in_mid_talk(tmp_path: Path, server: NatsServer) -> None:
    """Its archive is complete again after the next start, and what its people send again is not said twice."""

    async def main() -> None:
        async with opened(tmp_path, server.url, "other") as (store, house):
            first = 0
            for _ in range(3):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", TALKER, str(tmp_path / "a.sqlite"), server.url, str(first)),
                    stdout=subprocess.PIPE,
                )
                assert process.stdout is not None
                for _ in range(150):
                    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
                    assert line.split()[2] == b"None"
                process.send_signal(signal.SIGKILL)
                settled = int(line.split()[0])
                for line in (await process.stdout.read()).splitlines():
                    settled = int(line.split()[0])
                await process.wait()
                await house.all(settled + 1)
                assert house.texts[: settled + 1] == [str(number) for number in range(settled + 1)]
                first = settled - 20  # its people are not sure of the last ones, and say them again
            async with opened(tmp_path, server.url) as (again, _):
                (last,) = await say(store, house, said("the end"))
                assert house.texts[:-1] == [str(number) for number in range(len(house.texts) - 1)]
                assert await again.read("salon", count=10_000) == house.messages or await _same(again, house, last)

    asyncio.run(main())


async def _same(store: NatsStore, house: Notes, last: Message) -> bool:
    async with asyncio.timeout(PATIENCE):
        while (await store.read("salon", count=1))[0] != last:
            await asyncio.sleep(0.01)
    return await store.read("salon", count=10_000) == house.messages


@pytest.mark.parametrize("seconds", [1.0, pytest.param(30.0, marks=LONG)])
def test_a_node_is_cut_off_for_a_while(tmp_path: Path, server: NatsServer, seconds: float) -> None:
    """It says so, takes nothing, and catches up in order. What was on its way is neither lost nor doubled."""

    async def main() -> None:
        async with (
            Wire(server.port) as wire,
            opened(tmp_path, wire.url) as (cut, house),
            opened(tmp_path, server.url, "b") as (other, others),
        ):
            await say(cut, house, said("before"))
            wire.cut()
            cut.append(said("on its way 1"))
            cut.append(said("on its way 2"))
            await say(other, others, *(said(f"missed {index}") for index in range(50)))
            await house.until(lambda: house.links != [])
            assert "cut off from the others" in str(house.links[0])
            cut.append(said("refused"))
            await asyncio.sleep(seconds)  # as long as a partition lasts: nothing else would tell
            with pytest.raises(PriseError, match="cut off"):
                await cut.put("key", "value")
            await say(other, others, said("missed last"))
            assert house.texts == ["before"]
            wire.mend()
            await house.until(lambda: house.links[-1] is None)
            assert "missed last" in house.texts, "it has caught up before it says so"
            await house.until(lambda: len(house.outcomes) == 4)
            texts = [(message.text, error and "cut off" in str(error)) for message, error in house.outcomes]
            assert texts == [("before", None), ("on its way 1", None), ("on its way 2", None), ("refused", True)]
            await say(cut, house, said("after"))
            await others.all(len(house.messages))
            assert house.messages == others.messages
            assert sorted(house.texts) == sorted(
                ["before", "on its way 1", "on its way 2", "after", "missed last", *(f"missed {n}" for n in range(50))]
            )

    asyncio.run(asyncio.wait_for(main(), seconds + 50))


def test_what_arrives_late_after_it_was_sent_again_is_not_said_twice(tmp_path: Path, server: NatsServer) -> None:
    """The old connection's bytes come out of the network when the new one has long said the same."""

    async def main() -> None:
        async with Wire(server.port) as wire, opened(tmp_path, wire.url) as (store, house):
            wire.cut()
            for index in range(3):
                store.append(said(f"on its way {index}"))
            await house.until(lambda: house.links != [])
            late = wire.mend_for_new()
            await house.all(3, 3)
            late.set()
            async with opened(tmp_path, server.url, "b") as (other, others):
                for index in range(50):  # time for what comes late
                    await say(other, others, said(f"{index}"))
                await house.all(53)
                assert house.texts == [*(f"on its way {index}" for index in range(3)), *(f"{n}" for n in range(50))]
                assert all(error is None for _, error in house.outcomes)

    asyncio.run(main())


def test_whoever_is_not_answered_is_told_that_nobody_knows(
    tmp_path: Path, server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(natssayings, "CONFIRM_TIME", 0.3)

    async def main() -> None:
        async with Wire(server.port) as wire, opened(tmp_path, wire.url) as (store, house):
            wire.cut()
            store.append(said("lost?"))
            await house.until(lambda: len(house.outcomes) == 1)
            assert "not known whether this was stored" in str(house.outcomes[0][1])
            wire.mend()
            await house.all(1)  # it was on its way all the time
            assert house.texts == ["lost?"]

    asyncio.run(main())


def test_stopping_while_cut_off(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        async with Wire(server.port) as wire:
            async with opened(tmp_path, wire.url) as (store, house):
                wire.cut()
                store.append(said("lost?"))
                await house.until(lambda: house.links != [])
            assert [error is not None for _, error in house.outcomes] == [True]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_node_that_was_away_for_too_long_says_how_much_is_missing(
    tmp_path: Path, server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"{server.url}?messages=10"

    async def main() -> None:
        async with Wire(server.port) as wire, opened(tmp_path, url, "b") as (other, others):
            async with opened(tmp_path, url) as (store, house):
                await say(store, house, said("here"))
            await say(other, others, *(said(str(index)) for index in range(30)))
            async with opened(tmp_path, url) as (store, house):
                assert "20 messages are missing" in caplog.text
                texts = [message.text for message in await store.read("salon")]
                assert texts == ["here", *(str(index) for index in range(20, 30))]
            async with opened(tmp_path, f"{wire.url}?messages=10") as (store, house):
                wire.cut()
                await house.until(lambda: house.links != [])
                await say(other, others, *(said(str(index)) for index in range(15)))
                wire.mend()
                await house.until(lambda: house.links[-1] is None)
                assert [str(error) for error in house.links[1:-1]] == [
                    "5 messages are missing on this server: the backplane had forgotten them when it came back"
                ]

    asyncio.run(main())


# -- three real servers ----------------------------------------------------------------------------------------------------


def test_three_servers_are_one_house(tmp_path: Path, server: NatsServer) -> None:
    """People on all of them see each other and the same talk; NATS is killed, then a server; each comes back."""
    with ExitStack() as stack:

        def serve(name: str) -> Chat:
            return stack.enter_context(Chat(tmp_path / f"{name}.sqlite", "--backplane", server.url))

        chats = [serve(name) for name in "abc"]
        ann, bob, _ = people = [
            stack.enter_context(chat.person(name)) for chat, name in zip(chats, ("Ann", "Bob", "Cid"), strict=True)
        ]
        ann.sees("* Bob joined")
        ann.sees("* Cid joined")
        for round_ in range(20):
            for person in people:
                person.say(f"line {round_}")
        talks = []
        for person in people:
            for name in ("Ann", "Bob", "Cid"):
                person.sees(f"<{name}> line 19")
            talks.append(lines_said(person.screen.lines))
        assert talks[0] == talks[1] == talks[2]
        assert sorted(talks[0]) == sorted((name, f"line {n}") for name in ("Ann", "Bob", "Cid") for n in range(20))
        bob.say("/msg Ann psst")
        ann.sees("psst")
        server.kill()
        for person in people:
            person.sees("cut off from the others")
        place = len(bob.screen.text.encode())
        bob.say("nobody hears this")
        bob.sees("nothing can be said until it is back", place)
        server.start()
        for person in people:
            person.sees("found the others again")
        ann.say("again")
        for person in people:
            person.sees("<Ann> again")
            assert "nobody hears this" not in [text for _, text in lines_said(person.screen.lines)]
        chats[2].process.kill()
        ann.sees("* Cid left")
        ann.say("while one was away")
        bob.sees("while one was away")
        again = serve("c")
        dan = stack.enter_context(again.person("Dan"))
        dan.sees("<Ann> while one was away")
        ann.sees("* Dan joined")
        dan.say("/search away")
        dan.sees("while one was away", dan.sees("* Dan joined"))
        for chat in (chats[0], chats[1], again):
            chat.terminate()


def test_a_new_name_and_being_away_are_seen_on_every_server(tmp_path: Path, server: NatsServer) -> None:
    with ExitStack() as stack:
        chats = [stack.enter_context(Chat(tmp_path / f"{name}.sqlite", "--backplane", server.url)) for name in "ab"]
        ann, bob = (stack.enter_context(chat.person(name)) for chat, name in zip(chats, ("Ann", "Bob"), strict=True))
        place = ann.sees("* Bob joined")
        bot = stack.enter_context(chats[0].bot("bot"))
        bob.sees("* bot joined")
        bob.say("/msg Ann psst")
        place = ann.sees("<Bob → Ann> psst", place)
        bob.say("/nick Robert")
        place = ann.sees("* Bob is now called Robert", place)
        assert bot.until("renamed", name="Bob")["new"] == "Robert"
        ann.say("/reply I hear you")
        bob.sees("<Ann → Robert> I hear you")
        ann.say("/msg Robert and again")
        bob.sees("<Ann → Robert> and again\a")
        bob.say("/away at lunch")
        place = ann.sees("* Robert is away: at lunch", place)
        assert bot.until("away", name="Robert")["text"] == "at lunch"
        ann.say("/who")
        place = ann.sees("Robert (at lunch)", place)
        bob.say("/back")
        place = ann.sees("* Robert is back", place)
        ann.say("/ignore Robert")
        place = ann.sees("you no longer see what Robert says", place)
        for index in range(10):  # the new name overtakes what is under way, or the other way round
            bob.say(f"before {index}")
            bob.say(f"/nick Bob{index}")
            bob.say(f"after {index}")
        place = ann.sees("is now called Bob9", place)
        bot.until("message", text="after 9")
        ann.say("/ignore Bob9")
        place = ann.sees("you see again what Bob9 says", place)
        bob.say("the end")
        ann.sees("<Bob9> the end", place)
        assert "after" not in ann.screen.text
        assert "before" not in ann.screen.text
        bob.say(f"/op {OPERATORS}")
        bob.sees("* you are an operator now")
        until = time.monotonic() + PATIENCE  # nobody is told of that, but all servers know it
        while not any(each["operator"] for each in bot.asks("do", "/join salon", "room")["people"]):
            assert time.monotonic() < until
        for chat in chats:
            chat.terminate()


# -- who is where -----------------------------------------------------------------------------------------------------------


def test_nodes_tell_each_other_who_is_there(tmp_path: Path, server: NatsServer) -> None:
    ann, bob = {"name": "Ann", "rooms": ["salon"]}, {"name": "Bob", "rooms": []}

    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, _), Wire(server.port) as wire:
            store.present({"1": ann})
            async with opened(tmp_path, server.url, "b") as (_, others):
                await others.until(lambda: list(others.nodes.values()) == [{"1": ann}])
                store.present({"1": ann, "2": bob})
                store.present({"2": bob})
                await others.until(lambda: list(others.nodes.values()) == [{"2": bob}])
                async with opened(tmp_path, wire.url, "c") as (third, house):
                    await house.until(lambda: {"2": bob} in house.nodes.values())
                    third.present({"3": ann})
                    await others.until(lambda: {"3": ann} in others.nodes.values())
                    wire.cut()
                    await others.until(lambda: {"3": ann} not in others.nodes.values())
                    await house.until(lambda: house.nodes == {})
                    wire.mend()
                    await others.until(lambda: {"3": ann} in others.nodes.values())
                await others.until(lambda: {"3": ann} not in others.nodes.values())

    asyncio.run(main())


def test_thousands_of_people_on_a_node(tmp_path: Path, server: NatsServer) -> None:
    """More than fits into one message of NATS."""
    people = {f"id{n}": {"name": f"person {n}", "rooms": [f"room {n % 7}" * 10], "away": "é" * 20} for n in range(5000)}
    assert len(json.dumps(people)) > 1024 * 1024

    async def main() -> None:
        async with (
            opened(tmp_path, server.url) as (store, _),
            opened(tmp_path, server.url, "b") as (_, others),
        ):
            store.present(people)
            await others.until(lambda: people in others.nodes.values())

    asyncio.run(main())


@given(st.binary(max_size=200) | st.builds(json.dumps, st.dictionaries(
    st.sampled_from(["node", "version", "part", "parts", "people", "ask", "gone"]),
    st.none() | st.integers() | st.text(max_size=3) | st.dictionaries(st.text(max_size=2), st.none() | st.just({"name": "x"})),
)).map(str.encode))  # fmt: skip
def test_nothing_that_a_node_says_of_its_people_does_harm(data: bytes) -> None:
    class Silent(natspresence.Presence):
        def _tell_soon(self) -> None:
            """There is no loop here."""

    met: list[Mapping[str, Any] | None] = []
    Silent(lambda data: None, lambda node, people: met.append(people)).heard(data)
    for people in met:
        assert all(isinstance(person["name"], str) for person in (people or {}).values())


# -- where the backplane is not as it should be -------------------------------------------------------------------------------


def test_nobody_answers(tmp_path: Path) -> None:
    port = free_port()
    error = asyncio.run(fails(tmp_path, f"nats://user:hidden@127.0.0.1:{port}"))
    assert isinstance(error, ConnectError)
    assert f"127.0.0.1:{port}" in str(error)
    assert "hidden" not in str(error)


def test_a_server_without_jetstream(tmp_path: Path) -> None:
    with NatsServer(tmp_path, jetstream=False) as server:
        error = asyncio.run(fails(tmp_path, server.url))
    assert isinstance(error, UsageError)
    assert "start it with -js" in str(error)


def test_user_and_password(tmp_path: Path) -> None:
    with NatsServer(tmp_path / "nats", "--user", "chat", "--pass", "p@ss,word") as server:

        async def main() -> None:
            wrong = server.url.replace("//", "//chat:wrong@")
            assert "Authorization Violation" in str(await fails(tmp_path, wrong))
            right = server.url.replace("//", "//chat:p%40ss%2Cword@")
            async with opened(tmp_path, right) as (store, house):
                await say(store, house, said("in"))
                assert "p@ss" not in store.name

        asyncio.run(main())


def test_one_of_several_servers_is_enough(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        async with opened(tmp_path, f"nats://127.0.0.1:{free_port()},127.0.0.1:{server.port}") as (store, house):
            await say(store, house, said("in"))

    asyncio.run(main())


def test_a_stream_that_is_made_differently_is_left_alone(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        client = await nats.connect(server.url)
        await client.jetstream().add_stream(name="prise-chat", subjects=["prise-chat.log.>"], storage="memory")
        await client.close()
        error = await fails(tmp_path, server.url)
        assert "made differently (storage)" in str(error)
        async with opened(tmp_path, f"{server.url}?stream=another") as (store, house):
            await say(store, house, said("in"))

    asyncio.run(main())


def test_a_server_that_takes_no_more_copies_says_so(tmp_path: Path, server: NatsServer) -> None:
    error = asyncio.run(fails(tmp_path, f"{server.url}?replicas=3"))
    assert "replicas > 1 not supported" in str(error)


def test_what_others_write_into_the_stream_is_passed_over(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, house):
            client = await nats.connect(server.url)
            stream = client.jetstream()
            (first,) = await say(store, house, said("ours"))
            for data in (
                b"",
                b"\xff",
                b"{}",
                b"[1]",
                b'{"id":"x","room":"r","at":NaN}',
                b'{"id":"x","room":"\\ud800","at":1}',
            ):
                await stream.publish("prise-chat.log.salon", data)
            await stream.publish("$KV.prise-chat.=ZZ", b"\xff")
            await client.close()
            (second,) = await say(store, house, said("ours too"))
            assert second.number == first.number + 7
            assert house.messages == [first, second]
        async with opened(tmp_path, server.url, "new") as (store, house):
            assert await store.read("salon") == [first, second]

    asyncio.run(main())


def test_a_text_that_cannot_be_written_is_refused_alone(tmp_path: Path, server: NatsServer) -> None:
    """Half a surrogate pair is not text, and two megabytes are more than NATS takes."""

    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, house):
            for text in ("before", "\ud800", "x" * 2_000_000, "after"):
                store.append(said(text))
            await house.until(lambda: len(house.outcomes) == 4)
            assert [error is None for _, error in house.outcomes] == [True, False, False, True]

    asyncio.run(main())


def test_a_store_that_is_no_copy_of_this_backplane_is_refused(tmp_path: Path, server: NatsServer) -> None:
    """Two messages under one number would be worse than an error."""

    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, house):
            await say(store, house, *(said(f"first {index}") for index in range(5)))
        url = f"{server.url}?stream=another"
        async with opened(tmp_path, url, "b") as (store, house):
            await say(store, house, said("in another house"))
        assert "does not belong to the backplane" in str(await fails(tmp_path, url))
        async with opened(tmp_path, url, "b") as (store, house):
            await say(store, house, *(said(f"second {index}") for index in range(9)))
        assert "does not belong to the backplane" in str(await fails(tmp_path, url)), "also when it is longer"

    asyncio.run(main())


def test_a_house_of_one_node_becomes_one_of_several(tmp_path: Path, server: NatsServer) -> None:
    """Its numbers go on, its facts come along; other nodes have what is said from then on."""

    async def main() -> None:
        alone, house = SqliteStore(Archive(tmp_path / "a.sqlite")), Notes()
        await alone.start(house)
        old = await say(alone, house, said("one"), said("two"), said("aside", room="garden"))
        await alone.put("account:ann", "hash")
        await alone.stop()
        async with opened(tmp_path, server.url) as (store, house):
            assert house.facts == {"account:ann": "hash"}
            (new,) = await say(store, house, said("three"))
            assert new.number == 3
            assert await store.read("salon") == [*old[:2], new]
            async with opened(tmp_path, server.url, "b") as (other, others):
                assert others.facts == {"account:ann": "hash"}
                assert await other.read("salon") == [new]
                await other.put("account:ann", "")
            await house.until(lambda: house.facts == {})
        async with opened(tmp_path, server.url) as (store, house):
            assert house.facts == {}

    asyncio.run(main())


def test_a_fact_that_was_deleted_while_a_node_was_away_stays_deleted(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, _), opened(tmp_path, server.url, "b") as (other, others):
            await store.put("ban:x", "for ever")
            await store.put("room:y", "old")
            await store.stop()
            await other.put("ban:x", "")
            await other.put("room:y", "new")
            async with opened(tmp_path, server.url) as (_, house):
                assert house.facts == others.facts == {"room:y": "new"}

    asyncio.run(main())


def test_what_is_sent_again_when_jetstream_has_forgotten_it_is_said_once_all_the_same(
    tmp_path: Path, server: NatsServer
) -> None:
    """It knows what it was sent for two minutes; a terminal may have been asleep for longer."""

    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, house), opened(tmp_path, server.url, "b") as (_, others):
            once = said("once", reference="Ann:1")
            (stored,) = await say(store, house, once)
            client = await nats.connect(server.url)
            late = packed(once, "another id, as if there had been none")
            await client.jetstream().publish("prise-chat.log.salon", late)
            await client.close()
            (after,) = await say(store, house, said("after"))
            await others.all(2)
            assert house.messages == others.messages == [stored, after]
            assert after.number == stored.number + 2

    asyncio.run(main())


def test_a_new_node_copies_everything(tmp_path: Path, server: NatsServer) -> None:
    async def main() -> None:
        async with opened(tmp_path, server.url) as (store, house):
            stored = []
            for start in range(0, 3000, 100):
                stored += await say(store, house, *(said(str(index)) for index in range(start, start + 100)))
            async with opened(tmp_path, server.url, "new") as (new, news):
                assert await new.read("salon", count=5000) == stored
                assert news.messages == []
                assert new.rooms() == {"salon": stored[-1].number}

    asyncio.run(main())


def test_without_its_package_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys, asyncio; sys.modules['nats'] = None\n"
        "from prise.chat.store import store_of\n"
        f"asyncio.run(store_of('sqlite:{tmp_path}/a.sqlite', 'nats://127.0.0.1:1').start(None))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE)
    assert "MissingExtra" in done.stderr
    assert "pip install 'prise[nats]'" in done.stderr


# -- how it is written ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "servers", "shown"),
    [
        ("nats://host", ("nats://host:4222",), "host:4222"),
        ("nats://a:1,b", ("nats://a:1", "nats://b:4222"), "a:1,b:4222"),
        ("tls://me:s%40cret@[::1]:5", ("tls://[::1]:5",), "[::1]:5"),
    ],
)
def test_addresses(text: str, servers: tuple[str, ...], shown: str) -> None:
    backplane = Backplane.parse(text)
    assert backplane.servers == servers
    assert str(backplane) == shown
    assert backplane.secure == text.startswith("tls")
    assert backplane.password == ("s@cret" if "@" in text else None)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "host",
            "http://host",
            "nats://",
            "nats://a,,b",
            "nats://h:x",
            "nats://h:99999",
            "nats://h/path",
            "nats://h?x=1",
        ),
        *(
            "nats://h?replicas=0",
            "nats://h?keep=0",
            "nats://h?keep=nan",
            "nats://h?stream=a.b",
            "nats://h?stream",
            "nats://u:p@",
        ),
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="not a backplane"):
        Backplane.parse(text)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"id":"x","room":"salon","at":1' + b"0" * 400 + b"}",
        b'{"id":"x","room":"salon","at":NaN}',
        b'{"id":"x","room":"salon","at":1,"text":"\\ud800"}',
        b'{"id":"x","room":"salon","at":1,"details":{"\\ud800":1}}',
    ],
)
def test_what_no_node_has_written_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - who asks only wants to know that it is none
        unpacked(data, 1)


def test_what_no_node_has_said_is_passed_over() -> None:
    met: list[Any] = []
    presence = Presence(lambda data: None, lambda node, people: met.append(people))
    for data in (b"[" * 100_000, b"hello", b'{"node":1}', b'{"node":"n","people":[],"version":1,"part":0,"parts":1}'):
        presence.heard(data)
    assert not met


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_names_become_one_token_of_a_subject_and_back(name: str) -> None:
    subject = token(name)
    assert name_of(subject) == name
    assert subject.isascii()
    assert not set(subject) & set(".*> \t\r\n$")


def test_the_rights_that_the_documentation_gives_are_enough(tmp_path: Path) -> None:
    text = (Path(__file__).parent.parent / "docs" / "backplane.md").read_text(encoding="utf-8")
    rights = re.search(r"permissions: \{.*?\} \} \]", text, re.DOTALL)
    assert rights is not None
    config = tmp_path / "nats.conf"
    config.write_text(f"authorization {{ users: [ {{ user: chat, password: secret, {rights[0]} }}")
    with NatsServer(tmp_path / "nats", "-c", str(config)) as server:

        async def main() -> None:
            url = server.url.replace("//", "//chat:secret@")
            async with opened(tmp_path, url) as (store, house), opened(tmp_path, url, "b") as (other, others):
                await say(store, house, *(said("x" * 100_000) for _ in range(60)))  # enough for flow control
                await others.all(60)
                await store.put("key", "one")
                await store.put("key", "")
                await store.put("key", "two", new=True)
                other.present({"1": {"name": "Bob"}})
                await house.until(lambda: {"1": {"name": "Bob"}} in house.nodes.values())
            async with opened(tmp_path, url) as (store, house):
                assert house.facts == {"key": "two"}

        asyncio.run(main())
