"""Un message par client, avec `socket` seul : le serveur l'affiche, répond « Bien reçu », et raccroche.

Lancer :   python server_bare.py [PORT]        (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import socket
import sys
import time
from contextlib import suppress


def answer(connection):
    connection.settimeout(30)  # un client à la fois : celui qui ne dit rien ne fait pas attendre les autres
    with connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
        line = lines.readline(65536)  # jusqu'au \n, en autant de recv qu'il faut ; vide si le client est parti
    if line:
        message = line.rstrip("\r\n")
        print(f"Client : {message}")
        connection.sendall("Bien reçu\n".encode())
        hang_up(connection)


def hang_up(connection):
    """Raccroche poliment : fermer avec des octets non lus ferait perdre à l'autre nos derniers mots."""
    with suppress(OSError):  # il est déjà parti, ou ne raccroche pas : tant pis
        connection.shutdown(socket.SHUT_WR)  # « j'ai fini de parler »
        connection.settimeout(2)
        deadline = time.monotonic() + 2
        while connection.recv(65536) and time.monotonic() < deadline:
            pass  # ce que l'autre disait encore


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
with socket.create_server(("localhost", port)) as server, suppress(KeyboardInterrupt):
    print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            try:
                answer(connection)
            except OSError as error:  # ce client est parti, ou trop lent : aux suivants
                print(f"Client perdu : {error}")
