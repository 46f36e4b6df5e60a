"""`tls:` is TCP with TLS. Its sockets are those of `prise.transports.tcp`; its bytes go through the layer of a `TLS`.

    tls,cert=cert.pem,key=key.pem:*:4433        tls,self-signed:localhost:4433        tls,ca=ca.pem:example.org:443

Options: those of tcp, and `cert`, `key`, `ca`, `client-ca`, `name`, `alpn` (several joined by +), `min` (1.2 or 1.3), `pin`,
`verify`, `self-signed`: what they mean is said by `prise.TLS`. A `TLS` that the caller gives says what they leave open.
"""

from __future__ import annotations

from typing import Any

from prise.address import Address
from prise.layers.base import LayerFactory
from prise.tls import TLS
from prise.transports import tcp

_ARGUMENTS = {
    "alpn": "alpn",
    "ca": "ca",
    "cert": "cert",
    "client-ca": "client_ca",
    "key": "key",
    "min": "minimum",
    "name": "name",
    "pin": "pin",
    "self-signed": "self_signed",
    "verify": "verify",
}
"""Option of an address -> argument of TLS."""

_plain_client: TLS | None = None


looks_up, resolve, bind, connect = tcp.looks_up, tcp.resolve, tcp.bind, tcp.connect


def layers(address: Address, server: bool, tls: TLS | None = None) -> tuple[LayerFactory, ...]:
    """The factory of the TLS layer; its `reload()` reads the files again. Raises UsageError, MissingExtra."""
    described = described_by(address, tls)
    return (described.server() if server else described.client(address.host or "localhost"),)


def described_by(address: Address, tls: TLS | None) -> TLS:
    """The TLS of an address: its options first, and what they leave open as in `tls`."""
    global _plain_client
    given: dict[str, Any] = {
        argument: address.setting(option)
        for option, argument in _ARGUMENTS.items()
        if address.option(option) is not None
    }
    if tls is not None:
        return tls.with_(**given) if given else tls
    if given:
        return TLS(**given)
    if _plain_client is None:
        _plain_client = TLS()  # to read what the system trusts takes much longer than a connection
    return _plain_client
