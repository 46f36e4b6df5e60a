"""Transports: what can be done with an address. One table leads from its scheme to the module that does it.

    resolve   the endpoints behind a name           bind      listen: one `Listening` per socket
    dial      connect, blocking; `dial_async`       describe  the Address of a sockaddr that the system gave

A new transport (UDP, TLS, vsock) is a module with the functions of `Transport`, a line in the table here, and an
entry in `prise.address.SCHEMES`.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from importlib import import_module
from typing import Any, cast

from prise.address import Address, AddressLike
from prise.errors import TooSlow, Unsupported
from prise.layers.base import LayerFactory
from prise.transports.base import Deadline, Endpoint, Listening, Transport, family
from prise.transports.dial import drive, drive_async

__all__ = [
    "Endpoint",
    "Listening",
    "Transport",
    "bind",
    "describe",
    "dial",
    "dial_async",
    "family",
    "keeps_messages",
    "layers",
    "resolve",
]

TRANSPORTS = {
    "tcp": "prise.transports.tcp",
    "tls": "prise.transports.tls",
    "ws": "prise.transports.websocket",
    "wss": "prise.transports.websocket",
    "udp": "prise.transports.udp",
    "unix": "prise.transports.unix",
    "mem": "prise.transports.mem",
    "exec": "prise.transports.exec",
    "sh": "prise.transports.exec",
    "stdio": "prise.transports.fd",
    "fd": "prise.transports.fd",
    "systemd": "prise.transports.fd",
    "pipe": "prise.transports.pipe",
    "file": "prise.transports.file",
    "vsock": "prise.transports.vsock",
    "serial": "prise.transports.serial",
}
"""Scheme -> module; imported when first used."""

FAMILIES = {"AF_INET": "tcp", "AF_INET6": "tcp", "AF_UNIX": "unix", "AF_VSOCK": "vsock"}
"""Family -> scheme of the addresses that it has; families that Python does not have here are left out."""

_schemes = {getattr(socket, name): scheme for name, scheme in FAMILIES.items() if hasattr(socket, name)}


def transport(address: Address) -> Transport:
    """The module behind an address. Raises Unsupported."""
    module = TRANSPORTS.get(address.scheme)
    if module is None:
        raise Unsupported("there is no transport for {scheme}", local=address, scheme=address.scheme)
    return cast(Transport, import_module(module))


def resolve(address: AddressLike, *, passive: bool = False) -> list[Endpoint]:
    """The endpoints behind an address, best first; passive: those to listen on. `mem:` has none.

    Blocks while the network is asked (getaddrinfo(3)). Raises ResolveError when no such host, service or interface
    exists; AddressError, Unsupported.
    """
    where = Address.parse(address)
    return transport(where).resolve(where, passive)


def layers(address: AddressLike, *, server: bool, tls: Any = None) -> tuple[LayerFactory, ...]:
    """What the bytes of a connection go through, by its address: outermost first.

    server: which side we are. tls: a `TLS` for what the address leaves open. Raises UsageError for files that cannot be
    read and options that exclude each other, MissingExtra.
    """
    where = Address.parse(address)
    make = getattr(transport(where), "layers", None)
    found: tuple[LayerFactory, ...] = make(where, server, tls) if make is not None else ()
    trusted = where.option("proxy-from")
    if server and trusted is not None:
        from prise.layers.proxy import proxy_from

        return (proxy_from(trusted), *found)
    return found


def keeps_messages(sock: socket.socket) -> bool:
    """True for sockets that keep the boundaries of messages: datagrams, SOCK_SEQPACKET."""
    return sock.type != socket.SOCK_STREAM


def bind(address: AddressLike, *, backlog: int = 1024, tls: Any = None) -> list[Listening]:
    """Listens on an address, on all its endpoints or none, all on one port; a name may have several of them.

    backlog: connections that the kernel keeps waiting (listen(2)); the option `backlog` of the address goes before.
    tls: see `layers`. Raises BindError when it is taken, not allowed, or not of this machine; ResolveError, AddressError,
    Unsupported, and what `layers` raises.
    """
    where = Address.parse(address)
    wrapped = layers(where, server=True, tls=tls)
    listeners = transport(where).bind(where, backlog)
    for listening in listeners:
        listening.layers = wrapped
        call(listening, where)
    return listeners


def call(listening: Listening, asked: Address) -> None:
    """Says in its address what a socket knows nothing of, and no client gets through without: TLS, WebSocket and its path."""
    if asked.scheme in ("tls", "ws", "wss"):
        listening.address = replace(listening.address, scheme=asked.scheme, path=asked.path)


def dial(address: AddressLike, *, timeout: float | None = 10.0) -> socket.socket:
    """Connects and returns the socket, blocking, Nagle's algorithm off.

    timeout: seconds for all endpoints together, None for no bound of ours. The system's name look-up cannot be
    interrupted, but its time counts. Raises ConnectError, TooSlow, ResolveError; UsageError when nobody listens on a
    `mem:` address.
    """
    deadline = Deadline.after(timeout)
    where = Address.parse(address)
    how = transport(where)
    sock = drive(how.connect(where, how.resolve(where, False), deadline))
    sock.setblocking(True)
    return sock


async def dial_async(address: AddressLike, *, timeout: float | None = 10.0) -> socket.socket:
    """`dial` for a running event loop (asyncio, uvloop): the socket is non-blocking. Cancelled, it leaves none open."""
    deadline = Deadline.after(timeout)
    where = Address.parse(address)
    how = transport(where)
    if how.looks_up(where):
        import asyncio

        look_up = asyncio.get_running_loop().run_in_executor(None, how.resolve, where, False)
        try:
            endpoints = await asyncio.wait_for(look_up, timeout)
        except TimeoutError:
            raise TooSlow(
                "the name was not found within {seconds:g} s",
                operation="resolve",
                transport=where.scheme,
                peer=where.without_options(),
                seconds=timeout,
            ) from None
    else:
        endpoints = how.resolve(where, False)
    return await drive_async(how.connect(where, endpoints, deadline))


def describe(family: int, sockaddr: Any, kind: int = socket.SOCK_STREAM) -> Address:
    """The Address of a sockaddr, as `getpeername`, `getsockname` and `accept` give it. kind: the socket's type.

    An unnamed Unix socket is `unix:`; an IPv6 zone is shown by its name. For a family that prise does not know, the
    scheme is the family's name and the path its sockaddr, to be read by people only.
    """
    scheme = _schemes.get(family)
    if scheme == "tcp" and kind == socket.SOCK_DGRAM:
        from prise.transports.udp import describe as describe_udp

        return describe_udp(family, sockaddr)
    if scheme == "tcp":
        from prise.transports.tcp import describe as describe_tcp

        return describe_tcp(family, sockaddr)
    if scheme == "unix":
        from prise.transports.unix import describe as describe_unix

        return describe_unix(family, sockaddr)
    if scheme == "vsock":
        from prise.transports.vsock import describe as describe_vsock

        return describe_vsock(family, sockaddr)
    try:
        name = socket.AddressFamily(family).name.lower().removeprefix("af_")
    except ValueError:
        name = str(family)
    return Address(name, path=str(sockaddr))
