"""What to look at, read from text: an address as everywhere, http(s) and ws(s) addresses with a path, ranges of ports.

localhost:5432   unix:/run/x.sock   udp:host:53   tls:host:993   wss://host/chat   https://host   host:8000-8010
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from prise import Address, AddressError

_SCHEME = re.compile(r"(tls|wss?|https?|udp)((?:,[^:]*)?):(?://)?(.*)", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"(.*:)([0-9]{1,5})-([0-9]{1,5})", re.DOTALL)
_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}

HTTP_PORTS = {80, 591, 3000, 5000, 8000, 8008, 8080, 8081, 8888}
HTTPS_PORTS = {443, 4443, 8443}
TLS_PORTS = {465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 5061, 5671, 6697, 8883}
"""Ports whose services speak TLS from the first byte (IANA's registry)."""


@dataclass(frozen=True, slots=True)
class Target:
    """One thing to look at. text: as it is shown. address: of its TCP or Unix socket, or host and port of UDP.

    tls, http, websocket, udp: what is to be spoken there. path: what is asked for. ca: a file of trusted certificates.
    """

    text: str
    address: Address
    tls: bool = False
    http: bool = False
    websocket: bool = False
    udp: bool = False
    path: str = "/"
    ca: str | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def host(self) -> str:
        """The name that a certificate must have."""
        return self.address.host or "localhost"


def targets(text: str, *, tls: bool = False, http: bool = False, ca: str | None = None) -> Iterator[Target]:
    """The targets that the text means, several for a range of ports. Raises AddressError."""
    head = _SCHEME.fullmatch(text)
    scheme = head[1].lower() if head else ""
    options, rest = (head[2], head[3]) if head else ("", text)
    path = "/"
    if scheme in _DEFAULT_PORTS:
        place, slash, behind = rest.partition("/")
        path = slash + behind or "/"
        if re.search(r"[\x00-\x20\x7f]", path):
            raise AddressError("a path has no spaces and no control characters", local=repr(text))
        rest = place if re.search(r":[^\]]*$", place) else f"{place}:{_DEFAULT_PORTS[scheme]}"
    found = re.search(r",ca=([^,]*)", options)
    kind = Target(
        text,
        Address("tcp"),
        tls=tls or scheme in ("tls", "wss", "https"),
        http=http or scheme in ("http", "https"),
        websocket=scheme in ("ws", "wss"),
        udp=scheme == "udp",
        path=path,
        ca=found[1] if found else ca,
    )
    ports = _RANGE.fullmatch(rest) if "/" not in rest else None
    if ports is None:
        yield _guessed(replace(kind, address=_place(rest, bool(scheme))))
        return
    first, last = int(ports[2]), int(ports[3])
    if not 0 < first <= last < 65536:
        raise AddressError("a range of ports is written like 8000-8010, within 1 and 65535", local=repr(text))
    for port in range(first, last + 1):
        address = _place(f"{ports[1]}{port}", bool(scheme))
        yield _guessed(replace(kind, address=address, text=f"{scheme}:{address}" if scheme else str(address)))


def _place(rest: str, bare: bool) -> Address:
    address = Address.parse(f"tcp:{rest}" if bare else rest)
    if address.scheme not in ("tcp", "unix"):
        raise AddressError("{scheme} addresses cannot be checked", local=address, scheme=address.scheme)
    return address


def _guessed(target: Target) -> Target:
    """What a well-known port speaks, where nothing was said about it."""
    port = target.address.port
    if target.text.lower().startswith("tcp") or target.udp or target.tls or target.http or target.websocket:
        return target
    if port in HTTPS_PORTS or port == "https":
        return replace(target, tls=True, http=True)
    return replace(target, tls=port in TLS_PORTS, http=port in HTTP_PORTS or port == "http")
