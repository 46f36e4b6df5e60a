"""`prise talk`: two people, one at each end, who type whenever they like. FIN, in any case, ends the talk.

What goes over the connection are lines and nothing else, so the other one may as well have nc.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import click

import prise
from prise.cli import parameters
from prise.cli.connect import PATIENT
from prise.cli.link import Piped, Source, converse, write_all
from prise.cli.outcome import say
from prise.cli.terminal import Lines, Terminal, is_terminal
from prise.cli.texts import examples, netcat
from prise.locale import translate as _

END = "FIN"

LAST_WORD_TIME = 2.0
"""Seconds for the other side to read our FIN and leave; nc may stay until its user does."""


@click.command(
    "talk",
    help=_(
        "Two people converse, line by line, and type whenever they like. One waits with --listen, the other calls, with "
        "prise or with nc. FIN ends the talk."
    ),
    epilog=examples(
        ("prise talk --listen '*:50000'", _("waits for somebody, from other machines too")),
        ("prise talk --name Alice server:50000", _("calls; each line bears a name")),
    ),
)
@click.argument("address", type=parameters.ADDRESS, metavar=_("[ADDRESS]"), default=":50000")
@click.option("--listen", is_flag=True, help=_("Wait for the other person at ADDRESS."))
@click.option("--name", metavar=_("NAME"), help=_("Put a name before each line that you send."))
def command(address: str, listen: bool, name: str | None) -> None:
    with wait(address) if listen else call(address) as connection:
        say(_("talking with {peer}; FIN ends the talk").format(peer=connection.peer))
        if is_terminal():
            with Terminal() as terminal:
                talk(connection, terminal, terminal.show, name)
        else:
            talk(connection, Lines(Piped()), lambda line: write_all(line.encode() + b"\n"), name)


# The framing gives bytes and not text: a wrong byte from an old terminal is shown as such and does not end the talk.


def call(address: str) -> prise.Connection:
    return prise.connect(address, framing=prise.Lines(), limits=PATIENT).open()


def wait(address: str) -> prise.Connection:
    """The one who calls. The door is shut behind them: whoever comes later is refused."""
    with prise.Listener(address, framing=prise.Lines(), limits=PATIENT) as listener:
        for where in listener.addresses:
            say(_("waiting: prise talk {address}, or {netcat}").format(address=where, netcat=netcat(where)))
        return listener.accept()


def talk(connection: prise.Connection, source: Source, show: Callable[[str], None], name: str | None) -> None:
    """One side of a talk, until one of the two says FIN or leaves."""
    over = threading.Event()  # one of the two has said it
    try:
        converse(Heard(connection, over), Said(source, name, over, connection.end_input), show)
    except prise.ConnectionLost:
        if not over.is_set():
            raise
    if not over.is_set():
        say(_("the other side has left"))


def is_end(line: str) -> bool:
    return line.strip().upper() == END


class Heard:
    """The connection as a person hears it: FIN becomes a goodbye in the listener's language, and is the last line."""

    def __init__(self, connection: prise.Connection, over: threading.Event) -> None:
        self._connection, self._over = connection, over
        self.send, self.send_eof, self.abort = connection.send, connection.send_eof, connection.abort

    def __iter__(self) -> Iterator[str]:
        for data in self._connection:
            line = data.decode(errors="replace")
            if is_end(line):
                self._over.set()
                yield _("Goodbye")
                return
            yield line


class Said:
    """What a person says, up to FIN; then the other side gets a moment to leave before we stop listening."""

    def __init__(self, source: Source, name: str | None, over: threading.Event, leave: Callable[[], None]) -> None:
        self._source, self._over = source, over
        self._prefix = f"{name}: ".encode() if name else b""
        self._last_word = threading.Timer(LAST_WORD_TIME, leave)
        self._last_word.daemon = True
        self.stop = source.stop

    def __iter__(self) -> Iterator[bytes]:
        for typed in self._source:
            if self._over.is_set():
                return  # the other side said it first, and hears nothing more
            data = typed if isinstance(typed, bytes) else typed.encode(errors="replace")
            if is_end(data.decode(errors="replace")):
                self._over.set()
                self._last_word.start()
                yield END.encode()
                return
            yield self._prefix + data.rstrip(b"\r")
