"""Trois connexions à la fois, avec `socket` seul, pour voir que le serveur les sert ensemble.

On parle à toutes avant d'écouter, et la dernière d'abord : un serveur qui prend un client après l'autre resterait muet.

Lancer :   python client_bare.py [PORT]        (port 50000 par défaut ; un des serveurs d'abord)
"""

import socket
import sys
from contextlib import ExitStack

port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
with ExitStack() as stack:  # ferme tout à la fin
    connections = [stack.enter_context(socket.create_connection(("localhost", port), timeout=10)) for _ in range(3)]
    for number, connection in enumerate(connections, 1):
        connection.sendall(f"ici le n° {number}\n".encode())
    for connection in reversed(connections):
        with connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
            print(lines.readline(65536).rstrip("\r\n"))
