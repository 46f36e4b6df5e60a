"""Telnet's bytes (RFC 854, RFC 855), taken apart and put together. No I/O.

`Wire.feed` gives what has come, in its order: text (bytes), `Command`, `Option` and `Sub`. It is a generator, so that what an
option changes (`Wire.binary`) holds for the very next byte: take all that it gives before feeding more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from prise.errors import ProtocolError
from prise.layers.telnet import DO, DONT, IAC, MOST_SUBNEGOTIATION, SB, SE, WILL, WONT

__all__ = ["DO", "DONT", "IAC", "SB", "SE", "WILL", "WONT", "Command", "Option", "Sub", "Wire", "doubled", "sub"]

_IAC = bytes((IAC,))
_TEXT, _COMMAND, _OPTION, _SUB, _SUB_COMMAND = range(5)


class Command(NamedTuple):
    """IAC and one byte."""

    code: int


class Option(NamedTuple):
    """verb: WILL, WONT, DO or DONT."""

    verb: int
    option: int


class Sub(NamedTuple):
    """A subnegotiation, whole. data: behind the option."""

    option: int
    data: bytes


Event: TypeAlias = bytes | Command | Option | Sub


class Wire:
    """What one side sends. binary: it sends bytes as they are (RFC 856); else NUL, which means nothing, is left out, so that
    CR NUL is the CR that it stands for."""

    __slots__ = ("_state", "_sub", "_verb", "binary")

    def __init__(self) -> None:
        self.binary = False
        self._state = _TEXT
        self._verb = 0
        self._sub = bytearray()

    def feed(self, data: bytes) -> Iterator[Event]:
        """What these bytes complete. Raises ProtocolError for a subnegotiation of more than 4096 bytes."""
        at = 0
        while at < len(data):
            if self._state not in (_TEXT, _SUB):
                if (event := self._behind_iac(data[at])) is not None:
                    yield event
                at += 1
                continue
            end = data.find(_IAC, at)
            run = data[at:] if end < 0 else data[at:end]
            at = len(data) if end < 0 else end + 1
            if self._state == _SUB:
                self._keep(run)
            elif text := run if self.binary else run.replace(b"\0", b""):
                yield text
            if end >= 0:
                self._state = _COMMAND if self._state == _TEXT else _SUB_COMMAND

    def _behind_iac(self, byte: int) -> Event | None:
        state, self._state = self._state, _TEXT
        if state == _OPTION:
            return Option(self._verb, byte)
        if state == _SUB_COMMAND:
            if byte == SE:
                option, data = self._sub[:1], bytes(self._sub[1:])
                return Sub(option[0], data) if option else None
            self._state = _SUB
            if byte == IAC:
                self._keep(_IAC)
            return None
        if WILL <= byte <= DONT:
            self._verb, self._state = byte, _OPTION
            return None
        if byte == SB:
            self._sub.clear()
            self._state = _SUB
            return None
        return _IAC if byte == IAC else Command(byte)

    def _keep(self, run: bytes) -> None:
        self._sub += run
        if len(self._sub) > MOST_SUBNEGOTIATION:
            raise ProtocolError(
                "a telnet subnegotiation is longer than {limit} bytes; is the peer sending binary data?",
                limit=MOST_SUBNEGOTIATION,
            )


def doubled(data: bytes) -> bytes:
    """Data in which no byte is a command."""
    return data.replace(_IAC, _IAC + _IAC)


def sub(option: int, data: bytes) -> bytes:
    """A subnegotiation, as it is sent."""
    return bytes((IAC, SB)) + doubled(bytes((option,)) + data) + bytes((IAC, SE))
