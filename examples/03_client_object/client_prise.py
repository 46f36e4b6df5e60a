"""Un client en objet, avec prise : connect, send, receive, disconnect.

Lancer :   python client_prise.py [PORT]       (port 50000 par défaut ; d'abord un serveur de 05_threaded)
"""

import sys

import prise


class Client:
    def __init__(self, address):
        self.address = address

    def connect(self):
        self.connection = prise.connect(self.address).open()

    def send(self, message):
        self.connection.send(message)

    def receive(self):
        """Le message suivant, ou None quand le serveur a raccroché."""
        return self.connection.receive(timeout=10)

    def disconnect(self):
        self.connection.close()


port = sys.argv[1] if len(sys.argv) > 1 else 50000
client = Client(f"localhost:{port}")
client.connect()
try:
    client.send("Bonjour")
    print(client.receive())
    client.send("À bientôt")
    print(client.receive())
finally:  # quoi qu'il arrive, on raccroche
    client.disconnect()
