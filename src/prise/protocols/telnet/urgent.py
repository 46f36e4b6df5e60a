"""Telnet's "urgent" bytes (the synch of RFC 854), on the socket itself.

TCP's urgent data takes one byte out of the stream: of IAC DM, which servers send that way after Ctrl-C, one of the two. With
SO_OOBINLINE (socket(7)) the stream stays whole, and DM is a command like others.
"""

from __future__ import annotations

import socket
from typing import Any


def keep_in_line(connection: Any) -> None:
    """Leaves urgent bytes where they belong. connection: of prise's."""
    sock = socket.socket(fileno=connection.fileno())
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    finally:
        sock.detach()
