"""A line for each answer, as common log format or as JSON, written by a thread of its own.

    127.0.0.1 - ada [21/Nov/2026:11:58:58 +0000] "GET /a.txt HTTP/1.1" 200 5
    {"time":"2026-11-21T11:58:58.123Z","peer":"127.0.0.1:50312","user":"ada","method":"GET","target":"/a.txt",...}

`AccessLog.record` only puts what happened into a bounded row, so the event loop never waits for a disk or a pipe that
nobody reads. What does not fit is counted, and the log says so itself as soon as it can.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Any, Final

from prise import UsageError
from prise.web.conversation import Exchange

MOST_WAITING: Final = 10_000
"""Answers that wait to be written."""
_MOST_AT_ONCE: Final = 500  # lines of one write

FORMATS: Final = ("common", "combined", "json")

# Ours, because strftime would write the months in the language of the locale.
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class AccessLog:
    """Writes what `record` is given to a file.

    where: a path, which is appended to, or an open binary file, which is not closed. format: "common", "combined" (common with
    Referer and User-Agent) or "json". user: the name for a request, None for nobody; called in the thread of `record`.
    dropped: answers that were not written, because too many waited or writing failed.
    Raises UsageError for an unknown format and a path that cannot be opened. Use as a context, or close.
    The thread starts with the first record, so a server may fork before.
    """

    def __init__(
        self,
        where: str | os.PathLike[str] | IO[bytes],
        format: str = "common",
        *,
        user: Callable[[Any], str | None] | None = None,
    ) -> None:
        if format not in FORMATS:
            raise UsageError("the format of an access log is common, combined or json, not {format}", format=format)
        self._line = as_json if format == "json" else as_combined if format == "combined" else as_common
        self._own: IO[bytes] | None = None
        if isinstance(where, str | os.PathLike):
            try:
                self._own = open(where, "ab", buffering=0)  # noqa: SIM115
            except OSError as error:
                raise UsageError("the access log {file}: {why}", file=where, why=error.strerror) from error
            self._file: IO[bytes] = self._own
        else:
            self._file = where
        self._user = user
        self._waiting: deque[tuple[float, str | None, Exchange]] = deque()
        self._something = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False
        self.dropped = 0
        self._told = 0

    def __enter__(self) -> AccessLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def record(self, exchange: Exchange) -> None:
        """Never blocks, never raises. For one thread."""
        if len(self._waiting) >= MOST_WAITING or self._closing:
            self.dropped += 1
            return
        request = exchange.request
        user = self._user(request) if self._user is not None and request is not None else None
        self._waiting.append((time.time(), user, exchange))
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="prise access log", daemon=True)
            self._thread.start()
        if not self._something.is_set():
            self._something.set()

    def close(self, timeout: float = 5.0) -> None:
        """Writes what waits, for at most timeout seconds: a pipe that nobody reads holds nobody back."""
        self._closing = True
        self._something.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return  # the thread is a daemon; closing its file under it would be worse
        if self._own is not None:
            self._own.close()

    def _write_all(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            while self._waiting:
                lines: list[str] = []
                while self._waiting and len(lines) < _MOST_AT_ONCE:
                    lines.append(self._line(*self._waiting.popleft()))
                self._write(lines)
            if self._closing:
                return

    def _write(self, lines: list[str]) -> None:
        if self.dropped > self._told:
            dropped, self._told = self.dropped, self.dropped
            lines.append(
                f"# {dropped} answers were not logged\n" if self._line is not as_json else f'{{"dropped":{dropped}}}\n'
            )
        data = "".join(lines).encode("utf-8", "backslashreplace")
        try:
            # Raw files may take a part; only whole lines make a log.
            while data:
                written = self._file.write(data)
                if written is None:
                    raise BlockingIOError  # a file that was opened not to wait: then we do not either
                data = data[written:]
            self._file.flush()
        except (OSError, ValueError):  # the disk is full, the pipe has ended, the file was closed
            self.dropped += len(lines)


def as_common(when: float, user: str | None, exchange: Exchange) -> str:
    """Common log format: host, identity (never known), user, time in UTC, request line, status, bytes of the body."""
    return f"{_common(when, user, exchange)}\n"


def as_combined(when: float, user: str | None, exchange: Exchange) -> str:
    """Common log format, and Referer and User-Agent."""
    headers = exchange.request.headers if exchange.request is not None else {}
    referer, agent = _clean(headers.get("referer", "-")), _clean(headers.get("user-agent", "-"))
    return f'{_common(when, user, exchange)} "{referer}" "{agent}"\n'


def as_json(when: float, user: str | None, exchange: Exchange) -> str:
    """One JSON object in ASCII. time: RFC 3339 in UTC; seconds: see `Exchange`; what is not known is null."""
    moment = time.gmtime(when)
    request = exchange.request
    headers = request.headers if request is not None else {}
    fields = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{int(when * 1000) % 1000:03d}Z",
        "peer": str(exchange.peer),
        "user": user,
        "method": request.method if request is not None else None,
        "target": request.target if request is not None else None,
        "version": f"1.{request.minor}" if request is not None else None,
        "status": exchange.status,
        "bytes": exchange.sent,
        "seconds": round(exchange.seconds, 6),
        "referer": headers.get("referer"),
        "agent": headers.get("user-agent"),
    }
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _common(when: float, user: str | None, exchange: Exchange) -> str:
    moment = time.gmtime(when)
    stamp = f"{moment.tm_mday:02d}/{_MONTHS[moment.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S', moment)} +0000"
    request = exchange.request
    line = _clean(f"{request.method} {request.target} HTTP/1.{request.minor}") if request is not None else "-"
    host = getattr(exchange.peer, "host", None) or "-"
    name = _clean(user).replace(" ", "\\x20") if user else "-"
    return f'{host} - {name} [{stamp}] "{line}" {exchange.status} {exchange.sent or "-"}'


def _clean(text: str) -> str:
    """Nothing that ends a line, a field or a terminal's patience: quotes, backslashes, what is not printable ASCII as \\xhh."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return text
    return "".join(
        each if each.isascii() and each.isprintable() and each not in '"\\' else _escaped(each) for each in text
    )


def _escaped(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
