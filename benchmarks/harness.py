"""Runs one server on one CPU and the load generator on the other, and reads what the server cost.

    with running(command) as server:                 # ready once it has printed its port
        warm_up(server)
        with load(server, Load(500, 1024, 1)) as generator:
            before = server.cpu()
            answer = generator.run()
            cost = server.cpu() - before

CPU time and memory are those of the server's whole process tree, read from /proc: Linux only.
Every wait here has an end; what a server writes to stderr is shown when it fails, and only then.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks import programs
from benchmarks.programs import Failure as Failure

FOLDER = Path(__file__).parent
BUILD = FOLDER / "build"
READY_TIME = 30.0  # seconds for a server to print its port
CONNECT_TIME = 60.0  # seconds for a load to connect
LOAD_TIME = 30.0  # seconds for a load to end after the time it was asked to run
STOP_TIME = 5.0  # seconds between SIGTERM and SIGKILL
MOST_FILES = 65_536
SETTLE_LOOKS = 50  # a tenth of a second apart
TICKS = os.sysconf("SC_CLK_TCK")

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, LOAD_CPU = CPUS[0], CPUS[1 % len(CPUS)]


def raise_file_limit() -> int:
    """Lets this process and its children open as many files as it may, and returns how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with contextlib.suppress(OSError, ValueError):  # only root may raise the hard limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_FILES, max(hard, MOST_FILES)))
        return MOST_FILES
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most


def pinning() -> dict[str, str]:
    """Where the server and the load run, for the reports."""
    apart = SERVER_CPU != LOAD_CPU
    return {"pinned": f"server to CPU {SERVER_CPU}, load to CPU {LOAD_CPU}" if apart else "both to the only CPU"}


def compiled(name: str, *options: str) -> str:
    """The path of a C program of this folder, compiled when it is missing or older than its source.

    options: of the compiler; with others it is another program.
    """
    source, program = FOLDER / f"{name}.c", BUILD / "".join((name, *options))
    newest = max(each.stat().st_mtime for each in (source, FOLDER / "load_common.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        BUILD.mkdir(exist_ok=True)
        programs.require("cc")
        subprocess.run(["cc", "-O2", "-o", program, source, *options], check=True)
    return str(program)


def certificate() -> str:
    """The path of a certificate for 127.0.0.1 and its key, in one file; made anew for each run of this program."""
    file = BUILD / f"certificate-{os.getpid()}.pem"
    if not file.exists():
        BUILD.mkdir(exist_ok=True)
        atexit.register(file.unlink)
        programs.require("openssl")
        subject = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
        kind = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
        make = ["openssl", "req", *kind, *subject, "-keyout", "-", "-out", "-"]
        file.write_bytes(subprocess.run(make, check=True, capture_output=True).stdout)
    return str(file)


def _first_line(stream: IO[str], seconds: float) -> str:
    """One line of a child that writes one and then waits; the empty string when it ends or takes too long."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else ""


@dataclass
class Server:
    """A server that is running, and what it has used so far."""

    port: int
    pid: int

    def _tree(self) -> list[tuple[int, list[str]]]:
        """(pid, fields of /proc/PID/stat after the name) of the server and of all that descend from it."""
        found: dict[int, list[str]] = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):  # it may have ended meanwhile
                    found[int(entry)] = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
        tree = [self.pid]
        for parent in tree:  # grows while it is walked
            tree += [pid for pid, fields in found.items() if int(fields[1]) == parent]
        return [(pid, found[pid]) for pid in tree if pid in found]

    def pids(self) -> list[int]:
        """All its processes."""
        return [pid for pid, _fields in self._tree()]

    def cpu(self) -> float:
        """Seconds of CPU, user and system, of all threads and processes, those that have ended included."""
        total = 0.0
        for pid, fields in self._tree():
            user, system, childrens_user, childrens_system = (int(value) / TICKS for value in fields[11:15])
            try:
                # The clock of another process (clock_getcpuclockid(3)) counts nanoseconds where /proc counts hundredths
                # of a second, which is more than one of 500 forked children uses in a whole measurement.
                total += time.clock_gettime(~pid << 3 | 2)
            except OSError:  # it has ended and waits to be reaped
                total += user + system
            total += childrens_user + childrens_system
        return total

    def settle(self) -> None:
        """Waits until the server has done what connections that came or went left it to do, a few seconds at most."""
        before = self.cpu()
        for _ in range(SETTLE_LOOKS):
            time.sleep(0.1)
            now = self.cpu()
            if now - before < 0.002:
                return
            before = now

    def memory(self) -> int:
        """Bytes of physical memory; what several processes share is counted once."""
        total = 0
        for pid, _ in self._tree():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue  # it has ended, and waits to be reaped
            total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
        return total


@contextlib.contextmanager
def running(
    command: list[str], environment: dict[str, str] | None = None, cpus: Set[int] = frozenset({SERVER_CPU})
) -> Iterator[Server]:
    """Starts a server on its CPU, waits for its port, and ends it with all its children afterwards."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=FOLDER.parent,
            env=os.environ | (environment or {}),
            start_new_session=True,  # so that its children can be ended with it
            preexec_fn=lambda: os.sched_setaffinity(0, cpus),
        )
        assert process.stdout is not None
        try:
            line = _first_line(process.stdout, READY_TIME)
            if not line.strip().isdigit():
                raise Failure("it did not start")
            yield Server(int(line), process.pid)
            if process.poll() is not None:
                raise Failure(f"it ended with exit code {process.returncode}")
        except Failure as failure:
            errors.seek(0)
            said = errors.read()[-2000:].strip()
            raise Failure(f"{failure}\n{said}" if said else str(failure)) from None
        finally:
            process.stdout.close()
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIME)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what is left of its session
    process.wait()


@dataclass(frozen=True)
class Load:
    """connections: how many. size: bytes of a line, newline included. depth: lines in flight. kind: see load.c.

    apart: it has a CPU of its own; otherwise it is on all of them, and sleeps where there is nothing to do.
    """

    connections: int
    size: int
    depth: int
    kind: str = "echo"
    apart: bool = True

    def __str__(self) -> str:
        return f"{self.connections} connections × {self.size} B, {self.depth} in flight"


@dataclass
class Generator:
    """The load generator, connected and waiting to be told to run."""

    process: subprocess.Popen[str]
    seconds: float

    def run(self) -> dict[str, float]:
        """Runs to the end, and returns what the program counted, which its source tells. The connections stay open."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = _first_line(self.process.stdout, self.seconds + LOAD_TIME)
        if not line:
            raise _load_failed(self.process)
        answer: dict[str, float] = json.loads(line)
        return answer


def _load_failed(process: subprocess.Popen[str]) -> Failure:
    process.kill()
    assert process.stderr is not None
    return Failure(process.stderr.read().strip() or "the load did not end in time")


@contextlib.contextmanager
def load(server: Server, wanted: Load, seconds: float = 0.0) -> Iterator[Generator]:
    """Connects a load to a server; its connections have had their first answers, and are closed at the end."""
    options = ("-DTLS", "-lssl", "-lcrypto") if wanted.kind == "tls" else ()
    words = (wanted.kind, server.port, wanted.connections, wanted.size, wanted.depth, seconds)
    more, cpus = ((), {LOAD_CPU}) if wanted.apart else (("sleep",), set(CPUS))
    with generating(server, compiled("load", *options), (*words, *more), seconds, cpus) as generator:
        yield generator


@contextlib.contextmanager
def generating(
    server: Server,
    program: str,
    arguments: Sequence[str | float | socket.socket],
    seconds: float,
    cpus: Set[int] = frozenset({LOAD_CPU}),
) -> Iterator[Generator]:
    """Starts a load generator beside a server, and waits until it is ready. It inherits the sockets in its arguments."""
    sockets = [argument.fileno() for argument in arguments if isinstance(argument, socket.socket)]
    server.settle()
    process = subprocess.Popen(
        [program, *(str(each.fileno() if isinstance(each, socket.socket) else each) for each in arguments)],
        pass_fds=sockets,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    with process:
        try:
            assert process.stdout is not None
            if _first_line(process.stdout, CONNECT_TIME) != "ready\n":
                raise _load_failed(process)
            server.settle()
            yield Generator(process, seconds)
        except BaseException:
            process.kill()
            raise


def warm_up(server: Server, kind: str = "echo") -> None:
    """Fifty clients come and go: asyncio's first connections cost more, for a reason of the allocator (README)."""
    with load(server, Load(50, 100, 1, kind)) as generator:
        generator.run()
