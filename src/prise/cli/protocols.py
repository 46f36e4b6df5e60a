"""`prise protocols`: the table that tutorials on sockets end with: which protocols there are, and what speaks them here."""

from __future__ import annotations

import json
from typing import Any

import click

from prise.cli.texts import examples
from prise.locale import translate as _
from prise.protocols.target import SCHEMES

MODULES = {
    "http": ("http.client, urllib", "prise.protocols.http"),
    "nntp": ("nntplib (< 3.13)", "prise.protocols.nntp"),
    "ftp": ("ftplib", "prise.protocols.ftp"),
    "smtp": ("smtplib", "prise.protocols.smtp"),
    "pop3": ("poplib", "prise.protocols.pop3"),
    "imap": ("imaplib", "prise.protocols.imap"),
    "telnet": ("telnetlib (< 3.13)", "prise.protocols.telnet"),
    "gopher": ("gopherlib (< 3.0)", "prise.protocols.gopher"),
}
"""protocol -> the module of Python's library that there is or was, what prise uses."""


def uses() -> dict[str, str]:
    """What each is for."""
    return {
        "http": _("web pages"),
        "nntp": _("Usenet news"),
        "ftp": _("transfer of files"),
        "smtp": _("sending mail"),
        "pop3": _("fetching mail"),
        "imap": _("reading mail where it is"),
        "telnet": _("command lines"),
        "gopher": _("transfer of documents"),
    }


@click.command(
    "protocols",
    help=_(
        "The eight protocols: what each is for, its ports (in clear and with TLS), its module in Python, and what prise uses."
    ),
    epilog=examples(("prise protocols", _("the table")), ("prise protocols --json", _("for a program"))),
)
@click.option("--json", "as_json", is_flag=True, help=_("Print one JSON object per line."))
def command(as_json: bool) -> None:
    rows: list[dict[str, Any]] = []
    for protocol, use in uses().items():
        clear = SCHEMES[protocol].port
        encrypted = SCHEMES[f"{protocol}s"].port
        module, ours = MODULES[protocol]
        rows.append(
            {"protocol": protocol, "use": use, "port": clear, "tls": encrypted, "python": module, "prise": ours}
        )
    if as_json:
        for row in rows:
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    heads: dict[str, Any] = {
        "protocol": _("protocol"),
        "use": _("use"),
        "port": _("port"),
        "tls": "TLS",
        "python": "Python",
        "prise": "prise",
    }
    widths = {name: max(len(str(row[name])) for row in [heads, *rows]) for name in heads}
    for row in [heads, *rows]:
        click.echo("  ".join(f"{row[name]!s:{width}}" for name, width in widths.items()).rstrip())
