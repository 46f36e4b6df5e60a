"""What a client keeps in the user's files: who they are in each house (tokens, readable by them alone), and what they have typed.

Everything is in `prise/chat` of the state directory (XDG_STATE_HOME, by default ~/.local/state; %LOCALAPPDATA% on Windows).
What cannot be read or written is as if it were not there: a client works without.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from prise.chat import cleaning

MOST_NAMES = 50
"""Names kept of one house."""
MOST_TYPED = 1_000
"""Lines typed that are kept."""
LARGEST = 1_000_000
"""Bytes of a file that is read; ours are smaller."""


def folder() -> Path:
    """Where it all is; it may not exist yet."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "prise" / "chat"


def write_private(path: Path, content: str) -> None:
    """Replaces a file as a whole; only the user may read it. Errors are ignored."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)  # mode 0600
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise


def read_bounded(path: Path) -> str:
    """The text of a file; "" when it cannot be read, or is not ours."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(LARGEST)
    except OSError:
        return ""


class Identities:
    """The names and tokens that a user has in one house. where: its address, as the user writes it."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._path = folder() / "houses" / f"{sha256(where.encode()).hexdigest()[:32]}.json"

    def _read(self) -> dict[str, Any]:
        try:
            kept = json.loads(read_bounded(self._path))
        except (ValueError, RecursionError):
            kept = {}
        return kept if isinstance(kept, dict) and isinstance(kept.get("tokens"), dict) else {"tokens": {}}

    def last_name(self) -> str:
        """The name that was used last; "" for none."""
        name = self._read().get("last")
        return name if isinstance(name, str) else ""

    def token(self, name: str) -> str:
        """What makes us the one who had this name; "" for none."""
        token = self._read()["tokens"].get(cleaning.key(name))
        return token if isinstance(token, str) else ""

    def keep(self, name: str, token: str) -> None:
        """For the next time."""
        kept = self._read()
        tokens = {each: given for each, given in kept["tokens"].items() if each != cleaning.key(name)}
        tokens[cleaning.key(name)] = token
        newest = dict([*tokens.items()][-MOST_NAMES:])
        write_private(
            self._path, json.dumps({"address": self._where, "last": name, "tokens": newest}, ensure_ascii=False)
        )


class Typed:
    """The lines that were typed, oldest first."""

    def __init__(self) -> None:
        self._path = folder() / "typed"

    def read(self) -> list[str]:
        return read_bounded(self._path).splitlines()[-MOST_TYPED:]

    def add(self, line: str) -> None:
        """Adds a line; also those that other clients of this user have added meanwhile stay."""
        write_private(self._path, "\n".join([*self.read(), cleaning.line(line)][-MOST_TYPED:]) + "\n")
