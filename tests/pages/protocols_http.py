"""nginx is example.org."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import files, host
from pages.runner import Page
from real_servers import nginx

MORE = """location /files/ { autoindex on; dav_methods PUT DELETE; create_full_put_path on; alias @folder@/root/files/; }
        location /api { default_type application/json; return 200 '{"items": []}'; }
        location /echo {"""


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    nginx.CONFIGURATION = nginx.CONFIGURATION.replace("location /echo {", MORE)
    with host(page, nginx.Nginx(), 80, 443) as server:
        server.place("f.iso", bytes(300_000))
        server.make("root/files")
        for name in ("report.pdf", "notes.txt"):
            server.place(f"files/{name}", b"%PDF")
        files(page, report_pdf=b"%PDF 2")
        yield {}
