"""Addresses: where a conversation takes place, read from text or tuple and printed; nothing is looked up or opened.

    scheme[,option=value]…:REST       tcp,keepalive=yes:localhost:50000    unix,mode=600:/run/x.sock    mem:test
    scheme://REST                     the same:  tcp://localhost:50000
    host:port                         TCP:  localhost:http   192.168.1.7:80   3232235783:80   [fe80::1%eth0]:80
    :port    *:port                   TCP on loopback;  TCP on every interface, IPv4 and IPv6
    /path    ./path    ../path        a Unix stream socket;  unix:@name is an abstract one

REST is literal: no escaping. A scheme is one entry of `SCHEMES`: how its REST is read and printed, and its options.
What a scheme then does (look up, listen, dial) is one entry of the table in `prise.transports`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn, TypeAlias

from prise.errors import AddressError
from prise.hostport import (
    EVERY_INTERFACE,
    EXAMPLE,
    is_bare_ipv6,
    is_port,
    read_host,
    read_host_port,
    read_ipv6,
    read_port,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where. Equal addresses compare equal; made by `Address.parse`, which checks (the constructor does not).

    scheme: "tcp", "unix", "mem".
    host: a name, IPv4 or IPv6 literal (with `%zone`, without brackets), `*`, `<broadcast>`; None is loopback.
    port: a number, or the name of a service until it is resolved. path: of a Unix socket (`@name`: abstract; empty:
    unnamed), or the name after `mem:`. options: in the order written.
    """

    scheme: str
    host: str | None = None
    port: int | str | None = None
    path: str | None = None
    options: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, source: AddressLike, /) -> Address:
        """Reads an address. Raises AddressError, which says what is wrong and how it should look.

        Besides text: an Address (returned as it is), a port number (loopback), a path object (Unix), and the tuples
        that Python's `socket` takes, `(host, port)` and `(host, port, flow, scope)`; in a tuple an empty host is every
        interface, and the IPv6 flow label is not kept.
        """
        if isinstance(source, Address):
            return source
        if isinstance(source, str):
            return _read_text(source)
        if isinstance(source, tuple):
            return _read_tuple(source)
        if isinstance(source, int) and not isinstance(source, bool):
            return cls("tcp", None, read_port(str(source), str(source)))
        if isinstance(source, os.PathLike):
            path = os.fsdecode(source)
            return cls("unix", *_read_path(repr(path), f"./{path}" if path.startswith("@") else path))
        raise AddressError(
            "not an address: give text such as {example}, a port number, or a tuple (host, port)",
            local=repr(source),
            example="localhost:50000",
        )

    def __str__(self) -> str:
        """The shortest text that reads back as this very address."""
        scheme = SCHEMES.get(self.scheme)
        rest = scheme.write(self) if scheme else str(self.path)
        head = rest.partition(":")[0].lower()
        # A bare host:port is TCP, unless the host is called like a scheme.
        if self.scheme == "tcp" and rest and not self.options and head not in SCHEMES and head not in RESERVED:
            return rest
        options = "".join(f",{name}={value}" for name, value in self.options)
        return f"{self.scheme}{options}:{'//' if rest.startswith('//') else ''}{rest}"

    def option(self, name: str, default: str | None = None) -> str | None:
        """The text of an option, or `default` where it was not given."""
        return dict(self.options).get(name, default)

    def setting(self, name: str, default: Any = None) -> Any:
        """The meaning of an option: True or False of a flag, the number of a count or a mode; else `default`."""
        value = self.option(name)
        return default if value is None else SCHEMES[self.scheme].options[name].read(value)

    def without_options(self) -> Address:
        """The bare place, as error messages show it."""
        return replace(self, options=()) if self.options else self


AddressLike: TypeAlias = "str | int | tuple[Any, ...] | os.PathLike[str] | Address"


class Rest(NamedTuple):
    """What a scheme finds in its REST."""

    host: str | None = None
    port: int | str | None = None
    path: str | None = None


class Option(NamedTuple):
    """One option of a scheme. read: text to value, ValueError when it cannot be. example: as it may be written."""

    read: Callable[[str], Any]
    example: str
    is_flag: bool = False


class Scheme(NamedTuple):
    """One kind of address. read: (the text as errors show it, REST) -> Rest. write: Address -> REST."""

    read: Callable[[str, str], Rest]
    write: Callable[[Address], str]
    options: Mapping[str, Option]
    example: str


# -- Reading: the outer form -------------------------------------------------------------------------------------------

_HEAD = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?P<options>,[^:]*)?:(?P<rest>.*)", re.DOTALL)


def _read_text(text: str) -> Address:
    if text.startswith(("/", "./", "../")):
        return Address("unix", *_read_path(repr(text), text))
    shown = repr(text)
    head = _HEAD.fullmatch(text)
    name = head["scheme"].lower() if head else ""
    if head is None or (name not in SCHEMES and not _looks_like_scheme(text, head)):
        return Address("tcp", *read_host_port(shown, text))
    scheme = SCHEMES.get(name)
    if scheme is None:
        _refuse_scheme(shown, name)
    options = _read_options(shown, name, scheme, head["options"] or "")
    rest = head["rest"].removeprefix("//")
    return Address(name, *scheme.read(shown, rest), options=options)


def _looks_like_scheme(text: str, head: re.Match[str]) -> bool:
    """Whether an unknown word before the colon was meant as a scheme, not as the host of host:port."""
    if head["scheme"].lower() in RESERVED or head["options"]:
        return True
    rest = head["rest"]
    nearly_a_port = re.fullmatch(r"\s*(-?[0-9]+([^.0-9].*)?)?", rest, re.DOTALL)  # "localhost:80/" is a wrong port
    return not (nearly_a_port or is_port(rest) or is_bare_ipv6(text))


def _refuse_scheme(shown: str, name: str) -> NoReturn:
    known = ", ".join(SCHEMES)
    if name in RESERVED:
        raise AddressError(
            "the scheme {scheme} is reserved, but this version does not have it; known: {known}",
            local=shown,
            scheme=name,
            known=known,
        )
    from difflib import get_close_matches  # costs milliseconds, needed only here

    near = get_close_matches(name, SCHEMES, n=1)
    if near:
        raise AddressError(
            "unknown scheme {scheme}; did you mean {near}? Known: {known}. Example: {example}",
            local=shown,
            scheme=name,
            near=near[0],
            known=known,
            example=SCHEMES[near[0]].example,
        )
    raise AddressError(
        "unknown scheme {scheme}; known: {known}. Example: {example}",
        local=shown,
        scheme=name,
        known=known,
        example=EXAMPLE,
    )


def _read_options(shown: str, name: str, scheme: Scheme, written: str) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    for part in written.split(",")[1:]:
        key, equals, value = part.partition("=")
        option = scheme.options.get(key)
        if option is None:
            raise AddressError(
                "{scheme} has no option {option}; it has: {known}",
                local=shown,
                scheme=name,
                option=repr(key),
                known=", ".join(scheme.options) or "-",
            )
        if key in options:
            raise AddressError("the option {option} is given twice", local=shown, option=key)
        if not equals and option.is_flag:
            value = "yes"
        try:
            option.read(value)
        except ValueError:
            raise AddressError(
                "the option {option} cannot be {value}; write for example {example}",
                local=shown,
                option=key,
                value=repr(value),
                example=f"{key}={option.example}",
            ) from None
        options[key] = value
    return tuple(options.items())


def _read_tuple(source: tuple[Any, ...]) -> Address:
    shown = repr(source)
    if not 2 <= len(source) <= 4 or not all(isinstance(number, int) for number in source[2:]):
        raise AddressError(
            "not an address: a tuple is (host, port), for IPv6 also (host, port, flow, scope); example: {example}",
            local=shown,
            example=("localhost", 50000),
        )
    host, port, *more = source
    if isinstance(host, int) and not isinstance(host, bool):
        host = str(host)
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, (int, str)):
        raise AddressError(
            "not an address: the host is text or an integer, the port a number or a service name; example: {example}",
            local=shown,
            example=("localhost", 50000),
        )
    if len(more) == 2 and more[1]:
        host = f"{host.partition('%')[0]}%{more[1]}"
    host = EVERY_INTERFACE if host == "" else host
    host = read_ipv6(shown, host) if ":" in host else read_host(shown, host)
    return Address("tcp", host, read_port(shown, str(port)))


# -- Each scheme's REST, and the values of options ---------------------------------------------------------------------


def _read_place(shown: str, rest: str) -> Rest:
    return Rest(*read_host_port(shown, rest))


def _write_place(address: Address) -> str:
    if address.port is None:
        return ""  # unknown: the peer was gone before it could be asked
    host = address.host or ""
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _read_path(shown: str, path: str) -> Rest:
    if "\0" in path and not path.startswith("@"):
        raise AddressError("a path cannot have a NUL character", local=shown)
    return Rest(path=path)


def _read_name(shown: str, name: str) -> Rest:
    if not name:
        raise AddressError("the name is missing; example: {example}", local=shown, example="mem:test")
    return Rest(path=name)


def _write_path(address: Address) -> str:
    return address.path or ""


def _flag(value: str) -> bool:
    if value in ("yes", "on", "true", "1"):
        return True
    if value in ("no", "off", "false", "0"):
        return False
    raise ValueError(value)


def _count(value: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", value, re.ASCII):
        raise ValueError(value)
    return int(value)


def _mode(value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError(value)
    return int(value, 8)


def _family(value: str) -> str:
    if not re.fullmatch(r"[AP]F_[A-Z0-9_]+", value):
        raise ValueError(value)
    return value


# -- The table ---------------------------------------------------------------------------------------------------------

SCHEMES: Mapping[str, Scheme] = {
    "tcp": Scheme(
        _read_place,
        _write_place,
        {
            "backlog": Option(_count, "1024"),
            "family": Option(_family, "AF_INET6"),
            "keepalive": Option(_flag, "yes", is_flag=True),
            "nodelay": Option(_flag, "no", is_flag=True),
            "reuseport": Option(_flag, "yes", is_flag=True),
        },
        EXAMPLE,
    ),
    "unix": Scheme(
        _read_path,
        _write_path,
        {"backlog": Option(_count, "1024"), "mode": Option(_mode, "600")},
        "unix:/run/example.sock",
    ),
    "mem": Scheme(_read_name, _write_path, {}, "mem:test"),
}

RESERVED = {"udp", "tls", "ws", "wss", "exec", "fd", "vsock"}
"""Schemes to come: refused now, so that `fd:3` never means port 3 of a host called fd."""
