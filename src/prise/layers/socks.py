"""SOCKS5 for clients: a SOCKS proxy connects us to the target (RFC 1928), with a user name and a password where it wants them
(RFC 1929, which sends both in clear: on a network that others can read, they read them too).

    we:     version, methods       version, user, password       CONNECT, host, port
    proxy:           method                          status                          code, its own address

Names are sent as names, so it is the proxy that looks them up. Each step waits for the proxy's answer: proxies that read
with one `recv` for each step lose what is sent ahead.
"""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address

from prise.address import Address
from prise.errors import UsageError
from prise.layers.base import LayerFactory
from prise.layers.tunnel import Credentials, Tunnel

_VERSION, _LOGIN_VERSION = 5, 1
_NO_LOGIN, _LOGIN, _NONE = 0x00, 0x02, 0xFF
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_SIZES = {_IPV4: 4, _IPV6: 16}

REPLIES = {
    1: "the proxy {proxy} failed, and does not say why",
    2: "the proxy {proxy} does not allow connections to this target",
    3: "the proxy {proxy} cannot reach the target's network",
    4: "the proxy {proxy} cannot reach the target's host; does the name exist?",
    5: "the target refused the connection of the proxy {proxy}; nothing listens there",
    6: "the proxy {proxy} gave up: the target was too far away or did not answer in time",
    7: "the proxy {proxy} does not make connections for others",
    8: "the proxy {proxy} does not take this kind of address; try a name, IPv4 or IPv6 instead",
}
"""What the codes of RFC 1928, section 6, mean."""


def socks5(target: Address, proxy: object = None, credentials: Credentials | None = None) -> LayerFactory:
    """Makes layers that reach a target through the SOCKS5 proxy that the connection leads to; see `Tunnel`.

    Raises UsageError for a target or credentials (1 to 255 bytes) that cannot be sent.
    """
    Socks5(target, proxy, credentials)  # what can never work is refused now, not once it is connected
    return partial(Socks5, target, proxy, credentials)


class Socks5(Tunnel):
    """A connection's talk with a SOCKS5 proxy. Raises HandshakeError."""

    protocol = "socks5"

    def __init__(self, target: Address, proxy: object = None, credentials: Credentials | None = None) -> None:
        super().__init__(target, proxy, credentials)
        self._login = b""
        if credentials is not None:
            user, password = credentials.user.encode(), credentials.password.encode()
            if not 1 <= len(user) <= 255 or len(password) > 255:
                raise UsageError("a SOCKS user name has 1 to 255 bytes, a password at most 255")
            self._login = bytes((_LOGIN_VERSION, len(user))) + user + bytes((len(password),)) + password
        self._expect = self._method

    def _greeting(self) -> bytes:
        methods = bytes((_NO_LOGIN, _LOGIN)) if self._login else bytes((_NO_LOGIN,))
        return bytes((_VERSION, len(methods))) + methods

    def _answer(self) -> None:
        # Each state takes its answer from what was heard and names the next; it takes nothing while that is incomplete.
        while not self.ready:
            waiting = len(self._heard)
            self._expect()
            if len(self._heard) == waiting:
                return

    def _method(self) -> None:
        if not self._is_socks(_VERSION) or len(self._heard) < 2:
            return
        method = self._heard[1]
        del self._heard[:2]
        if method == _LOGIN and self._login:
            self._out += self._login
            self._expect = self._status
        elif method == _NO_LOGIN:
            self._ask()
        elif method == _NONE and self._login:
            raise self._refused("the proxy {proxy} takes neither a user name and password nor a client without them")
        elif method in (_NONE, _LOGIN):
            raise self._refused("the proxy {proxy} wants a user name and a password: socks5://user:password@host:port")
        else:
            raise self._refused("the proxy {proxy} chose a login that was not offered, number {code}", code=method)

    def _status(self) -> None:
        if not self._is_socks(_LOGIN_VERSION) or len(self._heard) < 2:
            return
        if self._heard[1]:
            raise self._refused("the proxy {proxy} does not accept this user name and password")
        del self._heard[:2]
        self._ask()

    def _ask(self) -> None:
        try:
            ip = ip_address(self._host.decode())
        except ValueError:
            address = bytes((_NAME, len(self._host))) + self._host
        else:
            address = bytes((_IPV4 if ip.version == 4 else _IPV6,)) + ip.packed
        self._out += bytes((_VERSION, _CONNECT, 0)) + address + self._port.to_bytes(2)
        self._expect = self._reply

    def _reply(self) -> None:
        heard = self._heard
        if not self._is_socks(_VERSION) or len(heard) < 2:
            return
        if heard[1]:  # known at once: some proxies do not send the rest
            reason = REPLIES.get(heard[1], "the proxy {proxy} failed with the unknown code {code}")
            raise self._refused(reason, code=heard[1])
        if len(heard) < 5:
            return
        size = 1 + heard[4] if heard[3] == _NAME else _ADDRESS_SIZES.get(heard[3])
        if size is None:
            raise self._refused(
                "the proxy {proxy} answers with an unknown kind of address, number {code}", code=heard[3]
            )
        if len(heard) >= 4 + size + 2:
            del heard[: 4 + size + 2]
            self._connected()

    def _is_socks(self, version: int) -> bool:
        """Whether an answer has begun. Raises HandshakeError when it is none."""
        if self._heard and self._heard[0] != version:
            raise self._refused(
                "{proxy} is not a SOCKS5 proxy: it answered with {found}", found=repr(bytes(self._heard[:16]))
            )
        return bool(self._heard)
