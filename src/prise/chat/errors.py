"""The error of the chat house."""

from __future__ import annotations

from copy import copy
from typing import Any

from prise import UsageError
from prise.chat.events import Notice


class Denied(UsageError):
    """Somebody is not let in. code: what is missing, for programs: name, taken, passphrase, password, banned, full."""

    def __init__(self, reason: str, /, code: str = "name", **details: Any) -> None:
        super().__init__(reason, **details)
        self.code = code

    def sentence(self, translate: Any = str) -> str:
        """See `PriseError`; a detail that is a Notice is translated too."""
        said = copy(self)
        said.details = {
            name: value.text(translate) if isinstance(value, Notice) else value for name, value in self.details.items()
        }
        return super(Denied, said).sentence(translate)
