"""`prise give PATH ADDRESS`: hands a live connection to whoever waits at PATH, `prise take` for example.

With --listen it is a front door: each connection that comes in is handed on, over a channel of its own, so that who waits at
PATH may be another program each time.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.connect import PATIENT
from prise.cli.events import Events
from prise.cli.outcome import say
from prise.cli.security import client_security, client_tls, encrypted, proxies
from prise.cli.texts import examples, netcat
from prise.handover import Channel
from prise.handover.parcel import ends_of
from prise.locale import translate as _

MOST_AT_ONCE = 100
"""Connections that are being handed over at the same time; whoever comes then waits."""

RELAYS = "prise-relay"
"""What the library's threads are called that pass on what this process alone can read."""


@click.command(
    "give",
    help=_(
        "Hands a connection to the program that waits at PATH (`prise take`, a Python or a PHP program), and ends: the peer "
        "notices nothing. ADDRESS is connected to; fd:N is a socket that this program was started with, and - the one on its "
        "standard input. With --listen, it is where connections come from, and all of them are handed on."
    ),
    epilog=examples(
        ("prise give /run/app/take localhost:50000", _("connects, and lets another program talk")),
        ("prise give /run/app/take --listen '*:50000'", _("a front door")),
        (
            'prise give /run/app/take - --state \'{"name": "ada"}\'',
            _("under inetd or tcpserver, with something to know"),
        ),
        ("prise give --relay /run/app/take tls:example.org:993", _("this program stays, and does the encryption")),
    ),
)
@click.argument("path", type=parameters.Words(files=True), metavar=_("PATH"))
@click.argument("address", type=parameters.ADDRESS, metavar=_("ADDRESS"))
@click.option("--listen", is_flag=True, help=_("Listen on ADDRESS, and hand over whatever comes."))
@click.option("--state", metavar="JSON", help=_("What the other program is to know about the connection."))
@click.option(
    "--relay",
    is_flag=True,
    help=_("Pass on in clear what only this program can read, as long as it lasts: TLS."),
)
@click.option(
    "--timeout",
    type=parameters.Duration(),
    default=5.0,
    help=_("Time for the connection to be made, and again for the other program to take it. Default: 5s."),
)
@client_security
@click.option("--json", "as_json", is_flag=True, help=_("Print events on stdout, one JSON value per line."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
def command(
    path: str,
    address: str,
    listen: bool,
    state: str | None,
    relay: bool,
    timeout: float,
    as_json: bool,
    quiet: bool,
    **security: Any,
) -> None:
    giver = Giver(path, read_state(state), relay, timeout, Events(as_json, quiet))
    if listen:
        own = any(security[name] for name in ("tls", "ca", "pin", "insecure", "cert", "key"))
        if own:
            raise prise.UsageError("with --listen, TLS is written in the address: tls,cert=FILE:HOST:PORT")
        front_door(giver, address)
        return
    with ExitStack() as stack:
        channel = stack.enter_context(giver.channel())  # before anybody is connected to
        descriptor = inherited(address)
        given: Any
        if descriptor is not None:
            given = stack.enter_context(sockets(descriptor))
        else:
            where, tls, via = encrypted(address, security), client_tls(security), proxies(security)
            connector = prise.connect(where, framing="chunks", timeout=timeout, limits=PATIENT, tls=tls, via=via)
            given = stack.enter_context(connector.open())
        giver.give(channel, given)
    for thread in threading.enumerate():
        if thread.name == RELAYS:
            thread.join()


def read_state(text: str | None) -> Any:
    if text is None:
        return None
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise prise.UsageError("the state is not JSON: {text!r}", text=text[:80]) from None


def inherited(address: str) -> int | None:
    """The number of the descriptor that the address means; None for others."""
    where = prise.Address.parse("fd:0" if address == "-" else address)
    return int(str(where.path)) if where.scheme == "fd" else None


def sockets(descriptor: int) -> socket.socket:
    """The same socket again, listening or connected. Raises UsageError for what is none."""
    try:
        return socket.socket(fileno=os.dup(descriptor))
    except OSError as error:
        raise prise.UsageError(
            "descriptor {number} cannot be given away: {cause}", number=descriptor, cause=error.strerror or error
        ) from None


class Giver:
    """Hands over what it is given, and says so."""

    def __init__(self, path: str, state: Any, relay: bool, timeout: float, events: Events) -> None:
        self.path = path
        self.timeout = timeout
        self.events = events
        self._state = state
        self._relay = relay

    def channel(self) -> Channel:
        return Channel.connect(self.path, self.timeout)

    def give(self, channel: Channel, given: Any) -> None:
        """Raises HandoverError; then it is still ours."""
        peer = str(given.peer) if isinstance(given, prise.Connection) else next(filter(None, ends_of(given)), "-")
        channel.send(given, state=self._state, relay=self._relay, timeout=self.timeout)
        self.events.event("given", peer=peer, path=self.path)
        self.events.say(_("{peer} was taken at {path}").format(peer=peer, path=self.path))


def front_door(giver: Giver, address: str) -> None:
    """Hands over what comes, until it is told to stop. What nobody takes is closed."""
    places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def serve(connection: prise.Connection) -> None:
        try:
            with connection, giver.channel() as channel:
                giver.give(channel, connection)
        except (prise.PriseError, OSError) as error:
            what = error.sentence(_) if isinstance(error, prise.PriseError) else str(error)
            giver.events.event("refused", peer=str(connection.peer), path=giver.path, error=str(error))
            say(_("{peer} was not taken: {error}").format(peer=connection.peer, error=what))
        finally:
            places.release()

    with prise.Listener(address, framing="chunks", limits=PATIENT) as listener:
        giver.events.event("ready", addresses=[str(where) for where in listener.addresses], path=giver.path)
        for where in listener.addresses:
            text = _("what comes to {address} goes to {path} ({netcat})")
            giver.events.say(text.format(address=where, path=giver.path, netcat=netcat(where)))
        for connection in listener:
            places.acquire()
            threading.Thread(target=serve, args=(connection,), name="give", daemon=True).start()
