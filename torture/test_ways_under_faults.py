"""What carries bytes on, through faults before it and behind it: the relay, files on their way, documents of the web."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import prise
from network import (
    BREAKS,
    FRAMING,
    PATIENCE,
    SECONDS,
    Left,
    all_at_once,
    messages,
    random_faults,
    talk,
    talk_async,
    until,
)
from prise import transfer
from prise.testing import conformance, faults
from prise.testing.faults import Fault, Way
from prise.web.site import Site
from site_support import served
from tls_support import client_tls, server_tls

ROUNDS = max(int(0.6 * SECONDS), 1)

# -- the relay -------------------------------------------------------------------------------------------------------------

JOINED = {
    "tcp-tcp": ("127.0.0.1:0", "127.0.0.1:0"),
    "unix-tcp": ("unix:FOLDER/relay", "127.0.0.1:0"),
    "tcp-unix": ("127.0.0.1:0", "unix:FOLDER/server"),
    "tls-tcp": ("tls:127.0.0.1:0", "127.0.0.1:0"),
    "tcp-tls": ("127.0.0.1:0", "tls:127.0.0.1:0"),
    "ws-wss": ("ws:127.0.0.1:0", "wss:127.0.0.1:0"),
    "wss-ws": ("wss:127.0.0.1:0", "ws:127.0.0.1:0"),
}


@pytest.mark.parametrize("seed", range(ROUNDS))
@pytest.mark.parametrize(("a", "b"), JOINED.values(), ids=JOINED)
def test_a_relay_between_two_bad_networks(a: str, b: str, seed: int, tmp_path: Path) -> None:
    """What it joins is a stream: whole and in order up to where one of the two breaks, and then the other hears of it."""
    dice = random.Random(f"{a} {b} {seed}")
    a, b = (address.replace("FOLDER", str(tmp_path)) for address in (a, b))
    sent = messages(dice, 20)
    clear = sum(len(message.encode()) + 4 for message in sent)
    before_it, behind_it = random_faults(dice, clear), random_faults(dice, clear)
    breaks = any(isinstance(fault, BREAKS) for fault in (*before_it, *behind_it))
    left_before = Left.now()
    with (
        prise.listen(conformance.echo_generator, b, framing=FRAMING, tls=server_tls()) as server,
        faults.proxy(server.address, *behind_it, seed=seed) as far,
        prise.Relay(a, far, tls=server_tls(), connect_tls=client_tls(), drain_time=1) as relay,
        faults.proxy(relay.address, *before_it, seed=seed) as near,
    ):
        connector = partial(prise.connect, near, framing=FRAMING, tls=client_tls())
        ways = (talk, talk_async, talk)
        for heard in all_at_once(*[partial(way, connector(), sent, 5) for way in ways]):
            if breaks:
                heard.is_beginning_of(sent)
                assert not isinstance(heard.error, prise.TooSlow), "it hung"
            else:
                heard.is_all_of(sent)
        until(lambda: relay.stats().open == 0, "no passage is left")
        until(lambda: server.stats().open == 0, "and no connection")
    left_before.unchanged()


def test_a_relay_keeps_nothing_of_what_is_half_open() -> None:
    """With `idle`, a passage of which one side has vanished ends, whichever it is, and the other side hears of it."""
    with prise.listen(conformance.echo_generator, "127.0.0.1:0", framing=FRAMING) as server:
        for only, on_the_far_side in (("up", False), ("down", False), ("up", True), ("down", True)):
            stuck = faults.HalfOpen(5000, only=only)  # type: ignore[arg-type]
            near_faults: list[Fault] = [] if on_the_far_side else [stuck]
            far_faults: list[Fault] = [stuck] if on_the_far_side else []
            with (
                faults.proxy(server.address, *far_faults) as far,
                prise.Relay("127.0.0.1:0", far, idle=0.3) as relay,
                faults.proxy(relay.address, *near_faults) as near,
            ):
                heard = talk(prise.connect(near, framing=FRAMING), ["x" * 1000] * 10, window=1, patience=1.0)
                assert 0 < len(heard.messages) < 6
                until(lambda relay=relay: relay.stats().open == 0, "the passage is over")  # type: ignore[misc]
            until(lambda: server.stats().open == 0, "the server has heard of it")


# -- files -----------------------------------------------------------------------------------------------------------------

LIMITS = replace(transfer.LIMITS, idle_time=3.0)


def carry(source: Path, into: Path, chosen: list[Fault], seed: int) -> list[BaseException | None]:
    """One attempt; what went wrong on each side: the sender's, the receiver's."""
    options: dict[str, Any] = {"framing": transfer.FRAMING, "limits": LIMITS}

    def outcome(work: Any) -> BaseException | None:
        try:
            work()
        except prise.PriseError as error:
            return error
        return None

    with prise.Listener("127.0.0.1:0", **options) as listener:

        def receive() -> None:
            with listener.accept(PATIENCE) as connection:
                transfer.handshake(connection, role="receive", listens=True, code="a-code")
                transfer.receive(connection, str(into))

        def send() -> None:
            with (
                faults.proxy(listener.address, *chosen, seed=seed) as address,
                prise.connect(address, **options) as connection,
            ):
                transfer.handshake(connection, role="send", listens=False, code="a-code")
                transfer.send(connection, transfer.listing([str(source)]))

        return all_at_once(partial(outcome, send), partial(outcome, receive))


@pytest.mark.parametrize("seed", range(3 * ROUNDS))
def test_a_file_is_verified_or_continues(seed: int, tmp_path: Path) -> None:
    """Both sides agree on whether it arrived, but for the very last word; and when nothing breaks any more, it is there."""
    dice = random.Random(seed)
    source, into = tmp_path / "file", tmp_path / "into"
    source.write_bytes(dice.randbytes(dice.choice((0, 1, 70_000, 700_000))))
    into.mkdir()
    for attempt in range(3):
        chosen = [fault for fault in random_faults(dice, 400_000) if not isinstance(fault, BREAKS)]
        chosen = [
            fault for fault in chosen if not isinstance(fault, faults.Split) or fault.most
        ]  # a byte each: too long
        if attempt < 2:
            chosen.append(dice.choice(BREAKS)(dice.randrange(1, 400_000), only=dice.choice(("up", "up", "down"))))
        sender, receiver = carry(source, into, chosen, seed)
        assert not isinstance(sender, prise.TooSlow), sender
        if sender is None:
            assert receiver is None, "the sender was told that it arrived"
        if receiver is None:
            assert (into / "file").read_bytes() == source.read_bytes()
            return
        assert sender is not None
        assert not (into / "file").exists(), "it bears its name only once it was verified"
    raise AssertionError("nothing broke in the third attempt")


# -- documents -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", BREAKS)
def test_a_download_is_whole_or_an_error(fault: Callable[..., Fault], tmp_path: Path) -> None:
    """Cut in the answer's head, in its body, or in the request: what `get` gives is never a part of the document."""
    dice = random.Random(7)
    document = dice.randbytes(60_000)
    (tmp_path / "document").write_bytes(document)
    places: list[tuple[int, Way]] = [(dice.randrange(1, 400), way) for way in ("up", "down") for _ in range(4 * ROUNDS)]
    places += [(dice.randrange(400, 62_000), "down") for _ in range(5 * ROUNDS)]

    with served(Site(str(tmp_path))) as site:

        def download(place: int, only: Way) -> bool:
            with faults.proxy(f"127.0.0.1:{site.port}", fault(place, only=only), faults.Split(1, 3000)) as address:
                try:
                    body = prise.get(f"http://127.0.0.1:{address.port}/document", timeout=PATIENCE).read()
                except prise.TooSlow:
                    raise
                except prise.PeerError:
                    return False
                assert body == document
                return True

        whole = all_at_once(*[partial(download, *place) for place in places])
    assert any(whole), "a request that is shorter than where it would be cut"
    assert not all(whole)
