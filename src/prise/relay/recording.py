r"""Recordings: what both sides of connections said, with the times, as lines of JSON that people can read and edit.

The first line says what it is:

    {"prise": "recording", "version": 1, "when": "2026-11-21T09:30:00+00:00", "a": "127.0.0.1:8080", "b": "api:80"}

Each further line is one event: "t", seconds since the start; "c", the connection, counted from 1; then one of

    "client": "127.0.0.1:40112", "server": "api:80"      the two are joined
    "from": "client", "data": "GET / HTTP/1.1\r\n"       said by this side: text where it is UTF-8, else base64 as "b64"
    "from": "client", "end": true                        this side has nothing more to say
    "from": "client", "reset": true                      this side broke the connection off

Each line is written at once and whole, and nothing is ever changed. So a recording that was cut off is good up to its last
line, which may be half a line; readers leave that away. Neither side keeps more than one line in memory.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, Any, NoReturn, cast

from prise.closing import Closing
from prise.errors import UsageError
from prise.relay.passage import Passage, Side, Tap

VERSION = 1
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes: the longest message (1 MiB by default) as JSON text in which each byte is an escape, and room."""
NOT_ONE = "{path} is not a recording: line {line}: {cause}"


@dataclass(frozen=True, slots=True)
class Event:
    """One line. line: its number in the file, from 1; the header is the first. Of data, end, reset one at most is set."""

    t: float
    connection: int
    side: Side | None = None
    data: bytes = b""
    end: bool = False
    reset: bool = False
    client: str | None = None
    server: str | None = None
    line: int = 0


class RecordingWriter(Closing):
    """Writes a new recording. Refuses to write over a file that exists: FileExistsError.

    details: what the header says besides. Use it in a `with` statement, or close it.
    """

    def __init__(self, path: str, details: Mapping[str, Any] | None = None) -> None:
        # For its owner alone: passwords go over connections.
        self._file: IO[bytes] = open(path, "xb", buffering=0, opener=_private)  # noqa: SIM115 - closed by `close`
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({"prise": "recording", "version": VERSION, "when": when, **(details or {})})

    def write(self, event: Event) -> None:
        """Adds an event. Raises OSError when the disk is full."""
        line: dict[str, Any] = {"t": round(event.t, 6), "c": event.connection}
        if event.client is not None or event.server is not None:
            line |= {"client": event.client, "server": event.server}
        if event.side is not None:
            line["from"] = event.side
        if event.data:
            try:
                line["data"] = event.data.decode()
            except UnicodeDecodeError:
                line["b64"] = base64.b64encode(event.data).decode()
        if event.end:
            line["end"] = True
        if event.reset:
            line["reset"] = True
        self._write(line)

    def _write(self, line: dict[str, Any]) -> None:
        data = memoryview(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        while data:  # a write to a file may be short when the disk is nearly full, and says so when it is tried again
            data = data[self._file.write(data) :]

    def close(self) -> None:
        self._file.close()


class Recording:
    """A recording to be read; iterate over it, as often as you like. header: the first line.

    Raises OSError, and UsageError for a file that is none.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with open(path, "rb") as file:
            self.header = self._parse(file.readline(LONGEST_LINE), 1)
        if self.header.get("prise") != "recording":
            raise UsageError(NOT_ONE, path=path, line=1, cause="there is no header")
        if self.header.get("version") != VERSION:
            raise UsageError(
                "{path} is a recording of version {version}, and this prise knows only version {known}",
                path=path,
                version=self.header.get("version"),
                known=VERSION,
            )

    def __iter__(self) -> Iterator[Event]:
        with open(self.path, "rb") as file:
            file.readline(LONGEST_LINE)
            number = 1
            while line := file.readline(LONGEST_LINE):
                number += 1
                if not line.endswith(b"\n"):
                    if len(line) == LONGEST_LINE:
                        raise UsageError(NOT_ONE, path=self.path, line=number, cause="it is too long")
                    return  # it was cut off while it was written
                if line.strip():
                    yield self._event(self._parse(line, number), number)

    def _parse(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            value = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise UsageError(NOT_ONE, path=self.path, line=number, cause="it is not a JSON object")
        return value

    def _event(self, value: dict[str, Any], number: int) -> Event:
        try:
            side = value.get("from")
            if side not in (None, "client", "server"):
                raise ValueError("from")
            data = (
                str(value["data"]).encode()
                if "data" in value
                else base64.b64decode(value.get("b64", ""), validate=True)
            )
            t, client, server = float(value["t"]), value.get("client"), value.get("server")
            if not math.isfinite(t) or not isinstance(client, str | None) or not isinstance(server, str | None):
                raise ValueError("t, client or server")
            return Event(
                t,
                int(value["c"]),
                cast("Side | None", side),
                data,
                value.get("end") is True,
                value.get("reset") is True,
                client,
                server,
                number,
            )
        except (KeyError, TypeError, ValueError, OverflowError, binascii.Error):
            raise UsageError(NOT_ONE, path=self.path, line=number, cause="it is not an event") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity, which Python's json takes and JSON does not have


class Recorder(Tap):
    """Records what passes a relay: `prise.Relay(a, b, taps=[Recorder("talk.jsonl")])`. Close it when the relay is over."""

    wants_data = True

    def __init__(self, path: str, details: Mapping[str, Any] | None = None) -> None:
        self._writer = RecordingWriter(path, details)
        self._start = time.monotonic()

    def opened(self, passage: Passage) -> None:
        self._writer.write(Event(self._now(), passage.number, client=str(passage.client), server=str(passage.server)))

    def data(self, passage: Passage, side: Side, data: bytes) -> None:
        self._writer.write(Event(self._now(), passage.number, side, data))

    def ended(self, passage: Passage, side: Side) -> None:
        self._writer.write(Event(self._now(), passage.number, side, end=True))

    def reset(self, passage: Passage, side: Side) -> None:
        self._writer.write(Event(self._now(), passage.number, side, reset=True))

    def close(self) -> None:
        self._writer.close()

    def _now(self) -> float:
        return time.monotonic() - self._start


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
