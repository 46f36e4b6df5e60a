"""Which messages were seen last time: a small file for each mailbox, for POP3's "new since then"."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from prise.errors import UsageError
from prise.protocols.target import Target

MOST = 64 * 1024 * 1024
"""Bytes of such a file."""


class Seen:
    """The uids of one mailbox that were there last time.

    target: the mailbox; folder: where the files are, by default prise/seen in XDG_STATE_HOME (~/.local/state).
    """

    def __init__(self, target: Target, user: str, folder: str | os.PathLike[str] | None = None) -> None:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        name = sha256(
            f"{target.protocol}://{user}@{target.host}:{target.port}".encode(errors="surrogateescape")
        ).hexdigest()[:32]
        self.path = Path(folder or Path(state) / "prise" / "seen") / f"{name}.json"

    def uids(self) -> frozenset[str]:
        """Raises UsageError for a file that is not ours."""
        try:
            if self.path.stat().st_size > MOST:
                raise ValueError
            known = json.loads(self.path.read_bytes())
            return frozenset(str(uid) for uid in known["uids"])
        except FileNotFoundError:
            return frozenset()
        except (ValueError, KeyError, TypeError):
            raise UsageError("{path} is not a list of messages seen; remove it to begin anew", path=self.path) from None

    def keep(self, uids: Collection[str]) -> None:
        """Replaces what was known, at once or not at all: those that are gone from the server are forgotten."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"uids": sorted(uids)}), encoding="utf-8")
        new.replace(self.path)
