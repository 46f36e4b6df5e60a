"""prise: conversations over sockets. Write the etiquette once, as a function; serve it any way.

import prise

def greeter(connection):
    for line in connection:
        connection.send(f"Message reçu : {line}")

prise.serve(greeter, ":50000")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prise.address import Address
from prise.clients.connect import Retry, connect
from prise.clients.listener import Listener
from prise.codecs import json, msgpack, text
from prise.connection.asynchronous import AsyncConnection
from prise.connection.base import BaseConnection
from prise.connection.blocking import Connection
from prise.connection.broadcast import broadcast
from prise.connection.generator import GeneratorConnection
from prise.core.conversation import HandOver
from prise.core.counters import Stats
from prise.core.limits import Limits
from prise.core.multiplex import Multiplex
from prise.errors import (
    AddressError,
    BindError,
    ConnectError,
    ConnectionLost,
    FrameError,
    HandoverError,
    HandshakeError,
    LoginFailed,
    MessageTooLarge,
    MissingExtra,
    NotFound,
    PeerError,
    PriseError,
    ProtocolError,
    Refused,
    ResolveError,
    SpellingError,
    TLSError,
    TooSlow,
    Unsupported,
    UsageError,
)
from prise.framing import (
    Chunks,
    Cobs,
    Delimited,
    Fixed,
    Framing,
    Lines,
    Netstring,
    Prefixed,
    Slip,
    Varint,
    framing_of,
)

if TYPE_CHECKING:
    from prise.protocols.opening import get, ls, open, put
    from prise.relay.relay import Relay
    from prise.servers.server import Server, listen, serve
    from prise.tls import TLS

__version__ = "0.1.0"

__all__ = [
    "TLS",
    "Address",
    "AddressError",
    "AsyncConnection",
    "BaseConnection",
    "BindError",
    "Chunks",
    "Cobs",
    "ConnectError",
    "Connection",
    "ConnectionLost",
    "Delimited",
    "Fixed",
    "FrameError",
    "Framing",
    "GeneratorConnection",
    "HandOver",
    "HandoverError",
    "HandshakeError",
    "Limits",
    "Lines",
    "Listener",
    "LoginFailed",
    "MessageTooLarge",
    "MissingExtra",
    "Multiplex",
    "Netstring",
    "NotFound",
    "PeerError",
    "Prefixed",
    "PriseError",
    "ProtocolError",
    "Refused",
    "Relay",
    "ResolveError",
    "Retry",
    "Server",
    "Slip",
    "SpellingError",
    "Stats",
    "TLSError",
    "TooSlow",
    "Unsupported",
    "UsageError",
    "Varint",
    "broadcast",
    "connect",
    "framing_of",
    "get",
    "json",
    "listen",
    "ls",
    "msgpack",
    "open",
    "put",
    "serve",
    "text",
]


def __getattr__(name: str) -> Any:
    """The serving half is imported when it is first used: a client should not wait for it (a third of the import)."""
    if name in ("Server", "listen", "serve"):
        from prise.servers import server

        return globals().setdefault(name, getattr(server, name))
    if name == "Relay":
        from prise.relay.relay import Relay

        return globals().setdefault(name, Relay)
    if name in ("open", "get", "put", "ls"):
        from prise.protocols import opening

        return globals().setdefault(name, getattr(opening, name))
    if name == "TLS":
        from prise.tls import TLS

        return globals().setdefault(name, TLS)
    if name in ("handover", "ipc", "observe"):  # as after `import prise.handover`
        return import_module(f"prise.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
