"""Deux compteurs comparés : deux threads ajoutent 1 chacun 200 fois, d'abord sans verrou, puis avec.

« Ajouter 1 », c'est lire, calculer, écrire. Si l'autre thread passe entre la lecture et l'écriture, il lit la même
valeur, et l'un des deux ajouts est perdu : c'est une course. Avec le verrou, chacun finit avant que l'autre commence.

Lancer :   python counters_bare.py
"""

import threading
import time
from contextlib import nullcontext

ROUNDS = 200


class Counter:
    def __init__(self):
        self.value = 0

    def add_one(self):
        value = self.value
        time.sleep(0.0001)  # le moment dangereux, étiré pour qu'on le voie
        self.value = value + 1


def compare(name, lock):
    counter = Counter()
    start = threading.Barrier(2)  # les deux threads partent ensemble

    def count():
        start.wait()
        for _ in range(ROUNDS):
            with lock:
                counter.add_one()

    threads = [threading.Thread(target=count) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{name} : {counter.value} sur {2 * ROUNDS}")


compare("sans verrou", nullcontext())
compare("avec verrou", threading.Lock())
