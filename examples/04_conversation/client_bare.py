"""Une conversation à deux, avec `socket` seul : ce côté appelle et parle en premier.

Lancer :   python client_bare.py [PORT]        (port 50000 par défaut ; le serveur d'abord)
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
        print(f"Serveur : {message}")
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
connection = socket.create_connection(("localhost", port))
lines = connection.makefile("r", encoding="utf-8", errors="replace", newline="\n")
with suppress(ConnectionError), connection, lines:  # ConnectionError : l'autre est parti sans prévenir
    speak(connection)
    converse(connection, lines)
print("Fin de la conversation")
