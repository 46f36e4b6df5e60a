"""Envoie un message et affiche la réponse, avec `socket` seul.

Lancer :   python client_bare.py [PORT [MESSAGE]]       (port 50000 par défaut ; le serveur d'abord)
"""

import socket
import sys

port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
message = sys.argv[2] if len(sys.argv) > 2 else "Bonjour, ça va ?"
with socket.create_connection(("localhost", port), timeout=10) as connection:
    connection.sendall(f"{message}\n".encode())  # du texte aux octets (UTF-8) ; le \n dit où finit le message
    with connection.makefile("r", encoding="utf-8", errors="replace", newline="\n") as lines:
        answer = lines.readline(65536).rstrip("\r\n")
print(f"Serveur : {answer}")
