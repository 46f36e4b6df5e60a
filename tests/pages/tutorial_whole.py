"""The unit of the page names programs in /opt/salon, which systemd-analyze looks for."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pages.runner import Page


def installed(page: Page, name: str) -> None:
    """Lets /opt/NAME/venv/bin/prise be the program under test, in the mounts of this page alone: see runner.own_network."""
    programs = page.folder / ".opt" / name / "venv/bin"
    programs.mkdir(parents=True)
    (programs / "prise").symlink_to(Path(sys.executable).parent / "prise")
    subprocess.run(["mount", "--bind", str(page.folder / ".opt"), "/opt"], check=True)


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[None]:
    installed(page, "salon")
    yield
