"""The server's side of WebSocket (RFC 6455 §4.2): which requests are served.

A web page can open a WebSocket to any host that its visitor can reach. So a request that names its page (`Origin`) is served only
if the page comes from this very host (§10.2), or from one of `origins`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from urllib.parse import urlsplit

from prise.errors import HandshakeError, UsageError
from prise.layers.base import LayerFactory
from prise.layers.websocket import SILENT, WebSocketInfo, WebSocketLayer, plain, why

# isort: split
# Without the package, the import above has said so.
from websockets.exceptions import InvalidUpgrade
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.protocol import Protocol
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

_DEFAULT_PORTS = {"http": 80, "https": 443}


def server_factory(
    *,
    path: str | None = None,
    origins: str | Iterable[str] | None = None,
    protocols: Iterable[str] = (),
    compress: bool = False,
) -> LayerFactory:
    """Makes the layers of accepted connections.

    path: the only one that is served; None: any. origins: web pages that may connect besides our own, as
    "https://example.org", or "*" for all; requests without an origin (no browsers) are always served. protocols: subprotocols
    (§1.9), best first; whoever knows none of them is served without. compress: RFC 7692, where the client wants it.

    Raises UsageError for an origin that cannot be one.
    """
    allowed = (origins,) if isinstance(origins, str) else tuple(origins or ())
    for origin in allowed:
        if origin != "*" and _origin(origin) is None:
            raise UsageError(
                "{origin} is not the origin of a web page; example: {example}",
                origin=repr(origin),
                example="https://example.org",
            )
    return partial(ServerWebSocket, path, allowed, tuple(protocols), compress)


class ServerWebSocket(WebSocketLayer):
    """The side that accepts; see `server_factory`."""

    _client = False

    def __init__(
        self,
        path: str | None = None,
        origins: Sequence[str] = (),
        protocols: Sequence[str] = (),
        compress: bool = False,
    ) -> None:
        super().__init__()
        self._path, self._origins, self._protocols, self._compress = path, origins, protocols, compress

    def _make(self, limit: int) -> Protocol:
        return ServerProtocol(
            extensions=[ServerPerMessageDeflateFactory()] if self._compress else None,
            subprotocols=[Subprotocol(each) for each in self._protocols] or None,
            select_subprotocol=_best,
            max_size=limit,
            logger=SILENT,
        )

    def _open(self, event: Request | Response) -> None:
        assert isinstance(event, Request)
        protocol, headers = self._protocol, event.headers
        response = protocol.accept(event)
        if protocol.handshake_exc is not None:
            protocol.send_response(response)
            return  # `_refuse` says why
        hosts = headers.get_all("Host")
        if len(hosts) > 1:  # RFC 9112 §3.2; which of them the origin is compared with must not be a matter of taste
            self._reject(400, "A request has one Host.\n")
            raise self._fail(
                HandshakeError("the client asks for several hosts at once: {hosts}", hosts=plain(", ".join(hosts)))
            )
        host = hosts[0] if hosts else ""
        origin = protocol.origin
        if self._path is not None and event.path.partition("?")[0] != self._path:
            self._reject(404, "There is no WebSocket at this path.\n")
            raise self._fail(
                HandshakeError(
                    "the client asks for {path}, and there is a WebSocket only at {served}",
                    path=plain(event.path),
                    served=self._path,
                )
            )
        if not self._allows(origin, host):
            self._reject(403, "Pages of this origin may not connect here.\n")
            raise self._fail(
                HandshakeError(
                    "a page of {origin} may not connect to {host} (allow it with the option origin)",
                    origin=plain(origin or ""),
                    host=plain(host),
                )
            )
        protocol.send_response(response)
        self._set_up(WebSocketInfo(event.path, host, origin, protocol.subprotocol, tuple(headers.raw_items())))

    def _allows(self, origin: str | None, host: str) -> bool:
        if origin is None or "*" in self._origins:
            return True
        page = _origin(origin)
        if page is None:
            return False  # "null": a sandbox or a file
        if page in map(_origin, self._origins):
            return True
        # Whether the client came by http or https is not known behind a proxy: it is as its page says.
        here = _origin(f"{page[0]}://{host}")
        return here is not None and here == page

    def _refuse(self, cause: Exception) -> HandshakeError:
        if isinstance(cause, InvalidUpgrade):
            return HandshakeError("the client speaks HTTP, and only WebSocket is served here")
        return HandshakeError("the client did not ask for a WebSocket: {cause}", cause=plain(why(cause)))


def _best(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return next((each for each in protocol.available_subprotocols or () if each in offered), None)


def _origin(text: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of an origin (RFC 6454 §4), None if it is none."""
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    if not parts.hostname or parts.path not in ("", "/") or parts.username is not None:
        return None
    return parts.scheme, parts.hostname, port
