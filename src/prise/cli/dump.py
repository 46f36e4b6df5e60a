"""What passes a relay, for people: with the time, the connection, the direction, as text where it is text, else in hex.

    12:30:01.123456 #1 >> 18 bytes
      GET / HTTP/1.1\\r\\n
    12:30:01.125301 #1 << 3 bytes
      0000  00 ff 80                                         ...

`>>` is said by who came (A), `<<` by the other side (B).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from prise import Address
from prise.cli.texts import amount, visible
from prise.locale import translate as _
from prise.relay.passage import Passage, Side, Tap

MARKS: dict[Side, str] = {"client": ">>", "server": "<<"}
COLOURS: dict[Side, str] = {"client": "green", "server": "cyan"}
_NOT_TEXT = re.compile(r"[\x00-\x06\x0e-\x1a\x1c-\x1f]")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
ROW = 16


class Dump(Tap):
    """Prints what passes on stdout. in_hex: all of it in hex."""

    wants_data = True

    def __init__(self, in_hex: bool = False) -> None:
        self._hex = in_hex

    def opened(self, passage: Passage) -> None:
        self._head(passage, "==", _("{client} to {server}").format(client=passage.client, server=passage.server))

    def data(self, passage: Passage, side: Side, data: bytes) -> None:
        self._head(passage, MARKS[side], _("{count} bytes").format(count=len(data)), side)
        text = None if self._hex else as_text(data)
        for line in hex_lines(data) if text is None else text:
            click.secho(f"  {line}", fg=COLOURS[side])

    def ended(self, passage: Passage, side: Side) -> None:
        self._head(passage, MARKS[side], _("end"), side)

    def reset(self, passage: Passage, side: Side) -> None:
        self._head(passage, MARKS[side], _("broken off"), side)

    def closed(self, passage: Passage) -> None:
        self._head(passage, "==", _("closed"))
        sys.stdout.flush()

    def _head(self, passage: Passage, mark: str, text: str, side: Side | None = None) -> None:
        when = datetime.now().strftime("%H:%M:%S.%f")
        click.secho(f"{when} #{passage.number} {mark} {text}", fg=None if side is None else COLOURS[side])


def as_text(data: bytes) -> list[str] | None:
    """The lines of what is text, their ends and control characters shown; None for what is none."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if _NOT_TEXT.search(text):
        return None
    return [
        visible(line.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")) for line in _LINE.findall(text)
    ]


def hex_lines(data: bytes) -> Iterator[str]:
    """As `hexdump -C` writes it: 16 bytes a line, offset, hex, ASCII."""
    for at in range(0, len(data), ROW):
        row = data[at : at + ROW]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:04x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  {plain}"


class JsonEvents(Tap):
    """The same for programs: one JSON value per line on stdout. with_data: what is said, too."""

    def __init__(self, with_data: bool) -> None:
        self.wants_data = with_data

    def opened(self, passage: Passage) -> None:
        self.event("open", passage, client=passage.client, server=passage.server)

    def data(self, passage: Passage, side: Side, data: bytes) -> None:
        try:
            self.event("data", passage, **{"from": side}, data=data.decode())
        except UnicodeDecodeError:
            import base64

            self.event("data", passage, **{"from": side}, b64=base64.b64encode(data).decode())

    def ended(self, passage: Passage, side: Side) -> None:
        self.event("end", passage, **{"from": side})

    def reset(self, passage: Passage, side: Side) -> None:
        self.event("reset", passage, **{"from": side})

    def closed(self, passage: Passage) -> None:
        self.event(
            "close",
            passage,
            client=passage.client,
            to_server=passage.to_server,
            to_client=passage.to_client,
            seconds=round(passage.seconds, 6),
            error=None if passage.error is None else str(passage.error),
        )

    def event(self, name: str, passage: Passage | None = None, **details: Any) -> None:
        if passage is not None:
            details = {"c": passage.number, **details}
        shown = {key: str(value) if isinstance(value, Address) else value for key, value in details.items()}
        click.echo(json.dumps({"event": name, **shown}))
        sys.stdout.flush()


def passed(passage: Passage) -> str:
    """A passage that is over, in one line."""
    text = _("#{number} {client}: {sent} sent, {received} received in {seconds:.1f} s")
    return text.format(
        number=passage.number,
        client=passage.client,
        sent=amount(passage.to_server),
        received=amount(passage.to_client),
        seconds=passage.seconds,
    )
