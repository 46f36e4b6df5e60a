"""How others on the network find a server: this machine's own addresses, URLs, a QR code, the next free port.

For services that print where they can be reached: the chat room and the web server. Nothing here sends anything.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from prise.address import Address
from prise.clients.listener import Listener
from prise.errors import BindError, UsageError

HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Every interface -> its loopback, by which this machine reaches it."""

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


def on_every_interface(addresses: Iterable[Address]) -> set[int]:
    """The ports of these bound addresses that other machines reach at any of our addresses."""
    return {int(address.port) for address in addresses if address.host in HERE and address.port}


def hosts_by_port(addresses: Iterable[Address]) -> dict[int, list[str]]:
    """Port -> the hosts by which this machine reaches these bound addresses; "localhost" where it means all of them."""
    ports: dict[int, set[str]] = {}
    for address in addresses:
        if address.scheme != "unix" and address.port:
            host = str(address.host)
            ports.setdefault(int(address.port), set()).add(HERE.get(host, host))
    for port, hosts in ports.items():
        if hosts >= _LOOPBACK:  # then it does not matter which of the two the name means here
            ports[port] = hosts - _LOOPBACK | {"localhost"}
    return {port: sorted(hosts) for port, hosts in ports.items()}


def url(host: str, port: int, secure: bool = False) -> str:
    """http://HOST:PORT; secure: https."""
    return f"http{'s' if secure else ''}://{bracketed(host)}:{port}"


def bracketed(host: str) -> str:
    """As it stands before a port."""
    return f"[{host}]" if ":" in host else host


def qr_code(text: str) -> Iterator[str]:
    """Lines that show a QR code for telephones, in half blocks; none without the package `segno`, which makes it."""
    try:
        import segno
    except ImportError:
        return
    matrix = [[False, *map(bool, row), False] for row in segno.make(text, error="l", micro=False).matrix]
    width = len(matrix[0])
    matrix = [[False] * width, *matrix, [False] * width]
    if len(matrix) % 2:
        matrix.append([False] * width)
    # Light blocks on the terminal's dark ground; readers take both, but most terminals are dark.
    blocks = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
    for upper, lower in zip(matrix[::2], matrix[1::2], strict=True):
        yield "".join(blocks[pair] for pair in zip(upper, lower, strict=True))


def opened_to(address: Address, lan: bool) -> Address:
    """With `lan`, an address that is a port alone (":8088") means every interface."""
    return replace(address, host="*") if lan and address.host is None and address.scheme in _WITH_PORTS else address


_WITH_PORTS = ("tcp", "tls", "ws", "wss")


def first_free(places: Sequence[Address], taken: Collection[Address] = ()) -> Address:
    """The first of these addresses, not one of `taken`, that can be listened on at this moment.

    Raises the BindError of the first one when all are in use, or when it fails for another reason than that.
    """
    first: BindError | None = None
    for place in places:
        if place in taken:
            continue
        try:
            Listener(place).close()
        except BindError as error:
            if len(places) == 1 or getattr(error.__cause__, "errno", None) != errno.EADDRINUSE:
                raise
            first = first or error
        else:
            return place
    if first is None:
        raise UsageError("there is no address to listen on")
    raise first
