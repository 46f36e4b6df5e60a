"""How others get in: the commands to type on this machine, and on the other machines of its network; the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prise import Address
from prise.lan import bracketed, hosts_by_port, machine_addresses, on_every_interface, qr_code, url
from prise.locale import translate as _

_PAGE_PORT = 8088


def instructions(addresses: Iterable[Address], *, secure: bool = False, password: bool = False) -> Iterator[str]:
    """Lines that say how to join a house which listens at these addresses. secure: all doors are inside TLS."""
    addresses = list(addresses)
    yield _("the room is open; join it from another terminal:")
    for line in _commands(addresses, secure):
        yield f"    {line}"
    pages = list(_pages(addresses, secure))
    if pages:
        yield _("or in a browser:")
        for page in pages:
            yield f"    {page}"
    if every := on_every_interface(addresses):
        hosts = machine_addresses()
        if hosts:
            yield _("and from another machine of the network:")
        for host in hosts:
            yield f"    {_netcat(host, min(every, key=_is_page), secure)}"
            yield f"    {url(host, max(every, key=_is_page), secure)}"
        if hosts:
            yield from (f"    {line}" for line in qr_code(url(hosts[0], max(every, key=_is_page), secure)))
        yield _exposed(secure, password)


def _exposed(secure: bool, password: bool) -> str:
    if secure and password:
        return _("who knows the password can join, read and write; what is said is encrypted on its way")
    if secure:
        return _("anybody who reaches this machine can join, read and write; what is said is encrypted on its way")
    if password:
        return _("who knows the password can join; nothing is encrypted: others in the network can read along")
    return _("anybody who reaches this machine can join, read and write; nothing is encrypted")


def _is_page(port: int) -> bool:
    """The port that a browser is sent to, where there are several: the web's own, if it is there."""
    return port >= _PAGE_PORT - 20 and port < _PAGE_PORT + 100


def _commands(addresses: Iterable[Address], secure: bool) -> Iterator[str]:
    """On this machine."""
    for address in addresses:
        if address.scheme == "unix":
            yield f"nc -U {address.path}"
            yield f"prise chat join {address}"
    ports = hosts_by_port(addresses)
    for port in [min(ports, key=_is_page)] if ports else []:
        for host in ports[port]:
            yield _netcat(host, port, secure)
            yield f"prise chat join {'tls,insecure:' if secure else ''}{bracketed(host)}:{port}"


def _pages(addresses: Iterable[Address], secure: bool) -> Iterator[str]:
    ports = hosts_by_port(addresses)
    for port in [max(ports, key=_is_page)] if ports else []:
        for host in ports[port]:
            yield url(host, port, secure)


def _netcat(host: str, port: int, secure: bool) -> str:
    return f"openssl s_client -quiet -connect {bracketed(host)}:{port}" if secure else f"nc {host} {port}"
