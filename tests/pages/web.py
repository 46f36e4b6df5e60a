"""The folder and the picture of the page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.hosts import files
from pages.runner import Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    (page.folder / "course").mkdir()
    files(page, photo_jpg=bytes(1000))
    yield {}
