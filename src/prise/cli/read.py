"""`prise read URL`: a reader for gopher, news and mailboxes, and for folders: on a terminal by keys, in a pipe as text."""

from __future__ import annotations

import os
from typing import Any

import click

import prise
from prise.cli.terminal import full_screen, is_terminal
from prise.cli.texts import examples
from prise.cli.urls import URLS, session_arguments, session_options
from prise.locale import translate as _


@click.command(
    "read",
    help=_(
        "Reads menus (gopher), news (nntp) and mailboxes (imap, pop3), and folders (ftp, http). Lists are walked by keys and "
        "what is in them is opened; the key ? shows them all. In a pipe the list or the text is printed."
    ),
    epilog=examples(
        ("prise read gopher://gopher.example.org/", _("a menu")),
        ("prise read nntps://news.example.org/comp.lang.python", _("a group, the newest article first")),
        ("prise read imaps://ada@mail.example.org/INBOX", _("a mailbox; nothing in it is changed")),
        ("prise read news:5d1@example.org | less", _("an article, its text decoded")),
    ),
)
@click.argument("url", type=URLS, metavar="URL")
@click.option("--plain", is_flag=True, help=_("Print it and end, also on a terminal."))
@session_options
def command(url: str, plain: bool, **session: Any) -> None:
    from prise.reader import plain as printing
    from prise.reader.pages import ListPage, page_of
    from prise.reader.places import Place
    from prise.reader.servers import Servers

    arguments = session_arguments(session, (url,))
    place = Place.of(url)
    servers = Servers(place.target, arguments)
    # The protocol's own lines (-v) would be written across a screen.
    by_keys = is_terminal() and not plain and arguments["trace"] is None and os.environ.get("TERM") != "dumb"
    try:
        if not by_keys:
            printing.show(servers, place, click.echo)
            return
        # The terminal is taken when there is something to show on it.
        page = ListPage(place, []) if place.kind == "search" else page_of(place, servers.look(place))
        if page is None:
            raise prise.UsageError(
                "this is not text: write it to a file with {example}", example=f"prise get {place.url} -O"
            )
        full_screen("prise.reader.screen").Screen(servers, page).run()
    finally:
        servers.close()
