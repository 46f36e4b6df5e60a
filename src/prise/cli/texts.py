"""How the command writes: examples in help, what came from the network, numbers."""

from __future__ import annotations

import re
from dataclasses import replace

from prise import Address
from prise.locale import translate as _

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def examples(*pairs: tuple[str, str]) -> str:
    """The end of a help text: command lines, each with what it does. `\\b` keeps click from filling the lines up."""
    lines = [line for command, does in pairs for line in (f"  {command}", f"      {does}")]
    return "\n".join(["\b", _("Examples:"), *lines])


def visible(text: str) -> str:
    """The text with its control characters shown (^[ for escape) and not obeyed, so that nobody at the other end can
    move the cursor, recolour, retitle or reorder what is on this terminal. Newlines and tabs stay."""
    return _UNSEEN.sub(_show, text)


def _show(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def netcat(address: Address) -> str:
    """The command that reaches a bound address from this machine: with netcat, where that can."""
    if address.scheme in ("stdio", "fd", "systemd"):
        return _("for who is there already")
    stream = address.option("type", "stream") == "stream"
    if address.scheme == "unix" and address.path and not address.path.startswith("@") and stream:
        return f"nc -U {address.path}"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(str(address.host), address.host)
    if address.scheme == "tcp":
        return f"nc {host} {address.port}"
    if address.scheme == "udp":
        return f"nc -u {host} {address.port}"
    options = tuple(each for each in address.options if each[0] == "type")
    return f"prise connect {replace(address, host=host, options=options)}"


def amount(count: int) -> str:
    """A number of bytes as people read it: 1.2 MB."""
    size, unit = float(count), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.{1 if unit and size < 99.5 else 0}f} {_UNITS[unit]}"
