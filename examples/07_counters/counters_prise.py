"""Deux compteurs comparés, avec prise : deux conversations ajoutent 1 chacune 200 fois au même compteur.

Dans le modèle « threads », les conversations avancent en même temps : sans verrou, des ajouts se perdent.
Dans le modèle « select », une seule avance à la fois, de `yield` en `yield` : il n'y a rien à verrouiller.

Lancer :   python counters_prise.py [PORT]     (port 50000 par défaut)
"""

import sys
import threading
import time
from contextlib import nullcontext

import prise

ROUNDS = 200


class Counter:
    def __init__(self):
        self.value = 0

    def add_one(self):
        value = self.value
        time.sleep(0.0001)  # le moment dangereux, étiré pour qu'on le voie
        self.value = value + 1


def compare(name, model, lock, port):
    counter = Counter()
    start = threading.Barrier(2, timeout=10)  # les deux clients partent ensemble

    def conversation(connection):
        reply = None
        while True:
            yield reply
            with lock:
                counter.add_one()
            reply = "compté"

    def client(address):
        with prise.connect(address) as connection:
            start.wait()
            for _ in range(ROUNDS):
                connection.ask("un de plus")

    with prise.listen(conversation, f":{port}", model=model) as server:
        clients = [threading.Thread(target=client, args=(server.addresses[0],)) for _ in range(2)]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
    print(f"{name} : {counter.value} sur {2 * ROUNDS}")


port = sys.argv[1] if len(sys.argv) > 1 else 50000
compare("threads, sans verrou", "threads", nullcontext(), port)
compare("threads, avec verrou", "threads", threading.Lock(), port)
compare("select, sans verrou", "select", nullcontext(), port)
