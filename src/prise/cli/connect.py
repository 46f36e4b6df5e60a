"""`prise connect ADDRESS`: a client for hands (a line to edit, answers above it) and for pipes (bytes, as they are).

Without --framing the bytes are passed on untouched. With it each line put in is sent as a message, and each message that
comes is printed as a line; a value of JSON or MessagePack is written as JSON in both.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import Any

import click

import prise
from prise.cli import parameters
from prise.cli.link import Link, Mapped, PatientLink, Piped, Source, converse, write_all
from prise.cli.outcome import say
from prise.cli.security import client_security, client_tls, encrypted, proxies
from prise.cli.terminal import LineByLine, Lines, Terminal, is_terminal
from prise.cli.texts import examples
from prise.locale import translate as _

WAIT = 3.0
"""Seconds of silence after our end that mean the end of the answers, where a connection cannot half-close."""

PAUSE = 0.1
"""Seconds after which an unfinished line is shown on a terminal."""

OTHER_URLS = ("http", "ftp", "gopher", "nntp", "imap", "pop3", "smtp", "submission")
"""What other commands understand, also with an s behind it."""

PATIENT = prise.Limits(idle_time=None, message_time=None, write_time=None)
"""A pipe may stand still as long as it likes: who started the command ends it."""


@click.command(
    "connect",
    help=_(
        "Connects to ADDRESS and joins the connection to standard input and output. The end of the input is sent on, and "
        "the answers are awaited until the other side ends. On a terminal, Ctrl-D ends the input and Ctrl-C everything."
    ),
    epilog=examples(
        ("prise connect localhost:50000", _("a conversation by hand")),
        (r"printf 'a\nb\n' | prise connect :50000", _("sends two lines and prints the answers")),
        ("prise connect --retry 10 /run/app.sock < request > answer", _("a Unix socket that is not there yet")),
        ("prise connect tls:example.org:443", _("encrypted, the certificate checked")),
        ("echo hello | prise connect udp::50000", _("a datagram, and the answers of the next three seconds")),
        ("prise connect telnet://example.org", _("a terminal session; Ctrl-] leaves it")),
        ("prise connect ws://localhost:8088/chat", _("a WebSocket: each piece of input is a message")),
        (
            r"""prise connect --framing 'prefixed:4|json' :50000 <<< '{"ask": 1}'""",
            _("messages with their length in front"),
        ),
    ),
)
@click.argument("address", type=parameters.ADDRESS, metavar=_("ADDRESS"))
@click.option(
    "--framing", type=parameters.FRAMING, metavar="F", help=_("How bytes become messages. Default: not at all.")
)
@click.option(
    "--timeout",
    type=parameters.Duration(optional=True),
    default=10.0,
    help=_("Time for the connection to be made. Default: 10s."),
)
@parameters.retry
@click.option("--crlf", is_flag=True, help=_(r"Send each \n as \r\n."))
@click.option(
    "--wait",
    type=parameters.Duration(),
    default=WAIT,
    help=_("Silence that ends the answers where the end of the input cannot be sent on: UDP, WebSocket. Default: 3s."),
)
@click.option("--no-eof", is_flag=True, help=_("Do not send on the end of the input: some servers hang up at it."))
@client_security
def command(
    address: str,
    framing: str | None,
    timeout: float | str,
    retry: int,
    crlf: bool,
    wait: float,
    no_eof: bool,
    **security: Any,
) -> None:
    telnet = address if address.lower().startswith(("telnet:", "telnets:")) else None
    if telnet is not None:
        from prise.cli.telnet import carrier, talk_telnet

        if framing is not None or crlf:
            raise prise.UsageError("--framing and --crlf are not for telnet, which has a form of its own")
        address = carrier(telnet)
    elif address.partition("://")[0].lower().removesuffix("s") in OTHER_URLS:
        raise prise.UsageError(
            "a URL like {url} is for prise get, ls, put, read or mail; here an address is wanted, such as {example}",
            url=f"{address.partition(':')[0].lower()}://",
            example="tls:example.org:443",
        )
    address, tls, via = encrypted(address, security), client_tls(security), proxies(security)
    seconds = None if isinstance(timeout, str) else timeout
    framing = framing or usual_framing(address)
    raw = framing.strip() == "chunks"
    connector = prise.connect(
        address,
        framing=framing,
        timeout=seconds,
        retry=prise.Retry(attempts=retry + 1),
        limits=PATIENT,
        tls=tls,
        via=via,
    )
    if not raw and crlf:
        raise prise.UsageError("--crlf is for plain bytes; with --framing, the framing writes the ends of messages")
    with connector.open() as connection:
        if telnet is not None:
            talk_telnet(connection, telnet, wait)
        elif raw:
            talk_bytes(connection, crlf, wait, not no_eof)
        else:
            talk_messages(connection, Form(framing), wait, not no_eof)


def usual_framing(address: str) -> str:
    """A WebSocket carries messages, and those of people are text: a line is one. Elsewhere the bytes are as they are."""
    return "lines" if prise.Address.parse(address).scheme in ("ws", "wss") else "chunks"


def talk_bytes(connection: prise.Connection, crlf: bool, wait: float = WAIT, send_eof: bool = True) -> None:
    terminal = is_terminal()
    link = PatientLink(connection, PAUSE if terminal else None, wait, send_eof)
    if terminal:
        end = b"\r\n" if crlf else b"\n"
        by_hand(connection, link, lambda line: line.encode(errors="surrogateescape") + end)
    elif sys.stderr.isatty() and not sys.stdout.isatty():
        with_progress(link, crlf)
    else:
        source: Source = Piped()
        converse(link, Mapped(source, Crlf()) if crlf else source, write_all)


def with_progress(link: Link, crlf: bool) -> None:
    """From and to files or pipes, while somebody watches: how much went each way, and how much is left of a file."""
    from prise.cli.progress import Progress

    status = os.fstat(0)
    total = status.st_size if stat.S_ISREG(status.st_mode) else None
    with Progress(total=total) as progress:

        def note(data: bytes) -> Iterator[bytes]:
            progress.advance(len(data))
            yield data

        def show(data: bytes) -> None:
            write_all(data)
            if total is None:
                progress.advance(len(data))

        source: Source = Mapped(Piped(), note)
        converse(link, Mapped(source, Crlf()) if crlf else source, show)


def by_hand(connection: prise.Connection, link: Link, encode: Callable[[str], Any], form: Form | None = None) -> None:
    """A conversation at a terminal."""
    say(_("connected to {peer}; Ctrl-D ends your side, Ctrl-C everything").format(peer=connection.peer))
    with Terminal() as terminal:
        typed = Mapped(terminal, lambda line: iter((encode(line),)))
        if form is not None:
            converse(link, typed, lambda message: terminal.show(form.write(message).decode(errors="replace")))
        else:
            lines = LineByLine(terminal.show)
            try:
                converse(link, typed, lines)
            finally:
                lines.finish()
    say(_("the other side has ended"))


def talk_messages(connection: prise.Connection, form: Form, wait: float = WAIT, send_eof: bool = True) -> None:
    link: Link = connection
    if not (send_eof and connection.half_closes):
        link = PatientLink(connection, None, wait, send_eof)
    if is_terminal():
        by_hand(connection, link, lambda line: form.read(line.encode(errors="surrogateescape")), form)
    else:
        source = Mapped(Lines(Piped()), lambda line: iter((form.read(line),)))
        converse(link, source, lambda message: write_all(form.write(message) + b"\n"))


class Form:
    """How the messages of a framing are written as lines: text and bytes as they are, other values as JSON."""

    def __init__(self, framing: str) -> None:
        name, bar, codec = framing.rpartition("|")
        plain = framing.strip() == "lines" or framing.strip().startswith("lines:")
        self._codec = codec.strip().partition(":")[0] if bar and name else "text" if plain else "bytes"

    def read(self, line: bytes) -> Any:
        """The message that a line stands for. Raises UsageError."""
        if self._codec == "text":
            try:
                return line.decode()
            except UnicodeDecodeError:
                raise prise.UsageError("the input is not text in UTF-8: {line!r}", line=line[:80]) from None
        if self._codec in ("json", "msgpack"):
            import json

            try:
                return json.loads(line)
            except (ValueError, RecursionError):
                raise prise.UsageError("the input is not JSON: {line!r}", line=line[:80]) from None
        return line

    def write(self, message: Any) -> bytes:
        if isinstance(message, bytes):
            return message
        if isinstance(message, str) and self._codec == "text":
            return message.encode(errors="surrogateescape")
        import json

        return json.dumps(message, ensure_ascii=False, default=repr).encode(errors="replace")


class Crlf:
    r"""Turns \n into \r\n, and leaves a \r\n as it is even when it comes in two pieces."""

    def __init__(self) -> None:
        self._after_return = False

    def __call__(self, data: bytes) -> Iterator[bytes]:
        head = b""
        if self._after_return and data.startswith(b"\n"):
            head, data = b"\n", data[1:]
        if data or head:
            self._after_return = data.endswith(b"\r")
            yield head + data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
