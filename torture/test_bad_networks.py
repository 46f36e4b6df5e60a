"""Two machines, as far as the kernel is concerned, and a wire between them that loses, doubles and reorders packets, or is cut.

Namespaces need root. An ordinary user gets them by `unshare --map-root-user --net`, with which this file is then run again; where
that is not allowed either it is left out, except in CI (PRISE_ALL_PROGRAMS=1).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import prise
import wire
from cli_process import Running, argv, environment
from network import FRAMING, MODELS, PATIENCE, SECONDS, Scene, all_at_once, messages, talk, talk_async, until
from prise.testing import faults
from prise.testing.conformance import echo_generator

BAD = (faults.Drop(0.1), faults.Duplicate(0.05), faults.Reorder(0.2, 0.004), faults.Delay(0.0005, 0.001))
BIG = 4_000_000

Wired = tuple[wire.Namespace, wire.Namespace, wire.Cable]

UNSHARE = ("unshare", "--map-root-user", "--net")
REASON = wire.why_not()
AS_USER = (
    REASON is not None
    and shutil.which("unshare") is not None
    and subprocess.run([*UNSHARE, "true"], capture_output=True).returncode == 0
)
"""True where a user namespace is needed for it, and can be had."""

needs_namespaces = pytest.mark.skipif(
    AS_USER or (REASON is not None and os.environ.get("PRISE_ALL_PROGRAMS") != "1"), reason=f"{REASON}"
)


@pytest.mark.timeout(300 + 30 * SECONDS)
@pytest.mark.skipif(not AS_USER, reason="needed only by ordinary users who may have user namespaces")
def test_all_of_this_as_root_of_a_user_namespace() -> None:
    again = [*UNSHARE, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(again, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:]


@pytest.fixture(scope="module")
def bad() -> Iterator[Wired]:
    """A bad line, for all tests that do not cut it."""
    with wire.joined(*BAD, seed=1) as wired:
        yield wired


@pytest.fixture
def good() -> Iterator[Wired]:
    """A line that is good until it is cut."""
    with wire.joined(faults.Delay(0.001)) as wired:
        yield wired


def scene(wired: Wired, model: str, transport: str, folder: Path, **more: object) -> Scene:
    left, _, _ = wired
    return Scene(model, transport, folder, host=left.address, inside=left.inside, **more)  # type: ignore[arg-type]


# -- loss, doubles, disorder -----------------------------------------------------------------------------------------------


@needs_namespaces
@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
@pytest.mark.parametrize("model", MODELS)
def test_hundreds_of_messages_arrive_whole_on_a_bad_line(
    bad: Wired, model: str, transport: str, tmp_path: Path
) -> None:
    _, right, _ = bad
    with scene(bad, model, transport, tmp_path).on() as served:
        sent = [messages(random.Random(number), int(10 * SECONDS), most=5000) for number in range(6)]
        ways = [(talk, talk_async)[number % 2] for number in range(6)]
        work = [partial(right.call, way, served.connect(), each, 25) for way, each in zip(ways, sent, strict=True)]
        for heard, each in zip(all_at_once(*work), sent, strict=True):
            heard.is_all_of(each)
        served.empty()
        assert not any(served.server.stats().errors.values())


@needs_namespaces
@pytest.mark.parametrize("model", MODELS)
def test_datagrams_on_a_bad_line(bad: Wired, model: str, tmp_path: Path) -> None:
    """Each is lost or whole; who asks again is answered, and the sessions end by themselves."""
    _, right, _ = bad
    limits = prise.Limits(idle_time=0.3, linger_time=0.2)
    with scene(bad, model, "udp", tmp_path, limits=limits).on() as served:

        def ask(number: int) -> None:
            sent = messages(random.Random(number), 20, most=1000)
            with right.call(prise.connect(served.server.address, framing=FRAMING).open) as client:
                for message in sent:
                    answer = None
                    deadline = time.monotonic() + PATIENCE
                    while answer != message:
                        assert time.monotonic() < deadline, "never answered"
                        client.send(message)
                        try:
                            while (answer := client.receive(timeout=0.03)) != message:
                                assert answer in sent
                        except prise.TooSlow:
                            pass

        all_at_once(*[partial(ask, number) for number in range(4)])
        until(lambda: served.server.stats().open == 0, "sessions end by themselves")
        errors = served.server.stats().errors
        assert not any(count for cause, count in errors.items() if cause != "too_slow"), errors


@needs_namespaces
def test_a_relay_on_a_bad_line_on_both_sides(bad: Wired) -> None:
    """The relay is over there, its server here: all goes over the line twice."""
    left, right, _ = bad
    server = right.call(prise.listen(echo_generator, f"{right.address}:0", framing=FRAMING).start)
    relay = prise.Relay(f"{left.address}:0", server.address)
    with left.inside():
        relay.start()
    try:
        sent = [messages(random.Random(number), int(6 * SECONDS), most=5000) for number in range(5)]
        work = [partial(right.call, talk, prise.connect(relay.address, framing=FRAMING), each, 25) for each in sent]
        for heard, each in zip(all_at_once(*work), sent, strict=True):
            heard.is_all_of(each)
        until(lambda: relay.stats().open == 0, "no passage is left")
    finally:
        relay.drain(5)
        server.drain(5)


@needs_namespaces
def test_the_kernels_own_bad_line(tmp_path: Path) -> None:
    """tc-netem(8), where the kernel has it, on both ends of a wire that does nothing itself."""
    with wire.joined() as wired:
        left, right, _ = wired
        try:
            for end in (left, right):
                end.run(
                    *f"tc qdisc add dev {wire.DEVICE} root netem delay 2ms 1ms loss 10% duplicate 5% reorder 25%".split()
                )
        except (subprocess.CalledProcessError, FileNotFoundError):
            pytest.skip("no netem in this kernel, or no tc")
        with scene(wired, "select", "tcp", tmp_path).on() as served:
            sent = messages(random.Random(1), int(20 * SECONDS), most=5000)
            right.call(talk, served.connect(), sent, 25).is_all_of(sent)


def give_up(client: prise.Connection) -> None:
    client.abort()
    client.close()


# -- a cable that is cut ---------------------------------------------------------------------------------------------------


@needs_namespaces
@pytest.mark.parametrize("how", ["cable", "device"])
@pytest.mark.parametrize("transport", ["tcp", "wss"])
@pytest.mark.parametrize("model", MODELS)
def test_a_cut_for_a_moment_is_only_a_pause(good: Wired, model: str, transport: str, how: str, tmp_path: Path) -> None:
    """Unplugged in the middle (nobody sees it), or the device itself is down (the kernel has no route)."""
    left, right, cable = good
    with scene(good, model, transport, tmp_path).on() as served:
        with right.call(served.connect().open) as client:
            for turn in range(2):
                assert client.ask(f"before {turn}", timeout=PATIENCE) == f"before {turn}"
                if how == "cable":
                    cable.cut()
                else:
                    left.down()
                client.send(f"during {turn}")
                with pytest.raises(prise.TooSlow):
                    client.receive(timeout=0.1)
                if how == "cable":
                    cable.mend()
                else:
                    left.up(right.address)
                assert client.receive(timeout=PATIENCE) == f"during {turn}"


@needs_namespaces
@pytest.mark.parametrize("transport", ["tcp", "tls", "ws", "wss"])
@pytest.mark.parametrize("model", MODELS)
def test_a_cut_for_good_is_ended_by_the_limits(good: Wired, model: str, transport: str, tmp_path: Path) -> None:
    """Nobody is told, so only limits can know: for who is silent, and for who has half a message, or takes no answer."""
    _, right, cable = good
    limits = prise.Limits(idle_time=0.5, message_time=0.3, write_time=0.4, ping_time=0.1, linger_time=0.2)
    with scene(good, model, transport, tmp_path, limits=limits).on() as served:
        silent, half, flooding = [right.call(served.connect().open) for _ in range(3)]
        try:
            for client in (silent, half, flooding):
                assert client.ask("hello", timeout=PATIENCE) == "hello"
            began = time.monotonic()
            for _ in range(20):
                flooding.send("x" * 1000)  # answers to these are on their way when it happens
            cable.cut()
            half.send("never arrives")
            served.empty()
            assert time.monotonic() - began < 5
            with pytest.raises(prise.TooSlow):
                half.receive(timeout=0.05)
            stats = served.server.stats()
            assert stats.total == 3
            assert stats.errors["too_slow"] + stats.errors["lost"] == 3, stats
        finally:
            for client in (silent, half, flooding):
                give_up(client)
        cable.mend()
        with right.call(served.connect().open) as client:
            assert client.ask("again", timeout=PATIENCE) == "again"


@needs_namespaces
def test_keepalive_ends_what_nobody_says_anything_on(good: Wired) -> None:
    """`keepalive=yes` switches the kernel's probes on; how often they come is its own affair (tcp(7)), here each second."""
    left, right, cable = good
    for name, value in (("time", 1), ("intvl", 1), ("probes", 2)):
        left.run("sysctl", "-qw", f"net.ipv4.tcp_keepalive_{name}={value}")
    limits = prise.Limits(idle_time=None, ping_time=None)
    server = left.call(prise.listen(echo_generator, f"tcp,keepalive=yes:{left.address}:0", limits=limits).start)
    try:
        client = right.call(prise.connect(server.addresses[0]).open)
        assert client.ask("hello", timeout=PATIENCE) == "hello"
        cable.settle()  # while something is unacknowledged, the kernel repeats that instead of asking
        cable.cut()
        until(lambda: server.stats().open == 0, "the kernel gave it up")
        assert server.stats().errors["lost"] == 1
        give_up(client)
    finally:
        server.stop()


@needs_namespaces
def test_a_relay_lets_go_of_what_was_cut_and_goes_on(good: Wired) -> None:
    left, right, cable = good
    server = left.call(prise.listen(echo_generator, f"{left.address}:0").start)
    relay = prise.Relay(f"{left.address}:0", server.address, idle=0.3)
    with left.inside():
        relay.start()
    try:
        clients = [right.call(prise.connect(relay.address).open) for _ in range(5)]
        for client in clients:
            assert client.ask("hello", timeout=PATIENCE) == "hello"
        cable.cut()
        until(lambda: relay.stats().open == 0, "passages that were silent are closed")
        until(lambda: server.stats().open == 0, "and the server has heard of it")
        for client in clients:
            give_up(client)
        cable.mend()
        with right.call(prise.connect(relay.address).open) as client:
            assert client.ask("again", timeout=PATIENCE) == "again"
    finally:
        relay.stop()
        server.stop()


# -- the command -----------------------------------------------------------------------------------------------------------


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@needs_namespaces
def test_a_file_survives_a_bad_line_and_a_pause(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(random.Random(5).randbytes(BIG))
    with wire.joined(*BAD, seed=2) as (left, right, cable):
        with left.inside():
            receiver = Running("receive", f"{left.address}:0", str(tmp_path / "into"), "--no-code")
        with receiver:
            port = receiver.port(r"10\.77\.0\.1:(\d+)")
            with right.inside():
                sender = Running("send", str(tmp_path / "big"), f"{left.address}:{port}")
            with sender:
                wait_for(tmp_path / "into" / "big.part", 100_000)
                cable.cut()
                with pytest.raises(subprocess.TimeoutExpired):
                    sender.process.wait(0.2)
                cable.mend()
                assert sender.wait() == receiver.wait() == 0
    assert digest(tmp_path / "into" / "big") == digest(tmp_path / "big")


@needs_namespaces
def test_a_file_that_was_cut_short_continues(tmp_path: Path) -> None:
    """The cable stays cut, both give up (here, because their users do), and the same again goes on where it was."""
    (tmp_path / "big").write_bytes(random.Random(6).randbytes(BIG))
    part = tmp_path / "into" / "big.part"
    with wire.joined(faults.Drop(0.03), faults.Delay(0.001), seed=3) as (left, right, cable):
        for attempt in range(2):
            there = part.stat().st_size if attempt else 0
            with left.inside():
                receiver = Running("receive", f"{left.address}:0", str(tmp_path / "into"), "--no-code")
            with receiver:
                port = receiver.port(r"10\.77\.0\.1:(\d+)")
                carried = cable.carried
                with right.inside():
                    sender = Running("send", str(tmp_path / "big"), f"{left.address}:{port}")
                with sender:
                    if attempt == 0:
                        wait_for(part, 1_000_000)
                        cable.cut()
                        for side in (sender, receiver):
                            side.signal(signal.SIGINT)
                            assert side.wait() == 130
                    else:
                        assert sender.wait() == receiver.wait() == 0
            cable.mend()
        assert (cable.carried - carried) * wire.MTU < 2 * (BIG - there) + 500_000, "it began anew"
    assert 1_000_000 <= there < BIG
    assert digest(tmp_path / "into" / "big") == digest(tmp_path / "big")
    assert not part.exists()


def wait_for(path: Path, size: int) -> None:
    until(lambda: path.exists() and path.stat().st_size >= size, f"{path.name} has {size} bytes")


@needs_namespaces
def test_a_name_of_nobody_is_said_at_once_and_a_cut_cable_after_the_time_given(good: Wired) -> None:
    """What a user sees of it: refused is exit code 4, no answer at all 5."""
    left, right, cable = good
    with left.inside(), socket.create_server((left.address, 0)) as nobody:
        port = nobody.getsockname()[1]
    for code, cut in ((4, False), (5, True)):
        if cut:
            cable.cut()
        with right.inside():
            done = subprocess.run(
                argv("connect", f"{left.address}:{port}", "--timeout", "0.3s"),
                env=environment(),
                capture_output=True,
                input=b"",
                timeout=PATIENCE,
            )
        assert done.returncode == code, done.stderr
        assert done.stderr.count(b"\n") == 1
