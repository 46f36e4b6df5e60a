"""What test_soak.py watches: PIPE, then MODEL SPELLING [leak], or `chat` and its arguments.

It writes lines to the descriptor PIPE: its port (the chat says that on stderr), and on each SIGUSR1 what it holds, in JSON.
leak: forgets to forget 100 bytes of each connection, so that a test can see that it would be noticed.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import threading
from typing import Any

import prise

kept: list[bytearray] = []


def function(connection: Any) -> None:
    for line in connection:
        connection.send(line)


def generator(connection: Any) -> Any:
    if "leak" in sys.argv:
        kept.append(bytearray(100))
    reply = None
    while True:
        reply = yield reply


async def coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send(line)


def report(*_: object) -> None:
    gc.collect()
    held = {"blocks": sys.getallocatedblocks(), "threads": threading.active_count()}
    tell(json.dumps(held))


def tell(line: str) -> None:
    os.write(int(sys.argv[1]), line.encode() + b"\n")


def main() -> int:
    signal.signal(signal.SIGUSR1, report)
    if sys.argv[2] == "chat":
        from prise.cli.root import run

        return run(sys.argv[2:])
    model, spelling = sys.argv[2:4]
    prise.serve(
        globals()[spelling],
        "127.0.0.1:0",
        model=model,
        limits=prise.Limits(linger_time=0.2),
        ready=lambda addresses: tell(str(addresses[0].port)),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
