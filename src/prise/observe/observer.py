"""`Observer`: what is called when connections open, fail and close; the seam for tracing (OpenTelemetry) and for audits."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from prise.connection.base import BaseConnection
from prise.errors import UsageError

log = logging.getLogger("prise")


class Observer:
    """Override what you need, and give it to `serve(observer=...)`. Called for each connection, never for each message.

    It is called where the conversation runs: in the loop's thread (select, asyncio), in the connection's own thread, or in its
    own process (processes), where only what it does by itself gets out before that process ends. So it must not block, and with
    threads several of its calls run at the same time. What it raises is logged, and changes nothing for the connection.
    """

    def opened(self, connection: BaseConnection) -> None:
        """Let in; the layers (TLS, WebSocket) are not set up yet. `connection.id` tells it from all others of this process."""

    def failed(self, connection: BaseConnection, error: Exception) -> None:
        """It ends badly: what `Stats.errors` counts. error: what the conversation raised, or a PeerError (FrameError,
        HandshakeError, TooSlow, ConnectionLost). `closed` follows."""

    def closed(self, connection: BaseConnection) -> None:
        """The last word, once for each `opened`: it is closed, or another process has it, and its conversation has ended."""


class Guarded:
    """An observer whose errors are logged. `failed` also hears of connections that broke without their conversation seeing it."""

    __slots__ = ("_observer",)

    def __init__(self, observer: Observer) -> None:
        for name in ("opened", "failed", "closed"):
            if not callable(getattr(observer, name, None)):
                raise UsageError(
                    "an observer has the methods opened, failed and closed, and {observer!r} has no {name}: "
                    "derive it from prise.observe.Observer",
                    observer=observer,
                    name=name,
                )
        self._observer = observer

    def opened(self, connection: BaseConnection) -> None:
        self._call(self._observer.opened, connection)

    def failed(self, connection: BaseConnection, error: Exception) -> None:
        self._call(self._observer.failed, connection, error)

    def closed(self, connection: BaseConnection) -> None:
        if connection.lost is not None:
            self._call(self._observer.failed, connection, connection.lost)
        self._call(self._observer.closed, connection)

    def _call(self, method: Callable[..., object], connection: BaseConnection, *more: Any) -> None:
        try:
            method(connection, *more)
        except Exception:
            log.exception("connection %(connection)d: the observer failed", {"connection": connection.id})
