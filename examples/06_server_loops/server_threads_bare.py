"""La boucle à threads, avec `socket` seul : chaque client a son thread, qui attend pour lui.

Lancer :   python server_threads_bare.py [PORT]         (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import socket
import sys
import threading
from contextlib import suppress


def converse(connection):
    lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    # suppress : un client qui claque la porte (ConnectionResetError) ne termine que sa propre conversation.
    with suppress(OSError), connection, lines:
        while line := lines.readline(65536):
            message = line.rstrip("\r\n")
            connection.sendall(f"Message reçu : {message}\n".encode())


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
with socket.create_server(("localhost", port)) as server, suppress(KeyboardInterrupt):
    print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=converse, args=(connection,), daemon=True).start()
