"""Clocks that are set, and days that pass in seconds: deadlines go by the monotonic clock, order by numbers, and only what people
mean by a date (stamps, bans, what is kept for how long) by the wall clock.

The models with a loop live their day on a clock of ours. Those that block leave waiting to the kernel, whose clock is nobody's to
set: they meet only the wall clock's jumps.
"""

from __future__ import annotations

import http.client
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import until
from chat_live import PATIENCE, SECONDS, LiveHouse
from chat_support import NAME, OPERATORS, Bot, Chat, Person
from cli_process import Running
from fake_clocks import HOUR, Clocks, WallClock
from prise.core.deadlines import NEVER, Deadlines
from test_torture import MODELS, ended, read_line, serving

JUMPS = (5 * HOUR, -5 * HOUR, 24 * HOUR, -40 * 24 * HOUR, 0.0)
DAY = 24 * HOUR


@pytest.fixture
def wall(tmp_path: Path) -> Iterator[WallClock]:
    with WallClock(tmp_path / "offset") as clock:
        yield clock


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    with Clocks() as ours:
        yield ours


def settled(bot: Bot, text: str, room: str = "salon") -> dict[str, Any]:
    given: dict[str, Any] = bot.asks("say", {"room": room, "text": text, "id": text}, "settled", id=text)
    return given


# -- the wall clock is set -----------------------------------------------------------------------------------------------


def test_a_chat_keeps_its_order_and_its_people_when_its_clock_is_set(wall: WallClock, tmp_path: Path) -> None:
    texts: list[str] = []
    with Chat(tmp_path / "chat.sqlite") as chat, chat.person("nat") as nat, chat.bot("ann") as ann:
        bob, number = chat.bot("bob", "websocket"), 0
        for index, offset in enumerate(JUMPS):
            wall.set(offset)
            texts.append(f"word{index}")
            number = settled(ann, texts[-1])["number"]
            message = bob.until("message", text=texts[-1])
            assert abs(message["at"] - time.time() - offset) < 60, "the clock of the jump"
            assert number == index + 1
            nat.sees(f"<ann> {texts[-1]}")
            # Somebody's first private words reach who comes back, although their stamps are older than all before.
            bob.close()
            with chat.bot(f"eve{index}") as eve:
                settled(eve, f"psst{index}", "@bob")
            bob = chat.bot("bob", "websocket", token=bob.me["token"], since={"salon": number})
            assert bob.until("message")["text"] == f"psst{index}"
        with bob:
            history = bob.asks("history", {"count": 100}, "history")["messages"]
            assert [each["text"] for each in history] == texts
            assert bob.messages() == []
            found = bob.asks("search", {"words": "word", "room": "salon"}, "found")["messages"]
            assert [each["text"] for each in found] == texts[::-1]
        chat.terminate()


@pytest.mark.parametrize(("model", "spelling"), MODELS)
def test_no_deadline_goes_by_the_wall_clock(wall: WallClock, model: str, spelling: str) -> None:
    with serving(model, spelling, "idle_time=1.5") as server, server.connect() as busy, server.connect() as silent:
        began = time.monotonic()
        for offset in JUMPS:
            wall.set(offset)
            busy.sendall(b"hello\n")
            if read_line(busy) != b"hello\n":
                assert time.monotonic() - began > 1.4, "this machine was too busy for us, or it was cut too early"
                break
        wall.set(-DAY)
        assert ended(silent)
        assert 1.4 < time.monotonic() - began < PATIENCE
        assert server.answers()


def test_a_web_server_says_the_date_that_it_is(wall: WallClock, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.txt").write_text("hello")
    with Running("web", str(tmp_path / "site"), "--on", "127.0.0.1:0") as web:
        client = http.client.HTTPConnection("127.0.0.1", web.port(), timeout=PATIENCE)
        sock: Any = None
        for offset in JUMPS:
            wall.set(offset)
            client.request("GET", "/page.txt")
            with client.getresponse() as answer:
                assert answer.read() == b"hello"
                said = parsedate_to_datetime(answer.headers["Date"]).timestamp()
                assert abs(said - time.time() - offset) < 60
            assert sock in (None, client.sock), "one connection for all"
            sock = client.sock
        client.close()


# -- a day passes --------------------------------------------------------------------------------------------------------


def test_a_day_in_a_chat(clocks: Clocks, tmp_path: Path) -> None:
    """Two people stay all day, one of them silent; what is older than six hours is forgotten; bans end by themselves."""
    with (
        LiveHouse(tmp_path / "chat.sqlite", keep_time=6 * HOUR) as house,
        Bot(house.port, name="ann") as ann,
        Bot(house.port, "websocket", name="silent") as silent,
        Person(house.port, "nat") as nat,
        Person(house.port) as nobody,
    ):
        nobody.sees(NAME)

        def later(seconds: float) -> None:
            clocks.pass_time(seconds)
            house.ask(lambda: None)  # it wakes, and sees how late it is
            house.ask(lambda: None)

        def names() -> list[str]:
            return house.ask(lambda: sorted(person.name for person in house.house.people.here()))

        assert ann.asks("do", f"/op {OPERATORS}", "welcome")["operator"]
        dice = random.Random(24)
        with Bot(house.port, name="carol") as carol:
            carol.until("room")
            ann.send("do", "/ban carol 2h rude")
            assert not carol.rest()[-1][1]["again"]
        for step in range(1, 145):  # of ten minutes
            later(600)
            assert settled(ann, f"step{step}")["number"] == step
            with Bot(house.port) as again:
                banned = step < 12
                again.send("hello", {"name": "carol"})
                kind, given = again.next()
                assert (kind, given.get("code")) == (("denied", "banned") if banned else ("welcome", None)), step
                if not banned:
                    again.send("quit", {})
                    again.rest()
            with Bot(house.port, dice.choice(["lines", "websocket"]), name=f"guest{step}"):
                pass  # cut without a word: gone a little later
            later(10)
        nobody.sees("No nickname for 120 s")
        nat.sees("step144")
        silent.meanwhile()
        assert silent.texts() == [f"step{step}" for step in range(1, 145)], "nobody is cut for being silent"
        later(61)
        until(lambda: names() == ["ann", "nat", "silent"], "all guests are gone")
        settled(ann, "the last")  # the writer looks for what is old after it has written
        settled(ann, "the very last")
        kept = ann.asks("history", {"count": 500}, "history")["messages"]
        assert 34 <= len(kept) <= 40
        assert all(each["at"] > time.time() - 6 * HOUR - 120 for each in kept)
        assert house.ask(lambda: len(house.house.rooms["salon"].recent)) == pytest.approx(len(kept), abs=2)
        assert ann.asks("search", "step50", "found")["messages"] == []
        assert house.complaints == []


def test_what_a_room_forgets_when_the_clock_was_wrong_for_a_while(clocks: Clocks, tmp_path: Path) -> None:
    with LiveHouse(tmp_path / "chat.sqlite", keep_time=HOUR) as house, Bot(house.port, name="ann") as ann:
        settled(ann, "before")
        clocks.set_back(-30 * DAY)
        settled(ann, "from the future")
        clocks.set_back(30 * DAY)
        settled(ann, "after")
        clocks.pass_time(2 * HOUR)
        house.ask(lambda: None)
        settled(ann, "new")
        settled(ann, "newer")
        with Bot(house.port, name="bob") as bob:
            bob.meanwhile()
            assert bob.texts() == ["from the future", "new", "newer"]
            assert [each["number"] for each in bob.messages()] == [2, 4, 5]
        history = ann.asks("history", {}, "history")["messages"]
        assert [each["text"] for each in history] == ["from the future", "new", "newer"]


async def echo(connection: prise.AsyncConnection) -> None:
    async for line in connection:
        await connection.send(line)


@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_a_day_of_connections_and_datagrams(clocks: Clocks, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands come, speak once and stay silent without a word of farewell; who speaks within the hour stays."""
    monkeypatch.setenv("PRISE_UVLOOP", "0")  # it has a clock of its own
    limits = prise.Limits(idle_time=HOUR, linger_time=0.01)
    dice = random.Random(model)
    each_time = max(2, int(SECONDS * 2))
    with (
        ExitStack() as stack,
        prise.listen(echo, "127.0.0.1:0", "udp:127.0.0.1:0", model=model, limits=limits) as server,
    ):
        tcp, udp = ((str(where.host), int(where.port or 0)) for where in server.addresses)
        faithful = [stack.enter_context(said_hello(tcp)), stack.enter_context(said_hello(udp, datagrams=True))]
        left: list[tuple[int, socket.socket]] = []
        for step in range(1, 145):
            clocks.pass_time(600)
            if step % 5 == 0:
                for client in faithful:  # after 50 minutes
                    hello(client)
            for _each in range(each_time):
                left.append((step, stack.enter_context(said_hello(*dice.choice([(tcp, False), (udp, True)])))))
            wake = said_hello(tcp)
            wake.close()
            # Ten minutes is how exactly we look: six steps after their only word they are an hour old.
            alive = 2 + sum(step - since < 6 for since, _client in left)
            until(lambda: server.stats().open == alive, f"{alive} are left of {server.stats().open}")  # noqa: B023
            while left and step - left[0][0] >= 6:
                gone = left.pop(0)[1]
                if gone.type == socket.SOCK_STREAM:
                    assert ended(gone)
                gone.close()
        assert server.stats().total >= 144 * (each_time + 1)


def hello(client: socket.socket) -> None:
    client.sendall(b"hello\n" if client.type == socket.SOCK_STREAM else b"hello")
    assert client.recv(100).strip() == b"hello"


def said_hello(where: tuple[str, int], datagrams: bool = False) -> socket.socket:
    client = socket.socket(type=socket.SOCK_DGRAM if datagrams else socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect(where)
    hello(client)
    return client


class Item:
    def __init__(self) -> None:
        self.scheduled = NEVER
        self.late_at = NEVER


def test_a_day_of_deadlines_keeps_the_table_small() -> None:
    """A thousand connections, each with an idle limit of a minute, come, speak and go as they like."""
    deadlines, dice, idle = Deadlines(), random.Random(86400), 60.0
    items: list[Item] = []
    cut = 0
    now = 0.0
    while now < DAY:
        now += dice.expovariate(SECONDS / 2)
        late = {item for item in items if item.late_at <= now}
        for due in deadlines.due(now):
            assert isinstance(due, Item)
            if due.late_at <= now:
                late.remove(due)
                items.remove(due)
                cut += 1
            else:
                deadlines.schedule(due, due.late_at)
        assert not late, "whoever was silent for a minute is looked at then"
        action = dice.random()
        if action < 0.1 and len(items) < 1000:
            items.append(item := Item())
            item.late_at = now + idle
            deadlines.schedule(item, item.late_at)
        elif action < 0.15 and items:
            deadlines.cancel(items.pop(dice.randrange(len(items))))
        elif items:
            item = dice.choice(items)
            item.late_at = now + (idle if action < 0.95 else 1.0)  # a message has begun: its deadline is an earlier one
            deadlines.schedule(item, item.late_at)
        assert len(deadlines) <= 2 * len(items) + 66
    assert cut > 100
