"""Playing one side of a recording, and comparing what the other side says with what it said then.

The order of the recording is kept, at any speed: before something is said, the other side must have said everything that it
said before that. So a question is never answered before it was asked. Times matter only at real speed.

Each connection has two threads: one says what is to be said, one compares what comes; it reads the file a second time, so
nothing is kept in memory but one event of each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import prise
from prise.address import Address
from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.errors import PeerError, PriseError, UsageError
from prise.relay.passage import Side
from prise.relay.recording import Event, Recording

PATIENT = Limits(idle_time=None, message_time=None)
MOST_AT_ONCE = 100
"""Connections that overlapped in the recording, and so must be played side by side."""
SHOWN = 32
"""Bytes of a difference that are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the other side said something else.

    connection: its number in the recording. offset: bytes that it had said, all equal, before that. line: of the recording,
    where it says otherwise. expected, found: what comes there and what came, up to 32 bytes of each; b"" is the end.
    error: the connection broke, or nothing came in time.
    """

    connection: int
    offset: int
    line: int
    expected: bytes
    found: bytes
    error: PriseError | None = None


@dataclass(slots=True)
class Replay:
    """What became of it. sent, received: bytes. differences: the first of each connection."""

    connections: int = 0
    sent: int = 0
    received: int = 0
    differences: list[Difference] = field(default_factory=list)


@dataclass(slots=True)
class _Span:
    """first, last: lines of a connection in the recording."""

    number: int
    first: int
    last: int


class Player:
    """Plays `side` of a recording ("client" connects to the address, "server" listens there and waits for the others).

    speed: 1.0 as it was, 2.0 in half the time, None as fast as the other side allows. connection: only this one; None: all,
    those side by side that were so then. timeout: seconds to wait for what the other side should say, and for a client to come.
    """

    def __init__(
        self,
        recording: Recording,
        side: Side,
        address: str | Address,
        *,
        speed: float | None = 1.0,
        connection: int | None = None,
        timeout: float = 10.0,
        tls: Any = None,
    ) -> None:
        self._recording = recording
        self._side = side
        self._address = Address.parse(address)
        self._speed = speed
        self._timeout = timeout
        self._tls = tls
        self._spans = [each for each in _spans(recording) if connection in (None, each.number)]
        if not self._spans:
            raise UsageError("there is no such connection in {path}", path=recording.path)
        self._started = 0.0
        self._origin = next((event.t for event in recording if event.line == self._spans[0].first), 0.0)
        self._listener: prise.Listener | None = None
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self.result = Replay()
        self.addresses: list[Address] = []

    def bind(self) -> list[Address]:
        """As server: listens; returns where. `run` does it if nobody did."""
        if self._side == "server" and self._listener is None:
            self._listener = prise.Listener(self._address, framing="chunks", limits=PATIENT, tls=self._tls)
            self.addresses = self._listener.addresses
        return self.addresses

    def run(self) -> Replay:
        """Plays it all. Raises ConnectError and the like for the first connection that cannot be made, TooSlow if none comes."""
        self.bind()
        running: list[tuple[_Span, threading.Thread]] = []
        with ExitStack() as stack:
            if self._listener is not None:
                stack.callback(self._listener.close)
            self._started = time.monotonic()
            for span in self._spans:
                for earlier, thread in running:
                    if earlier.last < span.first:
                        thread.join()
                running = [each for each in running if each[1].is_alive()]
                if len(running) >= MOST_AT_ONCE:
                    raise UsageError(
                        "more than {most} connections were open at once; play one of them", most=MOST_AT_ONCE
                    )
                self._wait_until(next((event.t for event in _events(self._recording, span)), 0.0))
                connection = self._connect()
                thread = threading.Thread(target=self._play, args=(span, connection), name="prise-replay", daemon=True)
                thread.start()
                running.append((span, thread))
            for _, thread in running:
                thread.join()
        if self._failure is not None:
            raise self._failure
        self.result.differences.sort(key=lambda difference: difference.line)
        return self.result

    def _connect(self) -> Connection:
        if self._listener is not None:
            return self._listener.accept(self._timeout)
        return prise.connect(
            self._address, framing="chunks", limits=PATIENT, timeout=self._timeout, tls=self._tls
        ).open()

    def _play(self, span: _Span, connection: Connection) -> None:
        comparison = _Comparison(self._recording, span, self._side, connection)
        sent = 0
        try:
            comparison.start()
            sent = self._say(span, connection, comparison)
        except PeerError as error:
            comparison.fail(error)
        except BaseException as error:
            self._failure = error
        finally:
            connection.close()
            comparison.join()
        with self._lock:
            self.result.connections += 1
            self.result.sent += sent
            self.result.received += comparison.heard
            if comparison.difference is not None:
                self.result.differences.append(comparison.difference)

    def _say(self, span: _Span, connection: Connection, comparison: _Comparison) -> int:
        sent = due = 0
        ended = False
        before = float("inf")  # when we said something last: what took its time then may do so now
        for event in _events(self._recording, span):
            if event.side is None:
                continue
            patience = self._timeout + max(event.t - before, 0.0)
            if event.side != self._side:
                due += len(event.data)
                if (event.end or event.reset) and not comparison.wait_end(patience):
                    return sent
                continue
            if not comparison.wait(due, patience):
                return sent
            before = event.t
            self._wait_until(event.t)
            if event.data:
                connection.send(event.data)
                sent += len(event.data)
            elif event.end:
                connection.send_eof()
                ended = True
            elif event.reset:
                connection.abort()
                return sent
        if comparison.wait(due, self._timeout) and not ended:
            connection.send_eof()  # the recording was cut off, or the other side broke off
        return sent

    def _wait_until(self, t: float) -> None:
        if self._speed is not None:
            time.sleep(max((t - self._origin) / self._speed - (time.monotonic() - self._started), 0.0))


class _Comparison:
    """Reads what the other side says and compares it with the recording, byte by byte and wherever it is cut."""

    def __init__(self, recording: Recording, span: _Span, ours: Side, connection: Connection) -> None:
        self._expected = (event for event in _events(recording, span) if event.side not in (None, ours))
        self._number = span.number
        self._connection = connection
        self._changed = threading.Condition()
        self._over = False
        self._event: Event | None = None
        self._at = 0  # in the data of that event
        self._thread = threading.Thread(target=self._compare, name="prise-compare", daemon=True)
        self.heard = 0
        self.difference: Difference | None = None

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        if self._thread.ident is not None:
            self._thread.join()

    def wait(self, count: int, timeout: float) -> bool:
        """Until it has said so many bytes, as it should; False when it said something else, or nothing in time."""
        with self._changed:
            while self.heard < count and not self._over:
                before = self.heard
                if not self._changed.wait(timeout) and self.heard == before:
                    self._note(b"", prise.TooSlow("nothing came for {seconds:g} s", seconds=timeout))
                    return False
            return self.difference is None and self.heard >= count

    def wait_end(self, timeout: float) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self._over, timeout):
                self._note(b"", prise.TooSlow("nothing came for {seconds:g} s", seconds=timeout))
                return False
            return self.difference is None

    def fail(self, error: PriseError) -> None:
        with self._changed:
            self._note(b"", error)

    def _compare(self) -> None:
        error: PriseError | None = None
        try:
            for data in self._connection:
                if not self._take(data):
                    break
        except PriseError as raised:
            error = raised
        with self._changed:
            lost = error or self._connection.lost
            event = self._next()
            if event is not None and (event.data or (event.end and lost is not None)):
                self._note(b"", lost)  # it ended before it had said everything, or broke off instead
            self._over = True
            self._changed.notify_all()

    def _take(self, data: bytes) -> bool:
        while data:
            event = self._next()
            # Behind the last line of a recording that was cut off nothing is known: anything may come.
            expected = data if event is None else event.data[self._at :]
            count = _same(expected, data)
            with self._changed:
                self.heard += count
                self._at += count
                if count < min(len(data), len(expected) or 1):
                    self._note(data[count : count + SHOWN])
                    return False
                self._changed.notify_all()
            data = data[count:]
        return True

    def _next(self) -> Event | None:
        """What should be said now; an event without data is its end. None: the recording says nothing more."""
        while self._event is None or (self._event.data and self._at >= len(self._event.data)):
            self._event, self._at = next(self._expected, None), 0
            if self._event is None:
                return None
        return self._event

    def _note(self, found: bytes, error: PriseError | None = None) -> None:
        """The lock is held."""
        if self.difference is None:
            event = self._event
            expected = b"" if event is None else event.data[self._at : self._at + SHOWN]
            self.difference = Difference(
                self._number, self.heard, 0 if event is None else event.line, expected, found, error
            )
        self._over = True
        self._changed.notify_all()


def _same(left: bytes, right: bytes) -> int:
    """How many first bytes are the same."""
    count = min(len(left), len(right))
    if left[:count] == right[:count]:
        return count
    low, high = 0, count  # of the first `low` all are the same, of the first `high` not
    while high - low > 1:
        middle = (low + high) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _events(recording: Recording, span: _Span) -> Iterator[Event]:
    for event in recording:
        if event.line > span.last:
            return
        if event.connection == span.number:
            yield event


def _spans(recording: Recording) -> list[_Span]:
    spans: dict[int, _Span] = {}
    for event in recording:
        span = spans.setdefault(event.connection, _Span(event.connection, event.line, event.line))
        span.last = event.line
    return list(spans.values())
