"""Why our side of a connection ends. Layers that can say so tell the peer: WebSocket by its close codes."""

from __future__ import annotations

from enum import Enum, auto

from prise.address import Address
from prise.errors import FrameError, MessageTooLarge, PeerError, TooSlow


class Ending(Enum):
    """Why our side ends, as far as the other side may know."""

    DONE = auto()
    """The conversation is over."""
    LEAVING = auto()
    """This side is being stopped (drained), whatever the conversation."""
    FAILED = auto()
    """The conversation raised an error: our fault."""
    BAD_DATA = auto()
    """What the peer sent is not what the framing, or its codec, allows."""
    TOO_LARGE = auto()
    """The peer sent a message above the limit."""
    TOO_SLOW = auto()
    """The peer was silent, or too slow, for longer than the limits allow."""


def ending_of(error: BaseException, peer: Address) -> Ending:
    """What an error makes of a conversation with that peer. One about somebody else, which went through, is our own fault."""
    if not isinstance(error, Exception):
        return Ending.DONE if isinstance(error, SystemExit) else Ending.LEAVING  # interrupted, cancelled
    if not isinstance(error, PeerError) or error.peer != peer:
        return Ending.FAILED
    if isinstance(error, FrameError):
        return Ending.TOO_LARGE if isinstance(error, MessageTooLarge) else Ending.BAD_DATA
    return Ending.TOO_SLOW if isinstance(error, TooSlow) else Ending.DONE
