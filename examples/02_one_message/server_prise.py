"""Un message par client, avec prise : le serveur l'affiche, répond « Bien reçu », et raccroche.

La conversation est ici un générateur : `yield` attend le message suivant, `return` dit le dernier mot.

Lancer :   python server_prise.py [PORT]       (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import sys

import prise


def answer(connection):
    message = yield
    print(f"Client : {message}")
    return "Bien reçu"


def ready(addresses):
    print(f"Serveur prêt sur le port {addresses[0].port}", flush=True)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
prise.serve(answer, f":{port}", ready=ready)
