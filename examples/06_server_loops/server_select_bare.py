"""La boucle à select, avec `socket` seul : un seul thread, qui demande au noyau lesquels des clients sont prêts.

Rien ne doit y attendre. Ce que les autres boucles laissent dormir dans un thread est donc à retenir ici pour chaque
client : la ligne incomplète, et les réponses qui ne sont pas encore parties.

Lancer :   python server_select_bare.py [PORT]          (port 50000 par défaut, Ctrl-C arrête le serveur)
"""

import selectors
import socket
import sys
from contextlib import suppress
from selectors import EVENT_READ, EVENT_WRITE


class Client:
    def __init__(self, connection):
        self.connection = connection
        self.incoming = b""  # le début d'une ligne
        self.outgoing = b""  # des réponses à envoyer
        self.ended = False  # le client a fini de parler

    def read(self):
        data = self.connection.recv(65536)
        self.ended = not data
        *lines, self.incoming = (self.incoming + data).split(b"\n")
        if self.incoming and (self.ended or len(self.incoming) > 65536):  # la fin, ou une ligne sans fin
            lines.append(self.incoming)
            self.incoming = b""
        for line in lines:  # on ne décode que des lignes entières : un « é » coupé en deux n'est pas du texte
            message = line.decode("utf-8", "replace").rstrip("\r")
            self.outgoing += f"Message reçu : {message}\n".encode()

    def write(self):
        sent = self.connection.send(self.outgoing)
        self.outgoing = self.outgoing[sent:]


def turn(selector, client):
    """Un tour pour un client qui est prêt. Tant qu'il lui reste des réponses à prendre, on ne lui lit plus rien."""
    try:
        if client.outgoing:
            client.write()
        else:
            client.read()
    except BlockingIOError:  # finalement non : au prochain tour
        return
    except OSError:  # parti sans prévenir
        client.ended, client.outgoing = True, b""
    if client.ended and not client.outgoing:
        selector.unregister(client.connection)
        client.connection.close()
    else:
        selector.modify(client.connection, EVENT_WRITE if client.outgoing else EVENT_READ, client)


port = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
selector = selectors.DefaultSelector()  # epoll, kqueue ou select : ce que le système a de mieux
with socket.create_server(("localhost", port)) as server, suppress(KeyboardInterrupt):
    server.setblocking(False)
    selector.register(server, EVENT_READ)
    print(f"Serveur prêt sur le port {server.getsockname()[1]}", flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not server:
                turn(selector, key.data)
                continue
            with suppress(BlockingIOError, ConnectionAbortedError):  # celui qui appelait a déjà renoncé
                connection, _ = server.accept()
                connection.setblocking(False)
                selector.register(connection, EVENT_READ, Client(connection))
for key in selector.get_map().values():  # ceux qui parlaient encore
    key.fileobj.close()
selector.close()
