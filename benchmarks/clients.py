"""Clients of Internet protocols beside other clients: wall time, CPU time and peak memory of each, against real servers.

NNTP alone is served by a program of ours that knows its answers beforehand: INN would take longer than any client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import harness, programs
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import Entry

PRISE = "prise"
PRISE_AWAIT = "prise, await"
WALL = "wall time"
MOST_TIME = 300.0
LARGE_FILE = 1024**3
SMALL_FILES = 1000
SMALL_MAILS, LARGE_MAILS = 1000, 10
SMALL_SIZE, LARGE_SIZE = 4_000, 10_000_000
OVERVIEWS, ARTICLES = 100_000, 1000


def columns(*tasks: tuple[str, str, str]) -> tuple[Column, ...]:
    """Three for each task (key, heading, name of the reference)."""
    return tuple(
        column
        for key, heading, reference in tasks
        for column in (
            Column(f"{key} wall", WALL, "s", (reference,), digits=2, group=heading),
            Column(f"{key} cpu", "CPU", "s", (reference,), digits=2, group=heading),
            Column(f"{key} memory", "memory", "MB", (reference,), digits=0, group=heading),
        )
    )


class Task:
    """name: of the benchmark. clients: their names -> kinds. tasks: key -> heading. reference: whom ours is divided by."""

    def __init__(
        self,
        name: str,
        title: str,
        clients: dict[str, str],
        tasks: dict[str, str],
        reference: str,
        serve: Callable[[], Any],
        loads: str,
    ) -> None:
        self.name, self.title, self.clients, self.tasks = name, title, clients, tasks
        self.reference, self.serve, self.loads = reference, serve, loads

    def measure(self, rounds: int, seconds: float, only: list[str]) -> Report:
        """Runs the comparison. seconds: without meaning here, a task takes as long as it takes."""
        known = columns(*((key, heading, self.reference) for key, heading in self.tasks.items()))
        entries = [
            Entry(
                client,
                kind,
                (sys.executable, "-m", "benchmarks.peers.client_ways", self.name, client),
                client if kind == "program" else "",
            )
            for client, kind in self.clients.items()
        ]
        with self.serve() as place:

            def once(entry: Entry) -> dict[str, float]:
                figures: dict[str, float] = {}
                for key in self.tasks:
                    figures |= run_client((*entry.command, key, json.dumps(place)), key)
                return figures

            rows = interleaved([entry for entry in entries if entry.wanted(only, self.reference)], rounds, once)
        method = {"loads": self.loads, "rounds": rounds, **harness.pinning()}
        goals = tuple(
            Goal(PRISE, column, 1.0, client)
            for column in known
            if column.heading == WALL
            for client in self.clients
            if not client.startswith(PRISE)
        )
        return Report(self.name, self.title, method, known, rows, goals)


def run_client(command: tuple[str, ...], key: str) -> dict[str, float]:
    """One task in a process of its own, on the load's CPU."""
    try:
        done = subprocess.run(
            ["taskset", "-c", str(harness.LOAD_CPU), *command],
            cwd=harness.FOLDER.parent,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=MOST_TIME,
        )
    except subprocess.TimeoutExpired:
        raise harness.Failure(f"{key}: it did not end in time") from None
    if done.returncode:
        raise harness.Failure(done.stderr.strip()[-300:] or f"it ended with exit code {done.returncode}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return {f"{key} {name}": value for name, value in figures.items()}


@contextmanager
def real(name: str) -> Iterator[Any]:
    """A real server of the tests, on the servers' CPU."""
    programs.require(name)
    sys.path.insert(0, str(harness.FOLDER.parent / "tests"))
    try:
        from real_servers import dovecot, nginx, proftpd

        kinds: dict[str, Any] = {"dovecot": dovecot.Dovecot, "nginx": nginx.Nginx, "proftpd": proftpd.Proftpd}
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {harness.SERVER_CPU})  # inherited by what is started
        try:
            server = kinds[name]().start()
        finally:
            os.sched_setaffinity(0, everywhere)
        try:
            yield server
        finally:
            server.stop()
    finally:
        sys.path.pop(0)


@contextmanager
def news() -> Iterator[dict[str, Any]]:
    command = (sys.executable, "-m", "benchmarks.peers.news_server", str(OVERVIEWS), str(ARTICLES))
    with harness.running(list(command)) as server:
        yield {"url": f"nntp://127.0.0.1:{server.port}/", "port": server.port}


@contextmanager
def mail() -> Iterator[dict[str, Any]]:
    with real("dovecot") as server:
        for folder, count, size in (("small", SMALL_MAILS, SMALL_SIZE), ("large", LARGE_MAILS, LARGE_SIZE)):
            body = b"0123456789" * 7 + b"\r\n"
            for number in range(count):
                server.deliver(folder, b"Subject: %d\r\n\r\n%s" % (number, body * (size // len(body))))
        yield {"port": server.port, "ca": str(server.ca)}


def large_file(server: Any) -> None:
    """A file of nothing but zeros, read once: the first client must not pay for the pages of all."""
    path = server.place("large", b"")
    with open(path, "r+b") as file:
        file.truncate(LARGE_FILE)
        while file.read(1024 * 1024):
            pass


@contextmanager
def files() -> Iterator[dict[str, Any]]:
    with real("proftpd") as server:
        large_file(server)
        yield {"port": server.port, "user": server.user, "ca": str(server.ca)}


@contextmanager
def pages() -> Iterator[dict[str, Any]]:
    with real("nginx") as server:
        large_file(server)
        server.place("small", b"x" * 1000)
        yield {"port": server.port, "ca": str(server.ca)}


ALL = (
    Task(
        "nntp",
        f"News: an overview of {OVERVIEWS:,} articles, and {ARTICLES:,} articles",
        {PRISE: "prise", PRISE_AWAIT: "prise", "pynntp": "framework", "nntplib": "platform"},
        {"over": f"{OVERVIEWS:,} overviews", "articles": f"{ARTICLES:,} articles"},
        "pynntp",
        news,
        "XOVER or OVER of one group, each line taken apart; then ARTICLE by number, 3 kB each",
    ),
    Task(
        "imap",
        f"Mail: {SMALL_MAILS:,} small messages and {LARGE_MAILS} large ones from Dovecot",
        {PRISE: "prise", PRISE_AWAIT: "prise", "imaplib": "platform", "aioimaplib": "framework"},
        {
            "small": f"{SMALL_MAILS:,} × {SMALL_SIZE // 1000} kB",
            "large": f"{LARGE_MAILS} × {LARGE_SIZE // 1_000_000} MB",
        },
        "imaplib",
        mail,
        "UID FETCH of all messages of a mailbox, in clear",
    ),
    Task(
        "ftp",
        "A file of 1 GiB from ProFTPD",
        {PRISE: "prise", PRISE_AWAIT: "prise", "curl": "program", "ftplib": "platform"},
        {"clear": "1 GiB", "tls": "1 GiB, TLS"},
        "curl",
        files,
        "one RETR, the bytes dropped as they come",
    ),
    Task(
        "http",
        f"From nginx: 1 GiB, and {SMALL_FILES:,} files of 1 kB",
        {PRISE: "prise", PRISE_AWAIT: "prise", "curl": "program", "httpx": "framework", "niquests": "framework"},
        {"large": "1 GiB", "small": f"{SMALL_FILES:,} × 1 kB"},
        "curl",
        pages,
        "one GET, the bytes dropped as they come; then GETs one after the other on one connection",
    ),
)
TASKS = {task.name: task for task in ALL}
