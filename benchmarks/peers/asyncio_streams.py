"""asyncio's streams, with `readline` and `drain` as in its documentation; `--uvloop` for that loop, `--tls FILE`.

`--longest BYTES`: of a line; its default is 64 KiB.
"""

from __future__ import annotations

import asyncio
import sys

from benchmarks.peers.certificate import context

LONGEST = int(sys.argv[sys.argv.index("--longest") + 1]) if "--longest" in sys.argv else 65536


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main() -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=1024, ssl=context(), limit=LONGEST)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
