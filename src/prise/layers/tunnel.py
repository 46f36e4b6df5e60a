"""What the ways through a proxy share: a talk with it first, then a tunnel to the target in which every byte passes untouched.

    connection -> SOCKS5 or HTTP proxy -> target

A subclass says what it sends first (`_greeting`) and reads the answers (`_answer`), both of bounded size. Its constructor
takes the target, the proxy as errors name it, and credentials, which never show in an error or a repr.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from prise.address import Address
from prise.errors import HandshakeError, UsageError
from prise.layers.base import Ends, Layer

MOST_KEPT = 1024 * 1024
"""Bytes that may be given to `send` before the proxy has answered."""

_NOT_IN_A_HOST = re.compile(rb"[^A-Za-z0-9._:\-]")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password for a proxy, as text; they are sent in UTF-8. The repr shows neither."""

    user: str = field(repr=False)
    password: str = field(repr=False, default="")


class Tunnel(Layer):
    """A layer that has a proxy connect it to a target. `ready` when the proxy has done so.

    target: an Address whose host is a name or an IP address, whose port is a number. proxy: how errors call it.
    Raises UsageError for a target that no proxy could find (`*`, an IPv6 zone, a service name for a port).
    """

    protocol: ClassVar[str]
    transparent = True

    def __init__(self, target: Address, proxy: object = None, credentials: Credentials | None = None) -> None:
        self._target = target
        self._proxy = proxy
        self._credentials = credentials
        self._host = host_bytes(target)
        self._port = port_number(target)
        self._heard = bytearray()  # bound: what `_answer` allows, and one read
        self._out = bytearray()  # bound: our part of the talk
        # The opening of the layers inside (a ClientHello), since conversations start when all are ready. Bound: MOST_KEPT.
        self._kept = bytearray()
        self.ready = False

    @abstractmethod
    def _greeting(self) -> bytes:
        """What is sent first."""

    @abstractmethod
    def _answer(self) -> None:
        """Takes what is complete from `_heard`, adds to `_out` what is to be said, calls `_connected` at the end of it all.

        Raises HandshakeError.
        """

    def begin(self, ends: Ends) -> None:
        self._out += self._greeting()

    def resume(self, ends: Ends, facts: dict[str, Any]) -> None:
        self.ready = True

    def receive(self, data: bytes) -> bytes:
        if self.ready:
            return data
        self._heard += data
        self._answer()
        if not self.ready:
            return b""
        rest = bytes(self._heard)
        self._heard.clear()
        return rest

    def receive_end(self) -> None:
        if not self.ready:
            raise self._refused("the proxy {proxy} closed the connection before it had answered")

    def send(self, data: bytes) -> bytes:
        if not self.ready:
            if len(self._kept) + len(data) > MOST_KEPT:
                raise UsageError("more than {limit} bytes were sent before the proxy had answered", limit=MOST_KEPT)
            self._kept += data
            return b""
        return self.output() + data  # what was kept and not yet asked for goes first

    def output(self) -> bytes:
        if not self._out:
            return b""
        out = bytes(self._out)
        self._out.clear()
        return out

    def _connected(self) -> None:
        self.ready = True
        self._out += self._kept
        self._kept.clear()

    def _refused(self, reason: str, **details: Any) -> HandshakeError:
        peer = self._target.without_options()
        return HandshakeError(
            reason, operation="connect", transport=self.protocol, peer=peer, proxy=self._proxy or "-", **details
        )


def host_bytes(target: Address) -> bytes:
    """The host as proxies are told it; without one, it is the proxy's own loopback. Raises UsageError."""
    host = target.host or "localhost"
    try:
        # As getaddrinfo does it for names with other letters than ASCII.
        encoded = host.encode("ascii" if host.isascii() else "idna")
    except UnicodeError:
        encoded = b""
    # Addresses are checked where they are parsed, but nothing stops one from being made by hand: no line breaks here.
    if not encoded or len(encoded) > 253 or _NOT_IN_A_HOST.search(encoded):
        raise UsageError(
            "a proxy cannot be asked for {host}; it needs the name or the address of one host", host=repr(host)
        )
    return encoded


def port_number(target: Address) -> int:
    """The port, which must be a number by now. Raises UsageError."""
    if not isinstance(target.port, int) or not 0 < target.port <= 65535:
        raise UsageError("a proxy needs the port as a number from 1 to 65535, not {port}", port=target.port)
    return target.port
