"""`prise replay FILE --as client ADDRESS`: plays one side of a recording, and says where the other side differs."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict

import click

import prise
from prise.cli import parameters
from prise.cli.outcome import say
from prise.cli.texts import amount, examples
from prise.locale import translate as _
from prise.relay.recording import Recording
from prise.relay.replaying import Difference, Player


class Speed(click.ParamType[float | str]):
    """real, full, or a factor: 2x, 0.5x."""

    name = "SPEED"

    def convert(self, value: object, parameter: click.Parameter | None, context: click.Context | None) -> float | str:
        text = str(value)
        if text == "real":
            return 1.0
        if text == "full":
            return text
        match = re.fullmatch(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)x?", text, re.ASCII)
        if match is None or not float(match[1]):
            message = _("{value!r} is not a speed; write real, full, or for example 2x")
            self.fail(message.format(value=text), parameter, context)
        return float(match[1])


@click.command(
    "replay",
    help=_(
        "Plays one side of FILE, which `prise relay --record` wrote: as the client it connects to ADDRESS, as the server it "
        "listens there. What the other side says is compared with the recording: the exit code is 1, and the first "
        "difference is shown, when it says anything else."
    ),
    epilog=examples(
        ("prise replay talk.jsonl --as client :8080", _("asks again what was asked, as fast as it was")),
        ("prise replay talk.jsonl --as server :8080 --speed full", _("answers as the server did, at once")),
    ),
)
@click.argument("file", metavar=_("FILE"), type=parameters.Words(files=True))
@click.argument("address", metavar=_("ADDRESS"), type=parameters.ADDRESS)
@click.option("--as", "side", type=click.Choice(("client", "server")), required=True, help=_("Which side to play."))
@click.option("--speed", type=Speed(), default="real", help=_("real, full, or a factor such as 2x. Default: real."))
@click.option("--connection", type=click.IntRange(1), metavar="N", help=_("Only this connection. Default: all."))
@click.option(
    "--timeout",
    type=parameters.Duration(),
    default=10.0,
    help=_("Time to wait for the other side, beyond what it took then. Default: 10s."),
)
@click.option("--json", "as_json", is_flag=True, help=_("Print the outcome on stdout as JSON."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
def command(
    file: str,
    address: str,
    side: str,
    speed: float | str,
    connection: int | None,
    timeout: float,
    as_json: bool,
    quiet: bool,
) -> int:
    player = Player(
        Recording(file),
        "client" if side == "client" else "server",
        address,
        speed=None if isinstance(speed, str) else speed,
        connection=connection,
        timeout=timeout,
    )
    for bound in player.bind():
        if not quiet:
            say(_("waiting for a client at {address}").format(address=bound))
    result = player.run()
    if as_json:
        click.echo(json.dumps({**asdict(result), "differences": list(map(details, result.differences))}))
    for difference in result.differences:
        say(describe(file, difference))
    if not quiet:
        text = _("connections: {count}; {sent} sent, {received} received and compared")
        say(text.format(count=result.connections, sent=amount(result.sent), received=amount(result.received)))
    sys.stdout.flush()
    return 1 if result.differences else 0


def describe(file: str, difference: Difference) -> str:
    """A difference in one line."""
    text = _(
        "{file}, line {line}: connection {connection} differs at byte {offset}: expected {expected}, found {found}"
    )
    return text.format(
        file=file,
        line=difference.line,
        connection=difference.connection,
        offset=difference.offset,
        expected=shown(difference.expected),
        found=shown(difference.found) if difference.error is None or difference.found else difference.error.sentence(_),
    )


def shown(data: bytes) -> str:
    return ascii(data)[1:] if data else _("the end")


def details(difference: Difference) -> dict[str, object]:
    error = difference.error
    return {
        "connection": difference.connection,
        "offset": difference.offset,
        "line": difference.line,
        "expected": difference.expected.decode(errors="backslashreplace"),
        "found": difference.found.decode(errors="backslashreplace"),
        "error": None if error is None else error.sentence() if isinstance(error, prise.PriseError) else str(error),
    }
