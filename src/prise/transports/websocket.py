"""`ws:` is TCP with WebSocket, `wss:` with TLS below it. The sockets are those of `prise.transports.tcp`.

    ws://localhost:8088/chat        wss://example.org/chat        ws,origin=[https://example.org]:*:8088

The path is what a client asks for; a server with a path serves no other, one without serves them all. Without a port it is
80, for `wss` 443. Options: those of tcp, for wss those of tls, and

    origin     server: web pages that may connect besides our own, several joined by +, or *; client: the page to name
    protocol   subprotocols (RFC 6455 §1.9), best first, joined by +
    compress   RFC 7692 (permessage-deflate), where both sides want it; by default nobody does
"""

from __future__ import annotations

import socket

from prise.address import Address
from prise.errors import ResolveError
from prise.layers.base import LayerFactory
from prise.tls import TLS
from prise.transports import tls as over_tls

__all__ = ["bind", "connect", "layers", "looks_up", "resolve"]

looks_up, resolve, bind, connect = over_tls.looks_up, over_tls.resolve, over_tls.bind, over_tls.connect


def layers(address: Address, server: bool, tls: TLS | None = None) -> tuple[LayerFactory, ...]:
    """The factories of the layers, outermost first. Raises UsageError, MissingExtra."""
    outside = over_tls.layers(address, server, tls) if address.scheme == "wss" else ()
    return (*outside, _websocket(address, server))


def _websocket(address: Address, server: bool) -> LayerFactory:
    from prise.layers.websocketclient import client_factory
    from prise.layers.websocketserver import server_factory

    origins: tuple[str, ...] = address.setting("origin", ())
    protocols: tuple[str, ...] = address.setting("protocol", ())
    compress = bool(address.setting("compress"))
    if server:
        path = (address.path or "").partition("?")[0] or None
        return server_factory(path=path, origins=origins, protocols=protocols, compress=compress)
    return client_factory(
        address.host or "localhost",
        _number(address),
        address.path or "/",
        secure=address.scheme == "wss",
        origin=origins[0] if origins else None,
        protocols=protocols,
        compress=compress,
    )


def _number(address: Address) -> int:
    """The port, as the Host header has it."""
    if isinstance(address.port, int):
        return address.port
    try:
        return socket.getservbyname(address.port or "", "tcp")
    except OSError as error:
        raise ResolveError(
            "no service is called {port}", operation="resolve", peer=address, port=repr(address.port)
        ) from error
