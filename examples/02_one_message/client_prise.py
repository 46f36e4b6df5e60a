"""Envoie un message et affiche la réponse, avec prise.

Lancer :   python client_prise.py [PORT [MESSAGE]]      (port 50000 par défaut ; le serveur d'abord)
"""

import sys

import prise

port = sys.argv[1] if len(sys.argv) > 1 else 50000
message = sys.argv[2] if len(sys.argv) > 2 else "Bonjour, ça va ?"
with prise.connect(f"localhost:{port}") as connection:
    answer = connection.ask(message)
print(f"Serveur : {answer}")
