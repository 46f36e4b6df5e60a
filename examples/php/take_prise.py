"""Python reçoit une connexion que PHP a commencée (give.php), et la continue.

Lancer :   python take_prise.py CHEMIN       (d'abord ; la socket Unix CHEMIN est créée, pour nous seuls)

Ce que PHP avait déjà lu dans son tampon arrive avec elle, et vient en premier.
"""

import sys

import prise.handover

with prise.handover.Listener(sys.argv[1]) as listener:
    print("prêt", flush=True)
    with listener.accept() as channel:
        received = channel.receive()
        assert received is not None
        print("Python reçoit :", received.state, flush=True)
        with received.connection("lines") as connection:
            connection.send("et de Python")
            for line in connection:
                print("Python :", line, flush=True)
