"""Une conversation à deux, avec prise : ce côté appelle et parle en premier.

Lancer :   python client_prise.py [PORT]       (port 50000 par défaut ; le serveur d'abord)
"""

import sys
from contextlib import suppress

import prise


def speak(connection):
    """Envoie ce qu'on tape, une ligne."""
    try:
        message = input("Vous : ")
    except EOFError:  # fin du clavier (Ctrl-D)
        message = "FIN"
    connection.send(message)


def converse(connection):
    """Chacun son tour ; à FIN on répond « Au revoir », et qui dit ou lit « Au revoir » a fini."""
    for message in connection:
        print(f"Serveur : {message}")
        if message == "Au revoir":
            return
        if message.upper() == "FIN":
            connection.send("Au revoir")
            return
        speak(connection)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
connection = prise.connect(f"localhost:{port}").open()
with suppress(ConnectionError), connection:  # ConnectionError : l'autre est parti sans prévenir
    speak(connection)
    converse(connection)
print("Fin de la conversation")
