"""Runs the command as a user does, in a process of its own, and waits for what it says (for the tests of the command)."""

from __future__ import annotations

import gettext
import io
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO, Any, Self

import pytest

SOURCE = str(Path(__file__).resolve().parent.parent / "src")
PATIENCE = 30.0
"""Seconds after which a test gives up. Long, for busy machines; nothing ever waits for it to pass."""


def environment(language: str = "en_US.UTF-8", **more: str) -> dict[str, str]:
    chosen = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG"))}
    chosen.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start would compile prise anew
    return {**chosen, "LANG": language, "PYTHONPATH": SOURCE, "PYTHONUTF8": "1", **more}


def argv(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "prise", *arguments]


def run(
    *arguments: str,
    given: bytes | None = b"",
    language: str = "en_US.UTF-8",
    cwd: Path | None = None,
    **more: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end. The answer has returncode, stdout, stderr (text)."""
    done = subprocess.run(
        argv(*arguments),
        input=given,
        capture_output=True,
        env=environment(language),
        cwd=cwd,
        timeout=PATIENCE,
        check=False,
        **more,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def run_here(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`run`, but in this process and in English: for mistakes, which end before anything is loaded, served or read.

    To start Python and the measuring of coverage takes a hundred times as long as to say what is wrong.
    """
    from prise.cli.root import run as run_command

    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in ("stdout", "stderr")]
    spoken, domain, folder, path = os.environ.get("LANGUAGE"), gettext.textdomain(), os.getcwd(), sys.path[:]
    try:
        os.chdir(cwd or folder)
        with redirect_stdout(streams[0]), redirect_stderr(streams[1]):
            code = run_command(["--lang", "en", *arguments])
    finally:
        os.chdir(folder)
        sys.path[:] = path
        gettext.textdomain(domain)
        os.environ.pop("LANGUAGE")  # set by the command, for its children
        if spoken is not None:
            os.environ["LANGUAGE"] = spoken
    said = []
    for stream in streams:
        stream.flush()
        said.append(stream.buffer.getvalue().decode())
    return subprocess.CompletedProcess(["prise", *arguments], code, *said)


class Running:
    """The command while it runs. Use it in a `with` statement: at its end the process is gone."""

    def __init__(self, *arguments: str, language: str = "en_US.UTF-8", cwd: Path | None = None, **more: str) -> None:
        self.process = subprocess.Popen(
            argv(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(language, **more),
            cwd=cwd,
        )
        self.out = Lines(self.process.stdout)
        self.err = Lines(self.process.stderr)

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def port(self, pattern: str = r"127\.0\.0\.1:(\d+)") -> int:
        """The port where it says on stderr that it listens."""
        return int(self.err.expect(pattern)[1])

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # not kill: a parent takes its child with it
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            try:
                stream.close()
            except BrokenPipeError:
                pass


class Lines:
    """The lines of a stream, as they come."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue()
        self.seen: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for line in self._stream:
                self._queue.put(line.decode(errors="replace").rstrip("\n"))
        except ValueError:
            pass  # closed by the test's end
        self._queue.put(None)

    def line(self) -> str | None:
        """The next line; None at the end."""
        try:
            line = self._queue.get(timeout=PATIENCE)
        except queue.Empty:
            pytest.fail(f"no further line; so far: {self.seen}")
        if line is not None:
            self.seen.append(line)
        return line

    def expect(self, pattern: str) -> re.Match[str]:
        """The next line that has this in it."""
        while (line := self.line()) is not None:
            if match := re.search(pattern, line):
                return match
        pytest.fail(f"{pattern!r} never came; there was {self.seen}")

    def rest(self) -> list[str]:
        found = []
        while (line := self.line()) is not None:
            found.append(line)
        return found


class Screen:
    """A terminal (tmux) in which the command runs; what is on the screen can be read, and keys pressed."""

    def __init__(self, *arguments: str, language: str = "en_US.UTF-8", path: str = SOURCE) -> None:
        if shutil.which("tmux") is None:
            pytest.skip("tmux is not installed")
        self._folder = tempfile.TemporaryDirectory(prefix="prise-tmux-")
        self._server = ["tmux", "-S", f"{self._folder.name}/socket", "-f", os.devnull]
        self._env = environment(language, TERM="xterm-256color") | {"PYTHONPATH": path}
        # The shell survives the Ctrl-C that the command is given, and what was on the screen stays readable.
        script = 'trap : INT; "$@"; echo "exit $?"; cat'
        self._tmux("new-session", "-d", "-x", "80", "-y", "24", "--", "sh", "-c", script, "sh", *argv(*arguments))

    def _tmux(self, *words: str) -> str:
        done = subprocess.run(
            [*self._server, *words], capture_output=True, env=self._env, check=True, timeout=PATIENCE, text=True
        )
        return done.stdout

    def text(self) -> list[str]:
        """The lines on the screen, without empty ones at the end."""
        return self._tmux("capture-pane", "-p", "-J").rstrip().split("\n")

    def expect(self, *lines: str) -> list[str]:
        """Waits until lines like these (patterns of whole lines, one below the other) are on the screen; returns it all."""
        deadline = time.monotonic() + PATIENCE
        while True:
            text = self.text()
            for start in range(len(text) - len(lines) + 1):
                if all(re.fullmatch(line, there) for line, there in zip(lines, text[start:], strict=False)):
                    return text
            if time.monotonic() > deadline:
                pytest.fail(f"{lines} never came on the screen; there was {text}")

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by their names in tmux(1): Enter, C-d, BSpace, Left."""
        self._tmux("send-keys", *keys)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._server, "kill-server"], env=self._env, check=False, capture_output=True)
        self._folder.cleanup()


def without(module: str, folder: Path) -> str:
    """A PYTHONPATH with which this module is not found, as where it was never installed."""
    (folder / module).mkdir(parents=True)
    (folder / module / "__init__.py").write_text(f"raise ModuleNotFoundError(name={module!r})\n")
    return os.pathsep.join((str(folder), SOURCE))
