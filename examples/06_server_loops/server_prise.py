"""Les quatre boucles, avec prise : la même conversation, le modèle n'est qu'un mot.

Lancer :   python server_prise.py [PORT [MODÈLE]]       (50000 et select par défaut, Ctrl-C arrête le serveur)
MODÈLE :   threads, processes, select ou asyncio
"""

import sys

import prise


def converse(connection):
    reply = None  # rien à dire d'abord
    while True:
        message = yield reply
        reply = f"Message reçu : {message}"


def ready(addresses):
    print(f"Serveur prêt sur le port {addresses[0].port}", flush=True)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
model = sys.argv[2] if len(sys.argv) > 2 else "select"
prise.serve(converse, f":{port}", model=model, ready=ready)
