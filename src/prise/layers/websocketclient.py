"""The client's side of WebSocket (RFC 6455 §4.1): what is asked for, and what is wrong with an answer that opens none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from prise.errors import HandshakeError
from prise.layers.base import Ends, LayerFactory
from prise.layers.websocket import SILENT, WebSocketInfo, WebSocketLayer, plain, why

# isort: split
# Without the package, the import above has said so.
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Request, Response
from websockets.protocol import Protocol
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI


def client_factory(
    host: str,
    port: int,
    path: str = "/",
    *,
    secure: bool = False,
    origin: str | None = None,
    protocols: Iterable[str] = (),
    compress: bool = False,
) -> LayerFactory:
    """Makes the layers of connections to a server.

    host, port, path (with its query): what is asked for; secure: it goes over TLS. origin: as a web page of that origin would
    ask. protocols: subprotocols to offer, best first. compress: offer RFC 7692.
    """
    return partial(ClientWebSocket, host, port, path, secure, origin, tuple(protocols), compress)


class ClientWebSocket(WebSocketLayer):
    """The side that connects; see `client_factory`."""

    _client = True

    def __init__(
        self,
        host: str,
        port: int,
        path: str = "/",
        secure: bool = False,
        origin: str | None = None,
        protocols: Sequence[str] = (),
        compress: bool = False,
    ) -> None:
        super().__init__()
        path, _, query = path.partition("?")
        self._uri = WebSocketURI(secure, host, port, path, query)
        self._origin, self._protocols, self._compress = origin, protocols, compress

    def _make(self, limit: int) -> Protocol:
        return ClientProtocol(
            self._uri,
            origin=self._origin,  # type: ignore[arg-type]  # a str with another name
            extensions=[ClientPerMessageDeflateFactory()] if self._compress else None,
            subprotocols=[Subprotocol(each) for each in self._protocols] or None,
            max_size=limit,
            logger=SILENT,
        )

    def begin(self, ends: Ends) -> None:
        super().begin(ends)
        request = self._protocol.connect()
        self._host = str(request.headers["Host"])
        request.headers["User-Agent"] = "prise"
        self._protocol.send_request(request)
        self._say()

    def _open(self, event: Request | Response) -> None:
        assert isinstance(event, Response)
        uri = self._uri
        self._set_up(
            WebSocketInfo(
                uri.resource_name,
                self._host,
                self._origin,
                self._protocol.subprotocol,
                tuple(event.headers.raw_items()),
            )
        )

    def _refuse(self, cause: Exception) -> HandshakeError:
        if isinstance(cause, InvalidStatus):
            response = cause.response
            places = response.headers.get_all("Location")
            said = f"{response.status_code} {response.reason_phrase}"
            if places:
                place = plain(", ".join(places))
                return HandshakeError("the server sends us elsewhere ({said}): {place}", said=plain(said), place=place)
            body = plain(bytes(response.body or b"").decode("utf-8", "replace").strip())
            return HandshakeError(
                "the server answers {said} in place of a WebSocket: {body}", said=plain(said), body=body
            )
        if not self._first.startswith(b"HTTP/"):
            return HandshakeError(
                "the server does not speak HTTP, so it has no WebSocket; it began with {found}", found=repr(self._first)
            )
        return HandshakeError("the server's answer opens no WebSocket: {cause}", cause=plain(why(cause)))
