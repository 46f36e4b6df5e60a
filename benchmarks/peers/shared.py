"""One port for several processes: `--workers N` forks them, each with a listener of its own (SO_REUSEPORT, socket(7))."""

from __future__ import annotations

import os
import socket
import sys

BACKLOG = 1024


def listener() -> socket.socket:
    """The listener of this process, which is one of the workers when it returns."""
    workers = int(sys.argv[sys.argv.index("--workers") + 1]) if "--workers" in sys.argv else 1
    if workers == 1:
        return socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=BACKLOG, reuse_port=True)]
    address = listeners[0].getsockname()
    listeners += [socket.create_server(address, backlog=BACKLOG, reuse_port=True) for _ in range(workers - 1)]
    mine = listeners.pop(0)
    global first
    for other in listeners:
        if os.fork() == 0:
            mine.close()
            mine, first = other, False
            break
    for other in listeners:
        if other is not mine:
            other.close()
    return mine


first = True  # this is the process that was started, which alone tells the port


def announce(mine: socket.socket) -> None:
    """Prints the port, once."""
    if first:
        print(mine.getsockname()[1], flush=True)
