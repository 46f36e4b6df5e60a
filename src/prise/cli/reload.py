"""`--reload`: a parent that watches the code, and a child that serves, replaced whenever a file changes.

The child is forked, and the code is imported in it alone, so each starts from a clean slate. It has a process group of its
own: Ctrl-C in a terminal reaches the parent only, which passes it on once (two of them would cut what should drain).
Code that cannot be imported is reported by the child; the parent then waits for the next change.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from prise import BindError, UsageError
from prise.cli.loading import is_built_in, is_file, split
from prise.cli.outcome import outcome, say
from prise.locale import translate as _

INTERVAL = 0.25
"""Seconds between two looks at the files."""

MOST_FILES = 5_000
"""Where there are more, only the first are watched."""

Snapshot = dict[str, tuple[int, int]]


def reloading(conversation: str, serve: Callable[[], int]) -> int:
    """Serves until a signal ends it, anew after each change. Raises UsageError when there is nothing to watch."""
    watched = Watched(conversation)
    signals = Signals()
    while True:
        before = watched.snapshot()  # taken before the child reads the files: no change falls in between
        child = start(serve)
        signals.child = child
        while (code := ended(child)) is None:
            time.sleep(INTERVAL)
            if not signals.received and (name := changed(before, watched.snapshot())):
                say(_("{file} has changed: starting again").format(file=os.path.relpath(name)))
                os.kill(child, signal.SIGTERM)
                code = ended(child, wait=True)
                break
        else:
            # Ended by itself: told to, or the port is taken (no change of a file helps), or the code is broken.
            if signals.received or code in (0, BindError.exit_code):
                return max(code, 0)
            say(_("waiting for a change of the code"))
            while not signals.received and not (name := changed(before, watched.snapshot())):
                time.sleep(INTERVAL)
        signals.child = 0
        if signals.received:
            return 0


class Signals:
    """SIGINT and SIGTERM are passed on to the child that serves now."""

    def __init__(self) -> None:
        self.child = 0
        self.received = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if self.child:
            try:
                os.kill(self.child, number)
            except ProcessLookupError:
                pass


def start(serve: Callable[[], int]) -> int:
    """Forks the child that serves; returns its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        code = outcome(serve)
    finally:
        os._exit(code)


def ended(child: int, wait: bool = False) -> int | None:
    """The exit code of the child; None while it runs."""
    found, status = os.waitpid(child, 0 if wait else os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


class Watched:
    """The Python files whose change means a new start: those beside the file or module, or the whole package."""

    def __init__(self, conversation: str) -> None:
        if is_built_in(conversation):
            raise UsageError("--reload is for your own code; {name} is a part of prise", name=conversation)
        place, _function = split(conversation)
        self._whole = False
        if is_file(place):
            if not os.path.isfile(place):
                raise UsageError("there is no file {path}", path=place)
            self._folder = os.path.dirname(os.path.abspath(place))
            return
        sys.path.insert(0, os.getcwd())
        top = place.partition(".")[0]
        try:
            spec = importlib.util.find_spec(top)  # imports nothing, for a name without dots
        except (ImportError, ValueError):
            spec = None
        if spec is None or not spec.origin or not os.path.isfile(spec.origin):
            raise UsageError("there is no module {name}, neither here nor installed", name=place)
        self._folder = os.path.dirname(os.path.abspath(spec.origin))
        self._whole = spec.submodule_search_locations is not None

    def snapshot(self) -> Snapshot:
        return snapshot(self._folder, ".py", lambda name: self._whole and not name.startswith((".", "__")))


def snapshot(folder: str, suffix: str, enters: Callable[[str], bool]) -> Snapshot:
    """The files below a folder whose names end like this. enters: whether to look into a folder of this name."""
    found: Snapshot = {}
    for place, folders, files in os.walk(folder):
        folders[:] = filter(enters, folders)
        for name in files:
            if name.endswith(suffix) and len(found) < MOST_FILES:
                path = os.path.join(place, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue  # an editor replaces it just now
                found[path] = (status.st_mtime_ns, status.st_size)
    return found


def changed(before: Snapshot, after: Snapshot) -> str | None:
    """A file that is new, gone or different; None when all is as it was."""
    return next((name for name in {**before, **after} if before.get(name) != after.get(name)), None)
