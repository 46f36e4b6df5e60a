"""What became of a message, recipient by recipient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from prise.errors import PriseError, Refused


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that the server has taken over.

    sender: who gets it back if it cannot be delivered. accepted: for whom the server took it. refused: address -> its no.
    code, words: what it said at the end; the words often hold the number under which it queued the message.
    """

    sender: str
    accepted: tuple[str, ...]
    refused: Mapping[str, Refused] = field(default_factory=dict)
    code: str = ""
    words: str = ""


class RecipientsRefused(Refused):
    """Recipients were refused: every one (from `send`), or some (from `put`). refused: address -> the server's no.

    accepted: who gets the message all the same. code, words: those of the first no.
    """

    def __init__(
        self,
        reason: str = "no recipient was accepted; {address}: {code} {words}",
        /,
        *,
        refused: Mapping[str, Refused],
        accepted: tuple[str, ...] = (),
        **rest: Any,
    ) -> None:
        address, first = next(iter(refused.items()))
        super().__init__(reason, code=first.code, words=first.words, address=address, **rest)
        self.refused = dict(refused)
        self.accepted = accepted


class Sent(NamedTuple):
    """One file of a folder: what became of it, `delivery` or `error`."""

    path: Path
    delivery: Delivery | None = None
    error: PriseError | None = None
