"""Envoie chaque ligne tapée et affiche la réponse, avec prise. FIN ou Ctrl-D termine.

Lancer :   python client_prise.py [PORT]       (port 50000 par défaut ; le serveur d'abord)
"""

import sys

import prise

port = sys.argv[1] if len(sys.argv) > 1 else 50000
with prise.connect(f"localhost:{port}") as connection:
    print("Tapez vos messages, FIN pour finir :")
    for line in sys.stdin:
        message = line.rstrip("\n")
        if message.upper() == "FIN":
            break
        try:
            print(connection.ask(message))
        except prise.ConnectionLost:
            sys.exit("Le serveur a raccroché")
