"""What a layer is: it changes the bytes of one connection on their way in and out, and may talk with the other side itself.

    TLS, WebSocket, a PROXY header, the talk with a SOCKS or HTTP proxy, telnet

A layer does no I/O. One instance serves one connection; a server is given a factory (usually the class). The order of calls:

    begin(ends)                      once, before anything else
    output()                         after `begin`, and after each `receive`: what the layer itself wants to say
    receive(data)  send(data)        in any order; `send` also before `ready`: then the layer keeps the data for `output`
    receive_end()                    once, when the outside has ended
    end()                            once, when the inside has nothing more to send; receiving goes on

The conversation starts when every layer is `ready` (its handshake is over), within `Limits.handshake_time`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from prise.address import Address
from prise.core.ending import Ending
from prise.errors import FrameError, HandoverError


class Ends(NamedTuple):
    """Between whom the connection is, as the socket knows it. text: the conversation's messages are text, not bytes. limit: the
    longest message, bytes."""

    peer: Address
    local: Address
    text: bool = False
    limit: int = 1024 * 1024


class Layer(ABC):
    """One connection's layer.

    keeps_messages: each `send` is one message to the other side, and `receive` returns a list of whole messages.
    transparent: once it is ready, another program could go on without it: bytes pass as they are, or nearly so.
    answers_end: the other side answers our end, over the same carrier, which therefore stays open until we close (WebSocket).
    ready: the handshake, if there is one, is over. ended: the other side has ended its input inside the layer (TLS's
    close_notify, WebSocket's close): nothing more will be received. pending: something has arrived in part and its rest is
    awaited, so the time for a message runs.
    ending: why our side ends, known from the first call of `end` on.
    error: what broke the layer, when good data came before it in the same `receive`: raised once that data is taken.
    peer, local: the addresses that the layer knows better than the socket (a PROXY header names the real client).
    name: what `pipeline.info(name)` finds it by; info: what it has found out, for the conversation to look at.
    """

    name: ClassVar[str] = ""
    info: Any = None
    keeps_messages: ClassVar[bool] = False
    transparent: ClassVar[bool] = False
    answers_end: ClassVar[bool] = False
    ready: bool = True
    ended: bool = False
    pending: bool = False
    ending: Ending = Ending.DONE
    error: FrameError | None = None
    peer: Address | None = None
    local: Address | None = None

    def begin(self, ends: Ends) -> None:  # noqa: B027 - most layers have no use for it
        """The connection is there. Raises FrameError for a peer that this layer does not let in."""

    @abstractmethod
    def receive(self, data: bytes) -> Any:
        """Takes bytes from the outside, returns those meant for the inside (a list of messages if `keeps_messages`).

        Raises FrameError for what breaks the layer; HandshakeError, TLSError where it could not be set up.
        """

    def receive_end(self) -> None:  # noqa: B027 - most layers have no end of their own
        """The outside has ended. Raises ConnectionLost when that cuts the layer short, FrameError during its handshake."""

    def facts(self) -> dict[str, Any]:
        """What the same layer in another process needs to know to go on, as JSON says it."""
        return {}

    def resume(self, ends: Ends, facts: dict[str, Any]) -> None:
        """In place of `begin`, for a connection that comes from another process, whose layer has said `facts`."""
        self.begin(ends)

    def unread(self, data: Any) -> Any:
        """The bytes from the outside that are not used yet: those that `receive` would turn into `data`, and what it holds
        for itself behind them. With them the same layer in another process goes on. Raises HandoverError where none could.
        """
        if self.transparent:
            return data
        raise HandoverError(
            "a connection through {layer} cannot change hands: what was agreed on with the peer is known to this process "
            "alone",
            layer=self.name or type(self).__name__,
        )

    @abstractmethod
    def send(self, data: bytes) -> bytes:
        """Takes bytes from the inside, returns those that go outside."""

    def output(self) -> bytes:
        """What the layer itself has to say to the outside since it was last asked."""
        return b""

    def keepalive(self) -> None:  # noqa: B027 - most layers know no such thing
        """The peer has been silent: `output` asks it something that a living peer answers by itself (WebSocket's ping)."""

    def end(self) -> bytes:
        """The inside has nothing more to send, for the reason in `ending`: the layer's own last words."""
        return b""


LayerFactory = Callable[[], Layer]
"""Makes the layer of one connection. One that has a method `reload()` is asked to read its files again on SIGHUP."""
