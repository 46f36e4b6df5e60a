"""The chat server: listens, opens the store, lets people and the operator in, and ends it all in order.

One port has three doors, told apart by the first bytes (`prise.Multiplex`): lines, HTTP with the page, and WebSocket.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import prise
from prise import lan
from prise.chat import joining, renewal
from prise.chat.admission import Options
from prise.chat.doors.entry import FRAMING, LIMITS
from prise.chat.doors.lines import LineDoor
from prise.chat.doors.objects import ObjectDoor
from prise.chat.doors.painter import Painter
from prise.chat.events import Notice
from prise.chat.explain import Explainer
from prise.chat.files import Files
from prise.chat.house import House
from prise.chat.operator import Operator
from prise.chat.pace import USUAL, Rate
from prise.chat.store import store_of
from prise.chat.store.base import Store
from prise.chat.web import page
from prise.handover.inheritance import Inheritance
from prise.handover.notify import notifying
from prise.handover.succession import Succession
from prise.layers.telnet import Telnet
from prise.locale import translate as _

PORT = 50000
PAGE_PORT = 8088
MOST_PORTS = 20
"""How many ports further on are tried where the usual one is taken."""

DRAIN_TIME = 3.0
"""Seconds that conversations get to deliver their last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a chat house is held.

    addresses: where to listen; by default port 50000, and 8088 as well, of this machine alone, or the next free ones.
    lan: on every interface instead, also for given addresses that are a port alone (":6000"). store: "sqlite:PATH",
    by default in the user's data directory. tls: a `prise.TLS`, so that all doors are inside TLS too.
    operator_password: "" for one made now, and said. keep_time: seconds, keep_messages: of each room; None: for ever,
    all. backplane: "nats://HOST", "" for one node. uploads: who may send files, "operator", "all" or "none";
    upload_*: see `files.Files`. explain: say what happens on the sockets. handover: how a new release takes over
    (docs/handover.md); None: not at all. metrics: where Prometheus reads how it is going (docs/metrics.md).
    """

    addresses: Sequence[str] = ()
    lan: bool = False
    store: str | None = None
    tls: Any = None
    name: str = "prise"
    password: str = ""
    operator_password: str = ""
    rate: Rate | None = USUAL
    keep_time: float | None = None
    keep_messages: int | None = None
    backplane: str = ""
    uploads: str = "all"
    upload_size: int = 20 * 1024**2
    upload_quota: int = 1024**3
    upload_types: str = ""
    explain: bool = False
    handover: Succession | None = None
    metrics: str | None = None


def run(setting: Setting) -> None:
    """Holds a chat house until the operator, SIGTERM, SIGINT or SIGHUP ends it.

    Raises AddressError, ResolveError, BindError (the port is taken), UsageError (the store cannot be used),
    ConnectError (the backplane is not there).
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(setting))


def _places(setting: Setting) -> Iterator[list[prise.Address]]:
    """For each listening wanted, the addresses to try, in turn."""
    if setting.addresses:
        for address in setting.addresses:
            yield [_where(prise.Address.parse(address), setting.lan)]
    else:
        for port in (PORT, PAGE_PORT):
            yield [_where(prise.Address.parse(f":{port + each}"), setting.lan) for each in range(MOST_PORTS)]


def _where(address: prise.Address, everywhere: bool) -> prise.Address:
    if address.scheme != "tcp":
        return address
    if address.option("keepalive") is None:  # nobody is cut for being silent, so the kernel finds out who has vanished
        address = replace(address, options=(*address.options, ("keepalive", "yes")))
    return lan.opened_to(address, everywhere)


def _free(places: Sequence[prise.Address], taken: set[prise.Address]) -> prise.Address:
    """The first of these addresses that can be listened on. Raises the BindError of the first one."""
    place = lan.first_free(places, taken)
    if place is not places[0] and places[0] not in taken:
        say(
            _("port {port} is taken, perhaps by another chat room; using {other}").format(
                port=places[0].port, other=place.port
            )
        )
    return place


async def _serve(setting: Setting) -> None:
    succession = setting.handover
    inheritance = await asyncio.to_thread(succession.inherit) if succession is not None else None
    try:
        await _hold(setting, succession, inheritance)
    finally:
        if succession is not None:
            succession.close()


async def _hold(setting: Setting, succession: Succession | None, inheritance: Inheritance | None) -> None:
    """inheritance: what the process before this one has left."""
    left = inheritance.legacy if inheritance is not None else None
    inherited = set(inheritance.addresses) if inheritance is not None else set()
    taken: set[prise.Address] = set()
    for places in _places(setting):
        mine = next((place for place in places if {str(place), str(_tls(place, setting))} & inherited), None)
        taken.add(mine or _free(places, taken))
    where = sorted(taken, key=str, reverse=not setting.addresses)
    operator_password = setting.operator_password or (left or {}).get("operator_password") or secrets.token_urlsafe(9)
    options = Options(
        name=setting.name,
        password=setting.password,
        operator_password=operator_password,
        rate=setting.rate,
        keep_time=setting.keep_time,
        keep_messages=setting.keep_messages,
    )
    store = store_of(setting.store, setting.backplane, setting.keep_time, setting.keep_messages)
    house = House(store, options)
    files = _files(setting, store)
    if files is not None:
        house.uploads = files.told
    painter = Painter()
    objects = ObjectDoor(house, painter)
    doors = prise.Multiplex(
        lines=(LineDoor(house, painter, objects), FRAMING, [Telnet]),
        websocket=(objects, FRAMING),
        http=page(house, files),
    )
    explainer = Explainer(LIMITS) if setting.explain else None
    layers = [explainer.layer] if explainer is not None else []
    where = [_tls(place, setting) for place in where]
    server = prise.listen(
        doors,
        *where,
        model="asyncio",
        limits=LIMITS,
        layers=layers,
        tls=setting.tls,
        drain_time=DRAIN_TIME,
        handover=succession,
        metrics=setting.metrics,
    )
    # The store comes second: a port that is taken is the plainer news, and probably the cause of a store in use. Nobody is
    # let in before the house is open: until then the loop is ours.
    try:
        await house.open()
        if files is not None:
            files.open()
        if left is not None:
            renewal.take_up(house, left)
        if succession is not None:
            _renew(house, succession, operator_password)
        async with server, notifying():
            house.figures = lambda: _figures(server)
            _end_on_signals(house)
            for line in joining.instructions(
                server.addresses, secure=setting.tls is not None, password=bool(setting.password)
            ):
                say(line)
            say(_("what is said is kept in {path}; /help lists the commands").format(path=store.name))
            say(_("operators elsewhere: /op {password}").format(password=operator_password))
            operator = Operator(house)
            await operator.start()
            watching = asyncio.ensure_future(explainer.watch(house)) if explainer is not None else None
            try:
                await house.closing.wait()
            finally:
                if watching is not None:
                    watching.cancel()
                await house.close(Notice("the room is closing. Goodbye"))
                await operator.stop()
                if explainer is not None:
                    explainer.stop()
    finally:
        if not house.moved:  # else another process has it
            await store.stop()


def _tls(place: prise.Address, setting: Setting) -> prise.Address:
    return replace(place, scheme="tls") if setting.tls is not None and place.scheme == "tcp" else place


def _renew(house: House, succession: Succession, operator_password: str) -> None:
    """What the house does when a new release comes, and on SIGUSR2, which starts one."""

    async def leave() -> Any:
        await house.pause()
        return renewal.legacy(house, operator_password)

    def left() -> None:
        house.moved = True
        house.dismiss_all(
            Notice("a new release of the room has taken over: come back. Goodbye")
        )  # who could not be moved
        house.closing.set()

    succession.leaving = leave
    succession.staying = lambda: house.soon(house.resume())
    succession.left = left
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, succession.renew)


def _files(setting: Setting, store: Store) -> Files | None:
    if setting.uploads == "none":
        return None
    return Files(
        Path(f"{store.name}.files"),
        who=setting.uploads,
        most=setting.upload_size,
        quota=setting.upload_quota,
        types=setting.upload_types,
    )


def _figures(server: Any) -> Iterator[Notice]:
    stats = server.stats()
    yield Notice(
        "{open} connections of {accepted}; {slow} were cut because they did not read, {lost} broke",
        open=stats.open,
        accepted=stats.total,
        slow=stats.errors["too_slow"],
        lost=stats.errors["lost"],
    )


def _end_on_signals(house: House) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # that is how nohup asks to go on
            loop.add_signal_handler(number, house.closing.set)


def say(line: str) -> None:
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
