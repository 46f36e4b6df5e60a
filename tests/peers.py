"""Other people's programs as peers: started on a port of their own, waited for without being touched, ended for sure."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from types import TracebackType
from typing import Self

import pytest

PATIENCE = 20.0
_LISTEN = "0A"


def need(*programs: str) -> None:
    """These come from tests/debian-packages.txt; where they cannot be installed, the test says so."""
    missing = [program for program in programs if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None]
    if missing:
        pytest.fail(f"missing programs: {', '.join(missing)} (scripts/test-programs installs them)")


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that was free a moment ago, for programs that cannot choose one themselves and say which."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def is_listening(port: int, kind: int = socket.SOCK_STREAM) -> bool:
    """As the kernel knows it (proc(5)): to connect would use up a server that takes one connection only."""
    name = "tcp" if kind == socket.SOCK_STREAM else "udp"
    for table in (name, f"{name}6"):
        with open(f"/proc/net/{table}", encoding="ascii") as lines:
            for line in list(lines)[1:]:
                fields = line.split()
                bound = int(fields[1].rpartition(":")[2], 16) == port
                if bound and (kind == socket.SOCK_DGRAM or fields[3] == _LISTEN):
                    return True
    return False


class Peer:
    """A program, in a `with` statement. port: where it is to listen; the block begins when it does."""

    def __init__(self, *argv: str, port: int = 0, kind: int = socket.SOCK_STREAM, given: bytes | None = None) -> None:
        need(argv[0])
        self.port = port
        self._kind = kind
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if given:
            assert self.process.stdin is not None
            self.process.stdin.write(given)
            self.process.stdin.flush()

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while self.port and not is_listening(self.port, self._kind):
            if self.process.poll() is not None or time.monotonic() > deadline:
                error = self.process.stderr.read().decode() if self.process.stderr else ""
                self.end()
                raise AssertionError(f"{self.process.args!r} does not listen: {error}")
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def output(self, timeout: float = PATIENCE) -> str:
        """All that it says, once it has ended by itself."""
        said, _ = self.process.communicate(timeout=timeout)
        return said.decode()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass  # it has ended with its input unread
