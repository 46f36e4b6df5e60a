"""AnyIO on its default loop, asyncio's, with its own buffered reader finding the lines."""

from __future__ import annotations

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteStream


async def echo(stream: anyio.abc.SocketStream) -> None:
    async with stream:
        buffered = BufferedByteStream(stream)
        try:
            while True:
                line = await buffered.receive_until(b"\n", 65536)
                await stream.send(line + b"\n")
        except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
            pass


async def main() -> None:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1024)
    print(listener.extra(anyio.abc.SocketAttribute.local_port), flush=True)
    await listener.serve(echo)


if __name__ == "__main__":
    anyio.run(main)
