"""prise as the thing measured: the echo in each spelling and model, and a room (each line goes to everyone).

    python -m benchmarks.prise_servers --model asyncio --spelling coroutine [--uvloop|--no-uvloop] [--room]
        [--address ws:127.0.0.1:0] [--tls CERTIFICATE] [--workers N]

Limits, deadlines and counters are on; only the numbers of connections are raised, above what the loads open.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Generator, Sequence
from typing import Any


def echo_function(connection: Any) -> None:
    for line in connection:
        connection.send(line)


def echo_generator(connection: Any) -> Generator[Any, Any, None]:
    reply = None
    while True:
        reply = yield reply


async def echo_coroutine(connection: Any) -> None:
    async for line in connection:
        await connection.send(line)


ECHO = {"function": echo_function, "generator": echo_generator, "coroutine": echo_coroutine}

everyone: set[Any] = set()


async def room(connection: Any) -> None:
    import prise

    everyone.add(connection)
    try:
        async for line in connection:
            prise.broadcast(everyone, line)  # never waits
    finally:
        everyone.discard(connection)


def announce(addresses: Sequence[Any]) -> None:
    print(addresses[0].port, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("select", "asyncio", "threads", "processes"), required=True)
    parser.add_argument("--spelling", choices=tuple(ECHO), required=True)
    parser.add_argument("--uvloop", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--room", action="store_true", help="each line goes to everyone (coroutine only)")
    parser.add_argument("--address", default="127.0.0.1:0")
    parser.add_argument("--tls", metavar="FILE", help="of the certificate and its key")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    os.environ["PRISE_UVLOOP"] = "1" if options.uvloop else "0"

    import prise

    prise.serve(
        room if options.room else ECHO[options.spelling],
        options.address,
        framing="lines",
        tls=prise.TLS(cert=options.tls) if options.tls else None,
        model=options.model,
        workers=options.workers,
        limits=prise.Limits(connections=20_000, connections_per_peer=20_000),
        ready=announce,
    )


if __name__ == "__main__":
    main()
