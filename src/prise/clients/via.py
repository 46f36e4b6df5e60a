"""Proxies that a client goes through: read from text or from the environment, and put in front of a target.

    socks5://[user:password@]host[:1080]     SOCKS5; the proxy looks names up, so socks5h:// is the same
    http://[user:password@]host[:80]         HTTP CONNECT

Several form a chain: the first is dialled, each next one is reached through those before it, the target through all. User and
password are percent-encoded as in any URL (`%40` is @), and never show in an error or a repr.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias

from prise.address import Address
from prise.errors import AddressError, UsageError
from prise.hostport import read_host_port
from prise.layers.base import LayerFactory
from prise.layers.tunnel import Credentials

_SCHEMES = {"socks5": ("socks5", 1080), "socks5h": ("socks5", 1080), "http": ("http", 80)}
"""As written -> protocol, port where none is given. One that speaks TLS to the proxy itself (https) is not there yet."""

_TARGETS: Mapping[str, int | None] = {"tcp": None, "tls": None, "ws": 80, "wss": 443}
"""Schemes whose bytes can go through a proxy, and their ports where none is given."""

_LONGEST = 4096  # characters of a proxy's text


@dataclass(frozen=True, slots=True)
class Via:
    """One proxy. protocol: "socks5" or "http". address: where it listens. credentials: None for none."""

    protocol: str
    address: Address
    credentials: Credentials | None = field(default=None, repr=False)

    def __str__(self) -> str:
        """Without credentials: fit for errors and logs."""
        return f"{self.protocol}://{self.address}"

    def layer(self, target: Address) -> LayerFactory:
        """Makes layers that have this proxy connect them to a target. Raises UsageError."""
        place = _place(target)
        if self.protocol == "socks5":
            from prise.layers.socks import socks5

            return socks5(place, self.address, self.credentials)
        from prise.layers.httpproxy import http_connect

        return http_connect(place, self.address, self.credentials)


ViaLike: TypeAlias = "str | Via"


def parse_via(text: ViaLike) -> Via:
    """Reads one proxy, as on the page above. Raises UsageError, which never shows what may be a password."""
    if isinstance(text, Via):
        return text
    scheme, separator, rest = text.partition("://")
    login, at, place = rest.rpartition("@")
    place = place.removesuffix("/")
    known = _SCHEMES.get(scheme.lower()) if separator and len(text) <= _LONGEST else None
    if known is None:
        examples = "socks5://localhost:1080, http://user:password@localhost:3128"
        if not separator:
            raise UsageError("a proxy begins with its protocol; it is written like {example}", example=examples)
        raise UsageError(
            "the proxy {scheme} is not known; it is written like {example}",
            scheme=repr(f"{scheme[:20]}://..."),
            example=examples,
        )
    protocol, port = known
    if re.fullmatch(r"[^:]+|\[[^]]*\]", place):
        place = f"{place}:{port}"
    try:
        # Only numbers for ports: what stands behind the colon may be a password whose @host was forgotten. For the same
        # reason the error repeats nothing of it.
        host, number = read_host_port("", place) if re.search(r":[0-9]+$", place) else (None, 0)
    except AddressError:
        number = 0
    if not number:
        raise UsageError(
            "the proxy {scheme}://... has no valid host and port; it is written like {example}",
            scheme=scheme,
            example=f"{scheme}://localhost:{port}",
        )
    where = Address("tcp", host, number)
    return Via(protocol, where, _credentials(login) if at else None)


def _credentials(login: str) -> Credentials | None:
    from urllib.parse import unquote  # imported when it is needed: few proxies want a password

    user, _, password = login.partition(":")
    try:
        return Credentials(unquote(user, errors="strict"), unquote(password, errors="strict")) if login else None
    except UnicodeDecodeError:
        raise UsageError("the user name or the password of the proxy is not UTF-8, percent-encoded") from None


def chain(vias: Iterable[Via], target: Address) -> tuple[Address, list[LayerFactory]]:
    """The address to dial and the layers, outermost first, that lead through these proxies to the target.

    Without a proxy, these are the target itself and no layers. Raises UsageError for a target that no proxy can reach: not on
    TCP, or on every interface.
    """
    proxies = list(vias)
    if not proxies:
        return target, []
    hops = [*(proxy.address for proxy in proxies[1:]), target]
    return proxies[0].address, [proxy.layer(hop) for proxy, hop in zip(proxies, hops, strict=True)]


def through(target: Address, via: ViaLike | Sequence[ViaLike]) -> tuple[Address, list[LayerFactory]]:
    """`chain` for what a caller writes: one proxy, several, or "environment". Raises UsageError."""
    if via == "environment":
        return chain(from_environment(target), target)
    several = [via] if isinstance(via, (str, Via)) else via
    return chain(map(parse_via, several), target)


def _place(target: Address) -> Address:
    """Host and port of a target, the port as a number. Raises UsageError."""
    if target.scheme not in _TARGETS:
        raise UsageError(
            "{target} cannot be reached through a proxy; proxies connect to {known}",
            target=target.without_options(),
            known=", ".join(_TARGETS),
        )
    port = target.port if target.port is not None else _TARGETS[target.scheme]
    if isinstance(port, str):
        import socket

        try:
            port = socket.getservbyname(port, "tcp")
        except OSError:
            raise UsageError("no service is called {service}; give the port as a number", service=port) from None
    return Address("tcp", target.host, port)


# -- The environment ---------------------------------------------------------------------------------------------------


def from_environment(target: Address, environ: Mapping[str, str] | None = None) -> list[Via]:
    """The proxy that the environment names for a target, as a list of one; empty for none.

    environ: os.environ where None. https_proxy counts for `tls:` and `wss:`, http_proxy for `ws:`, all_proxy for these and
    `tcp:`, each also in capitals (small letters go first; an empty value counts as none). no_proxy lists what is reached
    directly, with commas between: names (those below them as well), IP addresses, networks like 10.0.0.0/8, each with :port
    if wanted, or * for everything. This machine itself and what is not on TCP are never reached through a proxy. A proxy
    without a scheme is an HTTP one. Raises UsageError for a proxy that cannot be read.
    """
    environ = os.environ if environ is None else environ
    if target.scheme not in _TARGETS or _is_loopback(target) or _is_exempt(target, _variable(environ, "no_proxy")):
        return []
    specific = {"tls": "https_proxy", "wss": "https_proxy", "ws": "http_proxy"}.get(target.scheme)
    found = (_variable(environ, specific) if specific else "") or _variable(environ, "all_proxy")
    if not found:
        return []
    return [parse_via(found if "://" in found else f"http://{found}")]


def _variable(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    # In a CGI program, HTTP_PROXY is what the client sent as its header "Proxy" (CVE-2016-5385, "httpoxy").
    if not value and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        value = environ.get(name.upper(), "").strip()
    return value


def _is_loopback(target: Address) -> bool:
    host = _plain(target.host or "localhost")
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3
        return True
    ip = _ip(host)
    return ip is not None and ip.is_loopback


def _is_exempt(target: Address, listed: str) -> bool:
    host = _plain(target.host or "localhost")
    ip = _ip(host)
    place = None
    for entry in re.split(r"[\s,]+", listed.lower()):
        if entry == "*":
            return True
        name, port = _split_port(entry)
        if not name:
            continue
        if port:
            place = place or _place(target)
            if port != str(place.port):
                continue
        if ip is not None:
            if _holds(name, ip):
                return True
        elif host == (name := _plain(name.removeprefix("*").removeprefix("."))) or host.endswith(f".{name}"):
            return True
    return False


def _split_port(entry: str) -> tuple[str, str]:
    """name:port, [IPv6]:port, or either without a port; a bare IPv6 address has none."""
    bracketed = re.fullmatch(r"\[([^]]*)\](?::([0-9]*))?", entry)
    if bracketed:
        return bracketed[1], bracketed[2] or ""
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""


def _plain(host: str) -> str:
    return host.lower().removesuffix(".")


def _ip(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is; ::ffff:192.0.2.1 is 192.0.2.1. None for a name."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _holds(network: str, ip: IPv4Address | IPv6Address) -> bool:
    try:
        return ip in ip_network(network, strict=False)
    except ValueError:
        return False
