"""ProFTPD is ftp.example.org, for ada."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import host
from pages.runner import Page
from real_servers.proftpd import Proftpd


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with host(page, Proftpd(), 21, 990) as server:
        server.place("pub/README", b"Read me.\n")
        yield {}
