"""GNU telnetd is router.example.org, on the port of telnet, over TLS as well, and on 2323."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import prise
from pages.hosts import files, host
from pages.runner import Page
from real_servers.telnetd import Telnetd


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with host(page, Telnetd(), 23) as server:
        files(page, ca_pem=server.ca.read_bytes())
        page.start("prise relay :2323 :23", False)
        page.start(f"prise relay 'tls,cert={server.cert()},key={server.key()}:127.0.0.1:992' :23", False)
        yield {"prise": prise}
