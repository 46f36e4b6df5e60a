"""The model select: one thread, our own loop over epoll or kqueue, conversations stepped in the turn that read the message."""

from __future__ import annotations

from prise.loops.select import SelectLoop
from prise.servers.looped import LoopServer
from prise.servers.work import Work


def run(work: Work) -> None:
    """Serves until drained or cut."""
    loop = SelectLoop()
    server = LoopServer(work, loop)
    try:
        server.start()
        while not server.finished:
            loop.turn()
            if work.board is not None:
                work.publish()
        loop.turn(0)  # conversations that were cut: their last clean-up was left to the loop
    finally:
        server.stop()
        loop.close()
