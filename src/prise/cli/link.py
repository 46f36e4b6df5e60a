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
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from prise import Connection, ConnectionLost, TooSlow

READ_SIZE = 64 * 1024
"""What a pipe holds (pipe(7)); larger reads are not faster."""


_LOOK = 0.1
"""Seconds after which a connection that cannot half-close is asked whether it has been silent for long enough."""


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


class PatientLink:
    """What a connection carries, and the difference between the peer's end and a broken connection.

    pause: seconds after which, when an unfinished line was received and nothing follows, b"" says so; None: never (that is for
    bytes, the framing "chunks").
    wait: seconds of silence that mean the end of the answers, once our own input is over, where the connection cannot say
    that it is over and listen on (UDP, WebSocket), or is not to (send_eof=False); elsewhere the peer's end is awaited,
    however long it takes.
    """

    def __init__(
        self, connection: Connection, pause: float | None = None, wait: float = 3.0, send_eof: bool = True
    ) -> None:
        self._half_closes = send_eof and connection.half_closes
        # Most servers hang up at a WebSocket's Close, so it comes last; but some have a last word for it, as prise's own do.
        self._closes = send_eof and connection.websocket is not None
        self._connection = connection
        self._pause = pause
        self._wait = wait
        self._sent_all: float | None = None  # when our input was over
        self.send, self.abort = connection.send, connection.abort

    def send_eof(self) -> None:
        self._sent_all = time.monotonic()
        if self._half_closes:
            self._connection.send_eof()

    def __iter__(self) -> Iterator[bytes]:
        connection = self._connection
        unfinished = False
        heard = 0.0
        while True:
            try:
                data = connection.receive(self._pause if unfinished else None if self._half_closes else _LOOK)
            except TooSlow:
                if unfinished:
                    unfinished = False
                    yield b""
                elif self._sent_all is not None and time.monotonic() - max(heard, self._sent_all) > self._wait:
                    if not self._closes:
                        return
                    self._closes = False
                    self._connection.send_eof()
                    heard = time.monotonic()
                continue
            if data is None:
                break
            heard = time.monotonic()
            yield data
            unfinished = self._pause is not None and data[-1:] != b"\n"
        if connection.lost is not None:
            raise connection.lost


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
