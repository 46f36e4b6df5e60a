"""The web server: a folder, put on the network, with an access log and everything that starting and ending it needs.

    run(Setting(application=Application(folder)))

`Application` answers; here is where it listens, what is told to whoever starts it, and how it ends: SIGTERM and SIGINT let the
answers that are being sent come to their end, a second signal cuts them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import prise
from prise import lan
from prise.locale import translate as _
from prise.web.access import Permission
from prise.web.accesslog import AccessLog
from prise.web.application import Application
from prise.web.conversation import LIMITS, http_branch

if TYPE_CHECKING:
    from prise.handover.succession import Succession

PORT = 8088
MOST_PORTS = 20
"""How many ports further on are tried where the usual one is taken."""

DRAIN_TIME = 10.0
"""Seconds that answers get to be sent to their end when the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How a folder is served.

    addresses: where to listen; by default port 8088 of this machine alone, or the next free one. lan: on every interface
    instead, also for given addresses that are a port alone (":9000"). tls: a `prise.TLS`, for HTTPS. workers: processes that
    serve side by side. limits: what clients may take. log: closed at the end; None for none. open_browser: shows the first
    page. say: is given the lines for the person who starts the server. metrics: where Prometheus reads how it is going.
    """

    application: Application
    addresses: Sequence[str] = ()
    lan: bool = False
    tls: Any = None
    workers: int = 1
    limits: prise.Limits = LIMITS
    drain_time: float = DRAIN_TIME
    log: AccessLog | None = None
    open_browser: bool = False
    say: Callable[[str], object] = print
    handover: Succession | None = None
    metrics: str | None = None


def run(setting: Setting) -> prise.Stats:
    """Serves until SIGTERM or SIGINT, and returns the final counts. Raises UsageError, AddressError, ResolveError, BindError."""
    application, log = setting.application, setting.log
    conversation, framing = http_branch(
        application, quick=application.quick, log=log.record if log is not None else None
    )
    tls = setting.tls.with_(alpn=("http/1.1",)) if setting.tls is not None else None
    browser: list[subprocess.Popen[bytes]] = []

    def ready(bound: list[prise.Address]) -> None:
        for line in introduction(setting, bound):
            setting.say(line)
        if setting.open_browser and (urls := list(_urls(bound))):
            # A process of its own: some browsers do not return, and threads and forked workers do not go together.
            command = [sys.executable, "-m", "webbrowser", urls[0]]
            browser.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))

    try:
        return prise.serve(
            conversation,
            *_places(setting),
            framing=framing,
            model="asyncio",
            workers=setting.workers,
            limits=setting.limits,
            tls=tls,
            drain_time=setting.drain_time,
            handover=setting.handover,
            metrics=setting.metrics,
            ready=ready,
        )
    finally:
        if log is not None:
            log.close()
        for process in browser:
            process.poll()  # it has ended long ago, or is none of our business any more


def _places(setting: Setting) -> list[prise.Address]:
    """Where to listen. Says so when the usual port is taken."""
    if setting.addresses:
        return [_place(prise.Address.parse(address), setting) for address in setting.addresses]
    usual = [lan.opened_to(prise.Address.parse(f":{PORT + each}"), setting.lan) for each in range(MOST_PORTS)]
    inheritance = setting.handover.inherit() if setting.handover is not None else None
    if inheritance is not None and (mine := [each for each in usual if str(each) in inheritance.addresses]):
        return mine[:1]
    place = lan.first_free(usual)
    if place is not usual[0]:
        setting.say(
            _("port {port} is taken, perhaps by another server; using {other}").format(port=PORT, other=place.port)
        )
    return [_place(place, setting)]


def _place(address: prise.Address, setting: Setting) -> prise.Address:
    if address.scheme not in ("tcp", "tls", "unix"):
        raise prise.UsageError("a folder is served on HOST:PORT, :PORT or unix:PATH, not on {address}", address=address)
    if setting.tls is not None and address.scheme == "tcp":
        address = replace(address, scheme="tls")
    return lan.opened_to(address, setting.lan)


def introduction(setting: Setting, bound: Sequence[prise.Address]) -> Iterator[str]:
    """Lines that say what is served, to whom, and how to get there. bound: with real ports."""
    yield _("serving {folder} at").format(folder=setting.application.site.folder.root)
    for url in _urls(bound):
        yield f"    {url}"
    for address in bound:
        if address.scheme == "unix":
            yield f"    curl --unix-socket {address.path} http://localhost/"
    every = lan.on_every_interface(bound)
    hosts = lan.machine_addresses() if every else []
    if hosts:
        yield _("and for the other machines of the network:")
        secure = any(address.scheme == "tls" and address.port == min(every) for address in bound)
        shown = [lan.url(host, min(every), secure) for host in hosts]
        for url in shown:
            yield f"    {url}"
        for line in lan.qr_code(shown[0]):
            yield f"    {line}"
    exposed = any(address.scheme != "unix" and not _is_loopback(address) for address in bound)
    if exposed:
        yield _permitted(setting.application)
    if exposed and any(address.scheme == "tcp" and not _is_loopback(address) for address in bound):
        if setting.application.access.accounts is not None:
            yield _(
                "nothing is encrypted, the passwords neither: others in the network can read them; --tls prevents it"
            )
        else:
            yield _("nothing is encrypted: others in the network can read along")


def _permitted(application: Application) -> str:
    access = application.access
    if access.accounts is not None and not access.only_writing:
        return _("who has an account can do what --allow says; nobody else gets in")
    if access.accounts is not None and access.allow > Permission.READ:
        return _("anybody who reaches this machine can read what is in the folder; who has an account can change it")
    if access.allow == Permission.UPLOAD:
        return _("anybody who reaches this machine can read what is in the folder, and add files")
    if access.allow == Permission.WRITE:
        return _("anybody who reaches this machine can read, replace and delete what is in the folder")
    return _("anybody who reaches this machine can read what is in the folder")


def _is_loopback(address: prise.Address) -> bool:
    host = str(address.host)
    return host == "::1" or host.startswith("127.")


def _urls(bound: Sequence[prise.Address]) -> Iterator[str]:
    """For this machine."""
    secure = {int(address.port) for address in bound if address.scheme == "tls" and address.port}
    for port, hosts in lan.hosts_by_port(bound).items():
        for host in hosts:
            yield lan.url(host, port, port in secure)
