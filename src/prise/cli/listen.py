"""`prise listen ADDRESS`: waits for somebody and joins the connection to the terminal, to a pipe, or to a program."""

from __future__ import annotations

import threading
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.connect import PATIENT, WAIT, Form, talk_bytes, talk_messages, usual_framing
from prise.cli.outcome import say
from prise.cli.security import encrypted, server_security, server_tls
from prise.cli.texts import examples, netcat
from prise.locale import translate as _

MOST_PROGRAMS = 100
"""Programs that run at the same time; whoever comes then waits."""


@click.command(
    "listen",
    help=_(
        "Waits at ADDRESS for one connection and joins it to standard input and output, or with --exec to a program. With "
        "--keep it waits for the next one afterwards; programs then run side by side."
    ),
    epilog=examples(
        ("prise listen :50000 > file", _("takes what the first caller sends")),
        ("prise listen --keep :50000", _("one caller after the other")),
        ("prise listen --keep --exec 'sort -u' :50000", _("each caller has a sort of its own")),
        ("prise listen --exec 'bash -i' --pty /tmp/shell.sock", _("a shell on a Unix socket, as on a terminal")),
    ),
)
@click.argument("address", type=parameters.ADDRESS, metavar=_("ADDRESS"))
@click.option("--keep", is_flag=True, help=_("Wait for the next one afterwards."))
@click.option("--exec", "program", metavar=_("COMMAND"), help=_("Join each connection to this program."))
@click.option("--pty", is_flag=True, help=_("The program runs on a terminal of its own."))
@click.option(
    "--wait",
    type=parameters.Duration(),
    default=WAIT,
    help=_("Silence that ends the answers where the end of the input cannot be sent on: UDP, WebSocket. Default: 3s."),
)
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@server_security
def command(
    address: str, keep: bool, program: str | None, pty: bool, wait: float, quiet: bool, **security: Any
) -> None:
    if pty and not program:
        raise prise.UsageError("--pty is for the program of --exec")
    address, tls = encrypted(address, security), server_tls(security)
    joined = f"exec{',pty' if pty else ''}:{program}" if program else None
    framing = "chunks" if joined else usual_framing(address)
    with prise.Listener(address, framing=framing, limits=PATIENT, tls=tls) as listener:
        for where in listener.addresses:
            if not quiet:
                say(_("waiting on {address} ({netcat})").format(address=where, netcat=netcat(where)))
        if keep:
            serve_all(listener, joined, wait, quiet)
            return
        connection = listener.accept()
    serve_one(connection, joined, wait, quiet)


def serve_all(listener: prise.Listener, program: str | None, wait: float, quiet: bool) -> None:
    """One after the other at the terminal or pipe; programs side by side."""
    places = threading.BoundedSemaphore(MOST_PROGRAMS)

    def serve(connection: prise.Connection) -> None:
        try:
            serve_one(connection, program, wait, quiet)
        except (prise.PriseError, OSError) as error:
            say(f"prise: {error.sentence(_) if isinstance(error, prise.PriseError) else error}")
        finally:
            places.release()

    for connection in listener:
        places.acquire()
        if program is None:
            serve(connection)
        else:
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def serve_one(connection: prise.Connection, program: str | None, wait: float, quiet: bool) -> None:
    with connection:
        connection.handshake()
        if not quiet:
            say(_("connection from {peer}").format(peer=connection.peer))
        if program is None:
            if connection.websocket is not None:
                talk_messages(connection, Form("lines"), wait)
            else:
                talk_bytes(connection, False, wait)
            return
        with prise.connect(program, framing="chunks", limits=PATIENT) as other:
            join(connection, other)


def join(connection: prise.Connection, program: prise.Connection) -> None:
    """Until the program ends; the end of the connection's input is the end of the program's."""

    def feed() -> None:
        try:
            for data in connection:
                program.send(data)
            program.send_eof()
        except (prise.PriseError, OSError):
            pass  # the program reads no more, but may still write; or the connection broke, which the other side notices

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    try:
        for data in program:
            connection.send(data)
        connection.send_eof()
    finally:
        connection.end_input()
        program.abort()
        feeder.join()
