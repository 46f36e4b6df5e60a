"""The two event loops, ours and the one on asyncio, over epoll and over `selectors`: the same promises."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import prise
from prise.core.deadlines import NEVER
from prise.loops import asyncio as asyncio_loops
from prise.loops.asyncio import AsyncioLoop, running_loop
from prise.loops.base import Loop
from prise.loops.polling import PollingLoop, Selectors
from prise.loops.select import SelectLoop
from prise.testing import FakeClock, conformance

PATIENCE = 10.0


@pytest.fixture(params=["epoll", "selectors"])
def poller(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each platform's way to wait; `selectors` stands for the platforms without epoll."""
    if request.param == "selectors":
        monkeypatch.setattr(PollingLoop, "_make_poller", staticmethod(Selectors))
    elif not hasattr(select, "epoll"):
        pytest.skip("no epoll here")
    name: str = request.param
    return name


class Player:
    """A handler that writes down what happens to it, and does what the test says."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        self.sock = sock
        self.scheduled = NEVER
        self.events: list[str] = []
        self.then: Callable[[], Any] = lambda: None
        self.next_deadline = NEVER

    def fileno(self) -> int:
        return -1 if self.sock is None else self.sock.fileno()

    def note(self, event: str) -> None:
        self.events.append(event)
        self.then()

    def on_readable(self) -> None:
        self.note("readable")

    def on_writable(self) -> None:
        self.note("writable")

    def on_again(self) -> None:
        self.note("again")

    def on_deadline(self, now: float) -> float:
        self.note("deadline")
        return self.next_deadline


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield ours, theirs


class Ours:
    """Our own loop, turned by hand."""

    def __init__(self) -> None:
        self.loop: Loop = SelectLoop()

    def turn(self) -> None:
        assert isinstance(self.loop, SelectLoop)
        self.loop.turn(0)

    def close(self) -> None:
        assert isinstance(self.loop, SelectLoop)
        self.loop.close()


class OnAsyncio:
    """An asyncio loop, turned by hand: each turn is a coroutine that lets the loop go round a few times."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.runner = asyncio.Runner(loop_factory=factory)

        async def make() -> AsyncioLoop:
            return running_loop()

        self.loop: Loop = self.runner.run(make())

    def turn(self) -> None:
        async def rounds() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        self.runner.run(rounds())

    def close(self) -> None:
        self.runner.close()


@pytest.fixture(params=["ours", "asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, poller: str) -> Iterator[Ours | OnAsyncio]:
    if request.param == "uvloop":
        played: Ours | OnAsyncio = OnAsyncio(pytest.importorskip("uvloop").new_event_loop)
    else:
        played = Ours() if request.param == "ours" else OnAsyncio(asyncio.new_event_loop)
    yield played
    played.close()


def test_readable_is_reported_until_it_is_read(
    play: Ours | OnAsyncio, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    player = Player(ours)
    play.loop.watch(player, True, False)
    play.turn()
    assert player.events == []
    theirs.send(b"!")
    play.turn()
    assert set(player.events) == {"readable"}
    ours.recv(1)
    player.events.clear()
    play.turn()
    assert player.events == []
    play.loop.forget(player)


def test_interest_changes(play: Ours | OnAsyncio, sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    theirs.send(b"!")
    player = Player(ours)
    for reading, writing in [(True, False), (True, True), (False, True), (False, False), (False, True), (True, False)]:
        play.loop.watch(player, reading, writing)
        player.events.clear()
        play.turn()
        assert set(player.events) == {*(["readable"] * reading), *(["writable"] * writing)}
    play.loop.forget(player)


def test_a_broken_connection_of_which_nothing_is_wanted_is_silent(play: Ours | OnAsyncio) -> None:
    """epoll reports a hang-up even with no interest at all: that must not become a busy loop."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        peer = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    player = Player(ours)
    play.loop.watch(player, True, False)
    play.loop.watch(player, False, False)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    play.turn()
    assert player.events == []
    play.loop.watch(player, True, False)
    play.turn()
    assert set(player.events) == {"readable"}, "and it is heard as soon as it is wanted"
    play.loop.forget(player)
    ours.close()


def test_who_is_forgotten_is_not_called(play: Ours | OnAsyncio) -> None:
    """Not even in the same round, by an event that was found already; and a number that is used again is somebody else's."""
    pairs = [socket.socketpair() for _ in range(5)]
    players = [Player(ours) for ours, _ in pairs]

    def forget_the_others() -> None:
        for player in players:
            if not player.events:
                play.loop.forget(player)

    for player in players:
        player.then = forget_the_others
        play.loop.watch(player, True, False)
    for _, theirs in pairs:
        theirs.send(b"!")
    play.turn()
    assert sorted(len(player.events) > 0 for player in players) == [False] * 4 + [True]
    for player in players:
        play.loop.forget(player)
    for pair in pairs:
        for sock in pair:
            sock.close()


def test_forgetting_twice_does_not_hit_the_next_owner_of_the_number(
    play: Ours | OnAsyncio, sockets: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = sockets
    first, second = Player(ours), Player(ours)
    play.loop.watch(first, True, False)
    play.loop.forget(first)
    play.loop.watch(second, True, False)
    play.loop.forget(first)
    theirs.send(b"!")
    play.turn()
    assert set(second.events) == {"readable"}
    play.loop.forget(second)


def test_again_comes_in_the_next_round_once(play: Ours | OnAsyncio) -> None:
    player = Player()

    def thrice() -> None:
        if len(player.events) < 3:
            play.loop.again(player)

    player.then = thrice
    play.loop.again(player)
    for _ in range(5):
        play.turn()
    assert player.events == ["again"] * 3


def test_left_over_work_does_not_starve_the_others(sockets: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = sockets
    loop = SelectLoop()
    glutton, other = Player(), Player(ours)
    glutton.then = lambda: loop.again(glutton)
    loop.again(glutton)
    loop.watch(other, True, False)
    theirs.send(b"!")
    loop.turn()
    assert glutton.events == ["again"]
    assert other.events == ["readable"]
    loop.close()


def test_deadlines_come_up_and_may_be_renewed(play: Ours | OnAsyncio) -> None:
    player = Player()
    began = play.loop.time()
    play.loop.at(player, began + 3600)
    play.loop.at(player, began + 0.02)
    play.loop.at(player, began + 0.04)
    while not player.events:
        assert play.loop.time() < began + PATIENCE
        play.turn()
    assert play.loop.time() >= began + 0.02
    player.next_deadline = play.loop.time() + 0.01
    play.loop.at(player, 0.0)
    while len(player.events) < 3:
        assert play.loop.time() < began + PATIENCE
        player.next_deadline = play.loop.time() + 0.01 if len(player.events) < 2 else NEVER
        play.turn()
    assert player.scheduled == NEVER
    play.loop.at(player, play.loop.time() + 0.01)
    play.loop.forget(player)
    until = play.loop.time() + 0.05
    while play.loop.time() < until:
        play.turn()
    assert player.events == ["deadline"] * 3


def test_one_deadline_may_cancel_another_of_the_same_moment(play: Ours | OnAsyncio) -> None:
    """It is called nevertheless at the worst, and a closed connection does not mind: what matters is that it ends there."""
    one, other = Player(), Player()
    one.then = lambda: play.loop.forget(other)
    play.loop.at(one, 1.0)
    play.loop.at(other, 1.0)
    for _ in range(3):
        play.turn()
    assert one.events == ["deadline"]
    assert other.scheduled == NEVER
    assert play.loop.deadlines.next() == NEVER


def test_call_runs_in_the_loops_own_thread(play: Ours | OnAsyncio) -> None:
    called: list[tuple[int, int]] = []

    def caller() -> None:
        for number in range(100):
            play.loop.call(lambda number=number: called.append((number, threading.get_ident())))  # type: ignore[misc]

    thread = threading.Thread(target=caller)
    thread.start()
    thread.join()
    assert called == []
    deadline = time.monotonic() + PATIENCE
    while len(called) < 100:
        assert time.monotonic() < deadline
        play.turn()
    assert called == [(number, threading.get_ident()) for number in range(100)]


def test_a_call_may_call(play: Ours | OnAsyncio) -> None:
    called: list[int] = []

    def more() -> None:
        called.append(1)
        if len(called) < 5:
            play.loop.call(more)

    play.loop.call(more)
    for _ in range(10):
        play.turn()
    assert len(called) == 5


def test_calling_a_loop_that_is_over_is_harmless(play: Ours | OnAsyncio) -> None:
    loop = play.loop
    if isinstance(play, OnAsyncio):
        play.close()
        loop.call(lambda: pytest.fail("nobody is left to call"))
    else:
        other = SelectLoop()
        other.close()
        other.call(lambda: pytest.fail("nobody is left to call"))


def test_a_sleeping_loop_is_woken_by_a_call(poller: str) -> None:
    woken = threading.Event()
    ready = threading.Event()

    def run() -> None:
        loop = SelectLoop()
        loops.append(loop)
        ready.set()
        while not woken.is_set():
            loop.turn(3600)
        loop.close()

    loops: list[SelectLoop] = []
    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(PATIENCE)
    loops[0].call(woken.set)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_it_waits_no_longer_than_the_next_deadline(poller: str) -> None:
    loop, player = SelectLoop(), Player()
    loop.at(player, loop.time() + 0.05)
    began = time.monotonic()
    turns = 0
    while not player.events:
        loop.turn()
        turns += 1
    assert 0.05 <= time.monotonic() - began < PATIENCE
    assert turns <= 2, "it spins just before the deadline"
    loop.close()


def test_time_is_whatever_the_clock_says() -> None:
    loop, player, clock = SelectLoop(), Player(), FakeClock()
    loop.time = clock
    loop.at(player, clock() + 600)
    loop.turn(0)
    assert player.events == []
    clock.advance(600)
    loop.turn()
    assert player.events == ["deadline"]
    loop.close()


# -- the adapter to asyncio ----------------------------------------------------------------------------------------------


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/dev/fd"))


@pytest.fixture
def _only_new_objects_are_searched() -> Iterator[None]:
    """`descriptors` collects the garbage of the test; to search what was there before takes a third of a second each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("_only_new_objects_are_searched")
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_an_adapter_is_kept_only_while_it_watches_something(
    kind: str, poller: str, sockets: tuple[socket.socket, socket.socket]
) -> None:
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    others = set(asyncio_loops._adapters)  # of tests whose loops stay

    async def main() -> None:
        before = descriptors()
        for _ in range(3):
            adapter = running_loop()
            assert isinstance(adapter.asyncio, asyncio.AbstractEventLoop)
            players = [Player(sock) for sock in sockets]
            for player in players:
                adapter.watch(player, True, False)
            assert running_loop() is adapter, "one for all servers and clients on this loop"
            assert descriptors() > before
            for player in players:
                adapter.forget(player)
            assert descriptors() == before
            assert asyncio_loops._adapters.keys() <= others

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())


@pytest.mark.usefixtures("_only_new_objects_are_searched")
def test_nothing_is_left_behind_by_servers_and_clients(poller: str) -> None:
    async def main() -> None:
        for _ in range(3):
            server = prise.listen(conformance.echo_coroutine, "127.0.0.1:0", limits=prise.Limits(linger_time=0.2))
            async with server, prise.connect(server.address) as client:
                assert await client.ask("hello") == "hello"
            counts.append(descriptors())

    counts: list[int] = []
    others = set(asyncio_loops._adapters)  # of tests whose loops stay
    asyncio.run(main())
    assert len(set(counts)) == 1
    assert asyncio_loops._adapters.keys() <= others


def test_no_loop_no_adapter() -> None:
    with pytest.raises(RuntimeError):
        running_loop()


# -- everything over selectors -------------------------------------------------------------------------------------------

SETTINGS = [
    setting
    for setting in conformance.settings("127.0.0.1:0")
    if setting.model in ("select", "asyncio") and setting.workers == 1
]


@pytest.mark.parametrize("case", conformance.CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_promise_is_kept_without_epoll(
    case: Callable[[conformance.Setting], None], setting: conformance.Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PollingLoop, "_make_poller", staticmethod(Selectors))
    monkeypatch.setenv("PRISE_UVLOOP", "0")  # and on asyncio's own loop
    case(setting)
