"""Un client en objet, avec `socket` seul : connect, send, receive, disconnect.

Lancer :   python client_bare.py [PORT]        (port 50000 par défaut ; d'abord un serveur de 05_threaded)
"""

import socket
import sys


class Client:
    def __init__(self, host, port):
        self.host = host
        self.port = port

    def connect(self):
        self.socket = socket.create_connection((self.host, self.port), timeout=10)
        self.lines = self.socket.makefile("r", encoding="utf-8", errors="replace", newline="\n")

    def send(self, message):
        self.socket.sendall(f"{message}\n".encode())

    def receive(self):
        """Le message suivant, ou None quand le serveur a raccroché."""
        line = self.lines.readline(65536)
        return line.rstrip("\r\n") if line else None

    def disconnect(self):
        self.lines.close()
        self.socket.close()


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
client = Client("localhost", port)
client.connect()
try:
    client.send("Bonjour")
    print(client.receive())
    client.send("À bientôt")
    print(client.receive())
finally:  # quoi qu'il arrive, on raccroche
    client.disconnect()
