r"""Addresses: where a conversation takes place, read from text or tuple and printed; nothing is looked up or opened.

    scheme[,option=value]…:REST       tcp,keepalive=yes:localhost:50000    unix,mode=600:/run/x.sock    mem:test
    scheme://REST                     the same:  tcp://localhost:50000
    host:port                         TCP:  localhost:http   192.168.1.7:80   3232235783:80   [fe80::1%eth0]:80
    scheme,option=[value]:REST        a value with commas or colons:  tls,ca=[C:\ca.pem]:host:443
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
from functools import partial
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
from prise.localplaces import (
    one_of,
    read_command,
    read_descriptor,
    read_device,
    read_file,
    read_nothing,
    read_optional_name,
    read_vsock,
    read_words,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where. Equal addresses compare equal; made by `Address.parse`, which checks (the constructor does not).

    scheme: one of `SCHEMES`, such as "tcp".
    host: a name, IPv4 or IPv6 literal (with `%zone`, without brackets), `*`, `<broadcast>`; None is loopback.
    port: a number, or the name of a service until it is resolved. path: of a Unix socket (`@name`: abstract; empty:
    unnamed), or what else comes after the colon: a name, a command, a descriptor. options: in the order written.
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
        if self.scheme == "tcp" and rest and not self.options and head not in SCHEMES:
            return rest
        options = "".join(f",{name}={_write_value(value)}" for name, value in self.options)
        slashes = rest.startswith("//") or (scheme is not None and scheme.is_url)
        return f"{self.scheme}{options}:{'//' if slashes else ''}{rest}"

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
    """One kind of address. read: (the text as errors show it, REST) -> Rest. write: Address -> REST. is_url: printed with `//`,
    since others read it as well."""

    read: Callable[[str, str], Rest]
    write: Callable[[Address], str]
    options: Mapping[str, Option]
    example: str
    is_url: bool = False


# -- Reading: the outer form -------------------------------------------------------------------------------------------

_HEAD = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)(?P<options>,([^:\[]|\[[^\]]*\])*)?:(?P<rest>.*)", re.DOTALL)
_OPTION = re.compile(r",((?:[^,\[]|\[[^\]]*\])*)")
_BRACKETED = re.compile(r"\[([^][]*)\]")


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
    if head["options"]:
        return True
    rest = head["rest"]
    nearly_a_port = re.fullmatch(r"\s*(-?[0-9]+([^.0-9].*)?)?", rest, re.DOTALL)  # "localhost:80/" is a wrong port
    return not (nearly_a_port or is_port(rest) or is_bare_ipv6(text))


def _refuse_scheme(shown: str, name: str) -> NoReturn:
    known = ", ".join(SCHEMES)
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
    for part in _OPTION.findall(written):
        key, equals, value = part.partition("=")
        if bracketed := _BRACKETED.fullmatch(value):
            value = bracketed[1]
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


def _write_value(value: str) -> str:
    return f"[{value}]" if ("," in value or ":" in value) and "[" not in value else value


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


def _read_url_place(port: int) -> Callable[[str, str], Rest]:
    """A place with a path, whose port may be left out."""

    def read(shown: str, rest: str) -> Rest:
        place, slash, path = re.fullmatch(r"([^/?#]*)([/?]?)([^#]*)(?:#.*)?", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        if re.search(r"[\x00-\x20\x7f]", path):
            raise AddressError("a path in an URL has no blanks: write %20 for them", local=shown)
        if place and ":" not in place.rpartition("]")[2] and not place.lstrip("-").isdigit():
            place = f"{place}:{port}"
        host, number = read_host_port(shown, place)
        return Rest(host, number, None if not slash else ("/" if slash == "?" else "") + slash + path)

    return read


def _write_url_place(address: Address) -> str:
    return _write_place(address) + (address.path or "")


def _read_path(shown: str, path: str) -> Rest:
    if "\0" in path and not path.startswith("@"):
        raise AddressError("a path cannot have a NUL character", local=shown)
    return Rest(path=path)


def _read_name(shown: str, name: str) -> Rest:
    if not name:
        raise AddressError("the name is missing; example: {example}", local=shown, example="mem:test")
    return Rest(path=name)


def _path_by(read: Callable[[str, str], str]) -> Callable[[str, str], Rest]:
    return lambda shown, rest: Rest(path=read(shown, rest))


def _read_vsock(shown: str, rest: str) -> Rest:
    return Rest(*read_vsock(shown, rest))


def _write_vsock(address: Address) -> str:
    return f"{address.host or ''}:{address.port}"


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


def _hops(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", value, re.ASCII) or int(value) > 255:
        raise ValueError(value)
    return int(value)


def _group(value: str) -> str:
    from ipaddress import IPv4Address  # needed only for multicast

    if not IPv4Address(value).is_multicast:
        raise ValueError(value)
    return value


def _interface(value: str) -> str:
    if not re.fullmatch(r"[^\s/:,]{1,15}", value):  # IFNAMSIZ of <net/if.h>, with its NUL
        raise ValueError(value)
    return value


def _family(value: str) -> str:
    if not re.fullmatch(r"[AP]F_[A-Z0-9_]+", value):
        raise ValueError(value)
    return value


def _text(value: str) -> str:
    if not value:
        raise ValueError(value)
    return value


def _list(value: str) -> tuple[str, ...]:
    return tuple(_text(_BRACKETED.sub(r"\1", each)) for each in value.split("+"))


def _tls_version(value: str) -> str:
    if value not in ("1.2", "1.3"):
        raise ValueError(value)
    return value


def _fingerprint(value: str) -> str:
    if not re.fullmatch("[0-9A-Fa-f]{64}", value):
        raise ValueError(value)
    return value.lower()


# -- The table ---------------------------------------------------------------------------------------------------------

_TCP_OPTIONS = {
    "backlog": Option(_count, "1024"),
    "family": Option(_family, "AF_INET6"),
    "keepalive": Option(_flag, "yes", is_flag=True),
    "nodelay": Option(_flag, "no", is_flag=True),
    "proxy-from": Option(_text, "10.0.0.0/8+127.0.0.1"),
    "reuseport": Option(_flag, "yes", is_flag=True),
}

_EXEC_OPTIONS = {
    "cwd": Option(_text, "/tmp"),
    "echo": Option(_flag, "no", is_flag=True),
    "pty": Option(_flag, "yes", is_flag=True),
    "stderr": Option(_flag, "yes", is_flag=True),
}

_WEBSOCKET_OPTIONS = {
    "compress": Option(_flag, "yes", is_flag=True),
    "origin": Option(_list, "[https://example.org]"),
    "protocol": Option(_list, "chat"),
}

TLS_OPTIONS = {
    "alpn": Option(_list, "h2+http/1.1"),
    "ca": Option(_text, "ca.pem"),
    "cert": Option(_text, "cert.pem"),
    "client-ca": Option(_text, "clients.pem"),
    "key": Option(_text, "key.pem"),
    "min": Option(_tls_version, "1.3"),
    "name": Option(_text, "example.org"),
    "pin": Option(_fingerprint, "<64 hexadecimal digits>"),
    "self-signed": Option(_flag, "yes", is_flag=True),
    "verify": Option(_flag, "no", is_flag=True),
}
"""What the schemes with TLS have in common; `prise.transports.tls` says what they mean."""

SCHEMES: Mapping[str, Scheme] = {
    "tcp": Scheme(_read_place, _write_place, _TCP_OPTIONS, EXAMPLE),
    "tls": Scheme(_read_place, _write_place, {**_TCP_OPTIONS, **TLS_OPTIONS}, "tls:example.org:443"),
    "ws": Scheme(
        _read_url_place(80), _write_url_place, {**_TCP_OPTIONS, **_WEBSOCKET_OPTIONS}, "ws://localhost:8088/chat", True
    ),
    "wss": Scheme(
        _read_url_place(443),
        _write_url_place,
        {**_TCP_OPTIONS, **TLS_OPTIONS, **_WEBSOCKET_OPTIONS},
        "wss://example.org/chat",
        True,
    ),
    "udp": Scheme(
        _read_place,
        _write_place,
        {
            "broadcast": Option(_flag, "yes", is_flag=True),
            "family": Option(_family, "AF_INET6"),
            "group": Option(_group, "239.1.2.3"),
            "interface": Option(_interface, "eth0"),
            "loop": Option(_flag, "no", is_flag=True),
            "reuseport": Option(_flag, "yes", is_flag=True),
            "ttl": Option(_hops, "1"),
        },
        "udp:localhost:50000",
    ),
    "unix": Scheme(
        _read_path,
        _write_path,
        {
            "backlog": Option(_count, "1024"),
            "group": Option(_text, "www-data"),
            "mode": Option(_mode, "600"),
            "owner": Option(_text, "www-data"),
            "proxy-from": Option(_text, "unix"),
            "type": Option(one_of("stream", "dgram", "seqpacket"), "seqpacket"),
        },
        "unix:/run/example.sock",
    ),
    "mem": Scheme(_read_name, _write_path, {}, "mem:test"),
    "exec": Scheme(_path_by(read_words), _write_path, _EXEC_OPTIONS, "exec:cat -n"),
    "sh": Scheme(_path_by(read_command), _write_path, _EXEC_OPTIONS, "sh:ls | sort"),
    "stdio": Scheme(_path_by(read_nothing), _write_path, {}, "stdio:"),
    "file": Scheme(
        _path_by(read_file),
        _write_path,
        {
            "append": Option(_flag, "yes", is_flag=True),
            "create": Option(_flag, "yes", is_flag=True),
            "write": Option(_flag, "yes", is_flag=True),
        },
        "file:/etc/hosts",
    ),
    "fd": Scheme(_path_by(read_descriptor), _write_path, {}, "fd:3"),
    "systemd": Scheme(_path_by(read_optional_name), _write_path, {}, "systemd:web"),
    "pipe": Scheme(_path_by(partial(read_nothing, scheme="pipe:")), _write_path, {}, "pipe:"),
    "vsock": Scheme(_read_vsock, _write_vsock, {"backlog": Option(_count, "1024")}, "vsock:host:1024"),
    "serial": Scheme(
        _path_by(read_device),
        _write_path,
        {
            "bits": Option(one_of("8", "7", "6", "5"), "7"),
            "flow": Option(one_of("none", "hardware", "software"), "hardware"),
            "parity": Option(one_of("none", "even", "odd"), "even"),
            "speed": Option(_count, "115200"),
            "stop": Option(one_of("1", "2"), "2"),
        },
        "serial,speed=115200:/dev/ttyUSB0",
    ),
}
