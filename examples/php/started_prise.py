"""Ce que start_python.php lance : la connexion est un descripteur, et son numéro un argument.

Lancer :   python started_prise.py NUMÉRO

PHP ouvre ses sockets sans « close-on-exec » : ce programme les a donc toutes reçues, et ferme ce qui n'est pas à lui.
"""

import os
import sys

import prise.handover

number = int(sys.argv[1])
with prise.handover.adopt(number) as connection:  # une copie, dans le bon mode
    os.close(number)
    for other in range(3, 256):
        if other != connection.fileno():
            try:
                os.close(other)
            except OSError:
                pass
    connection.send("et de Python")
    for line in connection:
        print("Python :", line, flush=True)
