"""The model asyncio: conversations may await anything of asyncio's. uvloop is used when it is installed (PRISE_UVLOOP=0: not)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from prise.loops.asyncio import running_loop
from prise.servers.looped import LoopServer
from prise.servers.work import Work

_PUBLISH_EVERY = 0.1
_LAST_TASKS = 1.0


def run(work: Work) -> None:
    """Serves until drained or cut, on a loop of its own."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run_async(work))


async def run_async(work: Work) -> None:
    """Serves until drained or cut, on the running loop."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    server = LoopServer(work, running_loop(), over.set)
    publisher: asyncio.TimerHandle | None = None

    def publish() -> None:
        nonlocal publisher
        work.publish()
        publisher = loop.call_later(_PUBLISH_EVERY, publish)

    if work.board is not None:
        publish()
    try:
        server.start()
        await over.wait()
    except asyncio.CancelledError:
        work.control.cut()
        await over.wait()  # in a turn of the loop: conversations cannot be told from within this task
        raise
    finally:
        server.stop()
        if server.tasks:  # conversations that were cut and still clean up
            await asyncio.wait(server.tasks, timeout=_LAST_TASKS)
        if publisher is not None:
            publisher.cancel()
        work.publish()


def _loop_factory() -> Callable[[], Any] | None:
    if os.environ.get("PRISE_UVLOOP") == "0":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], Any] = uvloop.new_event_loop
    return factory
