"""The chat server that tutorials on sockets end with: a thread for each client, `sendall` to everybody under one lock, and
whatever one `recv(1024)` brings is a message.
"""

from __future__ import annotations

import socket
import threading

clients: dict[socket.socket, str] = {}
lock = threading.Lock()


def broadcast(message: bytes) -> None:
    with lock:
        for client in clients:
            client.sendall(message)


def serve(client: socket.socket) -> None:
    try:
        name = client.recv(1024).decode().strip()
        client.sendall(f"Bienvenue {name}\n".encode())
        with lock:
            clients[client] = name
        while data := client.recv(1024):
            broadcast(f"{name} : ".encode() + data)
    except OSError:
        pass
    finally:
        with lock:
            clients.pop(client, None)
        client.close()


def main() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            client, _address = server.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
