"""A network with the address of the page, and a /var/lib of its own."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from typing import Any

from pages.runner import Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    subprocess.run(["ip", "address", "add", "10.0.0.5/32", "dev", "lo"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/var/lib"], check=True)
    yield {}
