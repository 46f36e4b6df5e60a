"""Un serveur qui salue, avec prise : il remercie celui qui se connecte, puis raccroche.

Lancer :   python server_prise.py [PORT]       (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import sys

import prise


def greet(connection):
    print(f"Connexion de {connection.peer}")
    connection.send("Thank you for connecting")


def ready(addresses):
    print(f"Serveur prêt sur le port {addresses[0].port}", flush=True)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
prise.serve(greet, f":{port}", ready=ready)
