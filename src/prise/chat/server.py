"""The chat server: listens, opens the store, lets people and the operator in, and ends it all in order."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import prise
from prise.chat import joining
from prise.chat.door import FRAMING, LIMITS, Entrance
from prise.chat.operator import Operator
from prise.chat.room import Room
from prise.chat.store import SqliteStore, store_of
from prise.layers.telnet import Telnet
from prise.locale import translate as _

PORT = 50000
DRAIN_TIME = 3.0
"""Seconds that conversations get to deliver their last words."""


def run(addresses: Sequence[str] = (), store: str | None = None, *, lan: bool = False) -> None:
    """Holds a chat room until the operator, SIGTERM, SIGINT or SIGHUP ends it.

    addresses: where to listen; by default port 50000 of this machine alone. lan: on every interface instead, also for given
    addresses that are a port alone (":6000"). store: "sqlite:PATH"; by default in the user's data directory.

    Raises AddressError, ResolveError, BindError (the port is taken), UsageError (the store cannot be used).
    """
    where = [_where(prise.Address.parse(address), lan) for address in addresses or (f":{PORT}",)]
    kept = store_of(store)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(_serve(where, kept))
        except prise.BindError as error:
            if addresses or getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
                raise
            raise prise.BindError(
                "port {port} is taken, perhaps by another chat room: stop that, or choose another port, for example with "
                "prise chat --tcp :{other}",
                port=PORT,
                other=PORT + 1,
            ) from error


def _where(address: prise.Address, lan: bool) -> prise.Address:
    if address.scheme != "tcp":
        return address
    if address.option("keepalive") is None:  # nobody is cut for being silent, so the kernel finds out who has vanished
        address = replace(address, options=(*address.options, ("keepalive", "yes")))
    return replace(address, host="*") if lan and address.host is None else address


async def _serve(where: Sequence[prise.Address], store: SqliteStore) -> None:
    room = Room(store)
    entrance = Entrance(room)
    server = prise.listen(
        entrance,
        *where,
        framing=FRAMING,
        model="asyncio",
        limits=LIMITS,
        layers=[Telnet],
        drain_time=DRAIN_TIME,
    )
    # The store comes second: a port that is taken is the plainer news, and probably the cause of a store in use. Nobody is
    # let in before the first `await`.
    async with server:
        with store:
            room.open()
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if (
                    number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
                ):  # that is how nohup asks to go on
                    loop.add_signal_handler(number, room.closing.set)
            for line in joining.instructions(server.addresses):
                _say(line)
            _say(_("what is said is kept in {path}; /help lists the commands").format(path=store.path))
            operator = Operator(room)
            operator.start()
            try:
                await room.closing.wait()
            finally:
                await room.close(_("the room is closing. Goodbye"))
                await operator.stop()


def _say(line: str) -> None:
    """To the person who starts the server; stdout is for what is said in the room."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass  # nobody listens


def _loop_factory() -> Callable[[], Any] | None:
    """uvloop where it is installed, as the library's own model asyncio does (PRISE_UVLOOP=0: not)."""
    if os.environ.get("PRISE_UVLOOP") != "0":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            factory: Callable[[], Any] = uvloop.new_event_loop
            return factory
    return None
