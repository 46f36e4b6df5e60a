"""Une conversation à deux, avec prise : ce côté attend l'appel. FIN termine, l'autre répond « Au revoir ».

Lancer :   python server_prise.py [PORT]       (port 50000 par défaut), puis un des clients dans un autre terminal
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
        print(f"Client : {message}")
        if message == "Au revoir":
            return
        if message.upper() == "FIN":
            connection.send("Au revoir")
            return
        speak(connection)


port = sys.argv[1] if len(sys.argv) > 1 else 50000
with prise.Listener(f":{port}") as listener:
    print(f"Serveur prêt sur le port {listener.addresses[0].port}", flush=True)
    connection = listener.accept()  # le premier qui appelle
with suppress(ConnectionError), connection:  # ConnectionError : l'autre est parti sans prévenir
    converse(connection)
print("Fin de la conversation")
