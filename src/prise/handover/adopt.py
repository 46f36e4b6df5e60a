"""A connection from a descriptor that this process has already: inherited, received by other means, of another library."""

from __future__ import annotations

import os
import socket
import stat

from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.errors import UsageError
from prise.framing import Framing
from prise.handover.received import Received


def adopt(
    fd: int | socket.socket, framing: str | Framing = "lines", limits: Limits | None = None, pending: bytes = b""
) -> Connection:
    """A blocking connection on a duplicate of this descriptor; the descriptor itself stays open and stays the caller's.

    fd: a number, or an object with `fileno()`. Family and type are asked of the kernel, whatever the object believes.
    pending: bytes of the peer that were read already. The mode (blocking or not) is shared by all duplicates, and becomes
    blocking. The peer sees the end when every duplicate is closed. Raises UsageError for what is no connected socket.
    """
    number = fd if isinstance(fd, int) else fd.fileno()
    try:
        is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        raise UsageError("the descriptor {number} is not open", operation="adopt", number=number) from None
    if not is_socket:
        raise UsageError(
            "the descriptor {number} is no socket; for pipes and terminals: prise.connect('fd:{number}')",
            operation="adopt",
            number=number,
        )
    mine = socket.socket(fileno=os.dup(number))
    try:
        mine.settimeout(None)
        return Received(mine, {"shared": True}, pending, None).connection(framing, limits)
    except BaseException:
        mine.close()
        raise
