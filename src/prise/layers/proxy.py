r"""The PROXY protocol: what a load balancer says first, to tell for whom it connects.

    v1  PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n                  one line of at most 107 bytes
    v2  12 bytes of signature, version and command, family, length; then addresses and TLVs (type, length, value)

Incoming, `proxy_from(networks)`: a peer that is trusted must begin with such a header, and is from then on the client that
the header names. A peer that is not trusted is served as it is, but may not begin with a header: that would be a forged one.
Its first bytes are passed on while they are watched, never held back: an empty line is how v2 begins as well, and whoever
sends one may wait for the answer. Only a header that is complete enough to be known as one ends the connection, and what it
says is never delivered.

Outgoing, `send_proxy(version)`: the header goes first. Everything after a header passes untouched, in both directions.

Source: haproxy's doc/proxy-protocol.txt, sections 2.1 and 2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, TypeAlias

from prise.address import Address
from prise.errors import HandshakeError, UsageError
from prise.layers.base import Ends, Layer, LayerFactory
from prise.layers.proxyheader import SIGNATURE_1, SIGNATURE_2, Header, could_begin, read, size, write

__all__ = ["Header", "ProxyHeader", "SendProxyHeader", "Trusted", "proxy_from", "send_proxy"]

_Network: TypeAlias = "IPv4Network | IPv6Network"


# -- Whom to trust -----------------------------------------------------------------------------------------------------


class Trusted:
    """The peers whose PROXY header counts; `address in trusted`."""

    def __init__(self, networks: str) -> None:
        """networks: IP addresses and networks, joined by "+": "10.0.0.0/8+127.0.0.1+::1"; IPv6 may stand in brackets.
        "localhost" is the loopback of both families, "unix" every peer on a Unix socket, "*" everyone. Raises UsageError.
        """
        self._text = networks
        names = networks.split("+")
        self._everyone = "*" in names
        self._unix = "unix" in names
        self._networks = [each for name in names if name not in ("*", "unix") for each in _networks(name)]

    def __contains__(self, address: Address) -> bool:
        if self._everyone:
            return True
        if address.scheme == "unix":
            return self._unix
        try:
            ip = _as_ipv4(ip_address((address.host or "").partition("%")[0]))
        except ValueError:
            return False
        return any(ip in network for network in self._networks)

    def __repr__(self) -> str:
        return f"Trusted({self._text!r})"


_BRACKETED = re.compile(r"\[([^][/]+(?:/[0-9]+)?)\](/[0-9]+)?")


def _networks(name: str) -> list[_Network]:
    if name == "localhost":
        return [ip_network("127.0.0.0/8"), ip_network("::1")]
    bracketed = _BRACKETED.fullmatch(name)
    bare = bracketed[1] + (bracketed[2] or "") if bracketed else name
    try:
        return [ip_network(bare)]
    except ValueError:
        try:
            example = str(ip_network(bare, strict=False))  # 10.0.0.1/8: bits of a host are set
        except ValueError:
            example = "10.0.0.0/8+127.0.0.1+unix"
        raise UsageError(
            "{name} is not a network to take PROXY headers from; write for example {example}",
            name=repr(name),
            example=example,
        ) from None


def _as_ipv4(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 peer on a socket of both families is ::ffff:192.0.2.1; it is the same peer."""
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


# -- Incoming ----------------------------------------------------------------------------------------------------------


def proxy_from(networks: str) -> LayerFactory:
    """Makes layers that take PROXY headers of these peers and of nobody else; see `Trusted`. Raises UsageError."""
    return partial(ProxyHeader, Trusted(networks))


class ProxyHeader(Layer):
    """Reads one header of a trusted peer; `peer`, `local` and `info` (a `Header`) come from it. None trusts everyone.

    Raises HandshakeError for anything else than a header, and for one from a peer that is not trusted.
    """

    name = "proxy"
    transparent = True

    def __init__(self, trusted: Trusted | None = None) -> None:
        self._trusted = trusted
        self._source: Address | None = None
        self._head = bytearray()  # bound: a header and one read
        self._watching = False  # the peer is not trusted, and its first bytes could still be a header
        self.ready = False
        self.tlvs: Mapping[int, bytes] = {}

    def begin(self, ends: Ends) -> None:
        self._source = ends.peer
        if self._trusted is not None and ends.peer not in self._trusted:
            self.ready = self._watching = True

    def receive(self, data: bytes) -> bytes:
        if self._watching:
            self._watch(data)
            return data
        if self.ready:
            return data
        self._head += data
        if not could_begin(self._head):
            raise HandshakeError(
                "{source} is trusted to send a PROXY header first, but it began with {found}",
                source=self._source,
                found=repr(bytes(self._head[:16])),
            )
        length = size(self._head)
        if length is None or len(self._head) < length:
            return b""
        header = bytes(self._head[:length])
        rest = bytes(self._head[length:])
        self._head.clear()
        self.info = read(header)
        _, self.peer, self.local, self.tlvs = self.info
        self.ready = True
        return rest

    def resume(self, ends: Ends, facts: dict[str, Any]) -> None:
        self._source, self.ready = ends.peer, True
        if facts:
            self.peer, self.local = Address.parse(facts["peer"]), Address.parse(facts["local"])

    def facts(self) -> dict[str, Any]:
        return {"peer": str(self.peer), "local": str(self.local)} if self.peer and self.local else {}

    def receive_end(self) -> None:
        if not self.ready:
            raise HandshakeError(
                "{source} is trusted to send a PROXY header first, but the connection ended before it was complete",
                source=self._source,
            )

    def send(self, data: bytes) -> bytes:
        return data

    def _watch(self, data: bytes) -> None:
        head = self._head
        head += data[: len(SIGNATURE_2) - len(head)]
        if head.startswith((SIGNATURE_1, SIGNATURE_2)):
            host = self._source.host if self._source else None
            raise HandshakeError(
                "{source} sends a PROXY header but is not trusted; allow it with proxy-from={host}, if it is yours",
                source=self._source,
                host="unix" if host is None else f"[{host}]" if ":" in host else host,
            )
        self._watching = could_begin(head)


# -- Outgoing ----------------------------------------------------------------------------------------------------------


def send_proxy(version: int = 2, source: Address | None = None, destination: Address | None = None) -> LayerFactory:
    """Makes layers that send a PROXY header first.

    version: 1 or 2. source, destination: of the connection that is told about, as a relay knows them: its client's address
    and its own that the client reached; None: our own end and the peer's. Raises UsageError for another version.
    """
    if version not in (1, 2):
        raise UsageError("the PROXY protocol has the versions 1 and 2, not {version}", version=version)
    return partial(SendProxyHeader, version, source, destination)


class SendProxyHeader(Layer):
    """Sends one header before everything else; see `send_proxy`.

    Where the addresses are not IP addresses with port numbers, nor (in v2) those of Unix sockets, the header says that the
    origin is not known: UNKNOWN in v1, LOCAL in v2.
    """

    transparent = True

    def __init__(self, version: int = 2, source: Address | None = None, destination: Address | None = None) -> None:
        self._version = version
        self._source = source
        self._destination = destination
        self._header = b""

    def begin(self, ends: Ends) -> None:
        self._header = write(self._version, self._source or ends.local, self._destination or ends.peer)

    def resume(self, ends: Ends, facts: dict[str, Any]) -> None:
        """The header was sent."""

    def receive(self, data: bytes) -> bytes:
        return data

    def send(self, data: bytes) -> bytes:
        return self.output() + data

    def output(self) -> bytes:
        header, self._header = self._header, b""
        return header
