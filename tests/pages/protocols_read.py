"""All the hosts that can be read: mail, news, files and gopher."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages import protocols_ftp, protocols_gopher, protocols_nntp, protocols_pop3
from pages.runner import Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        for other in (protocols_ftp, protocols_gopher, protocols_nntp, protocols_pop3):
            stack.enter_context(other.prepare(page))
        yield {}
