"""The model select: one thread, our own loop over epoll or kqueue, conversations stepped in the turn that read the message."""

from __future__ import annotations

from prise.loops.select import SelectLoop
from prise.servers.looped import LoopServer
from prise.servers.work import Work

_PUBLISH_EVERY = 0.1


def run(work: Work) -> None:
    """Serves until drained or cut."""
    loop = SelectLoop()
    server = LoopServer(work, loop)
    try:
        server.start()
        if work.board is None:
            while not server.finished:
                loop.turn()
        else:
            _run_publishing(work, server, loop)
    finally:
        server.cut_all()  # none are left, unless something that is not ours to handle was raised
        loop.turn(0)  # conversations that were cut: their last clean-up was left to the loop
        work.publish()
        server.stop()
        loop.close()


def _run_publishing(work: Work, server: LoopServer, loop: SelectLoop) -> None:
    """As often as people look, not with every message: it costs more than one."""
    due = 0.0
    while not server.finished:
        if (now := loop.time()) >= due:
            work.publish()
            due = now + _PUBLISH_EVERY
        loop.turn(_PUBLISH_EVERY)
