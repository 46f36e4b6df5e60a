"""What the tests of the blocking half share: a connection whose peer is a bare socket, and waiting for what others do."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prise import Connection, Limits, framing_of
from prise.core.pipeline import Pipeline

PATIENCE = 10.0
PATIENT = Limits(idle_time=None)
RESET = b"\1\0\0\0\0\0\0\0"
"""SO_LINGER: on, 0 seconds. A socket that is closed so sends a reset."""


@contextmanager
def talk(
    framing: str = "lines", limits: Limits = PATIENT, linger: float = 0.0, unix: bool = False
) -> Iterator[tuple[Connection, socket.socket]]:
    """A blocking connection, as a server has it, and the bare socket of its peer; over TCP, or a Unix socket pair."""
    if unix:
        sock, peer = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            peer = socket.create_connection(listener.getsockname())
            sock, _ = listener.accept()
    peer.settimeout(PATIENCE)
    pipeline = Pipeline(framing_of(framing), limits.message_size)
    with peer, Connection(sock, pipeline, limits, linger=linger) as connection:
        yield connection, peer


def read_all(peer: socket.socket) -> bytes:
    """Everything up to the end."""
    return b"".join(iter(lambda: peer.recv(65536), b""))


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for something that happens by itself and that nothing tells."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.005)


def children() -> set[int]:
    """The processes that this one has started and not waited for, dead ones as well (proc(5))."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_bytes().rpartition(b")")[2].split()[1]
        except OSError:  # it is gone
            continue
        if int(parent) == os.getpid():
            found.add(int(status.parent.name))
    return found
