"""Takes the whole terminal once there is a house to talk to, and gives it back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import prise
from prise.chat.client.memory import Identities
from prise.chat.client.screen import LAST_WORDS, Screen
from prise.chat.client.session import Session, Wish


def run(
    connect: Callable[[], prise.Connector],
    connect_bytes: Callable[[prise.Address], prise.Connector],
    where: prise.Address,
    wish: Wish,
    kept: Identities,
) -> tuple[int, int]:
    """Until the person leaves. Returns the exit code, and how many messages were not settled.

    Raises what `Session.run` raises.
    """
    return asyncio.run(_run(connect, connect_bytes, where, wish, kept))


async def _run(
    connect: Callable[[], prise.Connector],
    connect_bytes: Callable[[prise.Address], prise.Connector],
    where: prise.Address,
    wish: Wish,
    kept: Identities,
) -> tuple[int, int]:
    screen = Screen(where, connect_bytes)
    screen.session = Session(connect, screen.model, screen, wish, kept)
    listening = asyncio.create_task(screen.session.run())
    started = asyncio.create_task(screen.started.wait())
    drawing: asyncio.Task[None] | None = None
    try:
        # The terminal is taken when there is somebody to talk to.
        await asyncio.wait((listening, started), return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            drawing = asyncio.create_task(screen.app.run_async())
            await asyncio.wait((listening, drawing), return_when=asyncio.FIRST_COMPLETED)
            if drawing.done():
                drawing.result()
        if listening.done():
            listening.result()
        return screen.code, len(screen.model.pending)
    finally:
        if drawing is not None and not drawing.done():
            if screen.app.is_running and not screen.app.is_done:
                screen.app.exit()
            await asyncio.wait((drawing,), timeout=LAST_WORDS)
        rest = [each for each in (listening, started, *screen.tasks) if not each.done()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
