"""Une conversation à deux, avec `socket` seul : ce côté attend l'appel. FIN termine, l'autre répond « Au revoir ».

Lancer :   python server_bare.py [PORT]        (port 50000 par défaut), puis un des clients dans un autre terminal
"""

import socket
import sys
import time
from contextlib import suppress


def speak(connection):
    """Envoie ce qu'on tape, une ligne."""
    try:
        message = input("Vous : ")
    except EOFError:  # fin du clavier (Ctrl-D)
        message = "FIN"
    connection.sendall(f"{message}\n".encode())


def converse(connection, lines):
    """Chacun son tour ; à FIN on répond « Au revoir », et qui dit ou lit « Au revoir » a fini."""
    while line := lines.readline(65536):
        message = line.rstrip("\r\n")
        print(f"Client : {message}")
        if message == "Au revoir":
            return
        if message.upper() == "FIN":
            connection.sendall(b"Au revoir\n")
            hang_up(connection)
            return
        speak(connection)


def hang_up(connection):
    """Raccroche poliment : fermer avec des octets non lus ferait perdre à l'autre nos derniers mots."""
    with suppress(OSError):  # il est déjà parti, ou ne raccroche pas : tant pis
        connection.shutdown(socket.SHUT_WR)  # « j'ai fini de parler »
        connection.settimeout(2)
        deadline = time.monotonic() + 2
        while connection.recv(65536) and time.monotonic() < deadline:
            pass  # ce que l'autre disait encore


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
with socket.create_server(("localhost", port)) as server:
    print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
    connection, _ = server.accept()
lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
with suppress(ConnectionError), connection, lines:  # ConnectionError : l'autre est parti sans prévenir
    converse(connection, lines)
print("Fin de la conversation")
