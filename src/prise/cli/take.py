"""`prise take PATH`: waits at PATH for connections that others give away (`prise give`, a Python or PHP program).

It goes on with them at the terminal or in a pipe, with a program, or with whoever comes to another address.

One thread looks at all who have connected to PATH: who is silent holds up nobody. What it takes waits in a short queue for the
main thread. So a connection is acknowledged at once even while the one before it is still at the terminal.
"""

from __future__ import annotations

import json
import os
import pwd
import queue
import selectors
import shlex
import shutil
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.connect import PATIENT, WAIT, talk_bytes
from prise.cli.events import Events
from prise.cli.outcome import say
from prise.cli.texts import examples, netcat, visible
from prise.handover import Channel, Listener, Received
from prise.handover.spawn import UCSPI, spawn
from prise.locale import translate as _

MOST_CHANNELS = 100
"""Who may be connected to PATH at the same time; the next ones wait."""

MOST_WAITING = 16
"""Connections that were taken, and wait for their turn; the next ones stay with those who give them."""

MOST_AT_ONCE = 100
"""Programs, or pairs of connections, at the same time."""

MOST_SHOWN = 300
"""Characters of a state that are shown to people."""

MOST_IN_VARIABLE = 100_000
"""Bytes of a state in PRISE_STATE; the kernel lets a variable have 128 KiB (execve(2), MAX_ARG_STRLEN)."""


@click.command(
    "take",
    help=_(
        "Waits at PATH for a connection that another program gives away (`prise give`, a Python or a PHP program), and joins it "
        "to standard input and output, with --exec to a program, or with --listen to whoever connects there. What the other "
        "program had read already comes first; what it says about the connection is shown."
    ),
    epilog=examples(
        ("prise take /run/app/take", _("goes on with the talk at this terminal")),
        ("prise take --many --exec 'php talk.php' /run/app/take", _("a program for each, as under inetd")),
        ("prise take --listen :9000 /run/app/take", _("the connection is there for whoever connects to port 9000")),
        ("prise take --uids www-data --mode 666 /run/app/take", _("from the processes of another user, php-fpm's say")),
    ),
)
@click.argument("path", type=parameters.Words(files=True), metavar=_("PATH"))
@click.option("--stdio", is_flag=True, help=_("Join it to standard input and output; this is the default."))
@click.option(
    "--exec",
    "program",
    metavar=_("COMMAND"),
    help=_(
        "Start this program, with the connection as its standard input and output; PRISE_STATE is what was said of it."
    ),
)
@click.option(
    "--listen",
    type=parameters.ADDRESS,
    multiple=True,
    metavar=_("ADDRESS"),
    help=_("Join it with whoever connects to this address; may be repeated."),
)
@click.option("--many", is_flag=True, help=_("Wait for the next one afterwards."))
@click.option(
    "--uids",
    metavar=_("USERS"),
    help=_("Take connections from processes of these users only: names or numbers, with commas. Default: ourselves."),
)
@click.option("--mode", default="600", metavar="MODE", help=_("Permissions of PATH, in octal. Default: 600."))
@click.option("--json", "as_json", is_flag=True, help=_("Print events on stdout, one JSON value per line."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
def command(
    path: str,
    stdio: bool,
    program: str | None,
    listen: tuple[str, ...],
    many: bool,
    uids: str | None,
    mode: str,
    as_json: bool,
    quiet: bool,
) -> int:
    if stdio + bool(program) + bool(listen) > 1:
        raise prise.UsageError("--stdio, --exec and --listen exclude each other")
    if as_json and not (program or listen):
        raise prise.UsageError("--json goes with --exec and --listen; otherwise stdout is for what the peer says")
    events = Events(as_json, quiet)
    with ExitStack() as stack:
        go_on: Callable[[Received], int] = talk
        if program:
            try:
                words = shlex.split(program)
            except ValueError:  # "No closing quotation", "No escaped character"
                raise prise.UsageError(
                    "a quotation mark in the command is not closed, or it ends with a backslash"
                ) from None
            if not words or shutil.which(words[0]) is None:
                raise prise.UsageError("there is no program {program} that can be run", program=program)
            go_on = partial(run, words)
        elif listen:
            door = stack.enter_context(prise.Listener(*listen, framing="chunks", limits=PATIENT))
            for where in door.addresses:
                events.say(
                    _("what is taken is joined to {address} ({netcat})").format(address=where, netcat=netcat(where))
                )
            turn = threading.Lock()  # a Listener belongs to one thread at a time

            def meet(received: Received) -> int:
                with stream(received) as connection:
                    with turn:
                        other = door.accept()
                    return join(connection, other)

            go_on = meet
        listener = stack.enter_context(Listener(path, uids=numbers(uids), mode=permissions(mode)))
        events.event("ready", path=path)
        events.say(_("waiting for connections at {path}").format(path=path))
        taking = Taking(listener, once=not many)
        if not many:
            received = taking.next()
            listener.close()
            announce(received, events)
            return go_on(received)
        serve_all(taking, events, go_on, at_once=bool(program or listen))
    return 0


def numbers(users: str | None) -> set[int] | None:
    """User ids for names or numbers. Raises UsageError."""
    if users is None:
        return None
    found = set()
    for user in users.split(","):
        try:
            found.add(int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid)
        except KeyError:
            raise prise.UsageError("there is no user {name}", name=user) from None
    return found


def permissions(mode: str) -> int:
    if not (mode.isdecimal() and len(mode) < 5 and set(mode) <= set("01234567")):
        raise prise.UsageError("{mode} are no permissions; write for example 600 or 660", mode=mode)
    return int(mode, 8)


class Taking:
    """Takes connections from all who come to a listener, in a thread of its own. once: only the first."""

    def __init__(self, listener: Listener, once: bool) -> None:
        self._listener = listener
        self._once = once
        self._taken: queue.Queue[Received | Exception] = queue.Queue(MOST_WAITING)
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._channels: set[Channel] = set()
        threading.Thread(target=self._run, name="take", daemon=True).start()

    def next(self) -> Received:
        """The next connection that was taken. Raises what ended the taking."""
        taken = self._taken.get()
        if isinstance(taken, Exception):
            raise taken
        return taken

    def _run(self) -> None:
        try:
            while True:
                for key, _events in self._selector.select():
                    if key.fileobj is self._listener:
                        self._let_in()
                    elif isinstance(key.fileobj, Channel) and self._take(key.fileobj) and self._once:
                        return
        except Exception as error:  # out of descriptors, say
            self._taken.put(error)
        finally:
            for channel in self._channels:
                channel.close()
            self._selector.close()

    def _let_in(self) -> None:
        try:
            channel = self._listener.accept(timeout=0.0)
        except prise.TooSlow:
            return  # somebody who is not allowed, or has gone
        self._channels.add(channel)
        self._selector.register(channel, selectors.EVENT_READ)
        if len(self._channels) == MOST_CHANNELS:
            self._selector.unregister(self._listener)

    def _take(self, channel: Channel) -> bool:
        """True when something came."""
        descriptor = channel.fileno()
        try:
            received = channel.receive(timeout=0.0)
        except prise.PriseError as error:
            say(_("a connection was not taken: {error}").format(error=error.sentence(_)))
            received = None
        if received is not None:
            self._taken.put(received)
            return True
        self._selector.unregister(descriptor)
        channel.close()
        if len(self._channels) == MOST_CHANNELS:
            self._selector.register(self._listener, selectors.EVENT_READ)
        self._channels.remove(channel)
        return False


def announce(received: Received, events: Events) -> None:
    who = received.credentials
    events.event(
        "taken",
        kind=received.kind,
        peer=received.peer,
        local=received.local,
        pending=len(received.pending),
        state=received.state,
        credentials=None if who is None else who._asdict(),
    )
    place = visible(received.peer or received.local) or "-"
    if received.state is None:
        events.say(_("taken: {peer}").format(peer=place))
    else:
        state = visible(json.dumps(received.state, ensure_ascii=False))
        events.say(_("taken: {peer}, {state}").format(peer=place, state=state[:MOST_SHOWN]))


def serve_all(taking: Taking, events: Events, go_on: Callable[[Received], int], at_once: bool) -> None:
    """One after the other or, at_once, side by side."""
    places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def serve(received: Received) -> None:
        try:
            go_on(received)
        except (prise.PriseError, OSError) as error:
            say(f"prise: {error.sentence(_) if isinstance(error, prise.PriseError) else error}")
        finally:
            received.close()
            places.release()

    while True:
        received = taking.next()
        announce(received, events)
        places.acquire()
        if at_once:
            threading.Thread(target=serve, args=(received,), daemon=True).start()
        else:
            serve(received)


def stream(received: Received) -> prise.Connection:
    """Raises HandoverError for what is no connection."""
    if received.kind != "stream":
        received.close()
        raise prise.HandoverError("what was taken is no connection but a {kind} socket", kind=received.kind)
    return received.connection("chunks", PATIENT)


def talk(received: Received) -> int:
    with stream(received) as connection:
        talk_bytes(connection, False, WAIT)
    return 0


def run(words: list[str], received: Received) -> int:
    """Until the program ends. 1 when it failed."""
    environment = {name: value for name, value in os.environ.items() if name not in UCSPI}
    state = json.dumps(received.state, ensure_ascii=False)
    if len(state.encode()) <= MOST_IN_VARIABLE:
        environment["PRISE_STATE"] = state
    # What was read already cannot be put back into the socket; then the program gets a pair that is fed.
    pending = bool(received.pending)
    with received:
        given: Any = received.connection("chunks", PATIENT) if pending else received.socket
        code = spawn(words, given, env=environment, relay=pending).wait()
    if code:
        say(_("{program} has ended with exit code {code}").format(program=words[0], code=code))
    return 1 if code else 0


def join(one: prise.Connection, other: prise.Connection) -> int:
    """Carries both ways, until both have ended."""

    def carry(source: prise.Connection, target: prise.Connection) -> None:
        try:
            for data in source:
                target.send(data)
            if source.lost is not None:
                target.abort()  # a truncated talk must not look like an end
            else:
                target.send_eof()
        except (prise.PriseError, OSError):
            source.abort()
            target.abort()

    with one, other:
        back = threading.Thread(target=carry, args=(other, one), daemon=True)
        back.start()
        carry(one, other)
        back.join()
    return 0
