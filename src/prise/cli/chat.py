"""`prise chat`: the chat room, with the operator's prompt in this terminal."""

from __future__ import annotations

import click

from prise.cli import parameters
from prise.cli.texts import examples
from prise.locale import translate as _


@click.command(
    "chat",
    help=_(
        "Opens a chat room for everybody with nc, telnet, or `prise connect`. What is said is kept, and the last of it shown to "
        "whoever joins. This terminal is the operator's: what is typed here is said in the room, /help lists the commands, "
        "Ctrl-C or /stop closes the room."
    ),
    epilog=examples(
        ("prise chat", _("on this machine, port 50000; join it with: nc localhost 50000")),
        ("prise chat --lan", _("also for the other machines of the network")),
        ("prise chat --tcp :6000 --store sqlite:class.sqlite", _("another port, and a history of its own")),
    ),
)
@click.option(
    "--tcp",
    "addresses",
    type=parameters.ADDRESS,
    multiple=True,
    metavar=_("ADDRESS"),
    help=_("Where to listen; may be given several times. Default: :50000, on this machine alone."),
)
@click.option("--lan", is_flag=True, help=_("Listen on every interface: anybody in the network can join."))
@click.option(
    "--store",
    metavar="sqlite:PATH",
    help=_("Where what is said is kept. Default: prise/chat.sqlite in the user's data directory."),
)
def command(addresses: tuple[str, ...], lan: bool, store: str | None) -> None:
    from prise.chat.server import run

    run(addresses, store, lan=lan)
