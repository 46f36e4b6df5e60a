"""Both directions of a conversation at once: what is put in goes to the peer, what comes is shown, until the peer ends.

The main thread sends what the source gives, a second one shows what arrives. Two threads and blocking calls, not a select
loop: whichever side is slow (a pipe, a disk, the peer) holds up its own direction only, whatever kind of file it is, and
what is in memory is one read of each direction.

Standard input may end first: that end is sent on, and the answers are awaited, however long they take. Or the peer ends
first: what is in standard input at that moment is still sent (a file, say), but nothing more is waited for.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from prise import Connection, ConnectionLost

READ_SIZE = 64 * 1024
"""What a pipe holds (pipe(7)); larger reads are not faster."""


class Link(Protocol):
    """What is needed of a connection; prise's own has it."""

    def send(self, message: Any) -> None: ...
    def send_eof(self) -> None: ...
    def abort(self) -> None: ...
    def __iter__(self) -> Iterator[Any]: ...


class Source(Protocol):
    """What a person or a pipe puts in. `stop` may be called from any thread."""

    def __iter__(self) -> Iterator[Any]: ...
    def stop(self) -> None: ...


def converse(link: Link, source: Source, show: Callable[[Any], None]) -> None:
    """Runs both directions until the peer has ended. Raises ConnectionLost, what the framing refuses, and OSError of stdout."""
    failures: list[BaseException] = []

    def receive() -> None:
        try:
            for message in link:
                show(message)
        except BaseException as error:
            failures.append(error)
            link.abort()  # nobody takes what comes: the peer must not be waited for
        finally:
            source.stop()

    receiver = threading.Thread(target=receive, name="receive", daemon=True)
    receiver.start()
    try:
        for message in source:
            link.send(message)
        link.send_eof()
    except ConnectionLost as error:
        failures.append(error)  # what arrived before that is still shown
    except BaseException:
        link.abort()
        raise
    receiver.join()
    if failures:
        raise failures[0]


class RawLink:
    """The bytes of a connection, neither framed nor decoded, and the difference between the peer's end and a reset.

    It reads the socket beside the connection, which is for connections without layers only.
    pause: seconds after which, when an unfinished line was received and nothing follows, b"" says so; None: never.
    """

    def __init__(self, connection: Connection, pause: float | None = None) -> None:
        self._peer = connection.peer
        self._sock = socket.socket(fileno=os.dup(connection.fileno()))
        self._sock.setblocking(True)
        self._pause = pause

    def send(self, message: bytes) -> None:
        try:
            self._sock.sendall(message)
        except OSError as error:
            raise self._lost("the peer did not take everything ({cause})", "send", error) from error

    def send_eof(self) -> None:
        self._shutdown(socket.SHUT_WR)

    def abort(self) -> None:
        # Closed with a reset: a peer that is still sending would otherwise probe a window that never opens again, for a minute.
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._shutdown(socket.SHUT_RDWR)

    def __iter__(self) -> Iterator[bytes]:
        try:
            while data := self._sock.recv(READ_SIZE):
                yield data
                if self._pause is not None and data[-1:] != b"\n" and not self._follows(self._pause):
                    yield b""
        except OSError as error:
            raise self._lost("the connection broke ({cause})", "receive", error) from error

    def close(self) -> None:
        self._sock.close()

    def _follows(self, seconds: float) -> bool:
        return bool(select.select([self._sock], [], [], seconds)[0])

    def _shutdown(self, how: int) -> None:
        try:
            self._sock.shutdown(how)
        except OSError:
            pass  # it is down already

    def _lost(self, reason: str, operation: str, error: OSError) -> ConnectionLost:
        return ConnectionLost(reason, operation=operation, peer=self._peer, cause=error.strerror or error)


class Piped:
    """Standard input in the pieces that come."""

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._stopped, self._stop = os.pipe()

    def __iter__(self) -> Iterator[bytes]:
        # select(2), since epoll refuses files and kqueue refuses terminals.
        while self._descriptor in select.select([self._descriptor, self._stopped], [], [])[0]:
            data = os.read(self._descriptor, READ_SIZE)
            if not data:
                return
            yield data

    def stop(self) -> None:
        os.write(self._stop, b"!")


class Mapped:
    """A source whose pieces each become any number of messages; `end` gives the last ones."""

    def __init__(
        self, source: Source, each: Callable[[Any], Iterator[Any]], end: Callable[[], Iterator[Any]] = lambda: iter(())
    ) -> None:
        self._source, self._each, self._end = source, each, end

    def __iter__(self) -> Iterator[Any]:
        for piece in self._source:
            yield from self._each(piece)
        yield from self._end()

    def stop(self) -> None:
        self._source.stop()


def write_all(data: bytes) -> None:
    """Writes to stdout at once: nothing is kept back in a buffer, so a reader sees what has arrived."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]
