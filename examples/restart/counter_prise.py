"""Compte ce qu'on lui envoie, et continue son compte dans la version suivante : `nc` ne remarque rien.

Lancer :   python counter_prise.py [PORT [CHEMIN]]     (port 50000 et run/counter par défaut, Ctrl-C l'arrête)

Puis, pendant qu'un `nc localhost 50000` compte, dans un autre terminal :   prise restart run/counter
"""

import sys

import prise


async def count(connection: prise.AsyncConnection) -> None:
    total = connection.state or 0  # ce que la version précédente a laissé, s'il y en a eu une
    connection.state = total  # à partir d'ici, la connexion peut changer de mains
    async for line in connection:
        total += int(line)
        connection.state = total
        await connection.send(str(total))


if __name__ == "__main__":
    port = sys.argv[1] if len(sys.argv) > 1 else "50000"
    path = sys.argv[2] if len(sys.argv) > 2 else "run/counter"
    prise.serve(count, f":{port}", handover=path, ready=lambda addresses: print(*addresses, flush=True))
