"""Who may come: networks that are let in and networks that are kept out."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from prise.address import Address
from prise.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """`deny` goes before `allow`. With an `allow`, whoever is in none of its networks stays out, Unix sockets included.

    Both are texts such as 192.168.0.0/16, 10.1.2.3 or fd00::/8. Raises UsageError.
    """

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = [_read(text) for text in allow]
        self._deny = [_read(text) for text in deny]

    def admit(self, peer: Address) -> bool:
        """Whether this peer may come in."""
        try:
            host = ipaddress.ip_address((peer.host or "").partition("%")[0])
        except ValueError:
            return not self._allow
        if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
            host = host.ipv4_mapped
        if any(host in network for network in self._deny):
            return False
        return not self._allow or any(host in network for network in self._allow)


def _read(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            "{text} is not a network; write for example {example}", text=text, example="192.168.0.0/16"
        ) from None
    raise UsageError("{text} has bits behind its prefix; did you mean {network}?", text=text, network=network)
