"""Builds what is published, installs it into empty environments, and uses it there: `make test-dist`.

First the wheel and the source archive are built twice, from here and from the source archive in another folder: the
bytes must be the same. Then come four environments:

    wheel, no extra      the library; what the command says when click is missing
    wheel, [cli]         the command
    wheel, [all]         everything
    archive, [cli]       built on the spot, as pip does it

Nothing is fetched but packages of requirements/dev.txt, at their versions and with their hashes; what the extras ask for
must be among them, since prise itself is then installed without an index. It needs an environment with all of dev.txt.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from dependencies import ROOT, locked, needed

PATIENCE = 60.0
"""Seconds after which anything that is waited for has failed."""

SERVED_AND_ASKED = """
import prise
def greeter(connection):
    for line in connection:
        connection.send("Bonjour " + line)
with prise.listen(greeter, "127.0.0.1:0") as server, prise.connect(server.address) as connection:
    print(connection.ask("Ada", timeout=30))
"""

INSTALLED = (
    "share/man/man1/prise.1",
    "share/man/man1/prise-serve.1",
    "share/man/fr/man1/prise-chat-join.1",
    "share/bash-completion/completions/prise",
    "share/zsh/site-functions/_prise",
    "share/fish/vendor_completions.d/prise.fish",
)


def expect(pattern: str, text: str) -> None:
    if not re.search(pattern, text, re.MULTILINE):
        raise SystemExit(f"expected {pattern!r} in:\n{text}")


def build(root: Path, target: Path) -> dict[str, bytes]:
    """Names and contents of what is built from this folder."""
    subprocess.run(
        [root / "scripts" / "build", sys.executable, target], cwd=root, check=True, stdout=subprocess.DEVNULL
    )
    return {path.name: path.read_bytes() for path in target.iterdir()}


def build_twice(folder: Path) -> tuple[Path, Path]:
    """The wheel and the source archive, built and compared."""
    epoch = ["git", "log", "-1", "--format=%ct"]
    os.environ.setdefault("SOURCE_DATE_EPOCH", subprocess.check_output(epoch, cwd=ROOT, text=True).strip())
    first = build(ROOT, folder / "dist")
    (archive,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "elsewhere", filter="data")
    (elsewhere,) = (folder / "elsewhere").iterdir()
    if build(elsewhere, folder / "again") != first:
        raise SystemExit("two builds differ: " + (folder / "again" / "SHA256SUMS").read_text())
    return wheel, archive


class Environment:
    """An empty virtual environment with prise, and nothing from around it."""

    def __init__(self, folder: Path, package: Path, extra: str = "", *building: str) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        wanted = f"prise[{extra}]" if extra else "prise"
        requirements = folder / "requirements.txt"
        requirements.write_text(locked(needed(wanted, *building)), encoding="utf-8")
        self.pip("--require-hashes", "--no-deps", "-r", str(requirements))
        self.pip("--no-index", "--no-build-isolation", f"{wanted} @ {package.as_uri()}")
        kept = {"PATH": f"{folder / 'bin'}:/usr/bin:/bin", "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
        self.variables = {**kept, "LANG": "C.UTF-8", "PYTHONWARNINGS": "error"}

    def pip(self, *arguments: str) -> None:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(self.python),
            "install",
            "--quiet",
            "--no-compile",
            *arguments,
        ]
        quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
        # What is built is built by the environment's own tools, not by those of whoever runs this.
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        subprocess.run(command, env={**os.environ, **quiet, "PATH": path}, check=True)

    def run(self, *command: str, given: str = "", code: int = 0) -> str:
        """What a program of the environment writes, to stdout and stderr."""
        done = subprocess.run(
            command,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=self.variables,
            text=True,
            timeout=PATIENCE,
        )
        if done.returncode != code:
            raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}")
        return done.stdout

    @contextmanager
    def serving(self, *command: str) -> Iterator[str]:
        """A server of the environment; the port where it says that it listens."""
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            env=self.variables,
            text=True,
        )
        watchdog = threading.Timer(PATIENCE, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            said = ""
            while not (port := re.search(r"127\.0\.0\.1:(\d+)", said)):
                line = process.stdout.readline()
                said += line
                if not line:
                    raise SystemExit(f"{' '.join(command)} ended:\n{said}")
            yield port[1]
            process.terminate()
            said += process.communicate(timeout=PATIENCE)[0]
            if process.returncode:
                raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}\n{said}")
        finally:
            watchdog.cancel()
            process.kill()
            process.communicate()


def library(there: Environment) -> None:
    """Without any extra."""
    expect("Bonjour Ada", there.run("python", "-c", SERVED_AND_ASKED))
    expect(r"^prise \d", there.run("prise", "--version"))
    for command in (["prise"], ["python", "-m", "prise"]):
        expect(re.escape("pip install 'prise[cli]'"), there.run(*command, "serve", "echo", code=2))


def command(there: Environment) -> None:
    """With the extra cli."""
    expect(r"^prise \d", there.run("prise", "--version"))
    expect("Commandes", there.run("prise", "--lang", "fr", "--help"))
    for place in INSTALLED:
        expect("prise", (there.folder / place).read_text(encoding="utf-8"))
    with there.serving("prise", "serve", "echo", "--on", "127.0.0.1:0") as port:
        expect("^Bonjour$", there.run("prise", "connect", f"127.0.0.1:{port}", given="Bonjour\n"))


def everything(there: Environment) -> None:
    """With all extras: what needs them, too."""
    command(there)
    with there.serving("prise", "chat", "--on", "127.0.0.1:0") as port:
        said = there.run("prise", "chat", "join", "--pipe", "--name", "ada", f"127.0.0.1:{port}", given="Bonjour\n")
        expect("ada.*Bonjour", said)
        expect("<html", there.run("prise", "get", f"http://127.0.0.1:{port}/"))
    (there.folder / "README.md").write_text("# Read *me*", encoding="utf-8")
    with there.serving("prise", "web", "--on", "127.0.0.1:0") as port:
        expect("<em>me</em>", there.run("prise", "get", f"http://127.0.0.1:{port}/"))
    with there.serving("prise", "serve", "echo", "--on", "ws://127.0.0.1:0") as port:
        expect("Bonjour", there.run("prise", "connect", f"ws://127.0.0.1:{port}", given="Bonjour\n"))
    for php in ("autoload.php", "src/Channel.php"):
        expect("php/", there.run("python", "-c", f"import prise; print(open(prise.__path__[0] + '/php/{php}').name)"))


def main() -> None:
    with TemporaryDirectory(prefix="prise-dist-") as name:
        folder = Path(name)
        began = time.monotonic()

        def done(what: str) -> None:
            print(f"{time.monotonic() - began:5.1f} s  {what}", flush=True)

        wheel, archive = build_twice(folder)
        done(f"{wheel.name} and {archive.name}: built twice, the same bytes")
        library(Environment(folder / "bare", wheel))
        done("the wheel without extras")
        command(Environment(folder / "cli", wheel, "cli"))
        done("the wheel with [cli]")
        everything(Environment(folder / "all", wheel, "all"))
        done("the wheel with [all]")
        command(Environment(folder / "archive", archive, "cli", "hatchling"))
        done("the source archive with [cli]")


if __name__ == "__main__":
    main()
