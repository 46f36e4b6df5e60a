r"""HTTP CONNECT for clients: an HTTP proxy connects us to the target (RFC 9110 §9.3.6), with Basic login where it wants one
(RFC 7617, which sends the password in clear: on a network that others can read, they read it too).

    we:     CONNECT host:port HTTP/1.1\r\n Host, Proxy-Authorization \r\n\r\n
    proxy:  HTTP/1.1 200 Connection established\r\n ... \r\n\r\n

The answer's head ends at the first empty line. What follows belongs to the target, whatever the head says of lengths.
"""

from __future__ import annotations

import re
from base64 import b64encode
from functools import partial

from prise.address import Address
from prise.errors import UsageError
from prise.layers.base import LayerFactory
from prise.layers.tunnel import Credentials, Tunnel

LONGEST_HEAD = 16 * 1024
"""Bytes of the proxy's answer, heads of 1xx responses before it included."""

_BEGINNING = b"HTTP/1."
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9]{2})(?: ([^\r\n]*))?\r\n")


def http_connect(target: Address, proxy: object = None, credentials: Credentials | None = None) -> LayerFactory:
    """Makes layers that reach a target through the HTTP proxy that the connection leads to; see `Tunnel`.

    Raises UsageError for a target or credentials that cannot be sent.
    """
    HttpConnect(target, proxy, credentials)  # what can never work is refused now, not once it is connected
    return partial(HttpConnect, target, proxy, credentials)


class HttpConnect(Tunnel):
    """A connection's talk with an HTTP proxy. Raises HandshakeError."""

    protocol = "http"

    def __init__(self, target: Address, proxy: object = None, credentials: Credentials | None = None) -> None:
        super().__init__(target, proxy, credentials)
        if credentials is not None and ":" in credentials.user:
            raise UsageError("a user name for an HTTP proxy cannot have a colon")  # RFC 7617 §2
        self._searched = 0  # no end of the head begins before here
        self._size = 0  # of the heads so far

    def _greeting(self) -> bytes:
        host = b"[%b]" % self._host if b":" in self._host else self._host
        place = b"%b:%d" % (host, self._port)
        lines = [b"CONNECT %b HTTP/1.1" % place, b"Host: %b" % place]
        if self._credentials is not None:
            login = f"{self._credentials.user}:{self._credentials.password}".encode()
            lines.append(b"Proxy-Authorization: Basic %b" % b64encode(login))
        return b"\r\n".join([*lines, b"", b""])

    def _answer(self) -> None:
        heard = self._heard
        while heard and not self.ready:
            if not heard.startswith(_BEGINNING) and not _BEGINNING.startswith(heard):
                raise self._not_http()
            end = heard.find(b"\r\n\r\n", self._searched)
            if self._size + (end + 4 if end >= 0 else len(heard)) > LONGEST_HEAD:
                raise self._refused("the answer of the proxy {proxy} is longer than {limit} bytes", limit=LONGEST_HEAD)
            if end < 0:
                self._searched = max(0, len(heard) - 3)
                return
            status = _STATUS.match(heard, 0, end + 2)
            if status is None:
                raise self._not_http()
            code, said = int(status[1]), status[2] or b""
            self._searched = 0
            self._size += end + 4
            del heard[: end + 4]
            # Others of 1xx may come first and mean nothing here; 101 would be the answer to an upgrade that nobody asked for.
            if 200 <= code <= 299:
                self._connected()
            elif code >= 200 or code == 101:
                raise self._no(code, said)

    def _no(self, code: int, said: bytes) -> Exception:
        reason = "".join(each for each in said.decode("utf-8", "replace")[:100] if each.isprintable())
        if code == 407 and self._credentials is None:
            text = "the proxy {proxy} wants a user name and a password ({code} {said}): http://user:password@host:port"
        elif code == 407:
            text = "the proxy {proxy} does not accept this user name and password ({code} {said})"
        else:
            text = "the proxy {proxy} did not connect: {code} {said}"
        return self._refused(text, code=code, said=reason or "-")

    def _not_http(self) -> Exception:
        return self._refused(
            "{proxy} is not an HTTP proxy: it answered with {found}", found=repr(bytes(self._heard[:32]))
        )
