"""Envoie chaque ligne tapée et affiche la réponse, avec `socket` seul. FIN ou Ctrl-D termine.

Lancer :   python client_bare.py [PORT]        (port 50000 par défaut ; le serveur d'abord)
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
connection = socket.create_connection(("localhost", port))
with connection, connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as answers:
    print("Tapez vos messages, FIN pour finir :")
    for line in sys.stdin:
        message = line.rstrip("\n")
        if message.upper() == "FIN":
            break
        connection.sendall(f"{message}\n".encode())
        answer = answers.readline(65536)
        if not answer:
            sys.exit("Le serveur a raccroché")
        print(answer.rstrip("\r\n"))
