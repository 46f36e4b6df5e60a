"""PHP for the tests: the programs of php/tests/programs, run by php-cli or inside a php-fpm of our own.

Both are given JSON and answer with lines of JSON. The workers of php-fpm are another user when the tests run as root, as they
are in real life; so what they read is copied to a folder that they can look into.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from peers import PATIENCE, need

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "php"
NOBODY = 65534
AS_ROOT = os.geteuid() == 0
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LISTEN_"))}
ENVIRONMENT |= {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}


class Running:
    """A program of PHP, at work or done."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def facts(self) -> dict[str, Any]:
        """All that it said by `say()`; anything else on its screen is an error."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        body = re.sub(rb"^(?:[\w-]+: [^\r\n]*\r\n)+\r\n", b"", output)  # FastCGI's headers
        try:
            facts: dict[str, Any] = {}
            for line in body.splitlines():
                facts |= json.loads(line)
        except ValueError:
            raise AssertionError(f"{output!r} {errors!r}") from None
        assert not errors, errors
        return facts

    def first(self) -> dict[str, Any]:
        """The first thing it says, while it goes on (php-cli only: FastCGI keeps what is said)."""
        assert self.process.stdout is not None
        facts: dict[str, Any] = json.loads(self.process.stdout.readline())
        return facts


class Php:
    """One kind of PHP. folder: where its sockets are to be. uid: of its processes."""

    kind: Literal["cli", "fpm"]
    folder: Path
    uid: int

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, program: str, **given: Any) -> Running:
        """given: what the program is told. `path` is where a channel is."""
        given = {name: str(value) if isinstance(value, Path) else value for name, value in given.items()}
        process = self._started(program, json.dumps(given))
        self.running.append(process)
        return Running(process)

    def _started(self, program: str, given: str) -> subprocess.Popen[bytes]:
        raise NotImplementedError

    def lets_in(self, path: Path) -> None:
        """Its processes may connect to this socket."""
        if self.uid != os.geteuid():
            os.chown(path, self.uid, -1)

    def stop(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


class Cli(Php):
    kind = "cli"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        need("php")
        self.folder, self.uid = folder, os.geteuid()

    def _started(self, program: str, given: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["php", "-d", "display_errors=stderr", SOURCE / "tests" / "programs" / program, given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


class Fpm(Php):
    """A php-fpm with a pool of our own, asked as a web server asks it."""

    kind = "fpm"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        need("php-fpm8.2", "cgi-fcgi")
        self.folder, self.uid = folder, NOBODY if AS_ROOT else os.geteuid()
        for part in ("autoload.php", "src", "tests/programs"):
            target = folder / "php" / part
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (SOURCE / part).is_dir() else shutil.copyfile)(SOURCE / part, target)
        for place in (folder / "php").rglob("*"):
            place.chmod(0o755 if place.is_dir() else 0o644)
        (folder / "work").mkdir()
        if AS_ROOT:
            os.chown(folder / "work", self.uid, -1)
        self._socket = folder / "fpm.sock"
        user = f"user = {self.uid}\ngroup = {self.uid}" if AS_ROOT else ""
        configuration = folder / "fpm.conf"
        configuration.write_text(
            f"[global]\nerror_log = {folder}/fpm.log\ndaemonize = no\n"
            f"[tests]\n{user}\nlisten = {self._socket}\npm = static\npm.max_children = 3\n"
        )
        self._master = subprocess.Popen(
            ["php-fpm8.2", "-n", "-d", "extension=sockets", "-y", configuration],
            env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            log = folder / "fpm.log"
            assert self._master.poll() is None, log.read_text() if log.exists() else "php-fpm does not start"
            assert time.monotonic() < deadline, "php-fpm does not listen"
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def _started(self, program: str, given: str) -> subprocess.Popen[bytes]:
        script = self.folder / "php" / "tests" / "programs" / program
        parameters = {"SCRIPT_FILENAME": str(script), "REQUEST_METHOD": "GET", "GIVEN": given}
        return subprocess.Popen(
            ["cgi-fcgi", "-bind", "-connect", self._socket],
            env=parameters | {"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def stop(self) -> None:
        super().stop()
        self._master.send_signal(signal.SIGTERM)
        self._master.wait(PATIENCE)


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """A folder that other users may pass through (pytest's own are ours alone), but not look or write into."""
    with tempfile.TemporaryDirectory(prefix="prise-php-") as name:
        os.chmod(name, 0o711)
        yield Path(name)
