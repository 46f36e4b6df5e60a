"""Le client du serveur qui salue, avec `socket` seul : il se connecte et affiche ce qu'on lui dit.

Lancer :   python client_bare.py [PORT]        (port 50000 par défaut ; le serveur d'abord)
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
connection = socket.create_connection(("localhost", port), timeout=10)
# TCP livre des octets, pas des messages : c'est makefile qui recolle les morceaux en lignes.
with connection, connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
    print(lines.readline(65536).rstrip("\r\n"))  # 65536 : une ligne sans fin ne remplit pas la mémoire
