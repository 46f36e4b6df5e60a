"""`prise get URL...`: what is at a URL, of any of the eight protocols, to stdout or into files.

A file that was cut short is kept, and -C goes on where it ends. Several URLs are fetched side by side, a bounded number at once.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import click

import prise
from prise.cli.events import Events
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import amount, examples, visible
from prise.cli.urls import URLS, session_arguments, session_options
from prise.locale import translate as _
from prise.locale import translate_plural

AT_ONCE = 4
"""How many URLs are fetched at a time by default."""

LONGEST_END = 2.0
"""Seconds that fetches in progress have to end, after Ctrl-C."""

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


def destinations(urls: tuple[str, ...], output: str | None) -> list[Path]:
    """The file that each URL goes to. Raises UsageError where two would go to the same."""
    folder = output is None or output.endswith(os.sep) or os.path.isdir(output)
    if not folder:
        if len(urls) > 1:
            raise prise.UsageError("several URLs go into a folder: write {example}", example=f"-o {output}{os.sep}")
        return [Path(str(output))]
    paths = [Path(output or "", file_name(url)) for url in urls]
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise prise.UsageError("two of the URLs would go to {path}: fetch them one by one, with -o", path=path)
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    return paths


def file_name(url: str) -> str:
    """The last part of a URL's path, fit for a file of this folder."""
    from urllib.parse import unquote

    rest = url.partition(":")[2]
    path = rest[2:].partition("/")[2] if rest.startswith("//") else rest
    path = path.partition("#")[0].partition("?")[0].rstrip("/").rpartition("/")[2].lstrip(";")
    name = unquote(path, errors="replace").replace("/", "_").replace("\0", "")
    return "index.html" if name in ("", ".", "..") else name


def side_by_side(fetch: Fetch, jobs: list[tuple[str, Path]], most: int) -> Iterator[int]:
    """The exit codes, as they come. After Ctrl-C what is in progress is cut, not waited for."""
    waiting, done = deque(jobs), SimpleQueue[int]()

    def work() -> None:
        while True:
            try:
                job = waiting.popleft()
            except IndexError:
                return
            code = 1
            try:
                code = patiently(fetch, *job)
            finally:
                done.put(code)

    # Daemons: one may be in the middle of connecting, which nothing cuts short.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(most, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        for _each in jobs:
            yield done.get()
    finally:
        waiting.clear()
        fetch.abort()
        until = time.monotonic() + LONGEST_END
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))


def patiently(fetch: Fetch, url: str, path: Path) -> int:
    """One of several: its error is said, and the others go on."""
    try:
        return fetch(url, path)
    except prise.PriseError as error:
        if not fetch.aborted:
            where = url_shown(url)
            text = error.sentence(_)
            say(f"prise: {visible(text if where in text else f'{where}: {text}')}")
        return error.exit_code
    except OSError as error:
        say(f"prise: {visible(str(path))}: {error.strerror}")
        return 1


def url_shown(url: str) -> str:
    """Without its password."""
    from prise.protocols.target import Target

    return str(Target.parse(url))


class Fetch:
    """Fetches one URL into a file. Several threads may share it."""

    def __init__(
        self, arguments: dict[str, Any], more: dict[str, Any], resume: bool, quiet: bool, events: Events
    ) -> None:
        self._arguments, self._more = arguments, more
        self._resume, self._quiet = resume, quiet
        self._events = events
        self._drawing = threading.Lock()  # one line of progress for all: the first to come draws it
        self._sessions: list[Any] = []  # those that are open
        self.aborted = False

    def abort(self) -> None:
        """Cuts what is in progress. From any thread."""
        self.aborted = True
        for session in list(self._sessions):
            session.abort()

    def __call__(self, url: str, path: Path) -> int:
        begun = time.monotonic()
        there = path.stat().st_size if self._resume and path.exists() else 0
        with prise.open(url, **self._arguments, **self._more) as session:
            self._sessions.append(session)
            try:
                if self.aborted:
                    session.abort()
                content, there = self._begin(session, there)
                with content:
                    size = self._save(content, path, there, session.get.takes("offset"))
            finally:
                self._sessions.remove(session)
        seconds = time.monotonic() - begun
        self._events.event("got", url=url_shown(url), file=str(path), size=there + size, seconds=round(seconds, 3))
        rate = amount(int(size / max(seconds, 1e-3)))
        self._events.say(
            _("{path}: {size} in {seconds:.1f} s, {rate}/s").format(
                path=visible(str(path)), size=amount(there + size), seconds=seconds, rate=rate
            )
        )
        return 0

    def _begin(self, session: Any, there: int) -> tuple[Any, int]:
        """The content from `there` on; from the beginning where the server cannot."""
        if there:
            try:
                if session.get.takes("offset"):
                    return session.get(offset=there), there
            except prise.Unsupported:
                pass
            self._events.say(_("this server cannot go on in the middle: from the beginning"))
        return session.get(), 0

    def _save(self, content: Any, path: Path, there: int, resumable: bool) -> int:
        total = None if content.size is None else there + content.size
        progress = Progress(path.name, total)
        mine = self._drawing.acquire(blocking=False)
        progress.shown = progress.shown and mine and not self._quiet
        progress.skip(there)
        written = 0
        try:
            with progress, path.open("ab" if there else "wb") as file:
                for piece in content:
                    file.write(piece)
                    written += len(piece)
                    progress.advance(len(piece))
        except (prise.PeerError, KeyboardInterrupt):
            if written and resumable and not self._quiet and not self.aborted:
                say(
                    _("{path} has {size} so far; -C goes on from there").format(
                        path=visible(str(path)), size=amount(there + written)
                    )
                )
            raise
        except OSError as error:
            error.filename = error.filename or str(path)  # a full disk does not say whose
            raise
        finally:
            if mine:
                self._drawing.release()
        return written


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
