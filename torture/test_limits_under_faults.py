"""Limits, drains and floods on bad networks: each model on each transport.

Who is half-open or too slow is cut, who is only slow gets everything, a drain ends in time; and nothing is left over.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import prise
from network import (
    BREAKS,
    MODELS,
    PATIENCE,
    TRANSPORTS,
    WAYS,
    Scene,
    all_at_once,
    messages,
    random_faults,
    talk,
    talk_async,
    until,
)
from prise.testing import conformance, faults
from prise.testing.faults import Fault, Way

SHORT = prise.Limits(
    handshake_time=1.0, idle_time=0.6, message_time=0.5, write_time=0.5, ping_time=0.1, linger_time=0.2
)


@pytest.fixture(scope="module", params=[(m, t) for t in TRANSPORTS for m in MODELS], ids=lambda pair: "-".join(pair))
def strict(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A server with little patience."""
    model, transport = request.param
    with Scene(model, transport, tmp_path_factory.mktemp("strict"), limits=SHORT).on() as scene:
        yield scene


def test_half_open_connections_are_cut_wherever_they_stopped(strict: Scene) -> None:
    dice = random.Random(3)
    sent = messages(dice, 10, most=300)
    places = [0, 1, 30, *[dice.randrange(3000) for _ in range(5)]]

    def stuck_at(place: int, only: Way | None) -> None:
        limits = prise.Limits(handshake_time=1.0, ping_time=None)
        with faults.proxy(strict.server.address, faults.HalfOpen(place, only=only)) as address:
            heard = talk(strict.connect(address, timeout=1.0, limits=limits), sent, patience=0.8)
            heard.is_beginning_of(sent)
            strict.empty()  # while the proxy still keeps it half-open

    began = time.monotonic()
    all_at_once(*[partial(stuck_at, place, only) for place in places for only in WAYS[1:]])
    assert time.monotonic() - began < 10
    strict.answers()


def test_a_peer_that_is_too_slow_with_its_message_is_cut(strict: Scene) -> None:
    before = strict.server.stats()
    # The handshakes pass; the message of 40,000 bytes would take two seconds.
    with faults.proxy(strict.server.address, faults.Throttle(20_000, only="up")) as address:
        heard = talk(strict.connect(address), ["in time", "x" * 40_000], window=1, patience=10)
        assert heard.messages == ["in time"]
        assert heard.error is not None or heard.ended
        assert not isinstance(heard.error, prise.TooSlow), "it was not cut"
        strict.empty()
    until(lambda: strict.server.stats().errors["too_slow"] > before.errors["too_slow"], "counted as too slow")
    strict.answers()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_drain_ends_in_time_whatever_the_network_is_like(model: str, transport: str, tmp_path: Path) -> None:
    """Who is on a slow network gets the last answer, who is half-open is cut."""
    scene = Scene(model, transport, tmp_path, conversation="tail")
    with scene.on():
        slow = [faults.Delay(0.02), faults.Split(1, 20)]
        with (
            faults.proxy(scene.server.address, *slow) as late,
            faults.proxy(scene.server.address, faults.HalfOpen(2500, only="up")) as stuck,
        ):
            clients = [scene.connect(late).open() for _ in range(3)]
            for client in clients:
                client.send("one")
                client.send("two")
            halves = [scene.connect(stuck).open() for _ in range(2)]
            for half in halves:
                for _ in range(5):
                    half.send("x" * 999)
            until(lambda: scene.server.stats().messages_received >= 6 + 2, "messages received")
            began = time.monotonic()
            stats = scene.server.drain(2.0)
            assert time.monotonic() - began < 6, "it took its time"
            assert stats.open == 0
            for client in clients:
                with client:
                    assert list(client) == ["2 lines"]
        for half in halves:
            half.close()


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("model", MODELS)
def test_a_flood_for_who_is_slow_and_who_has_vanished(model: str, transport: str, tmp_path: Path) -> None:
    """Who takes little at a time gets all of it, in order; who takes nothing any more is given up."""
    # What is still in the system's buffers on its way to the slow one is silence to the server, so that must be allowed for.
    limits = replace(SHORT, idle_time=5.0, handshake_time=5.0)
    scene = Scene(model, transport, tmp_path, limits=limits, conversation="flood")
    parts = 40  # of 20,000 bytes: what a generator sends in one go must fit into an outbox
    with (
        scene.on(),
        faults.proxy(scene.server.address, faults.Throttle(2_500_000, only="down")) as slow,
        faults.proxy(scene.server.address, faults.HalfOpen(300_000, only="down")) as stuck,
    ):

        def takes_all() -> None:
            with scene.connect(slow) as client:
                client.send(str(parts))
                for _ in range(parts):
                    assert client.receive(timeout=PATIENCE) == conformance.PART

        def takes_some() -> None:
            with scene.connect(stuck) as client:
                client.send("1000")  # more than all the buffers on the way hold
                for _ in range(300_000 // 20_100):
                    assert client.receive(timeout=PATIENCE) == conformance.PART
                until(lambda: scene.server.stats().errors["too_slow"] >= 2, "given up")
                client.abort()

        all_at_once(takes_all, takes_some, takes_some)
        assert scene.server.stats().errors["too_slow"] == 2


@pytest.mark.parametrize("transport", ["tcp", "unix", "tls"])
@pytest.mark.parametrize("model", MODELS)
def test_last_words_reach_who_is_slow(model: str, transport: str, tmp_path: Path) -> None:
    """We close, and wait a moment for the peer to do so; what is still in the system's buffers then arrives all the same."""
    limits = prise.Limits(linger_time=0.1)
    scene = Scene(model, transport, tmp_path, limits=limits, conversation="flood")
    with scene.on(), faults.proxy(scene.server.address, faults.Throttle(1_500_000, only="down")) as slow:
        with scene.connect(slow) as client:
            client.send("40")
            client.send_eof()
            assert list(client) == [conformance.PART] * 40
            assert client.lost is None


STORM = 40


@pytest.mark.parametrize(("transport", "workers"), [*[(each, 1) for each in TRANSPORTS], ("tls", 2)])
@pytest.mark.parametrize("model", MODELS)
def test_a_storm_of_clients_each_with_bad_luck_of_its_own(
    model: str, transport: str, workers: int, tmp_path: Path
) -> None:
    """All at once, half-open ones among them; whoever has no fault that breaks is served; then it drains within its time."""
    # Forty clients on a busy machine need some of the time that they have.
    limits = prise.Limits(handshake_time=5, idle_time=2, message_time=3, write_time=3, linger_time=0.2)
    scene = Scene(model, transport, tmp_path, limits=limits, options={"workers": workers})
    dice = random.Random(f"{model} {transport} storm")
    with scene.on(), contextlib.ExitStack() as stack:
        ways: list[tuple[prise.Address, list[Fault]]] = []
        for seed in range(8):
            chosen = random_faults(dice, 20_000)
            if seed % 4 == 0:
                chosen.append(faults.HalfOpen(dice.randrange(20_000), only=dice.choice(WAYS[1:])))
            ways.append((stack.enter_context(faults.proxy(scene.server.address, *chosen, seed=seed)), chosen))

        def one(number: int) -> None:
            own = random.Random(f"{model} {transport} {number}")
            address, chosen = ways[number % len(ways)]
            sent = messages(own, 15)
            way = own.choice((talk, talk_async))
            if any(isinstance(fault, (*BREAKS, faults.HalfOpen)) for fault in chosen):
                way(scene.connect(address, timeout=2), sent, 5, 1.0).is_beginning_of(sent)
            else:
                way(scene.connect(address), sent, 5).is_all_of(sent)

        all_at_once(*[partial(one, number) for number in range(STORM)])
        began = time.monotonic()
        scene.server.drain(0.5)
        assert time.monotonic() - began < 4, "it took its time"
        assert scene.server.stats().total >= STORM
