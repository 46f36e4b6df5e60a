"""The unit of the page names a program in /opt/talk, which systemd-analyze looks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pages.tutorial_whole import installed

if TYPE_CHECKING:
    from pages.runner import Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[None]:
    installed(page, "talk")
    yield
