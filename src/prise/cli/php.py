"""`prise serve php:script.php`: a pool of PHP workers, to which the connections are handed (`prise.handover.pool`).

The script returns a function; worker.php, beside the pool, calls it with each connection. The PHP library that both need is
in the wheel (prise/php), and in a checkout beside src/.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

import prise
from prise.cli.outcome import say
from prise.cli.reload import INTERVAL, Snapshot, changed, snapshot
from prise.cli.serve import Report, causes, limits_of
from prise.handover import pool
from prise.locale import translate as _

NOT_FOR_PHP = ("framing", "model", "max_message", "message_time", "write_time")
"""Options of `prise serve` that say what happens inside a conversation: there the script decides."""

QUEUE = 100
"""Connections that wait for a worker, unless --queue says otherwise."""


def serve_php(
    script: str,
    addresses: list[prise.Address],
    report: Report,
    given: dict[str, Any],
    workers: int,
    queue: int | None,
    tls: Any,
    drain: float,
    reload: bool,
) -> int:
    """Serves until it is told to stop. given: the options that set limits. Raises UsageError, BindError."""
    context = click.get_current_context()
    said = {name for name in context.params if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    for name in NOT_FOR_PHP:
        if name in said:
            option = f"--{name.replace('_', '-')}"
            raise prise.UsageError("{option} is not for PHP: there the script decides", option=option)
    if "handover" in said:
        raise prise.UsageError(
            "--handover is not for php: conversations; SIGHUP, or --reload, replaces the PHP workers"
        )
    if not os.path.isfile(script):
        raise prise.UsageError("there is no file {path}", path=script)
    limits = limits_of(given)
    try:
        stats = pool.serve(
            argv(script, limits.idle_time),
            *addresses,
            ready=report.ready,
            meanwhile=watching(os.path.dirname(os.path.abspath(script))) if reload else None,
            workers=workers if "workers" in said else None,
            queue=QUEUE if queue is None else queue,
            limits=limits,
            tls=tls,
            drain_time=drain,
        )
    except prise.HandoverError as error:  # a worker has not become ready
        raise prise.UsageError(
            "{script} cannot be served: {why}", script=script, why=error.details.get("why", error)
        ) from error
    report.counted(asdict(stats), summary(stats))
    return 0


def argv(script: str, idle_time: float | None) -> list[str]:
    """The command of a worker. idle_time: what a read in PHP waits for, in seconds; None: for ever."""
    if shutil.which("php") is None:
        raise prise.UsageError("PHP is not installed, or not in PATH (on Debian: apt install php-cli)")
    patience = -1 if idle_time is None else max(round(idle_time), 1)
    settings = ("display_errors=stderr", "log_errors=0", "html_errors=0", f"default_socket_timeout={patience}")
    worker = Path(pool.__file__).with_name("worker.php")
    return [
        "php",
        *(word for setting in settings for word in ("-d", setting)),
        str(worker),
        str(library()),
        os.path.abspath(script),
    ]


def library() -> Path:
    """autoload.php of the PHP library. Raises UsageError."""
    package = Path(prise.__file__).parent
    for place in (package / "php", package.parent.parent / "php"):
        if (place / "autoload.php").is_file():
            return place / "autoload.php"
    raise prise.UsageError("the PHP library of prise is missing in {place}: install prise again", place=package / "php")


def watching(folder: str) -> Callable[[pool.Pool], Coroutine[Any, Any, None]]:
    """What replaces the workers whenever a PHP file in this folder, or below, is no longer as it is now."""

    def look() -> Snapshot:
        return snapshot(folder, ".php", lambda name: not name.startswith("."))

    first = look()  # before any worker reads them: no change falls in between

    async def watch(workers: pool.Pool) -> None:
        before = first
        while True:
            now = await asyncio.to_thread(look)
            if name := changed(before, now):
                say(_("{file} has changed: starting again").format(file=name.removeprefix(folder + os.sep)))
                workers.reload()
            before = now
            await asyncio.sleep(INTERVAL)

    return watch


def summary(stats: pool.PoolStats) -> str:
    """The counts in one line."""
    text = _(
        "connections: {total}; refused: {refused}; errors: {errors}; PHP workers that were started again: {restarts}"
    )
    return text.format(
        total=stats.total, refused=causes(stats.refused), errors=causes(stats.errors), restarts=stats.restarts
    )
