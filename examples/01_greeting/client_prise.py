"""Le client du serveur qui salue, avec prise : il se connecte et affiche ce qu'on lui dit.

Lancer :   python client_prise.py [PORT]       (port 50000 par défaut ; le serveur d'abord)
"""

import sys

import prise

port = sys.argv[1] if len(sys.argv) > 1 else 50000
with prise.connect(f"localhost:{port}") as connection:
    print(connection.receive(timeout=10))
