"""What the fragments of programs on the page are parts of."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from pages.runner import Page


async def conversation(connection: Any) -> None:
    async for line in connection:
        await connection.send(line)


@contextlib.contextmanager
def prepare(page: Page) -> Iterator[dict[str, Any]]:
    os.environ["PATH"] = page.environment["PATH"]
    stop = asyncio.Event()
    stop.set()
    names: dict[str, Any] = {"conversation": conversation, "stop": stop}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield names | {"listener": listener}
        names["served"] = page.names["served"]
        names["served"].terminate()
        names["served"].wait(30)
