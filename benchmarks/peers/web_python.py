"""Servers of files in Python: `http.server`, `aiohttp` or `starlette`, then FOLDER; `--uvloop` for that loop.

None of them writes an access log, and http.server speaks HTTP/1.1, so that its connections go on; all else is as it comes.
"""

from __future__ import annotations

import asyncio
import http.server
import socket
import sys
from functools import partial
from typing import Any


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


def standard(folder: str) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


async def aiohttp(folder: str) -> None:
    from aiohttp import web

    application = web.Application()
    application.router.add_static("/", folder)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The application beside granian's own static files."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def starlette(folder: str, loop: str) -> None:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Mount
    from starlette.staticfiles import StaticFiles

    application = Starlette(routes=[Mount("/", StaticFiles(directory=folder))])
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(application, access_log=False, log_level="error", http="httptools", loop=loop)
    uvicorn.Server(config).run([listener])


def main() -> None:
    name, folder, *options = sys.argv[1:]
    fast = "--uvloop" in options
    if name == "http.server":
        standard(folder)
    elif name == "starlette":
        starlette(folder, "uvloop" if fast else "asyncio")
    elif fast:
        import uvloop

        uvloop.run(aiohttp(folder))
    else:
        asyncio.run(aiohttp(folder))


if __name__ == "__main__":
    main()
