"""Servers for test_serve.py and test_supervisor.py, each run in a process of its own: `served.py NAME ARGUMENTS…`.

Each prints its port, or another word, when it is ready.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from typing import Any

import prise

LIMITS = prise.Limits(linger_time=0.5)


def echo(connection: Any) -> None:
    for line in connection:
        connection.send(line)
    connection.send("goodbye")


def stubborn(connection: Any) -> None:
    for line in connection:
        connection.send(line)
    time.sleep(60)


def who(connection: Any) -> None:
    for _ in connection:
        connection.send(f"{os.getpid()} {os.getppid()}")
    connection.send("goodbye")


def say_port(addresses: list[prise.Address]) -> None:
    print(addresses[0].port, flush=True)


def several(path: str, *options: str) -> None:
    """On TCP over both families and on a Unix path; prints the counts at the end."""

    def ready(addresses: list[prise.Address]) -> None:
        print(*addresses, flush=True)

    workers = 2 if "workers" in options else 1
    model = next((option for option in options if option != "workers"), None)
    stats = prise.serve(echo, ":0", f"unix:{path}", limits=LIMITS, ready=ready, workers=workers, model=model)
    print(stats.total, stats.open, stats.messages_received, stats.messages_sent, flush=True)


def signalled_when_ready(path: str, model: str, workers: str) -> None:
    """SIGTERM comes while `ready` still runs."""

    def ready(addresses: list[prise.Address]) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def quiet(connection: Any) -> Any:
        yield None

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    prise.serve(quiet, f"unix:{path}", model=model, workers=int(workers), ready=ready)
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    print("drained", os.path.exists(path), flush=True)


def plain(name: str, model: str, workers: str = "1", drain_time: str = "10") -> None:
    prise.serve(
        globals()[name],
        "127.0.0.1:0",
        model=model,
        workers=int(workers),
        drain_time=float(drain_time),
        limits=LIMITS,
        ready=say_port,
    )


def buffered(model: str, workers: str, path: str) -> None:
    """Something is in stdout's buffer when it forks."""
    sys.stdout = open(1, "w", buffering=10_000, closefd=False)  # noqa: SIM115
    sys.stdout.write("written once\n")
    prise.serve(echo, f"unix:{path}", model=model, workers=int(workers), limits=LIMITS)


def no_output() -> None:
    """Its stdout is a pipe that nobody reads any more."""
    read, write = os.pipe()
    os.dup2(write, 1)
    os.close(write)
    sys.stdout = open(1, "w", buffering=10_000, closefd=False)  # noqa: SIM115
    sys.stdout.write("nobody reads this")
    os.close(read)
    prise.serve(
        echo,
        "127.0.0.1:0",
        model="processes",
        limits=LIMITS,
        ready=lambda addresses: os.write(2, b"%d\n" % addresses[0].port),  # type: ignore[str-format]
    )
    os._exit(0)


def in_a_thread() -> None:
    """Outside the main thread, which ends the process when its standard input ends."""
    threading.Thread(
        target=prise.serve, args=(echo, "127.0.0.1:0"), kwargs={"ready": say_port, "limits": LIMITS}, daemon=True
    ).start()
    sys.stdin.read()
    print("the main thread ends", flush=True)


def forgotten(model: str) -> None:
    """A server in the background that nobody stops."""
    server = prise.listen(who, "127.0.0.1:0", model=model, workers=2, limits=LIMITS, drain_time=1).start()
    say_port(server.addresses)
    sys.stdin.read()


def with_a_grandchild(connection: Any) -> None:
    """Leaves a process of its own behind."""
    if not os.fork():
        os.close(connection.fileno())
        sys.stdin.read()  # until the test ends
        os._exit(0)
    connection.send("left one behind")


def one_at_a_time() -> None:
    limits = prise.Limits(connections=1, linger_time=0.5)
    prise.serve(with_a_grandchild, "127.0.0.1:0", model="processes", limits=limits, ready=say_port)


def hoarder(connection: Any) -> None:
    """Tells how many descriptors it was born with."""
    for _ in connection:
        connection.send(str(len(os.listdir("/proc/self/fd"))))


def failing_workers() -> None:
    """Each worker fails at once: a loop that cannot be made, say."""
    import prise.servers.select as select

    def fail(work: Any) -> None:
        raise RuntimeError("this worker cannot start")

    select.run = fail

    def quiet(connection: Any) -> Any:
        yield None

    prise.serve(quiet, "127.0.0.1:0", workers=2, ready=say_port)


def deaf_workers() -> None:
    """Workers that do not end when they are told to."""
    import prise.servers.select as select

    def sleep(work: Any) -> None:
        time.sleep(60)

    select.run = sleep

    def quiet(connection: Any) -> Any:
        yield None

    prise.serve(quiet, "127.0.0.1:0", workers=2, drain_time=0.2, ready=say_port)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    globals()[sys.argv[1]](*sys.argv[2:])
