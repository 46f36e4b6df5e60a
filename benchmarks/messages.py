"""CPU time of a server for each message it echoes, under several loads: what `echo`, `tls`, `websocket` and `udp` share."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import harness
from benchmarks.harness import Load
from benchmarks.results import Column, Goal, Report, Row, interleaved
from benchmarks.servers import Entry


def columns(loads: Mapping[str, Load], *references: str) -> tuple[Column, ...]:
    """One for each load, of the same name."""
    return tuple(Column(key, key, "µs/message", references) for key in loads)


def below(rows: list[Row], columns: tuple[Column, ...], factor: float, reference: str) -> list[Goal]:
    """The goal that all of prise costs at most `factor` times what the reference does, in every column."""
    ours = [row.entry.name for row in rows if row.entry.kind == "prise"]
    return [Goal(name, column, factor, reference) for column in columns for name in ours]


def measure(entries: list[Entry], loads: Mapping[str, Load], rounds: int, seconds: float) -> list[Row]:
    """The figures of each server, by the names of the loads, all of which are of one kind."""
    (kind,) = {wanted.kind for wanted in loads.values()}

    def once(entry: Entry) -> dict[str, float]:
        figures = {}
        with harness.running(list(entry.command)) as server:
            harness.warm_up(server, kind)
            for key, wanted in loads.items():
                with harness.load(server, wanted, seconds) as generator:
                    before = server.cpu()
                    answer = generator.run()
                    figures[key] = (server.cpu() - before) / answer["messages"] * 1e6
        return figures

    return interleaved(entries, rounds, once)


def report(
    name: str, title: str, loads: Mapping[str, Load], columns: tuple[Column, ...], rows: list[Row], goals: list[Goal],
    rounds: int, seconds: float,
) -> Report:  # fmt: skip
    """name: of the files."""
    said = "; ".join(f"{key}: {wanted}" for key, wanted in loads.items())
    method = {"loads": said, "seconds": seconds, "rounds": rounds, **harness.pinning()}
    return Report(name, title, method, columns, rows, tuple(goals))
