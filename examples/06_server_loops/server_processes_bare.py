"""La boucle à processus, avec `socket` seul : chaque client a son processus, et rien n'est partagé entre eux.

Lancer :   python server_processes_bare.py [PORT]       (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import multiprocessing
import signal
import socket
import sys
from contextlib import suppress


def converse(connection):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C s'adresse au serveur, qui termine ses enfants
    lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
    # suppress : un client qui claque la porte (ConnectionResetError) ne termine que sa propre conversation.
    with suppress(OSError), connection, lines:
        while line := lines.readline(65536):
            message = line.rstrip("\r\n")
            connection.sendall(f"Message reçu : {message}\n".encode())


if __name__ == "__main__":  # l'enfant relit ce fichier sur certains systèmes : il ne doit pas servir à son tour
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
    with socket.create_server(("localhost", port)) as server, suppress(KeyboardInterrupt):
        print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
        while True:
            connection, _ = server.accept()
            with connection:  # l'enfant a la sienne : sans fermer la nôtre, le client ne verrait jamais la fin
                multiprocessing.Process(target=converse, args=(connection,), daemon=True).start()
