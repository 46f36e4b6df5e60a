"""Gophernicus is gopher.example.org."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import host
from pages.runner import Page
from real_servers.gophernicus import SEARCH, Gophernicus


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with host(page, Gophernicus(), 70, 7070) as server:
        server.place("gophermap", b"0About\t/about.txt\n9A picture\t/picture.bin\n1A folder\t/folder\n")
        server.place("about.txt", b"About this server.\n")
        server.place("picture.bin", bytes(1000))
        server.place("cgi-bin/search", SEARCH.encode(), 0o755)
        yield {}
