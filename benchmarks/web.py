"""Files over HTTP: requests per CPU second of the server for small ones, bytes per second for large ones.

The load is wrk, with connections that go on. Before it each server is asked once for each file, and the bytes are compared.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import harness, programs, servers
from benchmarks.harness import CPUS, LOAD_CPU, Failure
from benchmarks.results import Column, Goal, Report, interleaved
from benchmarks.servers import NGINX, NGINX_2, Entry

SMALL, LARGE = "/static/small.bin", "/static/large.bin"
SIZES = {SMALL: 1024, LARGE: 64 << 20}
PROGRAMS = {"nginx": "-v", "caddy": "version", "darkhttpd": "--help", "wrk": "-v"}
SCRIPT = harness.FOLDER / "wrk.lua"
PYTHON = ("http.server", "aiohttp", "aiohttp + uvloop", "starlette + uvicorn")
SMALL_FILE, LARGE_FILE = "1 KiB", "64 MiB"
PRISE, PRISE_2 = "prise web", "prise web, 2 workers"

COLUMNS = (
    Column("small 32", "32 connections", "requests/CPU s", (NGINX,), 0, max, SMALL_FILE),
    Column("small 512", "512 connections", "requests/CPU s", (NGINX,), 0, max, SMALL_FILE),
    Column("large 32", "32 connections", "GB/s", (NGINX,), best=max, group=LARGE_FILE),
    Column("large 32 CPU", "32 connections", "GB/CPU s", (NGINX,), best=max, group=LARGE_FILE),
    Column("large 512", "512 connections", "GB/s", (NGINX,), best=max, group=LARGE_FILE),
    Column("both", "64 connections", "requests/s", (NGINX_2,), 0, max, "1 KiB, server and load on all CPUs"),
)
TITLE = "A folder over HTTP: requests per CPU second of the server, bytes per second (more is better)"


def goals() -> tuple[Goal, ...]:
    """What the project set out to reach."""
    small, large = COLUMNS[:2], (COLUMNS[2], COLUMNS[4])
    found = [Goal(PRISE, column, 5.0, peer) for column in small for peer in PYTHON]
    found += [Goal(PRISE, column, 0.5, NGINX) for column in small]
    return (*found, *(Goal(PRISE, column, 1.0, NGINX) for column in large))


def version(program: str, option: str) -> str:
    """The number, or what there is to read instead."""
    said = subprocess.run([program, option], capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d[\w.]*", said.stdout + said.stderr)
    return found[0] if found else "of unknown version"


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """A folder with the files, of random bytes, that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="prise-web-") as place:
        root = Path(place) / "root"
        (root / "static").mkdir(parents=True)
        before = time.time() - 86400  # most files were not written just now
        for name, size in SIZES.items():
            file = root / name[1:]
            file.write_bytes(os.urandom(size))
            os.utime(file, (before, before))
        os.chmod(place, 0o755)
        yield str(root)


def check(port: int, root: str) -> None:
    """Waits until the server answers, and compares what it sends."""
    deadline = time.monotonic() + harness.READY_TIME
    for name in SIZES:
        while True:
            try:
                with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                    connection.request("GET", name)
                    answer = connection.getresponse()
                    good = answer.status == 200 and answer.read() == (Path(root) / name[1:]).read_bytes()
                break
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise Failure("nobody listens on the port that was printed") from None
                time.sleep(0.05)
        if not good:
            raise Failure(f"{name} was answered with {answer.status}, or with other bytes")


def wrk(port: int, path: str, connections: int, seconds: float, cpus: set[int]) -> dict[str, float]:
    """Runs the load, and returns what `wrk.lua` says."""
    command = [
        "wrk",
        "-t",
        str(len(cpus)),
        "-c",
        str(connections),
        "-d",
        f"{max(round(seconds), 1)}s",
        "--timeout",
        "60s",
    ]
    done = subprocess.run(
        [*command, "-s", str(SCRIPT), f"http://127.0.0.1:{port}{path}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + harness.LOAD_TIME,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    if done.returncode or not done.stdout.strip():
        raise Failure(done.stderr.strip() or "wrk failed")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    if answer["refused"] or not answer["bytes"]:
        raise Failure(f"{answer['refused']:.0f} of {answer['requests']:.0f} answers were not 200")
    return answer


def measure(rounds: int, seconds: float, only: list[str]) -> Report:
    """Runs the comparison. only: parts of names of servers; nginx is measured anyway."""
    programs.require("wrk")
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has nginx
    with folder() as root:
        entries = [entry for entry in servers.web(root) if entry.wanted(only, NGINX, NGINX_2)]

        def once(entry: Entry) -> dict[str, float]:
            return both(entry) if entry.name in (NGINX_2, PRISE_2) else apart(entry)

        def apart(entry: Entry) -> dict[str, float]:
            figures = {}
            with harness.running(list(entry.command)) as server:
                check(server.port, root)
                wrk(server.port, SMALL, 50, 1.0, {LOAD_CPU})
                for name, connections in (("small", 32), ("small", 512), ("large", 32), ("large", 512)):
                    server.settle()
                    before = server.cpu()
                    answer = wrk(server.port, SMALL if name == "small" else LARGE, connections, seconds, {LOAD_CPU})
                    used = server.cpu() - before
                    key = f"{name} {connections}"
                    if name == "small":
                        figures[key] = answer["requests"] / used
                    else:
                        figures[key] = answer["bytes"] / answer["seconds"] / 1e9
                        figures[f"{key} CPU"] = answer["bytes"] / used / 1e9
            return figures

        def both(entry: Entry) -> dict[str, float]:
            everywhere = set(CPUS)
            with harness.running(list(entry.command), cpus=everywhere) as server:
                check(server.port, root)
                wrk(server.port, SMALL, 50, 1.0, everywhere)
                answer = wrk(server.port, SMALL, 64, seconds, everywhere)
            return {"both": answer["requests"] / answer["seconds"]}

        rows = interleaved(entries, rounds, once)
    for row in rows:
        row.figures.pop("large 512 CPU", None)
    method = {
        "loads": "wrk; files of 1 KiB and 64 MiB, 32 and 512 connections that go on",
        "seconds": seconds,
        "rounds": rounds,
        **harness.pinning(),
        **{program: version(program, option) for program, option in PROGRAMS.items() if shutil.which(program)},
    }
    return Report("web", TITLE, method, COLUMNS, rows, goals())
