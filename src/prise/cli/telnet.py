"""`prise connect telnet://HOST`: a terminal session, or telnet between two pipes.

On a terminal, keys go to the server as they are typed when it echoes them, and lines when it does not; what it hides (a
password) is not shown. The size of the window is told, and told again when it changes. Ctrl-] leaves. What comes is for the
terminal to obey, as with every telnet: escape sequences included.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, cast

import prise
from prise.cli.link import Mapped, PatientLink, Piped, converse, write_all
from prise.cli.outcome import say
from prise.cli.terminal import is_terminal
from prise.locale import translate as _
from prise.protocols.target import Target
from prise.protocols.telnet.terminal import Terminal
from prise.protocols.telnet.urgent import keep_in_line

ESCAPE = b"\x1d"
"""Ctrl-], as in every telnet."""


def carrier(url: str) -> str:
    """The address that a telnet URL's bytes go to. Raises AddressError."""
    target = Target.parse(url)
    if target.policy == "required" and not target.tls:
        raise prise.UsageError("telnet cannot become encrypted on the way: write {url}", url="telnets://...")
    return str(prise.Address("tls" if target.tls else "tcp", target.host, target.port))


def talk_telnet(connection: prise.Connection, url: str, wait: float) -> None:
    """The whole talk, until one side ends or Ctrl-] is pressed. wait: seconds of silence after the end of our input that mean
    the end of the answers."""
    keep_in_line(connection)
    by_hand = is_terminal()
    kind = os.environ.get("TERM") or "unknown" if by_hand else "dumb"
    terminal = Terminal(kind, os.get_terminal_size(0) if by_hand else (80, 24), Target.parse(url).user)
    inner = Inner(connection, terminal)
    link = PatientLink(cast(prise.Connection, inner), None, wait)
    if not by_hand:
        ends = LineEnds(terminal)
        converse(link, Mapped(Piped(), ends, ends.end), write_all)
        return
    say(_("connected to {peer}; Ctrl-] leaves").format(peer=connection.peer))
    try:
        with Keys(terminal) as keys:
            inner.changed = keys.follow
            converse(link, keys, write_all)
    except Left:
        return
    say(_("the other side has ended"))


class Left(Exception):
    """Ctrl-] was pressed."""


class Inner:
    """A connection with telnet taken out of what comes. One thread receives while another sends."""

    half_closes = False
    """Servers hang up at the end of the input, with the answers still to come."""

    websocket = None

    def __init__(self, connection: prise.Connection, terminal: Terminal) -> None:
        self._connection = connection
        self._terminal = terminal
        self.changed: Callable[[], None] = lambda: None  # called when options may have changed
        self.send, self.abort = connection.send, connection.abort

    @property
    def lost(self) -> Any:
        return self._connection.lost

    def receive(self, timeout: float | None) -> bytes | None:
        """As `prise.Connection.receive`. What is telnet's own alone does not count: a server that says NOP now and then, to see
        whether we are there, is silent."""
        until = None if timeout is None else time.monotonic() + timeout
        text = b""
        while not text:
            data = self._connection.receive(None if until is None else max(until - time.monotonic(), 0))
            if data is None:
                return None
            text = self._terminal.receive(data)
            if answers := self._terminal.output():
                self._connection.post(answers)
            self.changed()
        return text


class LineEnds:
    r"""Lines as telnet has them; the \r of a \r\n may come for itself."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._held = b""

    def __call__(self, data: bytes) -> Iterator[bytes]:
        data = self._held + data
        self._held = b"\r" if data.endswith(b"\r") else b""
        if data := data.removesuffix(b"\r"):
            yield self._terminal.send(data)

    def end(self) -> Iterator[bytes]:
        if self._held:
            yield self._terminal.send(self._held)


class Keys:
    """What is typed, as it is sent, in a `with` statement, which gives the terminal back as it was. Iterating raises Left."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._usual = termios.tcgetattr(0)
        self._mode: tuple[bool, bool] | None = None
        self._woken, self._wake = os.pipe()
        self._stopped = self._resized = False
        self._handler: Any = None
        self._setting = threading.Lock()
        self._over = False

    def __enter__(self) -> Self:
        os.set_blocking(self._wake, False)
        self._handler = signal.signal(signal.SIGWINCH, self._on_resize)
        self.follow()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, self._handler)
        with self._setting:
            self._over = True
            termios.tcsetattr(0, termios.TCSADRAIN, self._usual)
        if kind is Left or self._mode != (False, False):
            sys.stderr.write("\r\n")  # the cursor may be anywhere in its line

    def __iter__(self) -> Iterator[bytes]:
        while True:
            ready, _writable, _failed = select.select([0, self._woken], [], [])
            if self._woken in ready:
                os.read(self._woken, 100)
                if self._stopped:
                    return
                if self._resized:
                    self._resized = False
                    yield self._terminal.resize(*os.get_terminal_size(0))
            if 0 in ready:
                data = os.read(0, 4096)
                typed, escape, _rest = data.partition(ESCAPE)
                if typed:
                    yield self._terminal.send(typed)
                if escape:
                    raise Left
                if not data:
                    return

    def stop(self) -> None:
        self._stopped = True
        self._signal()

    def follow(self) -> None:
        """Sets the terminal to what is agreed with the server. Called from two threads, and perhaps too late."""
        with self._setting:
            mode = self._terminal.echoes, self._terminal.by_character
            if mode != self._mode and not self._over:
                self._mode = mode
                self._set(*mode)

    def _set(self, hidden: bool, by_character: bool) -> None:
        flags_in, flags_out, flags_control, flags_local, speed_in, speed_out, keys = termios.tcgetattr(0)
        flags_in, flags_local, keys = self._usual[0], self._usual[3], list(self._usual[6])
        if by_character:
            # All keys are the server's, Ctrl-C too. What is written stays as it was: a bare \n may come (RFC 856).
            flags_in &= ~(
                termios.BRKINT | termios.ICRNL | termios.INLCR | termios.IGNCR | termios.ISTRIP | termios.IXON
            )
            flags_local &= ~(termios.ECHO | termios.ICANON | termios.ISIG | termios.IEXTEN)
            keys[termios.VMIN], keys[termios.VTIME] = 1, 0
        else:
            keys[termios.VEOL] = ESCAPE  # ends a line as Enter does, so it is seen at once
            if hidden:
                flags_local = flags_local & ~termios.ECHO | termios.ECHONL
        attributes = [flags_in, flags_out, flags_control, flags_local, speed_in, speed_out, keys]
        termios.tcsetattr(0, termios.TCSADRAIN, attributes)

    def _on_resize(self, number: int, frame: object) -> None:
        self._resized = True
        self._signal()

    def _signal(self) -> None:
        try:
            os.write(self._wake, b"!")
        except BlockingIOError:
            pass  # it is awake
