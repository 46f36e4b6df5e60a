"""`prise chat join`: comes into a room of `prise chat`, on the whole terminal; with pipes, line by line."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.outcome import say
from prise.cli.security import client_security, client_tls, encrypted, proxies
from prise.cli.terminal import full_screen, is_terminal
from prise.cli.texts import examples, visible
from prise.locale import language
from prise.locale import translate as _

PASSWORD, PASSPHRASE = "PRISE_CHAT_PASSWORD", "PRISE_CHAT_PASSPHRASE"
"""Environment variables: what cannot be asked for in a pipe, and should be in no list of processes."""


@click.command(
    "join",
    help=_(
        "Comes into a room of `prise chat` at ADDRESS. On a terminal: /help lists the commands, Tab completes, Page Up shows "
        "what was said before, /send FILE shows a file, Ctrl-D leaves. With pipes, each line put in is said and what is said "
        "is printed, until the input ends. The house's password and a name's passphrase are asked for, or taken from "
        "PRISE_CHAT_PASSWORD and PRISE_CHAT_PASSPHRASE."
    ),
    epilog=examples(
        ("prise chat join", _("the room of this machine")),
        ("prise chat join --name alice --room exam server:50000", _("another machine's, and a room of one's choice")),
        ("prise chat join wss://chat.example.org/chat", _("the same through a web server")),
        ("make 2>&1 | tail -1 | prise chat join --name builder :50000", _("says a line, and leaves")),
    ),
)
@click.argument("address", type=parameters.ADDRESS, metavar=_("[ADDRESS]"), default=":50000")
@click.option(
    "--name", default="", metavar=_("NAME"), help=_("Your nickname. Default: the one of last time, or asked for.")
)
@click.option(
    "--room", "rooms", multiple=True, metavar=_("ROOM"), help=_("The room to go into; may be given several times.")
)
@click.option("--pipe", "by_lines", is_flag=True, help=_("Line by line, also on a terminal."))
@click.option(
    "--json", "as_json", is_flag=True, help=_("With pipes: print what happens as JSON, one object in each line.")
)
@client_security
def join(address: str, name: str, rooms: tuple[str, ...], by_lines: bool, as_json: bool, **security: Any) -> int:
    from prise.chat.client import session as sessions
    from prise.chat.client.memory import Identities

    where = prise.Address.parse(encrypted(address, security))
    tls, via = client_tls(security), proxies(security)

    def connect() -> prise.Connector:
        return prise.connect(where, framing=prise.Lines() | prise.json(), limits=sessions.LIMITS, tls=tls, via=via)

    def connect_bytes(place: prise.Address) -> prise.Connector:
        return prise.connect(place, framing="chunks", tls=tls, via=via)

    connect()  # what can never work is said before the screen is taken
    # The same house whether it is reached by lines or by WebSocket.
    kept = Identities(f"{where.host}:{where.port}" if where.port is not None else str(where.without_options()))
    wish = sessions.Wish(name=name or kept.last_name(), rooms=list(rooms), language=language())
    full = is_terminal() and not by_lines and not as_json and os.environ.get("TERM") != "dumb"
    if full:
        code, unsettled = full_screen("prise.chat.client.start").run(connect, connect_bytes, where, wish, kept)
        if unsettled:
            say(_("{number} of your messages may not have been stored").format(number=unsettled))
        return int(code)
    wish.name, wish.history = wish.name or user_name(), 0
    return asyncio.run(pipe(connect, where, wish, kept, as_json))


async def pipe(connect: Any, where: prise.Address, wish: Any, kept: Any, as_json: bool) -> int:
    from prise.chat.client import pipe as pipes
    from prise.chat.client.model import Model
    from prise.chat.client.session import Session
    from prise.chat.client.upload import web_url

    given = {"password": os.environ.get(PASSWORD), "passphrase": os.environ.get(PASSPHRASE)}
    listener = pipes.Pipe(
        lambda text: say(visible(text)),
        as_json,
        {code: value for code, value in given.items() if value},
        lambda url: web_url(where, url),
    )
    model = Model()
    return await pipes.run(Session(connect, model, listener, wish, kept), listener, model, len(wish.rooms))


def user_name() -> str:
    """The name of who is logged in."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "guest"
