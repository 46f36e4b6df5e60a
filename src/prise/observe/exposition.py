"""Counts as text that Prometheus reads: its own format 0.0.4, or OpenMetrics 1.0 for who prefers it.

Sources: https://prometheus.io/docs/instrumenting/exposition_formats/ and the OpenMetrics 1.0 specification. Names follow
https://prometheus.io/docs/practices/naming/: base units at the end, counters end in _total.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from prise.core.counters import Stats
from prise.observe.processes import Usage

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reading:
    """A server at one moment.

    info: what does not change (version, model, workers). processes: (name, what it uses); limit: connections that may be open
    in all, None for any number. restarts: workers that died and were replaced, None where there are no workers.
    """

    stats: Stats
    info: Mapping[str, str]
    processes: Sequence[tuple[str, Usage]]
    draining: bool = False
    limit: int | None = None
    restarts: int | None = None


class Family(NamedTuple):
    """name: without _total or _info. kind: "counter", "gauge" or "info". samples: labels and value."""

    name: str
    kind: str
    help: str
    samples: Sequence[tuple[Mapping[str, str], float]]


def families(reading: Reading) -> Iterator[Family]:
    stats = reading.stats

    def one(value: float) -> list[tuple[Mapping[str, str], float]]:
        return [({}, value)]

    def by_cause(counts: Mapping[str, int]) -> list[tuple[Mapping[str, str], float]]:
        return [({"cause": cause}, count) for cause, count in counts.items()]

    yield Family("prise", "info", "The server: version of prise, model, processes.", [(reading.info, 1)])
    yield Family("prise_connections_open", "gauge", "Connections that are open now.", one(stats.open))
    if reading.limit is not None:
        yield Family("prise_connections_limit", "gauge", "Connections that may be open.", one(reading.limit))
    yield Family("prise_connections", "counter", "Connections that were let in.", one(stats.total))
    yield Family(
        "prise_connections_refused", "counter", "Connections that were turned away, by cause.", by_cause(stats.refused)
    )
    yield Family("prise_messages_received", "counter", "Messages that peers have sent.", one(stats.messages_received))
    yield Family("prise_messages_sent", "counter", "Messages that were sent to peers.", one(stats.messages_sent))
    yield Family("prise_received_bytes", "counter", "Bytes that peers have sent.", one(stats.bytes_received))
    yield Family("prise_sent_bytes", "counter", "Bytes that were sent to peers.", one(stats.bytes_sent))
    yield Family("prise_errors", "counter", "Connections that ended badly, by cause.", by_cause(stats.errors))
    yield Family(
        "prise_datagrams_dropped", "counter", "Datagrams that were dropped, by cause.", by_cause(stats.dropped)
    )
    yield Family("prise_draining", "gauge", "1 while the server ends its conversations, else 0.", one(reading.draining))
    if reading.restarts is not None:
        yield Family(
            "prise_worker_restarts", "counter", "Workers that have died and were replaced.", one(reading.restarts)
        )
    yield from _of_processes(reading.processes)


def _of_processes(processes: Sequence[tuple[str, Usage]]) -> Iterator[Family]:
    for name, kind, place, help in (
        ("process_cpu_seconds", "counter", "cpu", "CPU time, with that of child processes."),
        ("process_resident_memory_bytes", "gauge", "memory", "Resident memory, with that of child processes."),
        ("process_open_fds", "gauge", "open_files", "Open files."),
        ("process_max_fds", "gauge", "most_files", "Files that may be open."),
        ("process_start_time_seconds", "gauge", "started", "When it was started, in seconds since 1970."),
    ):
        samples = [
            ({"process": each}, value) for each, used in processes if (value := getattr(used, place)) is not None
        ]
        if samples:
            yield Family(name, kind, help, samples)


def text(reading: Reading, openmetrics: bool = False) -> bytes:
    """The whole answer to a scrape."""
    lines = []
    for family in families(reading):
        sample = family.name + {"counter": "_total", "info": "_info"}.get(family.kind, "")
        # OpenMetrics names the family, the older format the sample, and knows no kind "info".
        name, kind = (family.name, family.kind) if openmetrics else (sample, family.kind.replace("info", "gauge"))
        lines += [f"# HELP {name} {_escaped(family.help)}", f"# TYPE {name} {kind}"]
        lines += [f"{sample}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "\n".join([*lines, *(("# EOF",) if openmetrics else ()), ""]).encode()


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join('{}="{}"'.format(name, _escaped(value, '"')) for name, value in labels.items()) + "}"


def _escaped(value: str, also: str = "") -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n")
    return value.replace(also, f"\\{also}") if also else value


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
