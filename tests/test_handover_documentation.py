"""The programs on the page about handovers do what it says."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

from prise.handover.frame import MOST_HEADER, MOST_PENDING, TAKEN

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "handover.md").read_text(encoding="utf-8")
TAKER, GIVER = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT / "src")}


def test_the_example(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    def start(stack: ExitStack, program: str) -> None:
        command = [sys.executable, "-W", "error", "-c", program]
        process = stack.enter_context(subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT))
        stack.callback(process.kill)

    def reachable(family: int, address: object) -> None:
        """Waits until somebody listens there."""
        pause = threading.Event()
        for _ in range(500):
            with socket.socket(family) as probe:
                if probe.connect_ex(address) == 0:  # type: ignore[arg-type]
                    return
            pause.wait(0.02)
        raise AssertionError("nobody listens")

    with ExitStack() as stack:
        start(stack, TAKER)
        pause = threading.Event()
        for _ in range(500):
            if (tmp_path / "run" / "take").exists():
                break
            pause.wait(0.02)
        start(stack, GIVER.replace("50000", str(port)))
        reachable(socket.AF_INET, ("127.0.0.1", port))
        with socket.create_connection(("127.0.0.1", port), timeout=10.0) as peer, peer.makefile() as heard:
            peer.sendall(b"ada\nare you there?\n")
            peer.shutdown(socket.SHUT_WR)
            said = heard.read()
            assert said == "Your name?\nHello ada, this is another process\nARE YOU THERE?\n"
            assert said in PAGE


def test_the_page_knows_the_bounds_and_the_answer() -> None:
    assert TAKEN[4:].decode() in PAGE
    assert f"{MOST_HEADER:,}" in PAGE
    assert f"{MOST_PENDING:,}" in PAGE
