"""`prise get URL...`: what is at a URL, of any of the eight protocols, to stdout or into files.

A file that was cut short is kept, and -C goes on where it ends. Several URLs are fetched side by side, a bounded number at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

import prise
from prise.cli.events import Events
from prise.cli.fetching import Fetch, destinations, file_name, side_by_side, url_shown
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import examples, visible
from prise.cli.urls import URLS, session_arguments, session_options
from prise.locale import translate as _
from prise.locale import translate_plural

AT_ONCE = 4
"""How many URLs are fetched at a time by default."""

MOST_PRETTY = 10 * 1024 * 1024
"""Bytes of JSON that are laid out for a person."""


@click.command(
    "get",
    help=_(
        "Fetches what is at each URL (http, ftp, gopher, nntp, news, pop3, imap, and each with an s behind it) and "
        "writes it to standard output, or into files with -o or -O. The exit code is 0 when all has arrived."
    ),
    epilog=examples(
        ("prise get https://example.org/f.iso -O", _("into f.iso, with progress; -C goes on after a break")),
        ("prise get imaps://ada@mail.example.org/INBOX/;UID=7", _("a message; the password is asked for")),
        ("prise get gopher://example.org/0/about.txt news:5d1@example.org -o folder/", _("two files, side by side")),
        (
            "prise get --new pop3s://ada@mail.example.org/ -o mail/",
            _("what has come since the last time; all of it stays there"),
        ),
        ("prise get https://example.org/api | jq .", _("data goes to stdout, everything else to stderr")),
    ),
)
@click.argument("urls", nargs=-1, required=True, type=URLS, metavar="URL...")
@click.option(
    "--output", "-o", type=click.Path(), metavar=_("FILE"), help=_("Write to this file, or into this folder.")
)
@click.option("--remote-name", "-O", is_flag=True, help=_("Write to a file named as at the URL."))
@click.option("--recursive", "-r", is_flag=True, help=_("A whole folder (ftp), into the folder of -o."))
@click.option(
    "--new", is_flag=True, help=_("The messages that were not there last time (pop3), into the folder of -o.")
)
@click.option("--continue", "-C", "resume", is_flag=True, help=_("Go on where the file ends."))
@click.option(
    "--parallel",
    type=click.IntRange(1, 64),
    default=AT_ONCE,
    metavar="N",
    help=_("How many URLs are fetched at a time. Default: 4."),
)
@click.option(
    "--header", "-H", "headers", multiple=True, metavar=_("'NAME: VALUE'"), help=_("One more header of HTTP.")
)
@click.option("--http2", is_flag=True, help=_("Speak HTTP/2, if the server does (https)."))
@click.option("--json", "as_json", is_flag=True, help=_("Print one JSON object per file."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@session_options
def command(
    urls: tuple[str, ...],
    output: str | None,
    remote_name: bool,
    recursive: bool,
    new: bool,
    resume: bool,
    parallel: int,
    headers: tuple[str, ...],
    http2: bool,
    as_json: bool,
    quiet: bool,
    **session: Any,
) -> int:
    arguments = session_arguments(session, urls)
    more: dict[str, Any] = {"headers": read_headers(headers)} if headers else {}
    if http2:
        more["http2"] = True
    if output == "-":
        output = None
    if recursive:
        if resume or remote_name or as_json or more:
            raise prise.UsageError("-r fetches whole folders by ftp: leave -C, -O, -H, --http2 and --json out")
        return get_trees(urls, output, arguments, quiet)
    if new:
        if resume or remote_name or as_json or more or len(urls) > 1 or output is None:
            raise prise.UsageError("--new fetches from one mailbox by pop3, into a folder: give -o, and nothing else")
        return get_new(urls[0], Path(output), arguments, quiet)
    to_files = output is not None or remote_name
    if not to_files and (resume or as_json or len(urls) > 1):
        raise prise.UsageError("-C, --json and several URLs need files to write to: give -o or -O")
    if not to_files:
        with prise.open(urls[0], **arguments, **more) as opened:
            show(opened.get(), quiet)
        return 0
    for url in urls:
        url_shown(url)  # what is no URL is found out before anything is fetched
    events = Events(as_json, quiet or as_json)
    fetch = Fetch(arguments, more, resume, quiet, events)
    jobs = list(zip(urls, destinations(urls, output), strict=True))
    if len(jobs) == 1:
        return fetch(*jobs[0])
    return max(side_by_side(fetch, jobs, parallel), default=0)


def get_trees(urls: tuple[str, ...], output: str | None, arguments: dict[str, Any], quiet: bool) -> int:
    """Whole folders, one after the other."""
    from prise.cli.put import follow_tree

    if len(urls) > 1 and output is None:
        raise prise.UsageError("several folders need one to go into: give -o")
    for url in urls:
        with prise.open(url, **arguments) as session:
            if not hasattr(session, "get_tree"):
                raise prise.UsageError("whole folders are for ftp, not for {scheme}", scheme=session.target.scheme)
            folder = output or "."
            if len(urls) > 1:
                folder = os.path.join(folder, file_name(url))
            follow_tree(session.get_tree(None, folder), quiet)
    return 0


def get_new(url: str, folder: Path, arguments: dict[str, Any], quiet: bool) -> int:
    """The messages that were not there last time, each into a file named by its uid."""
    from urllib.parse import quote

    from prise.protocols.seen import Seen

    with prise.open(url, **arguments) as session:
        if not hasattr(session, "new"):
            raise prise.UsageError("--new is for pop3, not for {scheme}", scheme=session.target.scheme)
        folder.mkdir(parents=True, exist_ok=True)
        seen = Seen(session.target, session.user)
        uids = session.uids()
        known = seen.uids().intersection(uids.values())
        new = {number: uid for number, uid in uids.items() if uid not in known}
        try:
            for number, uid in new.items():
                session.get(number).save(folder / f"{quote(uid, safe='')}.eml")
                known |= {uid}
        finally:
            seen.keep(known)  # also of those that came before a break
    if not quiet:
        say(translate_plural("{count} new message", "{count} new messages", len(new)).format(count=len(new)))
    return 0


def read_headers(lines: tuple[str, ...]) -> dict[str, str]:
    """Raises UsageError for what is no header."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise prise.UsageError(
                "{line!r} is not a header; write for example {example}", line=line, example="'Accept: text/plain'"
            )
        headers[name.strip()] = value.strip()
    return headers


def show(content: Any, quiet: bool) -> None:
    """To stdout: as it is in a pipe; on a terminal JSON laid out, control characters shown, and nothing binary."""
    out = sys.stdout.buffer
    if not sys.stdout.isatty():
        progress = Progress("", content.size)
        progress.shown = progress.shown and not quiet
        with progress:
            for piece in content:
                out.write(piece)
                out.flush()
                progress.advance(len(piece))
        return
    pieces: Iterator[bytes] = iter(content)
    if "json" in (content.kind or ""):
        pieces = pretty(pieces)
    import codecs
    from io import IncrementalNewlineDecoder

    decoder = IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    for piece in chain(pieces, (b"",)):
        if b"\0" in piece:
            raise prise.UsageError("this is not text: write it to a file with -o, or into a pipe")
        sys.stdout.write(visible(decoder.decode(piece, final=not piece)))
        sys.stdout.flush()


def pretty(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """JSON, laid out; what is none, or too much, as it comes."""
    import json

    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > MOST_PRETTY:
            yield bytes(data)
            yield from pieces
            return
    try:
        yield json.dumps(json.loads(data), ensure_ascii=False, indent=2).encode(errors="replace") + b"\n"
    except (ValueError, RecursionError):
        yield bytes(data)
