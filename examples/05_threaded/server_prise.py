"""Un serveur à threads, avec prise : un thread par client, à chaque ligne il répond « Message reçu : … ».

Lancer :   python server_prise.py [PORT]       (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import sys

import prise


def converse(connection):
    for message in connection:
        print(f"{connection.peer} : {message}")
        connection.send(f"Message reçu : {message}")


def ready(addresses):
    print(f"Serveur prêt sur le port {addresses[0].port}", flush=True)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
prise.serve(converse, f":{port}", model="threads", ready=ready)
