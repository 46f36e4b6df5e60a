"""The example of `prise.ipc` and the programs on its page do what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

from prise import ipc

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "ipc.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT / "src")}


def run(program: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)], env=ENVIRONMENT, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_example_of_pictures() -> None:
    assert run(ROOT / "examples" / "ipc_pictures.py") == [
        "half of it 0: 0.0",
        "half of it 64: 32.0",
        "half of it 255: 127.5",
    ]


def test_the_first_program_of_the_page(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(BLOCKS[0], encoding="utf-8")
    assert run(program) == ["b'SALUT'", "5000000 True"]


@pytest.mark.parametrize("number", range(1, len(BLOCKS)))
def test_the_other_programs_of_the_page(number: int) -> None:
    near, far = ipc.pair()
    with near as connection, far as other:
        names = {"connection": connection, "numpy": numpy}
        if "receive" in BLOCKS[number]:
            other.send(numpy.zeros((1000, 1000)))
            other.send(b"salut")
        exec(BLOCKS[number], names)
        arrived = numpy.asarray(other.receive(10))
        assert arrived.shape == (1000, 1000)
        if "text" in names:
            assert names["text"] == "salut"
            assert names["table"].shape == (1000, 1000)  # type: ignore[attr-defined]
