"""`prise chat`: the chat room, with the operator's prompt in this terminal; `prise chat join`: a client for it."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

import click

import prise
from prise.cli import logs, parameters
from prise.cli.root import speak
from prise.cli.security import server_tls
from prise.cli.texts import examples
from prise.locale import translate as _


class Chat(click.Group):
    """The room itself when no other word follows; `join` is imported when it is wanted."""

    def list_commands(self, context: click.Context) -> list[str]:
        return ["join"]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name != "join":
            return None
        command: click.Command = import_module("prise.cli.chat_join").join
        speak(command)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([("join", _("comes into a room, in this terminal"))])


@click.group(
    "chat",
    cls=Chat,
    invoke_without_command=True,
    help=_(
        "Opens a chat room for everybody with a browser, nc, telnet, or `prise chat join`: all through one port. What is said is "
        "kept, and the last of it shown to whoever joins. This terminal is the operator's: what is typed here is said in the "
        "room, /help lists the commands, Ctrl-C or /stop closes the room."
    ),
    epilog=examples(
        ("prise chat", _("on this machine; join it with: nc localhost 50000, or at http://localhost:8088")),
        ("prise chat --lan", _("also for the other machines of the network")),
        ("prise chat --lan --tls --password secret", _("encrypted, and only for who knows the password")),
        ("prise chat --on :6000 --store sqlite:class.sqlite", _("another port, and a history of its own")),
        ("prise chat --keep 90d --uploads operator", _("forgets after 90 days; only operators send files")),
        ("prise chat --handover run/chat", _("a new release can take over: prise restart run/chat")),
    ),
)
@click.option(
    "--on",
    "--tcp",
    "addresses",
    type=parameters.ADDRESS,
    multiple=True,
    metavar=_("ADDRESS"),
    help=_("Where to listen; may be given several times. Default: :50000 and :8088, on this machine alone."),
)
@click.option("--lan", is_flag=True, help=_("Listen on every interface: anybody in the network can join."))
@click.option(
    "--store",
    metavar="sqlite:PATH",
    help=_("Where what is said is kept. Default: prise/chat.sqlite in the user's data directory."),
)
@click.option("--keep", metavar=_("TIME"), help=_("Forget what is older, for example 90d. Default: keep all."))
@click.option(
    "--keep-messages", type=click.IntRange(min=1), metavar=_("NUMBER"), help=_("Keep so many messages of each room.")
)
@click.option("--name", default="prise", metavar=_("TEXT"), help=_("What the house is called."))
@click.option("--password", default="", metavar=_("TEXT"), help=_("Let only those in who know it."))
@click.option(
    "--operator-password", default="", metavar=_("TEXT"), help=_("What /op asks for. Default: one made at each start.")
)
@click.option(
    "--rate", default="10/5s", metavar=_("RATE"), help=_("How fast each one may speak, or none. Default: 10/5s.")
)
@click.option(
    "--uploads",
    type=click.Choice(["operator", "all", "none"]),
    default="all",
    help=_("Who may send files. Default: all."),
)
@click.option(
    "--upload-size",
    type=parameters.Size(),
    default="20M",
    metavar=_("BYTES"),
    help=_("The largest file that can be sent. Default: 20M."),
)
@click.option(
    "--upload-quota",
    type=parameters.Size(),
    default="1G",
    metavar=_("BYTES"),
    help=_("All files together. Default: 1G."),
)
@click.option("--upload-types", default="", metavar=_("LIST"), help=_("Take only these, for example image/*,.pdf."))
@click.option("--tls", "use_tls", is_flag=True, help=_("Encrypt all doors; without --cert, self-signed."))
@click.option("--cert", metavar=_("FILE"), help=_("The certificate (PEM), with those of its authorities behind it."))
@click.option("--key", metavar=_("FILE"), help=_("Its key, if it is not in the same file."))
@click.option(
    "--backplane",
    default="",
    metavar="nats://HOST",
    help=_("Be one of several servers that are one house, joined by NATS JetStream."),
)
@parameters.handover
@logs.metrics
@logs.log
@click.option("--explain", is_flag=True, help=_("Show what happens on the sockets: bytes, messages, queues."))
@click.pass_context
def command(context: click.Context, /, **values: Any) -> None:
    if context.invoked_subcommand is not None:
        return
    from prise.chat.bans import seconds
    from prise.chat.pace import Rate
    from prise.chat.server import Setting, run

    if values.pop("log_form") == "json":  # else as Python does it, which suits a terminal that is in use
        logs.log_to_stderr(logging.WARNING, "json")
    use_tls, cert, key = (values.pop(name) for name in ("use_tls", "cert", "key"))
    if (cert or key) and not use_tls:
        raise prise.UsageError("--cert and --key go with --tls")
    keep, rate = values.pop("keep"), values.pop("rate")
    succession = parameters.succession(values.pop("handover"))
    run(
        Setting(
            handover=succession,
            tls=server_tls({"cert": cert, "key": key, "client_ca": None, "self_signed": use_tls and not cert}),
            keep_time=seconds(keep) if keep else None,
            rate=Rate.parse(rate),
            **values,
        )
    )
    parameters.stay_for_heir(context, succession)
