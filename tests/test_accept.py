"""The one accept policy: who is let in, who is not, and what accept() may say without ending or spinning the server."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

import prise
from prise import Address, Limits
from prise.core.counters import Counters
from prise.layers.telnet import Telnet
from prise.servers.accept import BURST, PAUSE, Acceptor
from prise.servers.service import peer_key
from prise.testing import FakeClock
from prise.transports import Listening, bind


class Scripted(Listening):
    """A listening socket that reports these errors, one after the other, before it does its work."""

    __slots__ = ("errors",)

    def __init__(self, listening: Listening, *errors: int) -> None:
        super().__init__(listening.socket, listening.address)
        self.errors = list(errors)

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return super().accept()


@pytest.fixture
def listening() -> Iterator[Listening]:
    (listening,) = bind(Address.parse("127.0.0.1:0"))
    with listening:
        yield listening


class Gate:
    """An acceptor with what belongs to it."""

    def __init__(self, listening: Listening, **limits: Any) -> None:
        self.listening = listening
        self.counters = Counters()
        self.clock = FakeClock()
        self.acceptor = Acceptor([listening], Limits(**limits), self.counters, self.clock)
        self.keys: list[str | None] = []

    def accept(self) -> int:
        """Lets in whoever waits and may come; how many."""
        count = 0
        for sock, _, key in self.acceptor.accept(self.listening):
            sock.close()
            self.keys.append(key)
            count += 1
        return count


def knock(stack: ExitStack, listening: Listening, times: int) -> list[socket.socket]:
    return [
        stack.enter_context(socket.create_connection(listening.socket.getsockname(), timeout=10)) for _ in range(times)
    ]


def ended(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionError:
        return True


def test_who_waits_is_let_in(listening: Listening) -> None:
    gate = Gate(listening)
    with ExitStack() as stack:
        assert gate.accept() == 0
        knock(stack, listening, 3)
        assert gate.accept() == 3
    assert (gate.acceptor.open, gate.counters.accepted, gate.counters.closed) == (3, 3, 0)
    for key in gate.keys:
        gate.acceptor.release(key)
    assert (gate.acceptor.open, gate.counters.closed) == (0, 3)


def test_not_more_than_a_burst_at_a_time(listening: Listening) -> None:
    gate = Gate(listening)
    with ExitStack() as stack:
        knock(stack, listening, BURST + 5)
        assert gate.accept() == BURST
        assert gate.accept() == 5


def test_at_the_limit_the_kernel_queues_and_nothing_is_lost(listening: Listening) -> None:
    gate = Gate(listening, connections=2)
    with ExitStack() as stack:
        knock(stack, listening, 5)
        assert gate.accept() == 2
        assert not gate.acceptor.wants_more
        assert gate.accept() == 0
        gate.acceptor.release(gate.keys.pop())
        assert gate.acceptor.wants_more
        assert gate.accept() == 1
        assert gate.counters.refused_per_peer == gate.counters.refused_resources == 0


def test_one_peer_over_its_limit_is_refused_at_once(listening: Listening) -> None:
    gate = Gate(listening, connections_per_peer=2)
    with ExitStack() as stack:
        *_, third, fourth = knock(stack, listening, 4)
        assert gate.accept() == 2
        assert ended(third)
        assert ended(fourth)
        assert gate.counters.refused_per_peer == 2
        assert (gate.counters.accepted, gate.acceptor.open) == (2, 2)
        gate.acceptor.release(gate.keys.pop())
        knock(stack, listening, 1)
        assert gate.accept() == 1


def test_the_table_of_peers_is_not_larger_than_what_is_open(listening: Listening) -> None:
    gate = Gate(listening)
    with ExitStack() as stack:
        knock(stack, listening, 3)
        gate.accept()
        assert len(gate.acceptor._peers) == 1
        for key in gate.keys:
            gate.acceptor.release(key)
        assert not gate.acceptor._peers


GONE = ["ECONNABORTED", "EPROTO", "EPERM", "ENETDOWN", "ENETUNREACH", "EHOSTUNREACH", "ETIMEDOUT"]


@pytest.mark.parametrize("name", GONE)
def test_a_connection_that_is_gone_already_is_passed_over(
    listening: Listening, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(Scripted(listening, *[getattr(errno, name)] * 3))
    with ExitStack() as stack:
        knock(stack, listening, 2)
        assert gate.accept() == 2
    assert not caplog.records
    assert gate.counters.refused_resources == 0


def test_even_without_end_it_does_not_spin(listening: Listening) -> None:
    gate = Gate(Scripted(listening, *[errno.ECONNABORTED] * 1000))
    assert gate.accept() == 0
    assert isinstance(gate.listening, Scripted)
    assert len(gate.listening.errors) == 1000 - BURST


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EBADF", "EIO"])
def test_out_of_anything_it_pauses_and_goes_on(
    listening: Listening, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(Scripted(listening, getattr(errno, name)))
    with ExitStack() as stack:
        knock(stack, listening, 1)
        assert gate.accept() == 0
        assert not gate.acceptor.wants_more
        assert gate.accept() == 0
        gate.clock.advance(PAUSE)
        assert gate.acceptor.wants_more
        assert gate.accept() == 1
    assert gate.counters.refused_resources == 1
    (record,) = caplog.records
    assert f"cannot accept on {listening.address}" in record.getMessage()
    assert os.strerror(getattr(errno, name)) in record.getMessage()


def test_it_is_said_once_a_second(listening: Listening, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate(Scripted(listening, *[errno.EMFILE] * 25))
    for _ in range(25):
        assert gate.accept() == 0
        gate.clock.advance(PAUSE)
    assert gate.counters.refused_resources == 25
    assert 2 <= len(caplog.records) <= 4


def test_after_stop_nobody_is_let_in(listening: Listening) -> None:
    gate = Gate(listening)
    with ExitStack() as stack:
        knock(stack, listening, 1)
        gate.acceptor.stop()
        assert not gate.acceptor.wants_more
        assert gate.accept() == 0
    assert listening.fileno() >= 0, "the listener belongs to whoever bound it"


@pytest.mark.parametrize(
    ("sockaddr", "key"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "20010db800010002/64"),
        (("2001:db8:1:2::9", 6, 0, 0), "20010db800010002/64"),
        (("fe80::1%lo", 5, 0, 1), "fe80000000000000/64"),
        ("", None),
        (b"", None),
        (None, None),
    ],
)
def test_who_counts_as_one_peer(sockaddr: Any, key: str | None) -> None:
    assert peer_key(sockaddr) == key


@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_a_layer_that_cannot_be_made_refuses_one_connection(model: str, caplog: pytest.LogCaptureFixture) -> None:
    made = iter([True, False, True])  # the first is a trial, before anything is bound

    def layer() -> Telnet:
        if not next(made):
            raise ValueError("the certificate is gone")
        return Telnet()

    async def greet(connection: Any) -> None:
        await connection.send("hello")

    with prise.listen(greet, "127.0.0.1:0", model=model, layers=[layer], limits=Limits(linger_time=0.2)) as server:
        with prise.connect(server.address) as client:
            assert client.receive(timeout=10) is None
        with prise.connect(server.address) as client:
            assert client.receive(timeout=10) == "hello"
    assert server.stats().total == 2
    assert server.stats().open == 0
    assert "the certificate is gone" in caplog.text


@pytest.mark.parametrize("model", ["select", "asyncio"])
def test_a_loop_pauses_its_listeners_and_comes_back(
    model: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As a whole: three times out of descriptors, then the client that waited is served."""
    failures = [errno.EMFILE, errno.ENFILE, errno.ENOMEM]
    accept = Listening.accept

    def failing(self: Listening) -> tuple[socket.socket, Any]:
        if failures:
            raise OSError(failures.pop(), "out of something")
        return accept(self)

    monkeypatch.setattr(Listening, "accept", failing)

    def echo(connection: Any) -> Any:
        reply = None
        while True:
            reply = yield reply

    with prise.listen(echo, "127.0.0.1:0", model=model, limits=Limits(linger_time=0.2)) as server:
        with prise.connect(server.address) as client:
            assert client.ask("hello", timeout=10) == "hello"
        assert server.stats().refused == {"per_peer": 0, "resources": 3, "sessions": 0}
    assert len(caplog.records) == 1
