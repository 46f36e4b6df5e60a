"""La boucle d'asyncio, sans prise : un seul thread, et chaque `await` laisse la main aux autres clients.

Lancer :   python server_asyncio_bare.py [PORT]         (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import asyncio
import sys
from contextlib import closing, suppress


async def converse(reader, writer):
    try:
        while line := await reader.readline():
            message = line.decode("utf-8", "replace").rstrip("\r\n")
            writer.write(f"Message reçu : {message}\n".encode())
            await writer.drain()  # attend que le client ait pris ce qui précède
    except (OSError, ValueError, asyncio.CancelledError):
        pass  # parti sans prévenir, une ligne de plus de 64 Kio, ou Ctrl-C
    finally:
        writer.close()


async def main(port):
    with closing(await asyncio.start_server(converse, "127.0.0.1", port)) as server:
        print(f"Serveur prêt sur le port {server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.Event().wait()  # pour toujours : c'est Ctrl-C qui arrête


with suppress(KeyboardInterrupt):
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 50000))
