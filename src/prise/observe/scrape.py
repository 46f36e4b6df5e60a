"""Reads the metrics of a running server: from its address to numbers. What `prise top` sees with.

    scraper = Scraper(":9100")
    sample = scraper.read()          a `Sample`: what exposition.py has written, at one moment
    rates = sample.since(earlier)    per second

What is read comes from the network: it has a bound, and what cannot be understood in it is passed over.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import prise
from prise.errors import ProtocolError

TIMEOUT = 5.0
"""Seconds for a connection, and for the answer."""

LONGEST = 1024 * 1024
"""Bytes of an answer."""

MOST = 2.0**63
"""What no value reaches. A larger one is none of ours, and numbers that overflow when they are added up help nobody."""

PATH = "/metrics"

_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? ([^ ]+)(?: .*)?")
# At the beginning of a name only: to look from each letter of one that never ends would take time by its square.
_LABEL = re.compile(r'(?<![a-zA-Z0-9_])([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:, *|$)')
_ESCAPED = re.compile(r"\\(.)")

RATES = {
    "connections": "prise_connections_total",
    "messages_received": "prise_messages_received_total",
    "messages_sent": "prise_messages_sent_total",
    "bytes_received": "prise_received_bytes_total",
    "bytes_sent": "prise_sent_bytes_total",
}
"""What is told per second, and the counter that it comes from."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the server. cpu: seconds so far; the rest as in `processes.Usage`, None where it is not told."""

    name: str
    cpu: float
    memory: float | None
    open_files: float | None
    most_files: float | None
    started: float | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Per second, between two samples. cpu: of each process by name, 1.0 for a whole core."""

    counts: Mapping[str, float]
    cpu: Mapping[str, float]


class Sample:
    """The metrics at one moment. at: seconds of `time.monotonic`. values: metric -> labels -> number."""

    def __init__(self, text: str, at: float) -> None:
        self.at = at
        self.values = parse(text)

    def value(self, name: str) -> float | None:
        """The sum over all labels; None where there is no such metric."""
        found = self.values.get(name)
        return None if found is None else sum(found.values())

    def count(self, name: str) -> int:
        """The same as a whole number, 0 where there is none."""
        return int(self.value(name) or 0)

    def by(self, label: str, name: str) -> dict[str, float]:
        """The numbers of a metric by the values of a label."""
        return {dict(labels).get(label, ""): value for labels, value in self.values.get(name, {}).items()}

    def causes(self, name: str) -> dict[str, int]:
        """How often for which cause, of a counter that tells them apart."""
        return {cause: int(count) for cause, count in self.by("cause", name).items()}

    @property
    def info(self) -> dict[str, str]:
        return next((dict(labels) for labels in self.values.get("prise_info", {})), {})

    @property
    def processes(self) -> list[Process]:
        cpu = self.by("process", "process_cpu_seconds_total")
        names = ("resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds")
        others = [self.by("process", f"process_{name}") for name in names]
        return [Process(name, used, *(each.get(name) for each in others)) for name, used in cpu.items()]

    def since(self, before: Sample) -> Rates:
        """A counter that is lower than before has begun anew: its process was replaced."""
        seconds = max(self.at - before.at, 1e-6)

        def rate(new: float, old: float) -> float:
            return (new - old if new >= old else new) / seconds

        earlier = {each.name: each.cpu for each in before.processes}
        return Rates(
            {name: rate(self.value(counter) or 0, before.value(counter) or 0) for name, counter in RATES.items()},
            {each.name: rate(each.cpu, earlier.get(each.name, each.cpu)) for each in self.processes},
        )


def parse(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """The samples of an exposition; lines that are none are passed over."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for line in text.split("\n"):
        match = _SAMPLE.fullmatch(line.rstrip("\r"))
        if match is None:
            continue
        try:
            value = float(match[3])
        except ValueError:
            continue
        if not abs(value) < MOST:
            continue  # nor is it NaN
        labels = tuple((name, _ESCAPED.sub(_unescaped, each)) for name, each in _LABEL.findall(match[2] or ""))
        found.setdefault(match[1], {})[labels] = value
    return found


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


class Scraper:
    """Keeps one connection to the server, and makes a new one when that is gone. Not for several threads at once.

    address: an address of prise's (":9100", "unix:PATH", "tls:HOST:PORT"), or a URL of http or https. Raises AddressError.
    """

    def __init__(self, address: str, timeout: float | None = TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout
        self._session: Any = None
        if address.startswith(("http://", "https://")):
            place = address.partition("//")[2]
            self._url, self._where = address if "/" in place.rstrip("/") else address.rstrip("/") + PATH, None
        else:
            self._url, self._where = f"http://localhost{PATH}", prise.Address.parse(address)

    def read(self) -> Sample:
        """Asks now. Raises PriseError: ConnectError, TooSlow, NotFound; ProtocolError where no prise server answers."""
        try:
            if self._session is None:
                opener = prise.open(self._url, address=self._where, netrc=False, keyring=False, timeout=self._timeout)
                self._session = opener.open()
            text = self._text()
        except BaseException:
            self.close()
            raise
        sample = Sample(text, time.monotonic())
        if not sample.info:
            raise ProtocolError(
                "what answers at {address} tells no metrics of prise: is this the address of --metrics?",
                address=self.address,
            )
        return sample

    def _text(self) -> str:
        parts, size = [], 0
        for part in self._session.get():
            parts.append(part)
            size += len(part)
            if size > LONGEST:
                raise ProtocolError("the metrics are longer than {limit} bytes", limit=LONGEST, peer=self.address)
        return b"".join(parts).decode(errors="replace")

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except (prise.PriseError, OSError):
                pass  # the server is gone
