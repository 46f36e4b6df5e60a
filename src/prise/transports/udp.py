"""UDP over IPv4 and IPv6 (RFC 768, RFC 8200): datagrams, each a message; unicast, broadcast and multicast.

    udp:localhost:9999                        udp:*:9999
    udp:<broadcast>:9999                      to everybody on the local network (RFC 919); a server hears it on every interface
    udp,broadcast:192.168.1.255:9999          to everybody on that network
    udp,interface=eth0:239.1.2.3:9999         multicast: a client sends to the group, a server joins it
    udp,group=239.1.2.3:*:9999                a server that is in a group besides

Options: `broadcast` (no) allows a broadcast address (SO_BROADCAST); `group`, an IPv4 group to join (IPv6: as the host);
`interface`, by its name, for the group (the system's choice); `ttl`, hops (1 for multicast); `loop`, whether programs of this
machine hear what is sent to a group (yes); `reuseport` (no); `family` (AF_INET or AF_INET6; both).

A client's socket is connected, so that the kernel lets in nobody but its server and tells when nothing listens there
(ECONNREFUSED, from ICMP). To a broadcast or multicast address it is open: whoever answers is heard.

Datagrams have no end. On a server a session ends with its conversation, after `Limits.idle_time` of silence, or with the
server; the last two are the end of the conversation's input, which so has a last word. The peer is told nothing, and its next
datagram begins a new session. For a client the input ends where it closes, or the kernel reports that nobody is there.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from typing import Any

from prise.address import Address
from prise.errors import AddressError, ConnectError, Unsupported
from prise.hostport import BROADCAST
from prise.transports import tcp
from prise.transports.base import Deadline, Endpoint, Listening, Steps
from prise.transports.datagrams import DatagramListening
from prise.transports.dial import NobodyAnswered, race
from prise.transports.packetsocket import OpenSocket, PacketSocket

looks_up = tcp.looks_up


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """Of this machine's two loopback addresses a client takes IPv4: nobody answers a connect over UDP, so nothing tells
    which of them is served, and what listens on one alone listens there (netcat, socat)."""
    found = tcp.look_up(address, passive, socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    if passive and address.host == BROADCAST:
        return [each._replace(sockaddr=("0.0.0.0", each.sockaddr[1])) for each in found]
    if not passive and address.host in (None, "localhost"):
        found.sort(key=lambda each: each.family != socket.AF_INET)
    return found


# -- Listening ---------------------------------------------------------------------------------------------------------


def bind(address: Address, backlog: int) -> list[Listening]:
    """One socket for each of the host's addresses here, all on one port. backlog: there is none."""

    def open_one(endpoint: Endpoint, port: int) -> Listening:
        return _bind_one(address, endpoint, port)

    return tcp.bind_all(address, resolve(address, passive=True), open_one)


def _bind_one(address: Address, endpoint: Endpoint, port: int) -> DatagramListening:
    sock = socket.socket(endpoint.family, endpoint.type, endpoint.proto)
    try:
        host, _, *more = endpoint.sockaddr
        if more and is_multicast(endpoint) and not more[1]:
            more[1] = _interface(address)  # a group of one link or one machine cannot be bound without
        group = host if is_multicast(endpoint) else address.option("group") if ":" not in host else None
        if group is not None:
            # Several programs of one machine may be in a group. For other addresses this would let them steal datagrams.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if address.setting("reuseport"):
            if not hasattr(socket, "SO_REUSEPORT"):
                raise Unsupported("this platform has no SO_REUSEPORT", operation="bind", local=address)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        _set_options(sock, address)
        sock.bind((host, port, *more))
        if group is not None:
            _join(sock, address, group)
        several = host in ("0.0.0.0", "::") or group is not None
        return DatagramListening(sock, describe(endpoint.family, sock.getsockname()), several, group is not None)
    except BaseException:
        sock.close()
        raise


# -- Dialling ----------------------------------------------------------------------------------------------------------


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    """Nothing is sent: that somebody is there shows in an answer, that nobody is perhaps in an error."""
    if address.host == BROADCAST or address.setting("broadcast") or is_multicast(endpoints[0]):
        return _open(address, endpoints[0])
    try:
        sock = PacketSocket.of((yield from race(endpoints, deadline.at)))
    except NobodyAnswered as nobody:
        if any(error.errno == errno.EACCES for _, error in nobody.failures):
            raise ConnectError(
                "not allowed: {host} is a broadcast address, or a firewall forbids it; to send to everybody, write {example}",
                operation="connect",
                peer=address.without_options(),
                host=address.host,
                example=f"udp,broadcast:{address.host}:{address.port}",
            ) from nobody.failures[-1][1]
        raise tcp.explain(address, nobody, deadline) from (nobody.failures[-1][1] if nobody.failures else None)
    try:
        _set_options(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


def _open(address: Address, endpoint: Endpoint) -> socket.socket:
    try:
        sock = OpenSocket(endpoint.family, endpoint.type, endpoint.proto)
    except OSError as error:
        raise ConnectError("{error}", operation="connect", peer=address, error=error.strerror) from error
    try:
        sock.setblocking(False)
        _set_options(sock, address)
        sock.target = endpoint.sockaddr
    except BaseException:
        sock.close()
        raise
    return sock


# -- Options -----------------------------------------------------------------------------------------------------------


def is_multicast(endpoint: Endpoint) -> bool:
    """224.0.0.0/4 (RFC 5771) and ff00::/8 (RFC 4291)."""
    host = str(endpoint.sockaddr[0])
    if endpoint.family == socket.AF_INET6:
        return host.lower().startswith("ff")
    return 224 <= int(host.partition(".")[0]) <= 239


def _set_options(sock: socket.socket, address: Address) -> None:
    if address.host == BROADCAST or address.setting("broadcast"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    ttl, loop, index = address.setting("ttl"), address.setting("loop"), _interface(address)
    if sock.family == socket.AF_INET6:
        if ttl is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, max(ttl, 1))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, ttl)
        if loop is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, int(loop))
        if index:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
    else:
        if ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, max(ttl, 1))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        if loop is not None:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, int(loop))
        if index:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _membership("0.0.0.0", index))


def _join(sock: socket.socket, address: Address, group: str) -> None:
    index = _interface(address)
    if sock.family == socket.AF_INET6:
        scope = sock.getsockname()[3]
        packed = socket.inet_pton(socket.AF_INET6, group.partition("%")[0])
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + struct.pack("@I", index or scope))
    else:
        try:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, _membership(group, index))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            raise OSError(errno.ENODEV, "no interface leads to the group; name one: interface=lo") from error


def _membership(group: str, index: int) -> bytes:
    """struct ip_mreqn (ip(7)): the group, no address, the interface."""
    return struct.pack("@4s4si", socket.inet_aton(group), bytes(4), index)


def _interface(address: Address) -> int:
    """The number of the interface that the address names; 0 for none. Raises AddressError."""
    name: Any = address.option("interface")
    if name is None:
        return 0
    try:
        return socket.if_nametoindex(name)
    except OSError:
        known = ", ".join(each for _, each in socket.if_nameindex())
        raise AddressError(
            "this machine has no network interface called {name}; it has: {known}",
            local=address,
            name=name,
            known=known,
        ) from None


def describe(family: int, sockaddr: object) -> Address:
    """The Address of an IPv4 or IPv6 sockaddr."""
    where = tcp.describe(family, sockaddr)
    return Address("udp", where.host, where.port)
