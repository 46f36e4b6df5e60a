"""Un serveur à threads, avec `socket` seul : un thread par client, à chaque ligne il répond « Message reçu : … ».

Lancer :   python server_bare.py [PORT]        (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import socket
import sys
import threading
from contextlib import suppress


def converse(connection, name):
    lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    # suppress : un client qui claque la porte (ConnectionResetError) ne termine que sa propre conversation.
    with suppress(OSError), connection, lines:
        while line := lines.readline(65536):  # une ligne vide est "\n" ; "" veut dire que le client a raccroché
            message = line.rstrip("\r\n")
            print(f"{name} : {message}")
            connection.sendall(f"Message reçu : {message}\n".encode())


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
with socket.create_server(("localhost", port)) as server, suppress(KeyboardInterrupt):
    print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
    while True:
        connection, (host, client_port) = server.accept()
        # daemon : Ctrl-C n'attend pas que tous les clients soient partis.
        threading.Thread(target=converse, args=(connection, f"{host}:{client_port}"), daemon=True).start()
