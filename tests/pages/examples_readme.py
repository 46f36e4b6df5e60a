"""The programs of the page, where it says that they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pages.runner import ROOT, Page


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    (page.folder / "examples").symlink_to(ROOT / "examples")
    yield {}
