"""TCP over IPv4 and IPv6 (RFC 9293): names and services are looked up, every loopback or interface shares one port.

Options: `nodelay` (yes), `keepalive` (no), `reuseport` (no), `backlog` (1024), `family` (AF_INET or AF_INET6; both).
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, PeerError, ResolveError, TooSlow, Unsupported
from prise.hostport import BROADCAST, EVERY_INTERFACE
from prise.transports.base import Deadline, Endpoint, Listening, Steps, family
from prise.transports.dial import NobodyAnswered, race

FREE_PORT_ATTEMPTS = 20
"""How often a free port is looked for that IPv4 and IPv6 both have free. One attempt fails once in thousands."""

NOT_HERE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
"""What bind says of a family that the machine does not have, or of an address that is not its own."""


def looks_up(address: Address) -> bool:
    host = address.host
    return not (host in (None, EVERY_INTERFACE, BROADCAST) or ":" in host or host.replace(".", "").isdigit())


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    return look_up(address, passive, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def _shown(address: Address) -> str | None:
    """The transport, for errors: of TCP addresses alone, since the others print their scheme."""
    return "tcp" if address.scheme == "tcp" else None


def look_up(address: Address, passive: bool, kind: int, protocol: int) -> list[Endpoint]:
    """getaddrinfo(3), without AI_ADDRCONFIG: that would hide ::1 on a machine whose only IPv6 address it is."""
    if address.port is None:
        raise AddressError("the address is not known", operation="resolve", transport=_shown(address))
    if address.host == EVERY_INTERFACE and not passive:
        raise AddressError(
            "* is every interface, to listen on; to connect, name one host, such as {example}",
            operation="connect",
            transport=_shown(address),
            peer=address,
            example=replace(address, host="localhost").without_options(),
        )
    name = address.option("family")
    wanted = family(name) if name else socket.AF_UNSPEC
    if wanted not in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6):
        raise AddressError("TCP and UDP run over AF_INET and AF_INET6, not {family}", local=address, family=name)
    host = "255.255.255.255" if address.host == BROADCAST else address.host
    flags = socket.AI_PASSIVE if host == EVERY_INTERFACE else 0
    try:
        found = socket.getaddrinfo(
            None if host == EVERY_INTERFACE else host,
            address.port,
            wanted,
            kind,
            protocol,
            flags,
        )
    except (socket.gaierror, UnicodeError) as error:
        raise _unresolved(address, error) from error
    # A name may be in the hosts file twice. Without a name, the order is ours: IPv6 first, as RFC 6724 has it.
    endpoints = dict.fromkeys(Endpoint(each[0], each[1], each[2], each[4]) for each in found)
    return list(endpoints) if host not in (None, EVERY_INTERFACE) else sorted(endpoints, key=_ipv6_first)


def _ipv6_first(endpoint: Endpoint) -> bool:
    return endpoint.family != socket.AF_INET6


def _unresolved(address: Address, error: OSError | UnicodeError) -> ResolveError:
    """What getaddrinfo means, with a hint. UnicodeError: the name cannot be written in the DNS."""
    code = error.errno if isinstance(error, OSError) else socket.EAI_NONAME
    peer = address.without_options()
    host, _, zone = (address.host or "").partition("%")
    service = isinstance(address.port, str) and not zone and not looks_up(address)
    if service or code == socket.EAI_SERVICE:
        return ResolveError(
            "no service is called {service}; give the port as a number",
            operation="resolve",
            transport=_shown(address),
            peer=peer,
            service=address.port,
        )
    if code == socket.EAI_AGAIN:
        return ResolveError(
            "the name service did not answer; check the network, then try again",
            operation="resolve",
            transport=_shown(address),
            peer=peer,
        )
    if code in (socket.EAI_FAIL, socket.EAI_MEMORY, getattr(socket, "EAI_SYSTEM", None)):
        return ResolveError(
            "the name could not be looked up: {error}",
            operation="resolve",
            transport=_shown(address),
            peer=peer,
            error=error.args[-1],
        )
    if zone:
        return ResolveError(
            "this machine has no network interface called {zone}",
            operation="resolve",
            transport=_shown(address),
            peer=peer,
            zone=zone,
        )
    if address.option("family"):
        return ResolveError(
            "{host} has no address in the family {family}",
            operation="resolve",
            transport=_shown(address),
            peer=peer,
            host=host,
            family=address.option("family"),
        )
    return ResolveError(
        "no host is called {host}; check the spelling, or give its IP address",
        operation="resolve",
        transport=_shown(address),
        peer=peer,
        host=host,
    )


# -- Listening ---------------------------------------------------------------------------------------------------------


def bind(address: Address, backlog: int) -> list[Listening]:
    """Listens on every address that the host has here, all on one port, also where the port is 0.

    IPv6 sockets are IPv6 only: `*` opens one socket per family, so that each peer has an address of its own family
    and it works alike where IPv6 is switched off. A family or address that is not of this machine is left out if
    another is.
    """

    def open_one(endpoint: Endpoint, port: int) -> Listening:
        sock = _bind_one(address, endpoint, port, backlog)
        return Listening(sock, describe(endpoint.family, sock.getsockname()))

    return bind_all(address, resolve(address, passive=True), open_one)


def bind_all(
    address: Address, endpoints: Sequence[Endpoint], open_one: Callable[[Endpoint, int], Listening]
) -> list[Listening]:
    """Opens each endpoint with `open_one(endpoint, port)`, or none; all on one port. Raises BindError."""
    free_choice = endpoints[0].sockaddr[1] == 0
    for attempt in range(FREE_PORT_ATTEMPTS):
        try:
            return _bind_together(endpoints, open_one)
        except OSError as error:
            # The port that one family was given may be taken in the other: ask for another port.
            if error.errno == errno.EADDRINUSE and free_choice and attempt + 1 < FREE_PORT_ATTEMPTS:
                continue
            raise _cannot_bind(address, endpoints[0].sockaddr[1], error) from error
    raise AssertionError


def _bind_together(endpoints: Sequence[Endpoint], open_one: Callable[[Endpoint, int], Listening]) -> list[Listening]:
    opened: list[Listening] = []
    missing: OSError | None = None
    port: Any = endpoints[0].sockaddr[1]
    try:
        for endpoint in endpoints:
            try:
                opened.append(open_one(endpoint, port))
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
                missing = error
                continue
            port = opened[-1].address.port
        if missing is not None and not opened:
            raise missing
    except BaseException:
        for listening in opened:
            listening.close()
        raise
    return opened


def _bind_one(address: Address, endpoint: Endpoint, port: int, backlog: int) -> socket.socket:
    sock = socket.socket(endpoint.family, endpoint.type, endpoint.proto)
    try:
        # Without it, a restarted server would have to wait out the TIME_WAIT of its old connections (tcp(7), RFC 9293).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if endpoint.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if address.setting("reuseport"):
            if not hasattr(socket, "SO_REUSEPORT"):
                raise Unsupported("this platform has no SO_REUSEPORT", operation="bind", transport="tcp", local=address)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        set_options(sock, address)
        host, _, *more = endpoint.sockaddr
        sock.bind((host, port, *more))
        # Two sockets with SO_REUSEADDR may both bind a port; only the first may listen. So a busy port can show here
        # too.
        sock.listen(address.setting("backlog", backlog))
    except BaseException:
        sock.close()
        raise
    return sock


def set_options(sock: socket.socket, address: Address) -> None:
    """The one place where Nagle's algorithm is switched off.

    Accepted sockets inherit it from the listening one (Linux and the BSDs copy it): no system call per connection.
    """
    if address.setting("nodelay", True):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if address.setting("keepalive"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _cannot_bind(address: Address, port: int, error: OSError) -> BindError:
    local = address.without_options()
    if error.errno == errno.EADDRINUSE:
        # Linux also refuses a port while a connection of a server without SO_REUSEADDR is in TIME_WAIT on it.
        reason = (
            "something already listens on port {port}; stop it, or choose another port (0 takes any free one); "
            "a program that has just ended may keep it for a minute"
        )
    elif error.errno == errno.EACCES and port < 1024:
        reason = "not allowed: ports below 1024 need administrator rights; choose a higher one, such as {example}"
    elif error.errno in NOT_HERE:
        reason = "{host} is not an address of this machine; use one of its own, or * for every interface"
    else:
        reason = "the system refused: {error}"
    return BindError(
        reason,
        operation="bind",
        transport=_shown(address),
        local=local,
        port=port,
        host=address.host or "loopback",
        example=replace(local, port=50000),
        error=error.strerror or error,
    )


# -- Dialling ----------------------------------------------------------------------------------------------------------


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    try:
        sock = yield from race(endpoints, deadline.at)
    except NobodyAnswered as nobody:
        raise explain(address, nobody, deadline) from (nobody.failures[-1][1] if nobody.failures else None)
    try:
        set_options(sock, address)
    except OSError:
        pass  # BSDs refuse once the peer has gone again: the first read will tell
    return sock


# The cause that tells most comes first: a machine that refuses is there, whatever the others said.
_CAUSES = (
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ETIMEDOUT,
    errno.EACCES,
    errno.EPERM,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
)


def explain(address: Address, nobody: NobodyAnswered, deadline: Deadline) -> PeerError:
    codes = [error.errno for _, error in nobody.failures]
    code = next((each for each in _CAUSES if each in codes), codes[-1] if codes else errno.ETIMEDOUT)
    *others, last = [str(endpoint.sockaddr[0]) for endpoint, _ in nobody.failures] or ["-"]
    if nobody.late:
        one = "no answer within {seconds:g} s (tried {last})"
        many = "no answer within {seconds:g} s (tried {others} and {last})"
    elif code == errno.ETIMEDOUT:
        one = "no answer (tried {last})"
        many = "no answer (tried {others} and {last})"
    elif code == errno.ECONNREFUSED:
        one = "connection refused (tried {last}; nothing listens on port {port})"
        many = "connection refused (tried {others} and {last}; nothing listens on port {port})"
    elif code in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL):
        one = "unreachable (tried {last}; no route leads there: check the network)"
        many = "unreachable (tried {others} and {last}; no route leads there: check the network)"
    elif code in (errno.EACCES, errno.EPERM):
        one = "not allowed (tried {last}; a firewall forbids it, or it is a broadcast address)"
        many = "not allowed (tried {others} and {last}; a firewall forbids it, or it is a broadcast address)"
    else:
        one = "{error} (tried {last})"
        many = "{error} (tried {others} and {last})"
    reason = many if others else one
    details: dict[str, Any] = {
        "operation": "connect",
        "transport": _shown(address),
        "peer": address.without_options(),
        "others": ", ".join(others),
        "last": last,
        "port": nobody.failures[-1][0].sockaddr[1] if nobody.failures else address.port,
        "seconds": deadline.seconds,
        "error": next((error.strerror for _, error in nobody.failures if error.errno == code), code),
    }
    if nobody.late or code == errno.ETIMEDOUT:
        return TooSlow(reason, **details)
    return ConnectError(reason, **details)


# -- Describing --------------------------------------------------------------------------------------------------------


def describe(family: int, sockaddr: object) -> Address:
    """The Address of an IPv4 or IPv6 sockaddr; without a port where it is not known (the peer was gone already)."""
    if not isinstance(sockaddr, tuple):
        return Address("tcp")
    host = str(sockaddr[0])
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        try:
            host = f"{host}%{socket.if_indextoname(sockaddr[3])}"
        except OSError:
            host = f"{host}%{sockaddr[3]}"
    return Address("tcp", host, int(sockaddr[1]))
