"""Compte ce qu'on lui envoie, et continue son compte dans la version suivante.

    prise serve examples/restart/counter_prise.py:count --handover run/counter      # dans un terminal
    nc localhost 50000                                                              # dans un autre : 1, 2, 3…
    prise restart run/counter                                                       # dans un troisième : nc ne remarque rien
"""

from __future__ import annotations

from prise import AsyncConnection


async def count(connection: AsyncConnection) -> None:
    total = connection.state or 0  # ce que la version précédente a laissé, s'il y en a eu une
    connection.state = total  # à partir d'ici, la connexion peut changer de mains
    async for line in connection:
        total += int(line)
        connection.state = total
        await connection.send(str(total))
