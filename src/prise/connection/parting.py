"""How a connection leaves this process: what was read and not used goes with its socket, as bytes of the peer.

A connection is given away between two messages. Those that were decoded and not taken are turned into bytes again, in the
framing's own spelling (a line that came with \\r\\n goes on with \\n), and it is checked that they mean the same.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from prise.core.pipeline import Pipeline
from prise.errors import FrameError, HandoverError, UsageError


class Detached(NamedTuple):
    """socket: the connection's, open. pending: bytes that were read from it and belong to no message that was received."""

    socket: socket.socket
    pending: bytes


def refuse_to_part(sock: socket.socket, broken: bool) -> None:
    """Raises HandoverError for what cannot change hands at all."""
    if sock.type != socket.SOCK_STREAM:
        raise HandoverError("only a stream changes hands as a connection; give the socket itself")
    if broken:
        raise HandoverError("the connection is broken or being ended; there is nothing to hand over")


Way = Literal["bare", "same", "inside"]
"""What becomes of the layers (TLS, WebSocket...): `bare`: who goes on has none, so none may matter; `same`: who goes on has
the same ones; `inside`: what is given away is what goes on inside of them."""


def unread(pipeline: Pipeline, messages: Sequence[Any], way: Way) -> bytes:
    """All that was read and not used. messages: those that were decoded and not taken. Raises HandoverError."""
    if not pipeline.ready:
        raise HandoverError("the connection is still being set up; hand it over once its conversation has started")
    opaque = [layer for layer in pipeline.layers if not layer.transparent]
    if way == "bare" and opaque:
        raise HandoverError(
            "a connection through {layer} cannot change hands: what was agreed on with the peer (keys, numbers) is known to "
            "this process alone. Send it with relay=True: this process then passes on what goes on inside",
            layer=opaque[0].name or type(opaque[0]).__name__,
        )
    if way == "inside" and pipeline.keeps_messages:
        raise HandoverError("what goes on inside are messages, not a stream of bytes; they cannot be passed on")
    try:
        return pipeline.unread(messages, way == "inside")
    except (FrameError, UsageError) as error:
        raise HandoverError(
            "messages are here already that cannot be turned into bytes again ({cause}); receive them first, or use the "
            "framing chunks",
            cause=error,
        ) from None
