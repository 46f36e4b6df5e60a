"""A bare broadcast on asyncio: each line goes to everyone, by `transport.write`; `--uvloop` for that loop.

It has no bound on what waits for a slow peer; prise has, and pays for it in this comparison.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

everyone: set[asyncio.Transport] = set()


class Member(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self.rest = b""
        everyone.add(self.transport)

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            line += b"\n"
            for transport in everyone:
                transport.write(line)

    def connection_lost(self, error: Exception | None) -> None:
        everyone.discard(self.transport)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Member, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
