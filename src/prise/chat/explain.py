"""`--explain`: what happens on the sockets, made visible. For who learns how a conversation over TCP works.

    #3 127.0.0.1:41234 is here
    #3 <-   4 bytes  'bonj'        one recv is not one message: these 4 bytes are kept until the end of their line comes
    #3 <-   4 bytes  'our\\n'       message of 7 bytes, in 2 pieces: 'bonjour'
    #3 ->  23 bytes  '14:02 <alice> bonjour\\n'
    #3 81,920 bytes are queued: it does not read. More than 65,536, so nothing more is read from it (backpressure)

A layer of the library sees every byte on its way in and out; a task looks at the queues. Nothing waits for the
terminal: what it is too slow for is left out, and counted.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Any

from prise import Limits
from prise.chat.house import House
from prise.chat.person import Session
from prise.layers.base import Ends, Layer
from prise.locale import translate as _

LOOK_EVERY = 0.2
"""Seconds between two looks at the queues."""

MOST_SHOWN = 60
"""Bytes of a piece or a message that are shown."""

MOST_UNPRINTED = 1_000
"""Lines that wait for the terminal; more are left out."""

_HTTP = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ")


class Explainer:
    """Explains the connections of one server. Its `layer` goes to `listen(layers=...)`; then `watch`; `stop` at the end."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._numbers = count(1)
        self._news = threading.Condition()
        self._lines: deque[str] = deque()
        self._left_out = 0
        self._ending = False
        self._thread = threading.Thread(target=self._print, name="prise-explain", daemon=True)
        self._thread.start()

    def layer(self) -> Layer:
        return _Eye(self, self._numbers)

    async def watch(self, house: House) -> None:
        """Looks at what is queued for everybody in the house, for ever."""
        known: dict[Session, int] = {}
        while True:
            now = {session: session.unsent for session in house.sessions()}
            for session, size in now.items():
                if size != known.get(session, 0):
                    self.say(f"{session.person.name}: {self._queue(size)}")
            known = {session: size for session, size in now.items() if size}
            await asyncio.sleep(LOOK_EVERY)

    def _queue(self, size: int) -> str:
        if not size:
            return _("it has read everything: nothing is queued any more")
        text = _("{size:,} bytes are queued: it does not read them").format(size=size)
        if size > self._limits.outbox_mark:
            more = _("More than {mark:,}, so nothing more is read from it (backpressure); at {most:,} it is cut")
            text += ". " + more.format(mark=self._limits.outbox_mark, most=self._limits.outbox_size)
        return text

    # -- printing ----------------------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        with self._news:
            if len(self._lines) < MOST_UNPRINTED:
                self._lines.append(line)
            else:
                self._left_out += 1
            self._news.notify()

    def stop(self) -> None:
        with self._news:
            self._ending = True
            self._news.notify()
        self._thread.join(2.0)

    def _print(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._lines or self._ending)
                if not self._lines:
                    return
                lines = list(self._lines)
                self._lines.clear()
                left_out, self._left_out = self._left_out, 0
            if left_out:
                lines.append(_("{number} lines were not shown here: this terminal is too slow").format(number=left_out))
            try:
                sys.stderr.write("".join(f"{line}\n" for line in lines))
                sys.stderr.flush()
            except (OSError, ValueError):
                return  # nobody reads any more


class _Eye(Layer):
    """Sees the bytes of one connection, and changes none."""

    transparent = True

    def __init__(self, explainer: Explainer, numbers: Iterator[int]) -> None:
        self._say = explainer.say
        self._numbers = numbers
        self._number = 0
        self._kept = 0
        self._pieces = 0
        self._start = b""
        self._lines = True
        self._first = True

    def begin(self, ends: Ends) -> None:
        self._number = next(self._numbers)
        self._tell(_("{peer} is here").format(peer=ends.peer))

    def receive(self, data: bytes) -> bytes:
        if data:
            self._tell(self._shown("<-", data, list(self._understood(data))))
        return data

    def receive_end(self) -> None:
        rest = _("; the line that it had begun has no end, and counts as it is") if self._kept else ""
        self._tell("<-   " + _("it has ended its side (recv gave 0 bytes)") + rest)

    def send(self, data: bytes) -> bytes:
        lines = data.count(b"\n")
        note = _("{number} messages in one send").format(number=lines) if self._lines and lines > 1 else ""
        self._tell(self._shown("->", data, [note] if note else []))
        return data

    def end(self, *reason: Any) -> bytes:
        self._tell("->   " + _("we have nothing more to say: the connection is closed"))
        return b""

    def _understood(self, data: bytes) -> Iterator[str]:
        """What the framing makes of a piece."""
        if self._first:
            self._first = False
            if data[:1] == b"\x16":
                self._lines = False
                yield _("the first byte is 22: it speaks TLS")
            elif data.startswith(_HTTP):
                self._lines = False
                yield _("the first line is a request: it speaks HTTP")
        if not self._lines:
            return
        *whole, rest = data.split(b"\n")
        for line in whole:
            size = self._kept + len(line)
            if self._kept:
                text = _("message of {size} bytes, in {pieces} pieces: {text}")
            else:
                text = _("message of {size} bytes: {text}")
            yield text.format(size=size, pieces=self._pieces + 1, text=_visible(self._start + line))
            self._kept = self._pieces = 0
            self._start = b""
        if rest:
            self._kept += len(rest)
            self._pieces += 1
            self._start = (self._start + rest)[: MOST_SHOWN + 1]
            yield _("one recv is not one message: {size} bytes are kept until the end of their line comes").format(
                size=self._kept
            )

    def _shown(self, arrow: str, data: bytes, notes: list[str]) -> str:
        size = _("{size:>6,} bytes").format(size=len(data))
        head = f"{arrow} {size}  {_visible(data)}"
        return head if not notes else f"{head:<44}  " + f"\n{'':>8}".join(notes)

    def _tell(self, text: str) -> None:
        self._say(f"#{self._number} {text}")


def _visible(data: bytes) -> str:
    """Bytes as Python writes them, with letters where they are UTF-8; the first so many."""
    try:
        text = repr(data[:MOST_SHOWN].decode())
    except UnicodeDecodeError:  # not text, or cut inside a letter
        text = repr(data[:MOST_SHOWN])
    return text + (" ..." if len(data) > MOST_SHOWN else "")
