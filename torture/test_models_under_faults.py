"""Every model on every transport, through every fault of `prise.testing.faults` and random combinations of them.

What must hold: a message is received whole, right and in order, or the connection ends with an error that tells of the peer; the
server's other clients go on; and nothing is left over. Limits and drains are in test_limits_under_faults.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import prise
from network import (
    BREAKS,
    FRAMING,
    MODELS,
    SECONDS,
    TRANSPORTS,
    Heard,
    Scene,
    all_at_once,
    messages,
    random_faults,
    talk,
    talk_async,
    until,
)
from prise.testing import faults
from prise.testing.faults import Fault, Way

ROUNDS = max(int(0.6 * SECONDS), 1)
"""Random combinations for each model on each transport."""

GENTLE: dict[str, list[Fault]] = {
    "split-1": [faults.Split(1)],
    "split-random": [faults.Split(1, 3000, pause=0.0005)],
    "coalesce": [faults.Coalesce(4000, 0.005)],
    "delay": [faults.Delay(0.003, 0.005)],
    "throttle": [faults.Throttle(300_000)],
    "all": [faults.Coalesce(500, 0.003), faults.Delay(0.002, 0.002), faults.Split(1, 700), faults.Throttle(500_000)],
}


@pytest.fixture(
    scope="module", params=[(m, t) for t in TRANSPORTS for m in MODELS], ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One server for all that is done to its clients."""
    model, transport = request.param
    with Scene(model, transport, tmp_path_factory.mktemp("faults")).on() as scene:
        yield scene


@pytest.fixture
def neighbour(scene: Scene) -> Iterator[prise.Connection]:
    """A client on a good network, who must notice nothing; the only one that is left at the end."""
    with scene.connect() as client:
        assert client.ask("before", timeout=10) == "before"
        yield client
        assert client.ask("after", timeout=10) == "after"
        scene.empty(left=1)
        scene.answers()


@pytest.mark.parametrize("chosen", GENTLE.values(), ids=GENTLE)
def test_whatever_only_takes_its_time_loses_nothing(scene: Scene, chosen: list[Fault]) -> None:
    sent = messages(random.Random(1), 25)
    before = scene.server.stats()
    with faults.proxy(scene.server.address, *chosen) as address:
        for heard in all_at_once(
            *[partial(way, scene.connect(address), sent) for way in (talk, talk_async, talk)],
        ):
            heard.is_all_of(sent)
        scene.empty()
    until(lambda: scene.server.stats().messages_sent == before.messages_sent + 75, "all counted")
    assert scene.server.stats().errors == before.errors


@pytest.mark.parametrize("only", ["up", "down"])
@pytest.mark.parametrize("fault", [faults.Truncate, faults.Reset])
def test_a_connection_that_breaks_somewhere(
    scene: Scene, neighbour: prise.Connection, fault: Callable[..., Fault], only: str
) -> None:
    dice = random.Random(2)
    sent = messages(dice, 20)
    clear = sum(len(message.encode()) + 4 for message in sent)
    for way in (talk, talk_async) * 2:
        with faults.proxy(
            scene.server.address, fault(dice.randrange(clear), only=only), faults.Split(1, 999)
        ) as address:
            heard = way(scene.connect(address), sent, patience=10)
            heard.is_beginning_of(sent)
            assert heard.error is not None or heard.ended
            right_end(scene, heard, fault is faults.Reset, only)


def right_end(scene: Scene, heard: Heard, reset: bool, only: str) -> None:
    """A truncation is not taken for an end where the transport can tell: TLS and WebSocket have ends of their own."""
    assert not isinstance(heard.error, prise.TooSlow), "it hung"
    if (scene.transport != "unix" and reset) or (only == "down" and scene.transport in ("tls", "ws", "wss")):
        assert heard.error is not None


@pytest.mark.parametrize("only", ["up", "down"])
def test_broken_at_each_byte_of_the_beginning(scene: Scene, neighbour: prise.Connection, only: Way) -> None:
    """The handshake of a layer, the head of the first message."""
    places = range(0, 40, 4) if scene.transport in ("tcp", "unix") else range(0, 1600, 160)
    sent = ["hello", "x" * 30]

    def broken_at(place: int) -> None:
        with faults.proxy(scene.server.address, faults.Truncate(place, only=only)) as address:
            heard = talk(scene.connect(address, timeout=5), sent, patience=5)
            heard.is_beginning_of(sent)
            assert not isinstance(heard.error, prise.TooSlow), "it hung"

    all_at_once(*[partial(broken_at, place) for place in places])


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_random_combinations(scene: Scene, neighbour: prise.Connection, seed: int) -> None:
    dice = random.Random(f"{scene.model} {scene.transport} {seed}")
    sent = messages(dice, 30)
    chosen = random_faults(dice, sum(len(message.encode()) + 4 for message in sent))
    breaks = any(isinstance(fault, BREAKS) for fault in chosen)
    with faults.proxy(scene.server.address, *chosen, seed=seed) as address:
        ways = [dice.choice((talk, talk_async)) for _ in range(3)]
        for heard in all_at_once(*[partial(way, scene.connect(address), sent, window=7) for way in ways]):
            if breaks:
                heard.is_beginning_of(sent)
                assert not isinstance(heard.error, prise.TooSlow), "it hung"
            else:
                heard.is_all_of(sent)


# -- datagrams -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "chosen",
    [
        [faults.Drop(0.3)],
        [faults.Duplicate(0.5)],
        [faults.Reorder(0.5, 0.005)],
        [faults.Delay(0.001, 0.01)],
        [faults.Drop(0.1), faults.Duplicate(0.2), faults.Reorder(0.3, 0.005), faults.Delay(0, 0.003)],
    ],
    ids=["drop", "duplicate", "reorder", "delay", "all"],
)
def test_datagrams_arrive_whole_or_not_at_all(model: str, chosen: list[Fault], tmp_path: Path) -> None:
    """A client that asks again until it is answered is answered; sessions end by themselves."""
    limits = prise.Limits(idle_time=0.3, linger_time=0.2)
    scene = Scene(model, "udp", tmp_path, limits=limits)
    with scene.on(), faults.proxy(scene.server.address, *chosen, seed=4) as address:

        def ask(number: int) -> None:
            sent = messages(random.Random(number), 20, most=500)
            with prise.connect(address, framing=FRAMING) as client:
                for message in sent:
                    for _ in range(50):
                        client.send(message)
                        try:
                            while (answer := client.receive(timeout=0.05)) != message:
                                assert answer in sent[: sent.index(message)], "late, double, but never another"
                        except prise.TooSlow:
                            continue
                        break
                    else:
                        raise AssertionError("never answered")

        all_at_once(*[partial(ask, number) for number in range(4)])
        until(lambda: scene.server.stats().open == 0, "sessions end by themselves")
        assert not any(count for cause, count in scene.server.stats().errors.items() if cause != "too_slow"), (
            scene.server.stats()
        )
