"""asyncio's `Protocol`, its lowest level: `--uvloop` for that loop, `--batch` for one write per batch of lines, `--tls FILE`,
`--workers N` for so many processes, among whose listeners the kernel divides the connections.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from benchmarks.peers import shared
from benchmarks.peers.certificate import context

BATCH = "--batch" in sys.argv
LISTENER = shared.listener()  # which forks, so that it comes before the loop


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        data = self.rest + data
        if BATCH:
            end = data.rfind(b"\n") + 1
            if end:
                self.transport.write(data[:end])
            self.rest = data[end:]
        else:
            *lines, self.rest = data.split(b"\n")
            for line in lines:
                self.transport.write(line + b"\n")

    # Backpressure: a peer that does not read its answers is not read either.
    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Echo, sock=LISTENER, backlog=1024, ssl=context())
    shared.announce(LISTENER)
    await server.serve_forever()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
