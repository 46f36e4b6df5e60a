"""What `start_tls` does alike in every kind of connection: which side of TLS it is on."""

from __future__ import annotations

from typing import Any

from prise.connection.base import BaseConnection
from prise.layers.base import LayerFactory


def tls_factory(connection: BaseConnection, tls: Any, name: str | None) -> LayerFactory:
    """The layer that a `TLS` gives: who connected is the client, and knows whom it meant to reach (or says it: name)."""
    dialled = connection._dialled
    factory: LayerFactory = tls.server() if dialled is None else tls.client(name or dialled.host or "localhost")
    return factory
