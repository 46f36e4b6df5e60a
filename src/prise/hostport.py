"""Host and port: the part of an address that everything on the Internet protocols shares, read and checked.

    name:port   127.0.0.1:port   3232235783:port   [::1]:port   [fe80::1%eth0]:port   <broadcast>:port   *:port   :port

A port is a number or the name of a service, which stays a name: nothing is looked up here. `shown` is the whole address
as error messages print it.
"""

from __future__ import annotations

import re

from prise.errors import AddressError

EVERY_INTERFACE = "*"
"""The host that stands for every interface, IPv4 and IPv6."""

BROADCAST = "<broadcast>"
"""The host that stands for 255.255.255.255, as in Python's `socket`."""

EXAMPLE = "localhost:50000"

_SERVICE = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9][A-Za-z0-9_.+-]*")  # RFC 6335, and what /etc/services has besides
_NOT_IN_A_NAME = re.compile(r"[\s\x00-\x20\x7f!\"#$%&'()*+,/:;<=>?@\[\\\]^`{|}~]")
_LONGEST_NAME = 253  # RFC 1035, as text


def read_host_port(shown: str, rest: str) -> tuple[str | None, int | str]:
    example = EXAMPLE
    if rest.startswith("["):
        inside, bracket, after = rest[1:].partition("]")
        if not bracket:
            raise AddressError(
                "the bracket of {host} is not closed; an IPv6 address is written like {example}",
                local=shown,
                host=repr(rest),
                example="[::1]:50000",
            )
        host: str | None = read_ipv6(shown, inside)
        if after and after[0] != ":":
            raise AddressError(
                "after the bracket comes a colon and the port, not {after}; example: {example}",
                local=shown,
                after=repr(after),
                example="[::1]:50000",
            )
        colon, port = after[:1], after[1:]
    elif rest.count(":") > 1:
        if is_bare_ipv6(rest):
            raise AddressError(
                "an IPv6 address stands in brackets before its port, like {example}", local=shown, example="[::1]:50000"
            )
        raise AddressError(
            "{rest} has more than one colon; example: {example}", local=shown, rest=repr(rest), example=example
        )
    else:
        name, colon, port = rest.partition(":")
        if not colon and is_port(name):
            example = f":{name}" if name.isdigit() else f"{name}:50000"
        host = read_host(shown, name) if name else None
    if not colon or not port:
        raise AddressError("the port is missing; example: {example}", local=shown, example=example)
    return host, read_port(shown, port)


def read_port(shown: str, port: str) -> int | str:
    digits = port.removeprefix("-")
    if digits.isascii() and digits.isdigit():
        digits = digits.lstrip("0") or "0"
        # The length is looked at first: int() refuses thousands of digits with an error of its own.
        if port.startswith("-") or len(digits) > 5 or int(digits) > 65535:
            raise AddressError(
                "the port {port} is out of range; ports go from 0 (any free one) to 65535", local=shown, port=port
            )
        return int(digits)
    if not is_port(port):
        raise AddressError(
            "{port} is not a port; a port is a number or the name of a service, like {example}",
            local=shown,
            port=repr(port),
            example=":50000 :http",
        )
    return port


def is_port(text: str) -> bool:
    return (text.isascii() and text.removeprefix("-").isdigit()) or _SERVICE.fullmatch(text) is not None


def read_host(shown: str, host: str) -> str:
    if host in (EVERY_INTERFACE, BROADCAST):
        return host
    if host.isascii() and host.isdigit():
        if len(host) > 10 or int(host) > 0xFFFFFFFF:
            raise AddressError(
                "the integer host {host} is above 4294967295, the last IPv4 address", local=shown, host=host
            )
        return ".".join(str(byte) for byte in int(host).to_bytes(4))
    if re.fullmatch(r"[0-9.]+", host):
        quad = host.split(".")
        # "010" is 8 to some and 10 to others, and 127.1 is 127.0.0.1 to few: neither is let through.
        if len(quad) != 4 or not all(re.fullmatch(r"0|[1-9][0-9]{0,2}", part) and int(part) <= 255 for part in quad):
            raise AddressError(
                "{host} is not an IPv4 address; it has four numbers from 0 to 255, like {example}",
                local=shown,
                host=host,
                example="127.0.0.1",
            )
        return host
    wrong = _NOT_IN_A_NAME.search(host)
    if wrong:
        raise AddressError(
            "{character} cannot be in the host {host}; example: {example}",
            local=shown,
            character=repr(wrong[0]),
            host=repr(host),
            example=EXAMPLE,
        )
    if len(host) > _LONGEST_NAME:
        raise AddressError("a host name has at most {most} characters", local=shown, most=_LONGEST_NAME)
    return host


def read_ipv6(shown: str, host: str) -> str:
    literal, percent, zone = host.partition("%")
    if not _is_ipv6(literal) or (percent and (not zone or _NOT_IN_A_NAME.search(zone))):
        raise AddressError(
            "{host} is not an IPv6 address; examples: {example}",
            local=shown,
            host=repr(host),
            example="[::1]:50000 [fe80::1%eth0]:50000",
        )
    return host


def _is_ipv6(literal: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address  # needed only for IPv6 literals

    try:
        IPv6Address(literal)
    except AddressValueError:
        return False
    return True


def is_bare_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address without brackets, with or without a port behind it."""
    literal = text.partition("%")[0]
    return literal.count(":") > 1 and (_is_ipv6(literal) or _is_ipv6(literal.rpartition(":")[0]) or "%" in text)
