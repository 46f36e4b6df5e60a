"""The interface of `telnetlib`, which Python 3.13 has removed, for programs that were written for it.

    from prise.compat.telnetlib import Telnet        in place of        from telnetlib import Telnet

All is as it was: bytes come back, EOFError is the end, an option is refused unless a callback takes it, and what goes wrong
with the socket is an OSError. For new programs there is `prise.open("telnet://...")`, which answers options and has TLS.

What differs: reads are not cut into pieces of 50 bytes, the timeout of `expect` holds while text flows too, what has come and
was not taken has a bound, and no text from the network can make `interact` fail.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from select import POLLIN, poll
from types import TracebackType
from typing import Any, Self

from prise.errors import MessageTooLarge
from prise.protocols.telnet import wire

__all__ = ["Telnet"]

DEBUGLEVEL = 0
TELNET_PORT = 23

theNULL = b"\0"
IAC, DONT, DO, WONT, WILL, SB = (bytes((code,)) for code in (255, 254, 253, 252, 251, 250))
GA, EL, EC, AYT, AO, IP, BRK, DM, NOP, SE = (bytes((code,)) for code in range(249, 239, -1))
# Options, in the order of their numbers.
BINARY, ECHO, RCP, SGA, NAMS, STATUS, TM, RCTE = (bytes((code,)) for code in range(8))
NAOL, NAOP, NAOCRD, NAOHTS, NAOHTD, NAOFFD, NAOVTS, NAOVTD = (bytes((code,)) for code in range(8, 16))
NAOLFD, XASCII, LOGOUT, BM, DET, SUPDUP, SUPDUPOUTPUT, SNDLOC = (bytes((code,)) for code in range(16, 24))
TTYPE, EOR, TUID, OUTMRK, TTYLOC, VT3270REGIME, X3PAD, NAWS = (bytes((code,)) for code in range(24, 32))
TSPEED, LFLOW, LINEMODE, XDISPLOC, OLD_ENVIRON, AUTHENTICATION = (bytes((code,)) for code in range(32, 38))
ENCRYPT, NEW_ENVIRON, TN3270E, XAUTH, CHARSET, RSP = (bytes((code,)) for code in range(38, 44))
COM_PORT_OPTION, SUPPRESS_LOCAL_ECHO, TLS, KERMIT, SEND_URL, FORWARD_X = (bytes((code,)) for code in range(44, 50))
PRAGMA_LOGON, SSPI_LOGON, PRAGMA_HEARTBEAT = (bytes((code,)) for code in (138, 139, 140))
EXOPL = b"\xff"
NOOPT = theNULL

MOST_KEPT = 256 * 1024 * 1024
"""Bytes that have come and were not taken; `read_all` returns no more."""

READ_SIZE = 64 * 1024

_USUAL: Any = object()  # a timeout that nobody has given
_DROPPED = theNULL + b"\x11"  # padding, and XON

Callback = Callable[[Any, bytes, bytes], object]


class Telnet:
    """A client, connected when it is made with a host, or by `open`. See the documentation of Python 3.12.

    sock, host, port, timeout, eof, rawq (received), cookedq (text in it), debuglevel, option_callback: as they were.
    """

    sock: Any = None  # before __init__ has ended, for __del__

    def __init__(self, host: str | None = None, port: int = 0, timeout: float | None = _USUAL) -> None:
        self.debuglevel = DEBUGLEVEL
        self.host = host
        self.port = port
        self.timeout = timeout
        self.rawq = b""
        self.cookedq = b""
        self.eof: bool | int = 0
        self.sbdataq = b""
        self.option_callback: Callback | None = None
        self._wire = wire.Wire()
        self._wire.binary = True  # what is dropped here is dropped by other rules
        if host is not None:
            self.open(host, port, timeout)

    def open(self, host: str, port: int = 0, timeout: float | None = _USUAL) -> None:
        """Connects. port: 0 is 23. timeout: seconds for this and for each blocking read or write; by default the socket
        module's. Raises OSError."""
        self.eof = 0
        self.host, self.port = host, port or TELNET_PORT
        self.timeout = timeout
        sys.audit("telnetlib.Telnet.open", self, host, self.port)
        seconds = socket.getdefaulttimeout() if timeout is _USUAL else timeout
        self.sock = socket.create_connection((host, self.port), seconds)

    def close(self) -> None:
        """Closes the connection; twice is harmless."""
        sock, self.sock = self.sock, None
        self.eof = True
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get_socket(self) -> Any:
        """The socket."""
        return self.sock

    def fileno(self) -> int:
        """Its descriptor, so that a selector takes this object."""
        number: int = self.sock.fileno()
        return number

    def set_debuglevel(self, debuglevel: int) -> None:
        """Above 0, `msg` prints."""
        self.debuglevel = debuglevel

    def msg(self, msg: str, *args: Any) -> None:
        """Prints a message for debugging, filled with the arguments by %."""
        if self.debuglevel > 0:
            print(f"Telnet({self.host},{self.port}):", msg % args if args else msg)

    def set_option_negotiation_callback(self, callback: Callback | None) -> None:
        """callback(socket, command, option), for each option and each command that comes; the callback alone answers then."""
        self.option_callback = callback

    # -- writing and reading -------------------------------------------------------------------------------------------

    def write(self, buffer: bytes) -> None:
        """Sends bytes; each 255 among them is doubled. Raises OSError."""
        buffer = wire.doubled(buffer)
        sys.audit("telnetlib.Telnet.write", self, buffer)
        self.msg("send %r", buffer)
        self.sock.sendall(buffer)

    def read_until(self, match: bytes, timeout: float | None = None) -> bytes:
        """All up to `match`, and that; what there is, perhaps nothing, when the time is over or the end has come.
        Raises EOFError at the end when there is nothing."""
        looked = 0
        for _ in self._reads(timeout):
            if (start := self.cookedq.find(match, looked)) >= 0:
                return self._take(start + len(match))
            looked = max(len(self.cookedq) - len(match) + 1, 0)
        return self.read_very_lazy()

    def read_all(self) -> bytes:
        """All, up to the end."""
        self.process_rawq()
        while self._read_more():
            pass
        return self._take()

    def read_some(self) -> bytes:
        """At least one byte; b"" at the end."""
        self.process_rawq()
        while not self.cookedq and self._read_more():
            pass
        return self._take()

    def read_very_eager(self) -> bytes:
        """All that can be had without waiting. Raises EOFError at the end when there is nothing."""
        self.process_rawq()
        while not self.eof and self.sock_avail():
            self._read_more()
        return self.read_very_lazy()

    def read_eager(self) -> bytes:
        """What is here; if there is nothing, what can be had without waiting. Raises EOFError as above."""
        self.process_rawq()
        while not (self.cookedq or self.eof) and self.sock_avail():
            self._read_more()
        return self.read_very_lazy()

    def read_lazy(self) -> bytes:
        """The text in what was received. Raises EOFError as above."""
        self.process_rawq()
        return self.read_very_lazy()

    def read_very_lazy(self) -> bytes:
        """The text that was found already. Raises EOFError as above."""
        text = self._take()
        if not text and self.eof and not self.rawq:
            raise EOFError("telnet connection closed")
        return text

    def read_sb_data(self) -> bytes:
        """The last subnegotiation, without its frame; b"" when it was taken already."""
        data, self.sbdataq = self.sbdataq, b""
        return data

    def expect(self, list: Sequence[Any], timeout: float | None = None) -> tuple[int, re.Match[bytes] | None, bytes]:
        """Waits for one of several regular expressions (bytes, or compiled): its index, the match, and all up to its end.
        (-1, None, what there is) when the time is over or the end has come; EOFError at the end when there is nothing."""
        patterns = [pattern if hasattr(pattern, "search") else re.compile(pattern) for pattern in list]
        for _ in self._reads(timeout, by_socket=True):
            for index, pattern in enumerate(patterns):
                if (match := pattern.search(self.cookedq)) is not None:
                    return index, match, self._take(match.end())
        text = self.read_very_lazy()
        return -1, None, text

    # -- at a terminal -------------------------------------------------------------------------------------------------

    def interact(self) -> None:
        """Lines from stdin to the server, and what comes to stdout, until one of them ends."""
        while True:
            ready = _readable(None, self, sys.stdin)
            if self.fileno() in ready and not self._show(self.read_eager):
                return
            if sys.stdin.fileno() in ready:
                line = sys.stdin.readline()
                if not line:
                    return
                self.write(line.encode("ascii"))

    def mt_interact(self) -> None:
        """The same with a thread for what comes, where a terminal cannot be waited for together with a socket."""
        threading.Thread(target=self.listener, daemon=True).start()
        while line := sys.stdin.readline():
            self.write(line.encode("ascii"))

    def listener(self) -> None:
        """What that thread does."""

        def some() -> bytes:
            text = self.read_some()
            if not text:
                raise EOFError
            return text

        while self._show(some):
            pass

    def _show(self, read: Callable[[], bytes]) -> bool:
        try:
            text = read()
        except EOFError:
            print("*** Connection closed by remote host ***")
            return False
        sys.stdout.write(text.decode("ascii", "replace"))
        sys.stdout.flush()
        return True

    # -- what subclasses may know ----------------------------------------------------------------------------------------

    def fill_rawq(self) -> None:
        """One read of the socket into `rawq`. Sets `eof`."""
        data = self.sock.recv(READ_SIZE)
        self.msg("recv %r", data)
        self.eof = not data
        self.rawq += data

    def rawq_getchar(self) -> bytes:
        """The next byte of `rawq`; waits for it. Raises EOFError."""
        if not self.rawq:
            self.fill_rawq()
            if self.eof:
                raise EOFError
        byte, self.rawq = self.rawq[:1], self.rawq[1:]
        return byte

    def sock_avail(self) -> bool:
        """Whether a read would not wait."""
        return bool(_readable(0, self))

    def process_rawq(self) -> None:
        """Takes the text out of `rawq`, and answers what else is in it."""
        data, self.rawq = self.rawq, b""
        text = []
        for event in self._wire.feed(data):
            if isinstance(event, bytes):
                text.append(event)
            elif isinstance(event, wire.Option):
                self._negotiate(bytes((event.verb,)), bytes((event.option,)))
            elif isinstance(event, wire.Command):
                self._tell(bytes((event.code,)), NOOPT)
            else:
                self.sbdataq = b""
                self._tell(SB, NOOPT)
                self.sbdataq = (bytes((event.option,)) + event.data).translate(None, _DROPPED)
                self._tell(SE, NOOPT)
        self.cookedq += b"".join(text).translate(None, _DROPPED)
        if len(self.cookedq) > MOST_KEPT:
            raise MessageTooLarge("more than {limit} bytes have come and were not taken", limit=MOST_KEPT)

    def _negotiate(self, verb: bytes, option: bytes) -> None:
        if self.option_callback is not None:
            self.option_callback(self.sock, verb, option)
            return
        refusal = WONT if verb in (DO, DONT) else DONT
        self.msg("option %d is refused", option[0])
        self.sock.sendall(IAC + refusal + option)

    def _tell(self, command: bytes, option: bytes) -> None:
        if self.option_callback is not None:
            self.option_callback(self.sock, command, option)

    def _reads(self, timeout: float | None, by_socket: bool = False) -> Iterator[None]:
        """Now, and after each read, until the time is over or the end has come. However short the time is, what is there is read.
        by_socket: without a timeout, that of the socket holds."""
        until = None if timeout is None else time.monotonic() + timeout
        left = timeout
        self.process_rawq()
        yield
        while not self.eof:
            if not (by_socket and timeout is None) and not _readable(left, self):
                return
            self._read_more()
            yield
            if until is not None and (left := until - time.monotonic()) < 0:
                return

    def _read_more(self) -> bool:
        """One read. False: it was the end."""
        if self.eof:
            return False
        self.fill_rawq()
        self.process_rawq()
        return not self.eof

    def _take(self, count: int | None = None) -> bytes:
        count = len(self.cookedq) if count is None else count
        text, self.cookedq = self.cookedq[:count], self.cookedq[count:]
        return text


def _readable(seconds: float | None, *files: Any) -> set[int]:
    """The descriptors of those of the files that can be read, at the latest after so many seconds."""
    waiting = poll()
    for file in files:
        waiting.register(file.fileno(), POLLIN)
    return {number for number, _ in waiting.poll(None if seconds is None else max(seconds, 0) * 1000)}
