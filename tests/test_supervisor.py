"""Workers: started, replaced, told to end, and killed when they do not listen. And how a server is told anything at all."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from blocking_support import until
from prise.servers.control import Control, tell
from prise.servers.forking import close_private, fork, kill, on_sigterm, private, reap
from prise.servers.supervisor import Supervisor
from test_serve import ask, served


def serve_nothing(number: int, control: Control) -> None:
    """A worker that only waits for its end."""
    while not control.draining:
        time.sleep(0.005)
        for descriptor in control.descriptors():
            os.set_blocking(descriptor, False)
            control.read(descriptor)


def supervise(body: Callable[[int, Control], None], count: int, seconds: float, drain_time: float = 5.0) -> None:
    """Runs workers for so many seconds and then drains them."""
    control = Control(drain_time=drain_time)
    timer = threading.Timer(seconds, control.drain, [drain_time])
    timer.start()
    try:
        Supervisor(body, count, control, drain_time, lambda: None).run()
    finally:
        timer.join()
        control.close()


@pytest.fixture
def tally() -> tuple[Callable[[], None], Callable[[], bytes]]:
    """Counts across processes: a pipe. Each `note()` is one byte."""
    read, write = os.pipe()
    os.set_blocking(read, False)

    def noted() -> bytes:
        os.close(write)
        try:
            return os.read(read, 100_000)
        finally:
            os.close(read)

    return lambda: os.write(write, b"."), noted  # type: ignore[return-value]


# The supervisor


def test_it_starts_as_many_as_it_should_and_ends_when_all_have_ended(tally):
    note, noted = tally

    def body(number: int, control: Control) -> None:
        note()
        serve_nothing(number, control)

    supervise(body, 3, 0.3)
    assert noted() == b"..."


def test_workers_that_fail_at_once_are_started_ever_more_slowly(tally, caplog):
    note, noted = tally

    def body(number: int, control: Control) -> None:
        note()
        os._exit(3)

    supervise(body, 1, 1.0)
    # At once, then after 0.1, 0.2, 0.4 and 0.8 s; without the pauses it would be hundreds.
    assert 3 <= len(noted()) <= 6
    assert "ended with exit code 3; a new one starts in 0.0 s" in caplog.text
    assert "a new one starts in 0.2 s" in caplog.text


def test_one_that_fails_does_not_disturb_the_others(tally):
    note, noted = tally

    def body(number: int, control: Control) -> None:
        if number == 0:
            os._exit(1)
        note()
        serve_nothing(number, control)

    supervise(body, 3, 0.5)
    assert noted() == b".."


def test_one_that_does_not_listen_is_killed_after_the_deadline_and_some_grace(caplog):
    def body(number: int, control: Control) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)

    began = time.monotonic()
    supervise(body, 2, 0.1, drain_time=0.1)
    assert 2.0 < time.monotonic() - began < 4.0


def test_that_it_could_not_fork_is_no_reason_to_end(monkeypatch, caplog):
    import prise.servers.supervisor as supervisor

    def no_more(body: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor, "fork", no_more)
    before = len(os.listdir("/proc/self/fd"))
    supervise(serve_nothing, 2, 0.2)
    assert "cannot start worker 0" in caplog.text
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_is_told_to_end_by_others_is_replaced():
    with served("plain", "who", "processes", "2") as server:
        port = server.line()
        with server.connect(port) as client:
            _, worker = map(int, ask(client).split())
        os.kill(worker, signal.SIGTERM)
        until(lambda: worker not in server.alive(), "it ends by itself")
        until(lambda: len(server.alive()) == 3, "there are two again")
        with server.connect(port) as client:
            assert ask(client)
        server.end()


def test_a_server_whose_workers_all_fail_can_still_be_ended():
    with served("failing_workers") as server:
        assert server.line()
        time.sleep(0.3)
        _, errors = server.end()
        assert "this worker cannot start" in errors
        assert "ended with exit code 1" in errors


def test_a_server_whose_workers_are_deaf_ends_all_the_same():
    with served("deaf_workers") as server:
        assert server.line()
        server.end()
        assert not server.alive()


# Control


def test_a_drain_can_only_be_hastened():
    control = Control()
    assert not control.draining
    assert control.left() is None
    control.drain(60)
    assert control.draining
    assert not control.overdue()
    control.drain(100)
    assert (control.left() or 0) <= 60
    control.drain(0)
    assert control.overdue()
    assert control.cutting
    control.close()


def test_a_cut_comes_at_once():
    control = Control()
    control.cut()
    assert control.draining
    assert control.cutting
    assert control.overdue()
    control.close()


def test_a_parent_tells_and_its_end_tells_too():
    read, write = os.pipe()
    control = Control(read, drain_time=7)
    tell(write, 60)
    control.read(read)
    assert 59 < (control.left() or 0) <= 60
    os.close(write)
    control.read(read)
    assert (control.left() or 0) <= 7
    assert read not in control.descriptors()
    control.close()
    os.close(read)


def test_after_the_end_it_says_nothing_to_anybody():
    control = Control()
    control.close()
    read, write = os.pipe()  # they have the numbers now that it had
    control.wake()
    control.drain(1)
    control.close()
    os.set_blocking(read, False)
    with pytest.raises(BlockingIOError):
        os.read(read, 1)
    os.close(read)
    os.close(write)
    tell(write, 1)  # nobody is there


# Forking


def test_a_signal_that_comes_before_the_child_is_ready_is_not_lost():
    def body() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # this one is for the parent, which decides
        seen: list[int] = []
        on_sigterm(lambda: seen.append(1))
        os._exit(0 if seen else 1)

    assert reap(fork(body)) == 0


def test_a_child_that_fails_says_so(capfd, caplog):
    def body() -> None:
        raise RuntimeError("in the child")

    assert os.WEXITSTATUS(reap(fork(body))) == 1


def test_no_child_keeps_a_private_pipe():
    read, write = os.pipe()
    private.add(write)
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    close_private(write)
    assert os.read(read, 1) == b"", "its end is the end of the pipe, whoever else was forked meanwhile"
    os.close(read)
    kill(pid, signal.SIGKILL)
    assert os.WTERMSIG(reap(pid)) == signal.SIGKILL
    kill(pid, signal.SIGKILL)  # somebody else's affair
    assert reap(pid) == 0
