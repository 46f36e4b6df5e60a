"""`prise web` under what the network sends: clients that dawdle, random bytes, files larger than memory.

PRISE_LONG_TESTS=1 holds the dawdlers for up to 90 seconds, against the time limits that users get, and sends 10,000 requests.
"""

from __future__ import annotations

import os
import random
import selectors
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli_process import PATIENCE, Running
from site_support import Served, write

pytest.importorskip("click")

SLOW = os.environ.get("PRISE_LONG_TESTS") == "1"
DAWDLERS = 200


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    write(tmp_path / "a.txt", "a")
    options = [] if SLOW else ["--message-time", "1s"]
    with Running("web", str(tmp_path), "--on", "127.0.0.1:0", "--log", "none", *options) as server:
        yield Served(server.port())


def asked(site: Served) -> bytes:
    """What a client without bad intentions gets."""
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        received = b""
        while piece := connection.recv(65536):
            received += piece
    return received


def test_clients_that_never_end_their_heads_are_sent_away_and_nobody_waits_for_them(site: Served) -> None:
    with ExitStack() as stack, selectors.DefaultSelector() as waiting:
        for _ in range(DAWDLERS):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            waiting.register(connection, selectors.EVENT_READ)
        refused, answered, end = 0, 0, time.monotonic() + (90.0 if SLOW else PATIENCE)
        while waiting.get_map() and time.monotonic() < end:
            for key, _ in waiting.select(0.2):
                refused += b" 408 " in key.fileobj.recv(65536)  # type: ignore[union-attr]
                waiting.unregister(key.fileobj)
            for key in waiting.get_map().values():
                try:
                    key.fileobj.send(b"X-A: b\r\n"[:4])  # type: ignore[union-attr]
                except OSError:
                    pass  # it was cut this moment: the answer is read in the next round
            assert asked(site).endswith(b"\r\n\r\na")
            answered += 1
        assert not waiting.get_map()
        assert refused == DAWDLERS
        assert answered >= 3  # while they dawdled


def test_requests_of_random_bytes(site: Served) -> None:
    """Whatever arrives, the next client is answered. Half of them begin as requests do."""
    chance = random.Random(4)
    words = (
        b"GET ",
        b"/ HTTP/1.1\r\n",
        b"Host: x\r\n",
        b"\r\n",
        b"\n",
        b"%00",
        b"Content-Length: 5\r\n",
        b"chunked",
        b"\0",
        b"..",
    )
    for number in range(10_000 if SLOW else 2_000):
        with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as connection:
            data = chance.randbytes(chance.randrange(1, 200))
            if number % 2:
                data = b"".join(chance.choices(words, k=12)) + data
            try:
                connection.sendall(data)
            except OSError:
                pass  # it was refused before all of it was sent
    assert asked(site).endswith(b"\r\n\r\na")


def test_a_sparse_file_of_ten_gibibytes(site: Served, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    size = 10 * 2**30
    with open(tmp_path / "large.bin", "wb") as file:
        file.truncate(size)
        file.seek(size - 3)
        file.write(b"end")
    assert site.get("/large.bin", "-I").headers["content-length"] == str(size)
    last = site.get("/large.bin", "-H", f"Range: bytes={size - 5}-")
    assert (last.status, last.body) == (206, b"\0\0end")
    assert last.headers["content-range"] == f"bytes {size - 5}-{size - 1}/{size}"
    middle = site.get("/large.bin", "-H", f"Range: bytes={2**32}-{2**32 + 2**20 - 1}")
    assert middle.body == bytes(2**20)
    several = site.get("/large.bin", "-H", f"Range: bytes=0-0,{size - 1}-")
    assert several.body.count(b"Content-Range:") == 2
    with socket.create_connection(("127.0.0.1", site.port), timeout=PATIENCE) as leaving:
        leaving.sendall(b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert leaving.recv(65536).startswith(b"HTTP/1.1 200 ")
    assert site.get("/a.txt").body == b"a"  # one has gone in the middle, and all is well
