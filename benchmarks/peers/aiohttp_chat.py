"""Each text message to everyone, on aiohttp, without compression; `--uvloop` for that loop.

It waits for each member in turn, as aiohttp's documentation shows it.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web

everyone: set[web.WebSocketResponse] = set()


async def member(request: web.Request) -> web.WebSocketResponse:
    peer = web.WebSocketResponse(compress=False)
    await peer.prepare(request)
    everyone.add(peer)
    try:
        async for message in peer:
            if message.type == WSMsgType.TEXT:
                for each in tuple(everyone):
                    await each.send_str(message.data)
    finally:
        everyone.discard(peer)
    return peer


async def main() -> None:
    application = web.Application()
    application.router.add_get("/", member)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if "--uvloop" in sys.argv:
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
