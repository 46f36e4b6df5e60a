"""Who is at the other end of a Unix socket, as the kernel knows it: nobody can pretend to be another."""

from __future__ import annotations

import socket
import struct
import sys
from typing import NamedTuple


class Credentials(NamedTuple):
    """A process, as it was when it connected (or listened). pid: None where the system tells the user only."""

    pid: int | None
    uid: int
    gid: int


NOBODY = 0xFFFFFFFF
"""The user of a socket that has no peer, (uid_t) -1."""


def peer_credentials(sock: socket.socket) -> Credentials | None:
    """The process that connected this Unix socket, or for a client, that listens on it.

    Linux: SO_PEERCRED (unix(7)). macOS and FreeBSD: LOCAL_PEERCRED (unix(4)), where the pid is not told. None for other
    sockets and systems, and where there is no peer (a datagram socket).
    """
    if not hasattr(socket, "AF_UNIX") or sock.family != socket.AF_UNIX:
        return None
    try:
        if sys.platform == "linux":
            ucred = struct.Struct("iII")
            pid, uid, gid = ucred.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ucred.size))
            # The pid is 0 where the peer is in a process namespace that we do not see.
            return None if uid == NOBODY else Credentials(pid or None, uid, gid)
        if sys.platform == "darwin" or sys.platform.startswith("freebsd"):
            xucred = struct.Struct("IIh2x16I")  # struct xucred of <sys/ucred.h>
            _, uid, count, *groups = xucred.unpack(sock.getsockopt(0, 1, xucred.size)[: xucred.size])
            return Credentials(None, uid, groups[0]) if count > 0 else None
    except (OSError, struct.error):
        pass  # gone already, or not connected
    return None
