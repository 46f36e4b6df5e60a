"""How others get in: the commands to type on this machine, and on the other machines of its network."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator

from prise import Address
from prise.locale import translate as _

_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_LOOPBACK = {"127.0.0.1", "::1"}

# Documentation addresses and one in each private network (RFC 5737, 1918, 3849, 4193): nobody is asked, nothing is sent.
_ELSEWHERE = (
    (socket.AF_INET, ("192.0.2.1", 9)),
    (socket.AF_INET, ("10.254.254.254", 9)),
    (socket.AF_INET, ("172.30.254.254", 9)),
    (socket.AF_INET, ("192.168.254.254", 9)),
    (socket.AF_INET6, ("2001:db8::1", 9)),
    (socket.AF_INET6, ("fd00::1", 9)),
)


def instructions(addresses: Iterable[Address]) -> Iterator[str]:
    """Lines that say how to join a room which listens at these addresses."""
    addresses = list(addresses)
    yield _("the room is open; join it from another terminal:")
    for line in _commands(addresses):
        yield f"    {line}"
    if every := {address.port for address in addresses if address.host in _HERE}:
        hosts = machine_addresses()
        if hosts:
            yield _("and from another machine of the network:")
        for port in sorted(every, key=str):
            for host in hosts:
                yield f"    nc {host} {port}"
        yield _("anybody who reaches this machine can join, read and write; nothing is encrypted")


def _commands(addresses: Iterable[Address]) -> Iterator[str]:
    """On this machine."""
    ports: dict[object, set[str]] = {}
    for address in addresses:
        if address.scheme == "unix":
            yield f"nc -U {address.path}"
            yield f"prise connect {address}"
        else:
            host = str(address.host)
            ports.setdefault(address.port, set()).add(_HERE.get(host, host))
    for port, hosts in ports.items():
        if hosts >= _LOOPBACK:  # then it does not matter which of the two the name means here
            hosts = hosts - _LOOPBACK | {"localhost"}
        for host in sorted(hosts):
            yield f"nc {host} {port}"
            yield f"prise connect {f'[{host}]' if ':' in host else host}:{port}"


def machine_addresses() -> list[str]:
    """This machine's own addresses in the networks that it is in.

    Connecting a UDP socket sends nothing (udp(7)); it only makes the system choose the address that it would use.
    """
    found: dict[str, None] = {}
    for family, elsewhere in _ELSEWHERE:
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as sock:
                sock.connect(elsewhere)
                host = sock.getsockname()[0]
        except OSError:
            continue  # no such family here, or no way to that network
        if not host.startswith(("127.", "0.")) and host not in ("::", "::1"):
            found[host] = None
    return list(found)
