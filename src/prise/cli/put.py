"""`prise put FILE... URL`: uploads files, posts articles, sends mail, appends to a mailbox: what `put` means there."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

import prise
from prise.cli.get import read_headers
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import amount, examples, visible
from prise.cli.urls import URLS, session_arguments, session_options
from prise.locale import translate as _
from prise.locale import translate_plural

ALONE = "standard input (-) is sent alone, to a URL that names what it is to be there"


@click.command(
    "put",
    help=_(
        "Sends each FILE to URL: a file to a folder (ftp, http), an article to a group (nntp), a message into a mailbox "
        "(imap) or to somebody (smtp). A URL that ends in a slash is a folder: the file keeps its name. A FILE called - is "
        "standard input."
    ),
    epilog=examples(
        ("prise put report.pdf ftp://ada@example.org/reports/", _("with progress; -C goes on after a break")),
        ("prise put article.txt nntps://news.example.org/local.test", _("posts an article, with its header")),
        ("prise put letter.eml imaps://ada@mail.example.org/Drafts", _("puts a message into a mailbox")),
        ("tar c . | prise put - https://example.org/files/all.tar", _("a stream")),
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar=_("FILE..."))
@click.argument("url", type=URLS, metavar="URL")
@click.option("--continue", "-C", "resume", is_flag=True, help=_("Go on where the file over there ends (ftp)."))
@click.option("--recursive", "-r", is_flag=True, help=_("A whole folder, into the one that URL names (ftp)."))
@click.option(
    "--header", "-H", "headers", multiple=True, metavar=_("'NAME: VALUE'"), help=_("One more header of HTTP.")
)
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@session_options
def command(
    files: tuple[str, ...],
    url: str,
    resume: bool,
    recursive: bool,
    headers: tuple[str, ...],
    quiet: bool,
    **session: Any,
) -> None:
    if "-" in files and (len(files) > 1 or url.endswith("/")):
        raise prise.UsageError(ALONE)
    for file in files:
        if recursive and not os.path.isdir(file):
            raise prise.UsageError("-r is for a folder, and {path} is none", path=file)
        if not recursive and file != "-" and not os.path.isfile(file):
            raise prise.UsageError("{path} is not a file; -r sends a whole folder (ftp)", path=file)
    arguments = session_arguments(session, (url,))
    more: dict[str, Any] = {"headers": read_headers(headers)} if headers else {}
    with prise.open(url, **arguments, **more) as opened:
        if recursive:
            for file in files:
                put_tree(opened, file, quiet)
            return
        place = opened.target.place
        folder = (not place or place.endswith("/")) and opened.target.protocol in ("ftp", "http")
        if folder and "-" in files:
            raise prise.UsageError(ALONE)
        if len(files) > 1 and not folder and opened.target.protocol in ("ftp", "http"):
            raise prise.UsageError("several files go into a folder: end the URL with a slash")
        for file in files:
            name = f"{place}{quote(os.fsencode(Path(file).name))}" if folder else None
            put_one(opened, file, name, resume, quiet)


def put_tree(session: Any, folder: str, quiet: bool) -> None:
    """A whole folder into the one that the URL names."""
    if not hasattr(session, "put_tree"):
        raise prise.UsageError("whole folders are for ftp, not for {scheme}", scheme=session.target.scheme)
    follow_tree(session.put_tree(folder), quiet)


def follow_tree(events: Iterable[Any], quiet: bool) -> None:
    """Shows how far a tree is: each file once it is whole, what was refused with the server's words."""
    progress = Progress()
    progress.shown = progress.shown and not quiet
    name, done, files = "", 0, 0
    with progress:
        for event in events:
            if event.name != name:
                name, done = event.name, 0
                progress.what = name
            progress.advance(event.done - done)
            done = event.done
            if event.refused is not None:
                progress.clear()
                say(f"{visible(event.name)}: {event.refused.sentence(_)}")
            elif event.complete and event.kind == "file":
                files += 1
    if not quiet:
        say(translate_plural("{count} file", "{count} files", files).format(count=files))


def put_one(session: Any, file: str, place: str | None, resume: bool, quiet: bool) -> None:
    """place: the URL's place with the file's name, percent-encoded; None: the URL says it already."""
    if place is not None:
        session.target = session.target.at(place)
    offset = 0
    if resume:
        if not hasattr(session, "size"):
            raise prise.UsageError("-C is for ftp: {scheme} cannot go on in the middle", scheme=session.target.scheme)
        try:
            offset = session.size()
        except prise.NotFound:
            pass  # nothing is there yet
    opened = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115 - closed below
    try:
        status = os.fstat(opened.fileno())
        total = status.st_size if stat.S_ISREG(status.st_mode) else None
        if total is not None and offset > total:
            raise prise.UsageError(
                "what is over there is longer than {path}: it cannot be the beginning of it; send it without -C",
                path=file,
            )
        progress = Progress("" if file == "-" else Path(file).name, total)
        progress.shown = progress.shown and not quiet
        progress.skip(offset)
        with progress:
            session.put(None, Counted(opened, progress), **({"offset": offset} if offset else {}))
    finally:
        if file != "-":
            opened.close()
    if not quiet:
        size = "" if total is None else f", {amount(total)}"
        say(_("sent: {file}{size}").format(file=visible(file), size=size))


class Counted:
    """A file that tells how far it was read. seek, tell: those of the file, so that its size can be found out."""

    def __init__(self, file: Any, progress: Progress) -> None:
        self._read = getattr(file, "read1", file.read)  # of a pipe, what is there
        self._progress = progress
        self.seek, self.tell = file.seek, file.tell

    def read(self, most: int) -> bytes:
        piece: bytes = self._read(most)
        self._progress.advance(len(piece))
        return piece
