"""Un serveur qui salue, avec `socket` seul : il remercie celui qui se connecte, puis raccroche. Un client à la fois.

Lancer :   python server_bare.py [PORT]        (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import socket
import sys
import time
from contextlib import suppress


def greet(connection):
    connection.settimeout(10)  # un client muet ou bloqué ne retient pas le serveur
    connection.sendall(b"Thank you for connecting\n")  # sendall : send seul peut n'envoyer que le début
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
        connection, (host, client_port) = server.accept()
        print(f"Connexion de {host}:{client_port}")
        with connection:
            try:
                greet(connection)
            except OSError as error:  # ce client est parti trop tôt : aux suivants
                print(f"Client perdu : {error}")
