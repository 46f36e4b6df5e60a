"""`prise serve CONVERSATION`: serves a built-in conversation, or a function of the user's, until it is told to stop."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

import click

import prise
from prise.cli import logs, parameters
from prise.cli.conversations import BUILT_IN
from prise.cli.events import Events
from prise.cli.loading import load
from prise.cli.security import encrypted, server_security, server_tls
from prise.cli.texts import amount, examples, netcat
from prise.locale import translate as _

log = logging.getLogger("prise")

LIMITS: dict[str, str] = {
    "max_connections": "connections",
    "max_per_peer": "connections_per_peer",
    "max_message": "message_size",
    "idle": "idle_time",
    "message_time": "message_time",
    "write_time": "write_time",
}
"""Option -> the limit that it sets."""


@click.command(
    "serve",
    help=_(
        "Serves CONVERSATION: echo, greet, upper, discard, time, or your own function as module:function, "
        "file.py:function or php:script.php. Ctrl-C, or SIGTERM, lets the conversations end; a second one ends them at "
        "once."
    ),
    epilog=examples(
        ("prise serve echo", _("on port 50000, for this machine only")),
        ("prise serve greet --on '*:50000' --on unix:/run/greet.sock", _("every interface, and a Unix socket")),
        ("prise serve echo --on ws://:8088 --on udp::50000", _("to a browser, and by datagrams")),
        ("prise serve echo --tls --self-signed", _("encrypted, for development")),
        ("prise serve hello.py:greeter --reload", _("starts again whenever the file changes")),
        (
            "prise serve app.talk:game --model asyncio --workers 4 --idle 5m",
            _("four processes, patient for five minutes"),
        ),
        (
            "prise serve php:guestbook.php --workers 8",
            _("the function that a PHP script returns, by eight PHP processes"),
        ),
        ("prise serve echo --metrics :9100 --log json", _("for Prometheus, `prise top :9100` and who gathers logs")),
    ),
)
@click.argument("conversation", type=parameters.Words(*BUILT_IN, files=True), metavar=_("CONVERSATION"))
@click.option(
    "--on",
    type=parameters.ADDRESS,
    multiple=True,
    default=(":50000",),
    metavar=_("ADDRESS"),
    help=_("Where to listen; may be repeated. Default: :50000."),
)
@click.option(
    "--framing",
    type=parameters.FRAMING,
    default="lines",
    metavar="F",
    help=_("How bytes become messages. Default: lines."),
)
@click.option(
    "--model",
    type=click.Choice(parameters.MODELS),
    help=_("How conversations run side by side. Default: what fits the function."),
)
@click.option("--workers", type=click.IntRange(1), default=1, metavar="N", help=_("Processes that serve side by side."))
@click.option(
    "--queue",
    type=click.IntRange(0),
    metavar="N",
    help=_("With php: connections that wait for a worker; more are closed. Default: 100."),
)
@click.option("--max-connections", type=parameters.Count(), help=_("Connections in all. Default: 2000."))
@click.option("--max-per-peer", type=parameters.Count(), help=_("Connections of one peer. Default: 1000."))
@click.option("--max-message", type=parameters.Size(), help=_("Size of one message. Default: 1M."))
@click.option("--idle", type=parameters.Duration(optional=True), help=_("Time without a byte. Default: 10m."))
@click.option(
    "--message-time", type=parameters.Duration(optional=True), help=_("Time for one whole message. Default: 60s.")
)
@click.option(
    "--write-time",
    type=parameters.Duration(optional=True),
    help=_("Time for a peer to take what is sent. Default: 30s."),
)
@click.option(
    "--drain",
    type=parameters.Duration(),
    default=10.0,
    help=_("Time for conversations to end when the server stops. Default: 10s."),
)
@server_security
@parameters.handover
@logs.metrics
@logs.log
@click.option("--reload", is_flag=True, help=_("Start again whenever the code of the conversation changes."))
@click.option("--json", "as_json", is_flag=True, help=_("Print events on stdout, one JSON value per line."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@click.option("--verbose", "-v", is_flag=True, help=_("Say a line for each connection that comes and goes."))
@click.pass_context
def command(
    context: click.Context,
    /,
    conversation: str,
    on: tuple[str, ...],
    framing: str,
    model: str | None,
    workers: int,
    queue: int | None,
    drain: float,
    handover: str | None,
    metrics: str | None,
    log_form: str,
    reload: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **rest: Any,
) -> int:
    logs.log_to_stderr(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO, log_form)
    encrypt = rest.pop("tls")
    tls = server_tls(rest)
    addresses = [prise.Address.parse(encrypted(address, {"tls": encrypt})) for address in on]
    report = Report(conversation, as_json, quiet, log_form == "json")
    if conversation.startswith("php:"):
        if metrics is not None:
            raise prise.UsageError("--metrics is not for php: conversations")
        from prise.cli.php import serve_php

        return serve_php(conversation[4:], addresses, report, rest, workers, queue, tls, drain, reload)
    succession = parameters.succession(handover)
    if succession is not None and reload:
        raise prise.UsageError("--reload and --handover do not go together")
    if queue is not None:
        raise prise.UsageError("--queue is for php: conversations")
    settings: dict[str, Any] = {
        "framing": prise.framing_of(framing),
        "model": model,
        "workers": workers,
        "limits": limits_of(rest),
        "tls": tls,
        "drain_time": drain,
        "handover": succession,
        "metrics": metrics,
        "observer": logs.Comings() if verbose else None,
    }

    def serve() -> int:
        report.stopped(prise.serve(load(conversation), *addresses, ready=report.ready, **settings))
        return 0

    if not reload:
        code = serve()
        parameters.stay_for_heir(context, succession)
        return code
    from prise.cli.reload import reloading

    return reloading(conversation, serve)


def limits_of(given: dict[str, Any]) -> prise.Limits:
    """The library's limits, with those that were given in their place."""
    chosen: dict[str, Any] = {
        LIMITS[name]: None if value == parameters.OFF else value for name, value in given.items() if value is not None
    }
    return prise.Limits(**chosen)


class Report:
    """What is said at the start and at the end: for people on stderr, with --json for programs on stdout.

    logged: among the log records instead, where these are for programs too.
    """

    def __init__(self, conversation: str, as_json: bool, quiet: bool, logged: bool = False) -> None:
        self._conversation = conversation
        self._events = Events(as_json, quiet)
        self._logged = logged

    def ready(self, addresses: list[prise.Address]) -> None:
        where = [str(address) for address in addresses]
        self._events.event("ready", conversation=self._conversation, addresses=where)
        if self._logged:
            values = {"conversation": self._conversation, "addresses": ", ".join(where)}
            log.info("%(conversation)s is listening on %(addresses)s", values)
            return
        for address in addresses:
            text = _("{conversation} is listening on {address} ({netcat})")
            self._events.say(text.format(conversation=self._conversation, address=address, netcat=netcat(address)))

    def stopped(self, stats: prise.Stats) -> None:
        self.counted(asdict(stats), summary(stats))

    def counted(self, counts: dict[str, Any], in_words: str) -> None:
        self._events.event("stopped", **counts)
        if self._logged:
            log.info("the server has stopped", extra=counts)
        else:
            self._events.say(in_words)


def summary(stats: prise.Stats) -> str:
    """The counts in one line; refusals and errors with their causes."""
    text = _(
        "connections: {total}; messages: {received} in, {sent} out; bytes: {bytes_in} in, {bytes_out} out; "
        "refused: {refused}; errors: {errors}"
    )
    return text.format(
        total=stats.total,
        received=stats.messages_received,
        sent=stats.messages_sent,
        bytes_in=amount(stats.bytes_received),
        bytes_out=amount(stats.bytes_sent),
        refused=causes(stats.refused),
        errors=causes(stats.errors),
    )


def causes(counts: Any) -> str:
    total = sum(counts.values())
    which = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    return f"{total} ({which})" if which else "0"
