"""The error of the chat house."""

from __future__ import annotations

from typing import Any

from prise import UsageError


class Denied(UsageError):
    """Somebody is not let in. code: what is missing, for programs: name, taken, passphrase, password, banned, full."""

    def __init__(self, reason: str, /, code: str = "name", **details: Any) -> None:
        super().__init__(reason, **details)
        self.code = code
