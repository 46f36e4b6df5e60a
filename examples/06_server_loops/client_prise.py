"""Trois connexions à la fois, avec prise, pour voir que le serveur les sert ensemble.

On parle à toutes avant d'écouter, et la dernière d'abord : un serveur qui prend un client après l'autre resterait muet.

Lancer :   python client_prise.py [PORT]       (port 50000 par défaut ; un des serveurs d'abord)
"""

import sys
from contextlib import ExitStack

import prise

port = sys.argv[1] if len(sys.argv) > 1 else 50000
with ExitStack() as stack:  # ferme tout à la fin
    connections = [stack.enter_context(prise.connect(f"localhost:{port}")) for _ in range(3)]
    for number, connection in enumerate(connections, 1):
        connection.send(f"ici le n° {number}")
    for connection in reversed(connections):
        print(connection.receive(timeout=10))
