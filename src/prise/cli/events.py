"""What a command tells while it works: for people on stderr, with --json for programs on stdout, one value per line."""

from __future__ import annotations

import sys
import threading
from typing import Any

import click

from prise.cli.outcome import say


class Events:
    """Threads may share one."""

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._json = as_json
        self._quiet = quiet
        self._lock = threading.Lock()

    def event(self, name: str, **details: Any) -> None:
        if self._json:
            import json  # most do without

            with self._lock:
                click.echo(json.dumps({"event": name, **details}))
                sys.stdout.flush()

    def say(self, text: str) -> None:
        if not self._quiet:
            say(text)
