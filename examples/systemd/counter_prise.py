"""Compte les lignes de chacun, et continue de compter quand systemd le redémarre : aucune connexion n'est coupée.

Quand il doit finir, il confie ses connexions à systemd, chacune avec son compte ; le programme suivant les reprend.

Lancer :   python counter_prise.py     (par systemd : prise-counter.socket et prise-counter.service)
"""

from __future__ import annotations

import selectors
import signal
import socket

import prise
from prise.handover import adopt
from prise.handover.activation import listen_fds
from prise.handover.fdstore import store, stored
from prise.handover.notify import barrier, notify

MOST = 256


def main() -> None:
    counts: dict[prise.Connection, int] = {}
    for received in stored():
        assert received.state is not None
        counts[received.connection("lines")] = received.state["count"]
    (_, listener), *_ = listen_fds()
    ending, wake = socket.socketpair()  # un signal rend l'une des deux lisible
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGTERM, lambda *_: None)
    ready = selectors.DefaultSelector()
    ready.register(listener, selectors.EVENT_READ)
    ready.register(ending, selectors.EVENT_READ)
    for connection in counts:
        ready.register(connection, selectors.EVENT_READ)
    notify(ready=True, status=f"{len(counts)} connections were kept")

    def converse(connection: prise.Connection) -> None:
        """Répond à tout ce qui est là."""
        try:
            while (line := connection.receive(timeout=0)) is not None:
                counts[connection] += 1
                connection.send(f"{counts[connection]} {line}")
        except prise.TooSlow:
            return  # rien d'autre pour l'instant
        except prise.PeerError:
            pass
        ready.unregister(connection)
        del counts[connection]
        connection.close()

    for connection in list(counts):
        converse(connection)  # ce qui a été dit entre-temps
    while True:
        for key, _ in ready.select():
            if key.fileobj is ending:
                for connection, count in counts.items():
                    store(connection, {"count": count})
                barrier()
                return
            if key.fileobj is listener:
                accepted, _ = listener.accept()
                with accepted:
                    if len(counts) < MOST:
                        connection = adopt(accepted)
                        counts[connection] = 0
                        ready.register(connection, selectors.EVENT_READ)
            elif isinstance(key.fileobj, prise.Connection):
                converse(key.fileobj)


if __name__ == "__main__":
    main()
