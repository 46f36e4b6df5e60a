"""A site that is served, and curl as its client: for the tests of `prise.web`."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import prise
from prise.web.conversation import LIMITS, Handler, http_branch

PATIENCE = 20.0  # seconds, for a busy machine


class Answer(NamedTuple):
    """status: of the final answer. headers: names in lower case. body: as it was sent, not unpacked."""

    status: int
    headers: dict[str, str]
    body: bytes


class Served:
    """A running site. get: one request by curl; its arguments go before the URL."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str, *arguments: str, ends: int = 0) -> Answer:
        """ends: curl's exit code (18: the answer was cut short)."""
        if shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        # --path-as-is: curl would resolve ".." itself; --globoff: and take [] for a pattern.
        command = ["curl", "-q", "-s", "-i", "--path-as-is", "--globoff", "--raw", *arguments, self.url + path]
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == ends, done
        return answer(done.stdout)

    def send(self, raw: bytes) -> Answer:
        """Sends these bytes as they are, and returns the answer to them; for what curl would not say."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(raw)
            received = b""
            while piece := connection.recv(65536):
                received += piece
        return answer(received)

    def ask(self, path: bytes, *fields: bytes) -> Answer:
        """GET for a target of any bytes."""
        head = b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *fields))
        return self.send(head + b"\r\n\r\n")


def answer(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        name = name.lower()
        headers[name] = f"{headers[name]}, {value.strip()}" if name in headers else value.strip()
    return Answer(int(first.split()[1]), headers, body)


@contextmanager
def served(handler: Handler, *, quick: Any = None) -> Iterator[Served]:
    quick = getattr(handler, "quick", None) if quick is None else quick
    conversation, framing = http_branch(handler, quick=quick)
    with prise.listen(conversation, ":0", framing=framing, limits=LIMITS, model="asyncio") as server:
        port = server.addresses[0].port
        assert isinstance(port, int)
        yield Served(port)


def write(path: Path, content: bytes | str) -> Path:
    """A file that was written a while ago, as most were, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
