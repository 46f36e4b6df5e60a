"""A virtual environment of its own for a program of this project that needs what the others do not: `.venv-NAME`.

    go_on_in("fuzz", "atheris")      in fuzz/__main__.py, before anything of it is imported

It is made from NAME/requirements.txt when it is missing or when that list has changed; then the program, `python -m NAME`,
starts again inside it. prise is imported from `src`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def go_on_in(name: str, what: str) -> None:
    """Comes back in the environment, and only there. what: is installed in it, for people. Raises CalledProcessError."""
    environment = PROJECT / f".venv-{name}"
    if Path(sys.prefix).resolve() == environment.resolve():
        return
    python = environment / "bin" / "python"
    requirements = PROJECT / name / "requirements.txt"
    installed = environment / "installed.txt"
    if not installed.exists() or installed.read_bytes() != requirements.read_bytes():
        print(f"installing {what} into {environment.name}", file=sys.stderr)
        venv.create(environment, with_pip=True, clear=True)
        options = ("--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(requirements))
        subprocess.run([str(python), "-m", "pip", "install", *options], check=True)
        installed.write_bytes(requirements.read_bytes())
    os.chdir(PROJECT)
    os.environ["PYTHONPATH"] = str(PROJECT / "src")
    os.execv(python, [str(python), "-m", name, *sys.argv[1:]])
