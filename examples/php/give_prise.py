"""Python se connecte, lit une ligne, et donne la connexion à un programme PHP (take.php) qui tourne déjà.

Lancer :   python give_prise.py HÔTE:PORT CHEMIN
"""

import sys

import prise
import prise.handover

address, path = sys.argv[1:]
connection = prise.connect(address).open()
connection.send("bonjour de Python")
print("Python :", connection.receive(), flush=True)

with prise.handover.Channel.connect(path) as channel:
    channel.send(connection, state={"langue": "français", "lignes": 1})  # notre copie est fermée : elle est à PHP
