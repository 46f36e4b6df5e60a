"""ProFTPD is ftp.example.org, for ada and for everybody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import files, host
from pages.runner import Page
from real_servers import proftpd

ANONYMOUS = """
<Anonymous @folder@/root>
    User @account@
    Group @group@
    UserAlias anonymous @account@
    RequireValidShell off
    AnonRequirePassword off
</Anonymous>
"""


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    proftpd.CONFIGURATION += ANONYMOUS
    with host(page, proftpd.Proftpd(), 21, 990) as server:
        server.place("pub/README", b"Read me.\n")
        server.place("pub/photos/one.jpg", b"\xff\xd8" * 1000)
        server.place("big.iso", bytes(300_000))
        server.make("root/inbox")
        files(page, report_pdf=b"%PDF", big_iso=bytes(100_000))
        yield {}
