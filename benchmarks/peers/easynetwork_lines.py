"""EasyNetwork's asynchronous TCP server with its line serializer; `--uvloop` for that loop.

Its handler loops inside itself, the faster of the two forms in its documentation (the other starts one per request).
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator

from easynetwork.protocol import BufferedStreamProtocol
from easynetwork.serializers import StringLineSerializer
from easynetwork.servers import AsyncTCPNetworkServer
from easynetwork.servers.handlers import AsyncStreamClient, AsyncStreamRequestHandler


class Echo(AsyncStreamRequestHandler[str, str]):
    async def handle(self, client: AsyncStreamClient[str]) -> AsyncGenerator[None, str]:
        while True:
            line = yield
            await client.send_packet(line)


async def main() -> None:
    protocol = BufferedStreamProtocol(StringLineSerializer())
    server = AsyncTCPNetworkServer("127.0.0.1", 0, protocol, Echo(), "asyncio", backlog=1024)
    async with server:
        await server.server_activate()
        print(server.get_addresses()[0].port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
