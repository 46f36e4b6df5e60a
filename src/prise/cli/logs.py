"""What those that serve have in common: --metrics, and --log, the form of what the library logs on stderr."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import click

from prise import BaseConnection
from prise.cli import parameters
from prise.cli.outcome import say
from prise.locale import translate as _
from prise.observe import Observer

_log = logging.getLogger("prise")

FORMS = ("text", "json")


def metrics(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--metrics` of what serves."""
    option = click.option(
        "--metrics",
        type=parameters.ADDRESS,
        metavar=_("ADDRESS"),
        help=_("Tell Prometheus and `prise top` at this address how it is going, for example :9100."),
    )
    return option(command)


def log(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--log` of what serves."""
    option = click.option(
        "--log",
        "log_form",
        type=click.Choice(FORMS),
        default="text",
        help=_("What is logged on stderr: text for people, or one JSON object a line. Default: text."),
    )
    return option(command)


def log_to_stderr(level: int, form: str = "text") -> None:
    """What the library logs goes to stderr, whatever the conversation does with its own logging.

    As JSON, so does what the conversation logs, unless that has a handler already: a program that reads it finds nothing else.
    """
    handler = _Said()
    if form == "json":
        from prise.observe.logs import JsonLines

        handler.setFormatter(JsonLines())
        logging.basicConfig(handlers=[handler])
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("prise")
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


class Comings(Observer):
    """Logs each connection that comes and goes, for `--verbose`."""

    def opened(self, connection: BaseConnection) -> None:
        told = {"connection": connection.id, "peer": connection.peer, "local": connection.local}
        _log.debug("connection %(connection)d from %(peer)s to %(local)s", told)

    def closed(self, connection: BaseConnection) -> None:
        _log.debug("connection %(connection)d is closed", {"connection": connection.id})


class _Said(logging.Handler):
    """To stderr as it is at that moment (a prompt may have put itself in its place), each record in one write."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)
