"""What the tests of the chat room share: the real server in a process of its own, and real people's programs around it.

Nobody sleeps: a `Screen` collects what a program shows, and `wait_for` waits until that is there.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import websockets.exceptions
import websockets.sync.client

PATIENCE = 30.0  # seconds until something that does not come is given up
SOURCE = str(Path(__file__).resolve().parent.parent / "src")
NAME = "Your nickname?"
OPERATORS = "letmein"  # what /op asks for


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
            env={
                **os.environ,
                "PYTHONPATH": SOURCE,
                "PYTHONDONTWRITEBYTECODE": "",  # else each start would compile prise anew
                "PROMPT_TOOLKIT_NO_CPR": "1",
            },
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
    """`prise chat` on a free port of this machine. People may speak as fast as they like, unless `--rate` is given."""

    def __init__(self, store: Path, *options: str, terminal: bool = False, reading: bool = True) -> None:
        self.store = store
        super().__init__(
            *(sys.executable, "-W", "error", "-m", "prise", "chat"),
            *("--on", "127.0.0.1:0", "--store", f"sqlite:{store}", "--rate", "none"),
            *("--operator-password", OPERATORS, *options),
            terminal=terminal,
            reading=reading,
        )
        self.errors.wait_for(
            "\n", self.errors.wait_for(f"/op {OPERATORS}")
        )  # the last line of those that say how to join
        found = re.search(r"^ +(?:nc|openssl .*-connect) 127\.0\.0\.1[ :](\d+)$", self.errors.text, re.MULTILINE)
        assert found, self.errors.text
        self.port = int(found[1])
        self.greeting = self.errors.text

    def start_reading(self) -> None:
        self.screen.start()

    def person(self, name: str | None = None, **options: object) -> Person:
        return Person(self.port, name, **options)  # type: ignore[arg-type]

    def bot(self, name: str, carrier: str = "lines", **hello: Any) -> Bot:
        return Bot(self.port, carrier, name=name, **hello)

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


class Bot:
    """A program in the house that speaks docs/chat-protocol.md, over lines or over WebSocket. A context manager.

    hello: the fields of its first object; None: it says nothing yet.
    """

    def __init__(self, port: int, carrier: str = "lines", *, tls: ssl.SSLContext | None = None, **hello: Any) -> None:
        self.seen: list[tuple[str, Any]] = []
        sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._socket: Any = None
        self._stack = ExitStack()
        if carrier == "lines":
            self._sock = tls.wrap_socket(sock) if tls is not None else sock
            self._file = self._sock.makefile("rb")
        else:
            scheme = "ws" if tls is None else "wss"
            self._socket = self._stack.enter_context(
                websockets.sync.client.connect(
                    f"{scheme}://127.0.0.1:{port}/chat", sock=sock, ssl=tls, max_size=None, compression=None, proxy=None
                )
            )
        self.me: dict[str, Any] = {}
        if hello:
            self.say_hello(**hello)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Is gone without a word, as when the network breaks, or a program is killed."""
        sock = self._sock if self._socket is None else self._socket.socket
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        if self._socket is not None:
            self._stack.close()
        else:
            self._file.close()
            self._sock.close()

    def say_hello(self, **hello: Any) -> dict[str, Any]:
        self.send("hello", hello)
        self.me = self.until("welcome")
        return self.me

    def send(self, kind: str, given: Any = None) -> None:
        self.send_text(json.dumps({kind: given}))

    def send_text(self, text: str) -> None:
        if self._socket is not None:
            self._socket.send(text)
        else:
            self._sock.sendall(text.encode() + b"\n")

    def next(self) -> tuple[str, Any]:
        """The next object: its kind, and what it says. Raises EOFError at the end."""
        if self._socket is not None:
            try:
                text = self._socket.recv(PATIENCE)
            except websockets.exceptions.ConnectionClosed:
                raise EOFError from None
        else:
            try:
                text = self._file.readline()
            except ConnectionError:
                text = b""
            if not text.endswith(b"\n"):
                raise EOFError
        given = json.loads(text)
        assert isinstance(given, dict), text
        assert len(given) == 1, text
        self.seen.append(next(iter(given.items())))
        return self.seen[-1]

    def until(self, wanted: str, **fields: Any) -> Any:
        """Reads on to the first object of this kind that has these fields."""
        while True:
            kind, given = self.next()
            if kind == wanted and all(given.get(name) == value for name, value in fields.items()):
                return given

    def asks(self, kind: str, given: Any, answer: str, **fields: Any) -> Any:
        """Sends something and waits for the answer."""
        self.send(kind, given)
        return self.until(answer, **fields)

    def meanwhile(self) -> list[tuple[str, Any]]:
        """What has come by now."""
        start = len(self.seen)
        self.send("ping", {"mark": start})
        self.until("pong", mark=start)
        return self.seen[start:-1]

    def rest(self) -> list[tuple[str, Any]]:
        """Everything to the end of the connection."""
        start = len(self.seen)
        try:
            while True:
                self.next()
        except EOFError:
            return self.seen[start:]

    def messages(self, room: str = "salon") -> list[Any]:
        return [given for kind, given in self.seen if kind == "message" and given["room"] == room]

    def texts(self, room: str = "salon") -> list[str]:
        return [given["text"] for given in self.messages(room)]


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
