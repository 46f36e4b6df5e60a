"""A server for test_torture.py: MODEL SPELLING [limit=value…] [workers=N] [drain_time=S] [last_word] [stubborn]."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import prise


def function(connection: Any) -> None:
    for line in connection:
        connection.send(line)
    if "last_word" in sys.argv:
        connection.send("goodbye")
    if "stubborn" in sys.argv:
        time.sleep(60)


def generator(connection: Any) -> Any:
    reply = None
    try:
        while True:
            reply = yield reply
    except GeneratorExit:
        return "goodbye" if "last_word" in sys.argv else None


async def coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send(line)
    if "last_word" in sys.argv:
        await connection.send("goodbye")
    if "stubborn" in sys.argv:
        import asyncio

        await asyncio.sleep(60)


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    model, spelling, *options = sys.argv[1:]
    values: dict[str, Any] = dict(option.split("=") for option in options if "=" in option)
    workers = int(values.pop("workers", 1))
    drain_time = float(values.pop("drain_time", 10))
    limits: dict[str, Any] = {"linger_time": 0.5, **{name: float(value) for name, value in values.items()}}
    prise.serve(
        globals()[spelling],
        "127.0.0.1:0",
        model=model,
        workers=workers,
        drain_time=drain_time,
        limits=prise.Limits(**limits),
        ready=lambda addresses: print(addresses[0].port, flush=True),
    )


main()
