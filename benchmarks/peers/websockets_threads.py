"""websockets' server of threads, two for each connection, without compression."""

from __future__ import annotations

import socket

from websockets.sync.server import ServerConnection, serve


def echo(connection: ServerConnection) -> None:
    for message in connection:
        connection.send(message)


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    with serve(echo, sock=listener, compression=None) as server:
        print(listener.getsockname()[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
