"""What is served, checked as a whole before anything is bound; and what becomes of conversations that end badly."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prise.connection.base import BaseConnection
from prise.core.conversation import Conversation, Spelling, model_for, spelling_of
from prise.core.counters import Counters
from prise.core.limits import Limits
from prise.core.multiplex import Multiplex
from prise.core.pipeline import Pipeline
from prise.errors import FrameError, HandshakeError, PeerError, SpellingError, TooSlow
from prise.framing import Framing, framing_of
from prise.layers.base import LayerFactory

if TYPE_CHECKING:
    from prise.observe.observer import Guarded, Observer

log = logging.getLogger("prise")


@dataclass(frozen=True, slots=True)
class Service:
    """A conversation with everything that says how it is served. chooser: picks one of several by a connection's first bytes.
    observer: hears of each connection."""

    conversation: Conversation
    spelling: Spelling
    model: str
    framing: Framing
    limits: Limits
    layers: tuple[LayerFactory, ...] = ()
    chooser: Multiplex | None = None
    observer: Guarded | None = None

    @classmethod
    def of(
        cls,
        conversation: Conversation | Multiplex,
        *,
        framing: str | Framing = "lines",
        model: str | None = None,
        limits: Limits | None = None,
        layers: Sequence[LayerFactory] = (),
        observer: Observer | None = None,
    ) -> Service:
        """Raises SpellingError or UsageError for what cannot work, before anything is bound."""
        chooser = conversation if isinstance(conversation, Multiplex) else None
        several = [conversation] if not isinstance(conversation, Multiplex) else conversation.conversations
        spelling = one_spelling(several)
        guarded = None
        if observer is not None:
            from prise.observe.observer import Guarded

            guarded = Guarded(observer)
        service = cls(
            several[0],  # with a chooser each connection gets its own
            spelling,
            model_for(spelling, model),
            framing_of(framing),
            limits or Limits(),
            tuple(layers),
            chooser,
            guarded,
        )
        service.pipeline()  # a framing and limits that exclude each other, a layer that cannot be made
        return service

    def pipeline(self, layers: tuple[LayerFactory, ...] = (), packets: bool = False) -> Pipeline:
        """For one connection. layers: those of its address, outside of our own. packets: it keeps the boundaries of messages."""
        return Pipeline(
            self.framing,
            self.limits.message_size,
            layers + self.layers,
            packets=packets,
            chooser=self.chooser,
        )

    @property
    def name(self) -> str:
        return getattr(self.conversation, "__qualname__", type(self.conversation).__name__)

    def opened(self, connection: BaseConnection) -> None:
        """A connection was let in."""
        if self.observer is not None:
            self.observer.opened(connection)

    def closed(self, connection: BaseConnection) -> None:
        """A connection is closed, or gone to another process."""
        if self.observer is not None:
            self.observer.closed(connection)

    def ended(self, connection: BaseConnection, error: BaseException | None, counters: Counters) -> None:
        """The one policy for conversations that end badly, in every model: say it, count it, go on serving.

        A peer that leaves is no news; a connection that breaks is counted where that is seen. What the peer did wrong is a
        warning; what the conversation did wrong is an error, with the traceback. An error of another connection (the
        conversation was a client somewhere else) is the conversation's.
        """
        if error is None or not isinstance(error, Exception):
            return
        if isinstance(error, PeerError) and error.peer is connection.peer:
            said = {"connection": connection.id, "peer": connection.peer, "error": error}
            if isinstance(error, HandshakeError):
                counters.error_handshake += 1
                log.info("connection %(connection)d from %(peer)s: %(error)s", said)
            elif isinstance(error, FrameError):
                counters.error_frame += 1
                log.warning("connection %(connection)d from %(peer)s: %(error)s", said)
            elif isinstance(error, TooSlow):
                counters.error_too_slow += 1
                log.info("connection %(connection)d from %(peer)s: %(error)s", said)
            else:
                return  # it broke; that is counted where it is seen
        else:
            counters.error_conversation += 1
            log.error(
                "connection %(connection)d from %(peer)s: the conversation %(conversation)s failed",
                {"connection": connection.id, "peer": connection.peer, "conversation": self.name},
                exc_info=error,
            )
        if self.observer is not None:
            self.observer.failed(connection, error)


def one_spelling(conversations: Sequence[Conversation]) -> Spelling:
    """The spelling of all these conversations; one kind of connection serves them. Raises SpellingError where they differ."""
    several = {spelling_of(each) for each in conversations}
    if len(several) > 1:
        raise SpellingError(
            "the conversations of one port must have one spelling; these are {several}",
            several=", ".join(sorted(several)),
        )
    return several.pop()


def peer_key(sockaddr: Any) -> str | None:
    """Who a peer is for the limit per peer: its IPv4 address or its IPv6 /64; None where peers cannot be told apart."""
    if not isinstance(sockaddr, tuple) or not sockaddr or not isinstance(sockaddr[0], str):
        return None
    host = sockaddr[0]
    if ":" not in host:
        return host
    if host.startswith("::ffff:"):
        return host[7:]
    import ipaddress

    network = int(ipaddress.IPv6Address(host.partition("%")[0])) >> 64
    return f"{network:x}/64"
