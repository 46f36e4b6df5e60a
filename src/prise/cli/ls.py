"""`prise ls URL`: what there is: files, groups, articles, mailboxes, messages, a menu."""

from __future__ import annotations

import json
import sys
from itertools import islice
from typing import Any

import click

import prise
from prise.cli.texts import amount, examples, visible
from prise.cli.urls import URLS, session_arguments, session_options
from prise.locale import translate as _

MARKS = {"folder": "/", "mailbox": "/", "menu": "/", "group": "/", "link": "@", "search": "?"}
"""What stands behind a name on a terminal, as `ls -F` has it."""


@click.command(
    "ls",
    help=_(
        "Lists what is at URL: a folder (http, ftp), groups and articles (nntp), mailboxes and messages (imap, pop3), a menu "
        "(gopher). In a pipe one name per line; on a terminal, or with -l, also size, date and title."
    ),
    epilog=examples(
        ("prise ls ftp://example.org/pub/", _("a folder")),
        ("prise ls nntps://news.example.org/", _("the groups; with a group behind the slash, its articles")),
        ("prise ls imaps://ada@mail.example.org/INBOX --last 20", _("the newest messages")),
        ("prise ls --json gopher://example.org/", _("a menu, for a program")),
    ),
)
@click.argument("url", type=URLS, metavar="URL")
@click.option("--long", "-l", "long", is_flag=True, help=_("Size, date and title as well."))
@click.option("--first", type=click.IntRange(1), metavar="N", help=_("Only the first N."))
@click.option("--last", type=click.IntRange(1, 100_000), metavar="N", help=_("Only the last N."))
@click.option("--json", "as_json", is_flag=True, help=_("Print one JSON object per line."))
@session_options
def command(url: str, long: bool, first: int | None, last: int | None, as_json: bool, **session: Any) -> None:
    arguments = session_arguments(session, (url,))
    with prise.open(url, **arguments) as opened:
        if last is None:
            entries = opened.list()
        else:
            from collections import deque

            spared = (
                {"last": last} if opened.target.protocol in ("imap", "nntp") else {}
            )  # the rest need not come at all
            entries = deque(opened.list(**spared), maxlen=last)
        for entry in islice(entries, first):
            # Bytes of a server that are no UTF-8 are surrogates here: JSON can escape them, a pipe gets them as they were.
            if as_json:
                line = json.dumps(as_object(entry), ensure_ascii=False, default=str).encode(errors="backslashreplace")
            elif long or sys.stdout.isatty():
                line = visible(in_columns(entry)).replace("\n", " ").encode(errors="replace")
            elif not entry.name:
                continue  # a line of a menu that is only to be read
            else:
                line = entry.name.replace("\n", "\\n").encode(errors="surrogateescape")
            click.echo(line)


def as_object(entry: Any) -> dict[str, Any]:
    """What is known of an entry, as JSON says it."""
    values = {
        "name": entry.name,
        "kind": entry.kind,
        "title": entry.title or None,
        "size": entry.size,
        "modified": None if entry.modified is None else entry.modified.isoformat(),
        "url": entry.url,
        "facts": dict(entry.facts) or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def in_columns(entry: Any) -> str:
    """size, date, name and title; sizes of what holds other things are counts."""
    if entry.kind == "info":
        return f"{'':27}{entry.title}"
    size = "" if entry.size is None else str(entry.size) if entry.opens else amount(entry.size)
    date = "" if entry.modified is None else entry.modified.astimezone().strftime("%Y-%m-%d %H:%M")
    title = f"  {entry.title}" if entry.title and entry.title != entry.name else ""
    where = f"  -> {entry.url}" if entry.url else ""
    name = entry.name if entry.name.endswith("/") else f"{entry.name}{MARKS.get(entry.kind, '')}"
    return f"{size:>8}  {date:<16} {name}{title}{where}"
