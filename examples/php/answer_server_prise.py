"""Un serveur Python accepte, demande le nom, et laisse PHP répondre (answer.php).

Lancer :   python answer_server_prise.py [PORT] [CHEMIN]       (50000 et ./reponses.sock par défaut ; answer.php ensuite)

La conversation est un générateur : elle rend HandOver, et la connexion est à PHP, avec ce que le client avait déjà écrit.
"""

import sys

import prise
import prise.handover

port = sys.argv[1] if len(sys.argv) > 1 else "50000"
path = sys.argv[2] if len(sys.argv) > 2 else "./reponses.sock"

with prise.handover.Listener(path) as listener:
    print("PHP peut venir", flush=True)
    channel = listener.accept()


def welcome(connection):
    name = yield "Votre nom ?"
    return prise.HandOver(channel, state={"nom": name})


def ready(addresses):
    print(f"Serveur prêt sur le port {addresses[0].port}", flush=True)


with channel:
    prise.serve(welcome, f"localhost:{port}", ready=ready)
