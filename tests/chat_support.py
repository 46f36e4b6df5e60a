"""What the tests of the chat room share: the real server in a process of its own, and real people's programs around it.

Nobody sleeps: a `Screen` collects what a program shows, and `wait_for` waits until that is there.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 30.0  # seconds until something that does not come is given up
SOURCE = str(Path(__file__).resolve().parent.parent / "src")
NAME = "Your nickname?"


def plain(data: bytes) -> bytes:
    """What a terminal would show, roughly: a cursor that moves to the right is a space, other control sequences nothing."""
    spaced = re.sub(rb"[\r\x08]?\x1b\[\d*C", b" ", data)
    return re.sub(rb"\x1b(\[[0-?]*[ -/]*[@-~]|[=>])", b"", spaced)


class Screen:
    """What was shown so far. read: gives the next bytes, b"" at the end. seen: what a person sees of them."""

    def __init__(
        self, read: Callable[[], bytes], seen: Callable[[bytes], bytes] = bytes, *, reading: bool = True
    ) -> None:
        self._read = read
        self._seen = seen
        self._shown = bytearray()
        self._ended = False
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._collect, daemon=True)
        if reading:
            self.start()

    def start(self) -> None:
        """Begins to read."""
        self._thread.start()

    def _collect(self) -> None:
        while True:
            try:
                data = self._read()
            except OSError:  # a reset; a terminal whose other end is closed
                data = b""
            with self._news:
                self._shown += data
                self._ended = not data
                self._news.notify_all()
            if not data:
                return

    @property
    def text(self) -> str:
        with self._news:
            return self._seen(bytes(self._shown)).decode(errors="replace").replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The whole lines."""
        return self.text.split("\n")[:-1]

    def wait_for(self, text: str, after: int = 0) -> int:
        """Waits until this is shown, and returns where it ends. after: from where to look."""

        def found() -> int:
            shown = self._shown if self._seen is bytes else self._seen(bytes(self._shown))
            place = shown.find(text.encode(), after)
            return place + len(text.encode()) if place >= 0 else 0

        with self._news:
            self._news.wait_for(lambda: found() or self._ended, PATIENCE)
            place = found()
        assert place, f"{text!r} is not in:\n{self.text[-3000:]}\n{bytes(self._shown[-300:])!r}"
        return place

    def wait_size(self, size: int) -> None:
        """Waits until so many bytes have been shown."""
        with self._news:
            assert self._news.wait_for(lambda: len(self._shown) >= size, PATIENCE)

    def wait_end(self) -> str:
        """Waits until nothing more can come; returns everything."""
        with self._news:
            assert self._news.wait_for(lambda: self._ended, PATIENCE), f"no end after:\n{self.text[-3000:]}"
        self._thread.join()
        return self.text


class Person:
    """Somebody in the room with a raw socket that reads `recv(255)`, as in the tutorials. A context manager."""

    def __init__(self, port: int, name: str | None = None, *, read: bool = True, end: bytes = b"\n") -> None:
        self.sock = socket.socket()
        if not read:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(("127.0.0.1", port))
        self.end = end
        self.screen = Screen(lambda: self.sock.recv(255), reading=read)
        self._reading = read
        if name is not None:
            self.say(name)
            if read:
                self.sees(f"* {name} joined")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)  # ends the thread that reads
        except OSError:
            pass
        if self._reading:
            self.screen.wait_end()
        self.sock.close()

    def say(self, text: str) -> None:
        self.send(text.encode() + self.end)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def sees(self, text: str, after: int = 0) -> int:
        return self.screen.wait_for(text, after)

    def leaves(self) -> str:
        """Is let go by the server; returns all that was shown."""
        return self.screen.wait_end()


class Program:
    """A program with its stdin in our hand and its stdout on a `Screen`: nc, telnet, the server. A context manager."""

    def __init__(self, *command: str, terminal: bool = False, reading: bool = True) -> None:
        self._terminal = -1
        if terminal:
            # A terminal of its own, the controlling one, so that Ctrl-C and the like mean what they mean.
            self._terminal, theirs = pty.openpty()
            stdin = stdout = theirs
            command = ("setsid", "--ctty", *command)
        else:
            stdin = stdout = subprocess.PIPE
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": SOURCE, "PROMPT_TOOLKIT_NO_CPR": "1"},
        )
        if terminal:
            os.close(theirs)
            self.screen = Screen(lambda: os.read(self._terminal, 4096), plain)
        else:
            self.screen = Screen(self._reader(self.process.stdout), reading=reading)
        self.errors = Screen(self._reader(self.process.stderr))

    @staticmethod
    def _reader(pipe: object) -> Callable[[], bytes]:
        descriptor = pipe.fileno()  # type: ignore[attr-defined]
        return lambda: os.read(descriptor, 65536)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self.screen.wait_end()
        self.errors.wait_end()
        with self.process:  # closes its pipes
            pass
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def say(self, text: str) -> None:
        self.send(text.encode() + (b"\r" if self._terminal >= 0 else b"\n"))

    def send(self, data: bytes) -> None:
        descriptor = self._terminal
        if descriptor < 0:
            assert self.process.stdin is not None
            descriptor = self.process.stdin.fileno()
        os.write(descriptor, data)

    def close_stdin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def sees(self, text: str, after: int = 0) -> int:
        return self.screen.wait_for(text, after)

    def finish(self) -> int:
        """Waits for the program's own end and returns its exit code."""
        return self.process.wait(PATIENCE)


class Chat(Program):
    """`prise chat` on a free port of this machine."""

    def __init__(self, store: Path, *options: str, terminal: bool = False, reading: bool = True) -> None:
        self.store = store
        super().__init__(
            *(sys.executable, "-W", "error", "-m", "prise", "chat"),
            *("--tcp", "127.0.0.1:0", "--store", f"sqlite:{store}"),
            *options,
            terminal=terminal,
            reading=reading,
        )
        self.errors.wait_for("\n", self.errors.wait_for(".sqlite"))  # the last line of those that say how to join
        found = re.search(r"^ +nc 127\.0\.0\.1 (\d+)$", self.errors.text, re.MULTILINE)
        assert found, self.errors.text
        self.port = int(found[1])
        self.greeting = self.errors.text

    def start_reading(self) -> None:
        self.screen.start()

    def person(self, name: str | None = None, **options: object) -> Person:
        return Person(self.port, name, **options)  # type: ignore[arg-type]

    def nc(self, *options: str) -> Program:
        return Program("nc", *options, "127.0.0.1", str(self.port))

    @property
    def complaints(self) -> str:
        """What is on stderr beyond the greeting."""
        return self.errors.text.removeprefix(self.greeting)

    @property
    def memory(self) -> int:
        """Resident memory, in bytes (proc(5))."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Asks it to end, which it does well and without complaint."""
        self.process.send_signal(number)
        code = self.finish()
        assert (code, self.errors.wait_end().removeprefix(self.greeting)) == (0, "")


@contextmanager
def in_room(chat: Chat, *names: str) -> Iterator[list[Person]]:
    """Several people, who have joined one after the other and see each other."""
    people: list[Person] = []
    try:
        for name in names:
            people.append(chat.person(name))
        for person in people[:-1]:
            person.sees(f"* {names[-1]} joined")
        yield people
    finally:
        for person in people:
            person.__exit__(None, None, None)


def said(lines: list[str]) -> list[tuple[str, str]]:
    """The messages among lines as they are shown: (author, text)."""
    found = (re.fullmatch(r"\d\d:\d\d <([^>]*)> (.*)", line) for line in lines)
    return [(match[1], match[2]) for match in found if match]
