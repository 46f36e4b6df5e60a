"""A folder for the sockets, the package where Composer would have it, a server at example.org:7000, and connections to give."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import prise
from pages.runner import ROOT, Page
from prise.testing import pair

WORKER = """<?php
fwrite(STDOUT, "PHP is here\\n");
"""


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
    os.makedirs("/run/app")
    (page.folder / "vendor").mkdir()
    (page.folder / "vendor" / "autoload.php").write_text(f"<?php require '{ROOT}/php/autoload.php';")
    (page.folder / "worker.php").write_text(WORKER)

    def greeting(connection: Any) -> None:
        connection.send("Welcome")

    near, far = pair()
    another, end = pair()
    with prise.listen(greeting, "127.0.0.1:7000"), near, far, another, end:
        yield {"connection": near, "another": another}
