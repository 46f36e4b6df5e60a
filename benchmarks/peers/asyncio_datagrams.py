"""asyncio's `DatagramProtocol`; `--uvloop` for that loop, `--cold` to leave the allocator as it is at the start.

asyncio reads each datagram into a block of 256 KiB and gives back what it does not need. glibc maps and unmaps such a block
every time, until one of that size has been freed as a whole; in a server of datagrams alone nothing ever does. A larger
block is freed here first, so that what is measured is asyncio.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast


class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)  # uvloop's is not a subclass

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.transport.sendto(data, addr)


async def main() -> None:
    if "--cold" not in sys.argv:
        bytes(1 << 20)  # freed at once
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, ("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
