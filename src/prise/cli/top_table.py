"""What `prise top` shows of a server, as rows of text: for the screen, and for `--once`.

:9100   prise 0.1.0   select   up 3:12
  open           120   of 2000                 ▁▁▂▃▅▅▇█
  let in        12.0/s   1204 in all
  ...
"""

from __future__ import annotations

import sys
import textwrap
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from prise.cli.columns import Row, cut, flat
from prise.cli.progress import clock
from prise.cli.texts import amount, visible
from prise.locale import translate as _
from prise.observe.scrape import Rates, Sample

KEPT = 240
"""Readings that are remembered, for the curves."""

CURVE = 40
"""Columns of the longest curve."""

MOST_LINES = 4
"""Rows of an error."""

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.,-=+*#"


class Watched:
    """One server: what was read last, and the rates of the last minutes. error: why there is nothing new; None: all is well."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.sample: Sample | None = None
        self.rates: Rates | None = None
        self.error: str | None = _("not read yet")
        self.readings = 0
        self.curves: dict[str, deque[float]] = {
            name: deque(maxlen=KEPT) for name in ("open", "messages", "bytes", "cpu", "memory")
        }

    def take(self, sample: Sample) -> None:
        before, self.sample, self.error = self.sample, sample, None
        self.rates = None if before is None else sample.since(before)
        if self.rates is None:
            return
        counts = self.rates.counts
        self.readings += 1
        for name, value in (
            ("open", float(sample.count("prise_connections_open"))),
            ("messages", counts["messages_received"] + counts["messages_sent"]),
            ("bytes", counts["bytes_received"] + counts["bytes_sent"]),
            ("cpu", sum(self.rates.cpu.values())),
            ("memory", sample.value("process_resident_memory_bytes") or 0.0),
        ):
            self.curves[name].append(value)

    def fail(self, error: str) -> None:
        """It does not answer. What was read before stays to be seen; rates would be wrong."""
        self.error = error
        self.rates = None


def rows(watched: Watched, width: int) -> Iterator[Row]:
    """All about one server, each row at most `width` columns."""
    for row in _rows(watched, width):
        yield Row(cut(flat(row.text), width), row.style)


def _rows(watched: Watched, width: int) -> Iterator[Row]:
    sample = watched.sample
    info = {} if sample is None else sample.info
    started = [each.started for each in sample.processes if each.started is not None] if sample is not None else []
    room = max(width // 2, 8)
    address = watched.address if len(watched.address) <= room else f"…{watched.address[1 - room :]}"
    title = [address, f"prise {info['version']}" if "version" in info else "", info.get("model", "")]
    if started:
        title.append(_("up {time}").format(time=clock(max(time.time() - min(started), 0))))
    if sample is not None and sample.count("prise_draining"):
        title.append(_("draining"))
    yield Row("   ".join(filter(None, title)), "bold")
    if watched.error is not None:
        for line in textwrap.wrap(watched.error, max(width - 2, 1))[:MOST_LINES]:  # whose end says why
            yield Row(f"  {line}", "error")
    if sample is None:
        return
    yield from _figures(watched, sample, width)
    yield from _causes(sample)
    yield from _processes(watched, sample)


def _figures(watched: Watched, sample: Sample, width: int) -> Iterator[Row]:
    counts = watched.rates.counts if watched.rates is not None else {}
    limit = sample.value("prise_connections_limit")
    received, sent = _("in {rate}"), _("out {rate}")

    def per_second(name: str, show: object = None) -> str:
        if name not in counts:
            return "-"
        return f"{amount(int(counts[name]))}/s" if show is amount else f"{short(counts[name])}/s"

    def both(kind: str, show: object = None) -> str:
        return "   ".join(
            (
                f"{received.format(rate=per_second(f'{kind}_received', show)):<16}",
                sent.format(rate=per_second(f"{kind}_sent", show)),
            )
        )

    opened = str(sample.count("prise_connections_open"))
    if limit is not None:
        opened = _("{count} open of {limit}").format(count=opened, limit=int(limit))
    else:
        opened = _("{count} open").format(count=opened)
    told = f"{opened:<22}   " + _("{rate} new").format(rate=per_second("connections"))
    names = [_("connections"), _("messages"), _("bytes")]
    longest = max(map(len, names))
    for name, text, curve in zip(
        names, [told, both("messages"), both("bytes", amount)], ["open", "messages", "bytes"], strict=True
    ):
        line = f"  {name:<{longest}}   {text:<40}"
        room = min(width - len(line) - 2, CURVE)
        yield Row(
            f"{line}  {curve_of(watched.curves[curve], room, watched.readings)}"
            if room >= 8 and watched.readings > 1
            else line
        )


def _causes(sample: Sample) -> Iterator[Row]:
    for title, name in (
        (_("errors"), "prise_errors_total"),
        (_("refused"), "prise_connections_refused_total"),
        (_("datagrams dropped"), "prise_datagrams_dropped_total"),
    ):
        causes = {cause: count for cause, count in sample.causes(name).items() if count}
        if causes:
            which = ", ".join(f"{cause} {count}" for cause, count in causes.items())
            yield Row(f"  {title} {sum(causes.values())} ({which})", "error" if name == "prise_errors_total" else "")
    if restarts := sample.count("prise_worker_restarts_total"):
        yield Row("  " + _("workers that were started again: {count}").format(count=restarts), "error")


def _processes(watched: Watched, sample: Sample) -> Iterator[Row]:
    processes = sample.processes
    if not processes:
        return
    names = [visible(each.name) for each in processes]
    longest = min(max(map(len, [_("process"), *names])), 24)
    yield Row(f"  {_('process'):<{longest}}   {_('CPU'):>6}   {_('memory'):>8}   {_('files')}", "dim")
    for name, each in zip(names, processes, strict=True):
        cpu = watched.rates.cpu.get(each.name) if watched.rates is not None else None
        used = "-" if cpu is None else f"{100 * cpu:.0f} %"
        memory = "-" if each.memory is None else amount(int(each.memory))
        files = "-" if each.open_files is None else f"{each.open_files:.0f}"
        if each.open_files is not None and each.most_files is not None:
            files = _("{count} of {limit}").format(count=files, limit=f"{each.most_files:.0f}")
        yield Row(f"  {name:<{longest}}   {used:>6}   {memory:>8}   {files}")


def short(number: float) -> str:
    """A count as people read it: 0, 3.2, 480, 12.3 k, 4.0 M."""
    for unit in ("", " k", " M", " G"):
        if number < 999.5 or unit == " G":
            break
        number /= 1000
    digits = 1 if number < 99.5 and (unit or number % 1 >= 0.05) else 0
    return f"{number:.{digits}f}{unit}"


def curve_of(values: Sequence[float], columns: int, readings: int) -> str:
    """The values as a row of blocks, the newest at the right; from 0 to the largest.

    readings: how many there ever were. Where a column stands for several, it is always for the same ones: the curve moves, and
    does not flicker.
    """
    each = -(-KEPT // max(columns, 1)) if len(values) > columns else 1
    first = readings - len(values)
    groups: dict[int, list[float]] = {}
    for place, value in enumerate(values, first):
        groups.setdefault(place // each, []).append(value)
    means = [sum(group) / len(group) for group in groups.values()][-columns:]
    blocks = _blocks()
    most = max(means, default=0.0)
    return "".join(blocks[int(mean / most * (len(blocks) - 1) + 0.5) if most else 0] for mean in means)


def _blocks() -> str:
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _PLAIN
    return _BLOCKS


def table(servers: Iterable[Watched], width: int) -> list[Row]:
    """All servers, one below the other."""
    found: list[Row] = []
    for watched in servers:
        if found:
            found.append(Row(""))
        found += rows(watched, width)
    return found
