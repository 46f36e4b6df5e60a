"""`prise restart`: a running server is replaced by a new process of itself, and nobody is cut off."""

from __future__ import annotations

import click

from prise.cli import parameters
from prise.cli.events import Events
from prise.cli.texts import examples
from prise.locale import translate as _


@click.command(
    "restart",
    help=_(
        "Has a server that runs with --handover PATH start a new process of itself, with the programs as they are now. "
        "That takes over where the old one listens and, where the conversation allows it, the live connections with all "
        "that was said; the rest ends in peace. If the new one fails at its start, the old one goes on. (The signal USR2 "
        "does the same, without an answer.)"
    ),
    epilog=examples(
        ("prise chat --handover run/chat", _("a chat room that can be renewed")),
        ("prise restart run/chat", _("renews it: everybody stays, in their rooms")),
    ),
)
@click.argument("path", metavar=_("PATH"))
@click.option(
    "--timeout",
    type=parameters.Duration(),
    default="60s",
    metavar=_("TIME"),
    help=_("How long the new process may take to be ready. Default: 60s."),
)
@click.option("--json", "as_json", is_flag=True, help=_("Say what happened as one line of JSON, on stdout."))
def command(path: str, timeout: float, as_json: bool) -> None:
    from prise.handover import restart

    pid = restart(path, timeout)
    events = Events(as_json, quiet=as_json)
    events.event("restarted", path=path, pid=pid)
    events.say(
        _("a new process has taken over") if pid is None else _("a new process has taken over: {pid}").format(pid=pid)
    )
