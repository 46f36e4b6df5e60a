"""`prise top ADDRESS...`: how running servers are doing, live: what they tell where `--metrics` of theirs is."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.terminal import full_screen, is_terminal
from prise.cli.texts import examples
from prise.cli.top_table import Watched, table
from prise.locale import translate as _
from prise.observe.logs import written
from prise.observe.scrape import Scraper

SHORTEST = 0.1
"""Seconds between two readings, at the least."""

MOST = 20
"""Servers at the same time; each has a thread."""


@click.command(
    "top",
    help=_(
        "Shows how running servers are doing, again every second: connections, messages and bytes per second, errors, CPU and "
        "memory. ADDRESS is where the server tells it: what was given to its --metrics. A server that goes away is asked "
        "until it is back. q ends it. Where the output is no terminal, one table is printed."
    ),
    epilog=examples(
        ("prise serve echo --metrics :9100", _("a server that tells how it is doing")),
        ("prise top :9100", _("shows it, until q")),
        ("prise top :9100 host:9100 unix:/run/web.sock", _("several servers")),
        ("prise top --once :9100", _("one table, for scripts and reports")),
        ("prise top --json --every 10s :9100 >> figures.jsonl", _("a JSON object every ten seconds")),
    ),
)
@click.argument("addresses", nargs=-1, required=True, type=parameters.ADDRESS, metavar=_("ADDRESS..."))
@click.option("--every", type=parameters.Duration(), default=1.0, help=_("Time between two readings. Default: 1s."))
@click.option("--once", is_flag=True, help=_("Print one table, of two readings, and end."))
@click.option("--json", "as_json", is_flag=True, help=_("Print JSON on stdout, one object for each reading."))
def command(addresses: tuple[str, ...], every: float, once: bool, as_json: bool) -> int:
    if every < SHORTEST:
        raise prise.UsageError("--every is at least {seconds} s", seconds=SHORTEST)
    if len(addresses) > MOST:
        raise prise.UsageError("prise top watches {most} servers at the most", most=MOST)
    watching = Watching([Watched(address) for address in addresses], every)
    if as_json or once or not is_terminal() or os.environ.get("TERM") == "dumb":
        with closing(watching):
            return watching.print_json(once) if as_json else watching.print_table()
    screen = full_screen("prise.cli.top_screen").Screen(watching.servers, every)
    signal.signal(signal.SIGTERM, lambda *_: screen.app.exit())
    screen.run(lambda: watching.start(screen.changed))
    return 0


class Watching:
    """The servers, each read by a thread that does not keep the program alive."""

    def __init__(self, servers: Sequence[Watched], every: float) -> None:
        self.servers = servers
        self._every = every
        self._scrapers = [Scraper(each.address) for each in servers]  # raises for what is no address

    def close(self) -> None:
        for scraper in self._scrapers:
            scraper.close()

    def start(self, changed: Callable[[], object]) -> None:
        """Reads all of them from now on. changed: called after each reading, in that server's thread."""
        for watched, scraper in zip(self.servers, self._scrapers, strict=True):
            threading.Thread(target=self._watch, args=(watched, scraper, changed), daemon=True).start()

    def _watch(self, watched: Watched, scraper: Scraper, changed: Callable[[], object]) -> None:
        for _turn in self._turns():
            _read(watched, scraper)
            changed()

    def _turns(self) -> Iterator[int]:
        """0, 1, ... when it is time for a reading, for ever. One that took too long puts off those behind it."""
        due = time.monotonic()
        for turn in itertools.count():
            yield turn
            now = time.monotonic()
            due = max(due + self._every, now)
            time.sleep(due - now)

    def _read_all(self) -> prise.PriseError | None:
        """Reads each once; returns the first error. One after the other: this is for scripts."""
        errors = [_read(*each) for each in zip(self.servers, self._scrapers, strict=True)]
        return next((error for error in errors if error is not None), None)

    def print_table(self) -> int:
        """Two readings, one table. The exit code is that of the first error."""
        self._read_all()
        time.sleep(self._every)
        error = self._read_all()
        for row in table(self.servers, _width()):
            click.echo(row.text.rstrip())
        return 0 if error is None else error.exit_code

    def print_json(self, once: bool) -> int:
        """An object for each reading, and each server; rates from the second on. once: only the second reading."""
        for turn in self._turns():
            error = self._read_all()
            if turn == 0 and once:
                continue
            for watched in self.servers:
                click.echo(json.dumps(told(watched), ensure_ascii=False))
            sys.stdout.flush()
            if once:
                break
        return 0 if error is None else error.exit_code


def _read(watched: Watched, scraper: Scraper) -> prise.PriseError | None:
    try:
        watched.take(scraper.read())
    except prise.PriseError as error:
        watched.fail(error.sentence(_))
        return error
    return None


def told(watched: Watched) -> dict[str, Any]:
    """What one JSON object says. cpu: 1.0 is a whole core."""
    found: dict[str, Any] = {"time": written(datetime.now(UTC)), "address": watched.address}
    if watched.error is not None or watched.sample is None:
        return {**found, "error": watched.error}
    sample, rates = watched.sample, watched.rates
    return {
        **found,
        **sample.info,
        "draining": bool(sample.count("prise_draining")),
        "open": sample.count("prise_connections_open"),
        "limit": _whole(sample.value("prise_connections_limit")),
        "total": sample.count("prise_connections_total"),
        "refused": sample.causes("prise_connections_refused_total"),
        "errors": sample.causes("prise_errors_total"),
        "dropped": sample.causes("prise_datagrams_dropped_total"),
        "per_second": None if rates is None else {name: round(rate, 3) for name, rate in rates.counts.items()},
        "processes": [
            {
                "name": each.name,
                "cpu": None if rates is None else round(rates.cpu[each.name], 4),
                "memory": _whole(each.memory),
                "open_files": _whole(each.open_files),
            }
            for each in sample.processes
        ],
    }


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def _width() -> int:
    """Columns of the terminal; where there is none, what a line of a report has."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 100
    except (OSError, ValueError):
        return 100
