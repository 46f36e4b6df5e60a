"""Fetching URLs into files: where each goes, one of them with progress and resuming, several side by side."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import prise
from prise.cli.events import Events
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import amount, visible
from prise.locale import translate as _

LONGEST_END = 2.0
"""Seconds that fetches in progress have to end, after Ctrl-C."""


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
