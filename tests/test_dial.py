"""Dialling: addresses race (RFC 8305), in both colours from one implementation, and losers are closed."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any

import pytest

from prise.errors import ConnectError, ResolveError, TooSlow, UsageError
from prise.transports import Endpoint, bind, dial, dial_async
from prise.transports.base import Steps
from prise.transports.dial import NobodyAnswered, drive, drive_async, interleave, race

Loop = Callable[[Coroutine[Any, Any, Any]], Any]


def loops() -> list[Any]:
    def plain(main: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(main)

    found = [pytest.param(plain, id="asyncio")]
    try:
        import uvloop
    except ImportError:
        return found

    def fast(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)

    return [*found, pytest.param(fast, id="uvloop")]


def in_loop(run: Loop) -> Callable[[Steps], socket.socket]:
    return lambda steps: run(drive_async(steps))


@pytest.fixture(params=[pytest.param(None, id="blocking"), *loops()])
def driver(request: pytest.FixtureRequest) -> Callable[[Steps], socket.socket]:
    """Runs a race to its end, in either colour."""
    return drive if request.param is None else in_loop(request.param)


@pytest.fixture(params=loops())
def run(request: pytest.FixtureRequest) -> Loop:
    return request.param


def tcp(sockaddr: Any) -> Endpoint:
    return Endpoint(socket.AF_INET, socket.SOCK_STREAM, 0, sockaddr)


@pytest.fixture
def answering() -> Iterator[Endpoint]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield tcp(server.getsockname())


@pytest.fixture
def refusing() -> Iterator[Endpoint]:
    with socket.socket() as bound:  # a port that is taken, on which nobody listens
        bound.bind(("127.0.0.1", 0))
        yield tcp(bound.getsockname())


@pytest.fixture
def silent() -> Iterator[Endpoint]:
    """An address that swallows the first packet: Linux drops it when the backlog is full."""
    if sys.platform != "linux":
        pytest.skip("a full backlog is silent on Linux")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        with socket.create_connection(server.getsockname()):
            yield tcp(server.getsockname())


@pytest.fixture(autouse=True, scope="module")
def first_loops() -> None:
    """The first loop of uvloop opens descriptors that it keeps for the whole process."""
    for param in loops():
        param.values[0](asyncio.sleep(0))


@pytest.fixture(autouse=True)
def nothing_stays_open(first_loops: None) -> Iterator[None]:
    """Every test here is also about this: winners are closed by the test, losers by the race."""
    before = descriptors()
    yield
    assert descriptors() == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


def test_families_take_turns() -> None:
    def endpoints(names: str) -> list[Endpoint]:
        return [Endpoint(socket.AF_INET6 if n.isupper() else socket.AF_INET, socket.SOCK_STREAM, 0, n) for n in names]

    assert "".join(endpoint.sockaddr for endpoint in interleave(endpoints("ABCab"))) == "AaBbC"
    assert "".join(endpoint.sockaddr for endpoint in interleave(endpoints("abA"))) == "aAb"
    assert interleave([]) == []


def test_the_first_that_answers_wins(driver: Any, answering: Endpoint, refusing: Endpoint) -> None:
    with driver(race([answering, refusing], math.inf)) as sock:
        assert sock.getpeername() == answering.sockaddr
        assert not sock.getblocking()


def test_a_refusal_gives_the_turn_on_at_once(driver: Any, answering: Endpoint, refusing: Endpoint) -> None:
    with driver(race([refusing, refusing, answering], math.inf, delay=30)) as sock:
        assert sock.getpeername() == answering.sockaddr


def test_silence_gives_the_turn_on_after_the_delay(driver: Any, silent: Endpoint, answering: Endpoint) -> None:
    start = time.monotonic()
    with driver(race([silent, answering], math.inf, delay=0.05)) as sock:
        assert sock.getpeername() == answering.sockaddr
        assert time.monotonic() - start >= 0.05


def test_a_refusal_while_another_is_silent(
    driver: Any, silent: Endpoint, refusing: Endpoint, answering: Endpoint
) -> None:
    with driver(race([silent, refusing, answering], math.inf, delay=0.01)) as sock:
        assert sock.getpeername() == answering.sockaddr


def test_a_family_that_the_machine_lacks_is_passed_over(driver: Any, answering: Endpoint) -> None:
    with driver(race([Endpoint(9999, socket.SOCK_STREAM, 0, ("x", 1)), answering], math.inf, delay=30)) as sock:
        assert sock.getpeername() == answering.sockaddr


def test_nobody_answers(driver: Any, refusing: Endpoint) -> None:
    with pytest.raises(NobodyAnswered) as caught:
        driver(race([refusing, refusing], math.inf))
    assert [endpoint for endpoint, _ in caught.value.failures] == [refusing, refusing]
    assert not caught.value.late


def test_the_deadline_is_for_all_together(driver: Any, silent: Endpoint, refusing: Endpoint) -> None:
    with pytest.raises(NobodyAnswered) as caught:
        driver(race([refusing, silent, silent], time.monotonic() + 0.05, delay=0.01))
    assert caught.value.late
    assert len(caught.value.failures) == 3


def test_a_cancelled_race_leaves_no_socket_open(run: Loop, silent: Endpoint) -> None:
    async def main() -> None:
        task = asyncio.create_task(drive_async(race([silent, silent], math.inf, delay=0)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_an_abandoned_race_leaves_no_socket_open(silent: Endpoint) -> None:
    steps = race([silent, silent], math.inf, delay=0)
    assert len(next(steps).sockets) >= 1
    steps.close()


def test_a_race_is_only_waiting_in_between(silent: Endpoint, answering: Endpoint) -> None:
    """The generator itself never blocks: it says what it waits for, and may be driven by hand."""
    steps = race([silent, answering], math.inf, delay=0.05)
    wait = next(steps)
    assert wait.until <= time.monotonic() + 0.05
    while len(wait.sockets) < 2:  # the second attempt joins the first
        wait = steps.send([])
    winner = wait.sockets[1]
    while not connected(winner):
        pass
    with pytest.raises(StopIteration) as done:
        steps.send([winner])
    assert done.value.value is winner
    winner.close()


def connected(sock: socket.socket) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


# -- dial and dial_async -----------------------------------------------------------------------------------------------


def dialled(run: Loop | None, address: Any, timeout: float | None = 10.0) -> socket.socket:
    if run is None:
        return dial(address, timeout=timeout)
    sock = run(dial_async(address, timeout=timeout))
    assert not sock.getblocking()
    return sock


@pytest.fixture(params=[pytest.param(None, id="blocking"), *loops()])
def colour(request: pytest.FixtureRequest) -> Loop | None:
    return request.param


def test_a_name_is_reached(colour: Loop | None) -> None:
    listeners = bind("localhost:0")
    try:
        port = listeners[0].address.port
        for address in (f"localhost:{port}", ("127.0.0.1", port), f":{port}", f"2130706433:{port}"):
            with dialled(colour, address) as sock:
                assert sock.getpeername()[1] == port
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        for listener in listeners:
            listener.close()


def test_a_refused_connection_says_what_was_tried(colour: Loop | None, refusing: Endpoint) -> None:
    port = refusing.sockaddr[1]
    with pytest.raises(ConnectError) as caught:
        dialled(colour, f"127.0.0.1:{port}")
    assert str(caught.value) == (
        f"connect tcp 127.0.0.1:{port}: connection refused (tried 127.0.0.1; nothing listens on port {port})"
    )
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with pytest.raises(ConnectError, match=r"connection refused \(tried (::1 and )?127\.0\.0\.1; nothing listens on"):
        dialled(colour, f":{port}")


def test_too_slow(colour: Loop | None, silent: Endpoint) -> None:
    with pytest.raises(TooSlow, match=r"connect tcp 127\.0\.0\.1:\d+: no answer within 0\.05 s \(tried 127\.0\.0\.1\)"):
        dialled(colour, silent.sockaddr, timeout=0.05)


def test_no_time_at_all(colour: Loop | None, answering: Endpoint) -> None:
    with pytest.raises(TooSlow, match="within 0 s"):
        dialled(colour, answering.sockaddr, timeout=0)


def test_no_bound(colour: Loop | None, answering: Endpoint) -> None:
    dialled(colour, answering.sockaddr, timeout=None).close()


def test_what_does_not_resolve(colour: Loop | None) -> None:
    with pytest.raises(ResolveError, match="no service is called nosuchservice"):
        dialled(colour, "localhost:nosuchservice")


def test_broadcast_is_no_peer_for_tcp(colour: Loop | None) -> None:
    with pytest.raises(ConnectError, match=r"tried 255\.255\.255\.255"):
        dialled(colour, "<broadcast>:9")


@pytest.mark.parametrize("address", ["./x.sock", "mem:dial"])
def test_the_other_transports(
    colour: Loop | None, address: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConnectError, UsageError)):
        dialled(colour, address)
    (listener,) = bind(address)
    with listener, dialled(colour, address) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"


def test_a_cancelled_dial_leaves_no_socket_open(run: Loop, silent: Endpoint) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await dial_async(silent.sockaddr, timeout=None)

    run(main())


def test_a_slow_name_service_does_not_stop_the_loop(run: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    asked, answer = threading.Event(), threading.Event()

    def slow(*_: Any) -> Any:
        asked.set()
        answer.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "slow")

    monkeypatch.setattr(socket, "getaddrinfo", slow)

    async def main() -> None:
        with pytest.raises(TooSlow, match=r"resolve tcp slow\.example:80: the name was not found within 0\.05 s"):
            await dial_async("slow.example:80", timeout=0.05)
        assert asked.is_set()
        answer.set()
        with pytest.raises(ResolveError, match="the name service did not answer"):
            await dial_async("slow.example:80")

    run(main())


def test_a_connection_to_itself_is_no_connection() -> None:
    """TCP can join a socket to itself when the dialled port is the one it was given; that is not a server."""
    from prise.transports.dial import _reached_itself

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        assert _reached_itself(sock)
