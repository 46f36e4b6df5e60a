"""`prise relay A B`: joins whoever comes to A with B, until it is told to stop."""

from __future__ import annotations

import logging
import resource
import sys
from contextlib import ExitStack, suppress
from typing import Any

import click

import prise
from prise.cli import logs, parameters
from prise.cli.dump import Dump, JsonEvents, passed
from prise.cli.outcome import say
from prise.cli.security import client_tls, proxies, server_tls
from prise.cli.texts import amount, examples
from prise.locale import translate as _
from prise.relay import Passage, Relay, Tap
from prise.relay.relay import RELAY_LIMITS

log = logging.getLogger("prise")

DESCRIPTORS = 4
"""What a passage may need: two sockets, and the pipe that is full when its receiver is stuck."""


@click.command(
    "relay",
    help=_(
        "Listens on A, connects to B for whoever comes, and joins the two, both ways. The prefix listen: or connect: makes "
        "either address the other kind: two that listen join pairs, two that connect are joined once. Ctrl-C, or SIGTERM, "
        "lets what is open end; a second one cuts it."
    ),
    epilog=examples(
        ("prise relay :8080 db:5432", _("for this machine only")),
        ("prise relay '*:8080' /run/app.sock --allow 192.168.0.0/16", _("a Unix socket for the local network")),
        ("prise relay :8080 api:80 --dump", _("shows what is said")),
        ("prise relay :8080 api:80 --record talk.jsonl", _("keeps it; `prise replay` plays it")),
        ("prise relay :8080 api:80 --rate 64K", _("a slow line, each way")),
        ("prise relay tls::4433 :80 --cert cert.pem --key key.pem", _("TLS in front of a server that has none")),
        ("prise relay listen::8080 listen::8081", _("joins who comes to the one with who comes to the other")),
    ),
)
@click.argument("a", type=parameters.ADDRESS, metavar="A")
@click.argument("b", type=parameters.ADDRESS, metavar="B")
@click.option("--once", is_flag=True, help=_("Only the first connection; its outcome is the exit code."))
@click.option(
    "--idle",
    type=parameters.Duration(optional=True),
    help=_("Close what was silent both ways for so long. Default: none; 60s for UDP."),
)
@click.option("--rate", type=parameters.Size(), help=_("Bytes per second, of each connection and direction."))
@click.option("--max-connections", type=parameters.Count(), help=_("Connections in all. Default: 2000."))
@click.option("--allow", multiple=True, metavar=_("NETWORK"), help=_("Let only these in; may be repeated."))
@click.option("--deny", multiple=True, metavar=_("NETWORK"), help=_("Keep these out; may be repeated."))
@click.option(
    "--proxy-protocol",
    type=click.Choice(("v1", "v2")),
    help=_("Tell B who the client is, in a PROXY header."),
)
@click.option("--cert", metavar=_("FILE"), help=_("For who listens on tls: or wss: the certificate (PEM)."))
@click.option("--key", metavar=_("FILE"), help=_("Its key, if it is not in the same file."))
@click.option(
    "--client-ca",
    metavar=_("FILE"),
    help=_("Let only those in who have a certificate of these authorities."),
)
@click.option("--self-signed", is_flag=True, help=_("A certificate of our own making, for development."))
@click.option("--ca", metavar=_("FILE"), help=_("For who connects to tls: or wss: trust these authorities (PEM)."))
@click.option("--pin", metavar=_("SHA256"), help=_("Trust the certificate with this fingerprint, and no other."))
@click.option("--insecure", is_flag=True, help=_("Trust any certificate. Somebody in between can read along."))
@click.option(
    "--via",
    multiple=True,
    metavar=_("PROXY"),
    help=_(
        "Reach B through socks5://HOST:PORT or http://HOST:PORT; several make a chain. Default: what ALL_PROXY says."
    ),
)
@click.option("--no-proxy", is_flag=True, help=_("Connect directly, whatever ALL_PROXY says."))
@click.option(
    "--timeout",
    type=parameters.Duration(optional=True),
    default=10.0,
    help=_("Time for a connection to B to be made. Default: 10s."),
)
@click.option("--drain", type=parameters.Duration(), default=10.0, help=_("Time to end when it stops. Default: 10s."))
@click.option("--dump", is_flag=True, help=_("Print what is said on stdout, as text where it is text."))
@click.option("--hex", "in_hex", is_flag=True, help=_("Print what is said on stdout, all in hex."))
@click.option("--record", metavar=_("FILE"), help=_("Keep what is said, with its times, in a new file."))
@logs.metrics
@logs.log
@click.option("--json", "as_json", is_flag=True, help=_("Print events on stdout, one JSON value per line."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@click.option("--verbose", "-v", is_flag=True, help=_("Say a line for each connection."))
def command(
    a: str,
    b: str,
    once: bool,
    idle: float | str | None,
    rate: int | None,
    max_connections: int | str | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    proxy_protocol: str | None,
    timeout: float | str,
    drain: float,
    dump: bool,
    in_hex: bool,
    record: str | None,
    metrics: str | None,
    log_form: str,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **security: Any,
) -> int:
    from dataclasses import replace

    security["connect_tls"] = client_tls(security | {"cert": None, "key": None})
    for name in ("ca", "pin", "insecure"):
        del security[name]
    security["tls"] = server_tls(security)
    security["via"] = proxies(security)

    if structured := log_form == "json":
        logs.log_to_stderr(logging.ERROR if quiet else logging.INFO, "json")
    limits = RELAY_LIMITS
    if max_connections is not None:
        limits = replace(limits, connections=None if isinstance(max_connections, str) else max_connections)
    report = Report(a, b, quiet, verbose, structured)
    taps: list[Tap] = [report]
    events = JsonEvents(dump or in_hex) if as_json else None
    if events is not None:
        taps.append(events)
    elif dump or in_hex:
        taps.append(Dump(in_hex))
    with ExitStack() as stack:
        options: dict[str, Any] = {
            "once": once,
            "idle": float("inf") if isinstance(idle, str) else idle,  # said, so that UDP has none either
            "rate": rate,
            "allow": allow,
            "deny": deny,
            "proxy_protocol": None if proxy_protocol is None else int(proxy_protocol[1:]),
            "limits": limits,
            "timeout": None if isinstance(timeout, str) else timeout,
            "drain_time": drain,
            "metrics": metrics,
            **security,
        }
        if record is not None:
            Relay(a, b, **options)  # refuses what cannot work before a file is made
            from prise.relay.recording import Recorder

            recorder = Recorder(record, {"a": a, "b": b})
            stack.callback(recorder.close)
            taps.append(recorder)
        relay = Relay(a, b, taps=taps, **options)
        allow_descriptors(limits.connections)

        def ready(addresses: list[prise.Address]) -> None:
            if events is not None:
                events.event("ready", addresses=[str(address) for address in addresses])
            report.ready(addresses)

        stats = relay.run(ready)
    if events is not None:
        events.event("stopped", connections=stats.total, to_server=stats.bytes_received, to_client=stats.bytes_sent)
    report.stopped(stats)
    sys.stdout.flush()
    if (once or a.startswith("connect:")) and report.error is not None:
        return report.error.exit_code if isinstance(report.error, prise.PriseError) else 1
    return 0


class Report(Tap):
    """What is said on stderr. logged: as records, for programs."""

    def __init__(self, a: str, b: str, quiet: bool, verbose: bool, logged: bool = False) -> None:
        self._a = a
        self._b = b
        self._quiet = quiet
        self._verbose = verbose
        self._logged = logged
        self.error: Exception | None = None

    def ready(self, addresses: list[prise.Address]) -> None:
        if self._logged:
            values = {"addresses": ", ".join(map(str, addresses)), "target": self._b}
            log.info("relaying from %(addresses)s to %(target)s", values)
            return
        if self._quiet:
            return
        target = self._b.removeprefix("connect:")
        for address in addresses if not self._b.startswith("listen:") else ():
            say(_("relaying from {address} to {target}").format(address=address, target=target))
        if self._b.startswith("listen:"):
            say(_("joining those who come to {addresses}").format(addresses=", ".join(map(str, addresses))))

    def opened(self, passage: Passage) -> None:
        if self._logged:
            log.info("passage %(passage)d: %(client)s is joined with %(server)s", values_of(passage))
        elif self._verbose:
            text = _("#{number} {client}: joined with {server}")
            say(text.format(number=passage.number, client=passage.client, server=passage.server))

    def closed(self, passage: Passage) -> None:
        error = self.error = passage.error
        if self._logged:
            values = {**values_of(passage), "error": error or "-"}
            values |= {"to_server": passage.to_server, "to_client": passage.to_client, "seconds": passage.seconds}
            template = "passage %(passage)d of %(client)s is over after %(seconds).3f s: %(error)s"
            log.log(logging.INFO if error is None else logging.WARNING, template, values)
            return
        if self._verbose:
            say(passed(passage))
        if isinstance(error, prise.ConnectionLost) and passage.server is not None and not self._verbose:
            return  # that one side broke off is everyday
        if error is not None:
            what = error.sentence(_) if isinstance(error, prise.PriseError) else str(error)
            say(_("#{number} {client}: {error}").format(number=passage.number, client=passage.client, error=what))

    def stopped(self, stats: prise.Stats) -> None:
        if self._logged:
            counts = {"total": stats.total, "to_server": stats.bytes_received, "to_client": stats.bytes_sent}
            log.info("the relay has stopped", extra=counts)
        elif not self._quiet:
            text = _("connections: {total}; to B: {sent}, to A: {received}")
            say(text.format(total=stats.total, sent=amount(stats.bytes_received), received=amount(stats.bytes_sent)))


def values_of(passage: Passage) -> dict[str, object]:
    """Who is in a passage, for log records."""
    return {"passage": passage.number, "client": passage.client, "server": passage.server}


def allow_descriptors(connections: int | None) -> None:
    """Raises our own limit of open files, as far as we may, to what so many connections can need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if connections is None else connections * DESCRIPTORS + 100
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
