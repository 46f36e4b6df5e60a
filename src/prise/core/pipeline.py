"""One connection's way of the data, both ways, without I/O:

    bytes in  -> layers -> framing -> messages         feed(data)
    bytes out <- layers <- framing <- a message        wrap([encode(message), ...])

Without layers, `feed` *is* the framing's own method and nobody calls `wrap`: an unused seam costs nothing. With layers, they
and the framing's decoder look like one `Decoder` (class `Layered`). The framing must not be fed while `more` is True and the
conversation has not caught up; that is how decoding stays behind the conversation.

`encode` leaves the layers out, so what is encoded may wait in an outbox, or go to many connections. Wrapping comes last,
because layers number what they send: what `wrap`, `output` and `end_output` give must go out in the order of the calls.

Where the carrier or a layer keeps the boundaries of messages (datagrams, WebSocket), the framing is replaced by its packet
form (framing/packets.py). Where one port serves several protocols, a `Chooser` looks at the first bytes, and the rest of the
pipeline is made of what it chooses (core/multiplex.py).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from reprlib import repr as shortened
from typing import Any, NamedTuple, Protocol

from prise.address import Address
from prise.core.ending import Ending, ending_of
from prise.core.limits import Limits
from prise.errors import FrameError, HandoverError, UsageError
from prise.framing.base import MOST_MESSAGES, Decoder, Framing
from prise.layers.base import Ends, Layer, LayerFactory


def injected() -> FrameError:
    """Bytes are here that came in clear before TLS: nobody knows from whom (the STARTTLS injection, CVE-2011-0411)."""
    return FrameError("the peer sent more, in clear, behind what asked for TLS; that is not to be trusted")


class Branch(NamedTuple):
    """What serves a connection, once its first bytes are known. Layers that are added; conversation None: choose again
    from what comes out of these layers (TLS). limits: None, or those that hold from then on."""

    conversation: Callable[[Any], Any] | None
    framing: Framing
    layers: tuple[LayerFactory, ...] = ()
    limits: Limits | None = None
    name: str = ""


class Chooser(Protocol):
    """Chooses by the first bytes. patience: seconds without any byte after which it is asked with `over`."""

    patience: float | None

    def choose(self, head: bytes, over: bool) -> Branch | None:
        """The branch for a connection that begins like this; None: more must be seen. over: no more will come.

        Raises HandshakeError for what it serves to nobody.
        """

    def named(self, name: str) -> Branch:
        """The branch of that name, which another process has chosen. Raises HandshakeError."""


class Pipeline:
    """feed: like `Decoder.feed`; encode: like `Framing.encode`; decoder: its `more`, `pending`, `end` are for reading.

    keeps_messages: True when the carrier or a layer keeps the boundaries of messages.
    framing: the one in use; connections that share it may share encoded messages. conversation: what a Chooser chose, else
    None; limits: those that go with it, if it has its own. layered: there are layers, so `begin`, `ready`, `wrap`, `output`
    and `end_output` have something to do. ending: why our side will end, which `end_output` tells the layers.
    """

    __slots__ = (
        "_branch",
        "_chooser",
        "_ends",
        "_limit",
        "_packets",
        "conversation",
        "decoder",
        "encode",
        "ending",
        "feed",
        "framing",
        "keeps_messages",
        "layered",
        "layers",
        "limits",
    )

    feed: Callable[..., list[Any]]
    encode: Callable[[Any], bytes]

    def __init__(
        self,
        framing: Framing,
        limit: int,
        layers: Sequence[LayerFactory] = (),
        *,
        packets: bool = False,
        chooser: Chooser | None = None,
    ) -> None:
        """limit: the longest message, bytes. packets: the carrier itself keeps the boundaries of messages.

        Raises UsageError for what needs a stream and is to go over packets.
        """
        if packets and (layers or chooser):
            raise UsageError(
                "layers (TLS, WebSocket, PROXY...) and several protocols on one port need a stream of bytes, not packets"
            )
        self._limit = limit
        self._packets = packets
        self._chooser = chooser
        self._branch = ""  # what it has chosen, by name
        self._ends: Ends | None = None
        self.ending = Ending.DONE
        self.conversation: Callable[[Any], Any] | None = None
        self.limits: Limits | None = None
        self.layers: list[Layer] = [make() for make in layers]
        self._assemble(framing)

    def _assemble(self, framing: Framing) -> None:
        in_messages = any(layer.keeps_messages for layer in self.layers)
        self.keeps_messages = self._packets or in_messages
        limit = self._limit
        if self.keeps_messages:
            from prise.framing.packets import LONGEST_PACKET, packets

            if self._packets:
                limit = min(limit, LONGEST_PACKET)
            framing = packets(framing, terminated=not in_messages)
        self.framing = framing
        self.decoder: Decoder = framing.decoder(limit)
        self.encode = framing.encode
        self.layered = bool(self.layers) or self._chooser is not None
        if self.layered:
            self.decoder = Layered(self, self.decoder, in_messages)
        self.feed = self.decoder.feed

    @property
    def ready(self) -> bool:
        """True when every layer's handshake is over and it is known what serves the connection."""
        return self._chooser is None and all(layer.ready for layer in self.layers)

    @property
    def patience(self) -> float | None:
        """Seconds of silence after which `silent` is to be called; None when that changes nothing."""
        return None if self._chooser is None or self.decoder.pending else self._chooser.patience

    @property
    def ended(self) -> bool:
        """True when the peer has ended its input inside a layer."""
        return isinstance(self.decoder, Layered) and self.decoder.ended

    @property
    def peer(self) -> Address | None:
        """The peer as a layer knows it, None if none does better than the socket."""
        return next((layer.peer for layer in self.layers if layer.peer is not None), None)

    @property
    def local(self) -> Address | None:
        return next((layer.local for layer in self.layers if layer.local is not None), None)

    @property
    def pings(self) -> bool:
        """True when a layer can ask the peer whether it is still there, see `keepalive`."""
        return any(type(layer).keepalive is not Layer.keepalive for layer in self.layers)

    def info(self, name: str) -> Any:
        """What the layer of that name ("tls", "websocket") has found out; None without such a layer."""
        return next((layer.info for layer in self.layers if layer.name == name), None)

    def begin(self, peer: Address, local: Address) -> None:
        """The connection is there. Raises FrameError for a peer that a layer does not let in."""
        if self._ends is not None:
            return  # a layer that was added has begun by itself, the others long before
        from prise.framing.packets import is_text

        self._ends = Ends(peer, local, is_text(self.framing), self._limit)
        for layer in self.layers:
            layer.begin(self._ends)

    def add(self, factory: LayerFactory, peer: Address, local: Address) -> None:
        """Puts a layer (TLS) next to the outside, in the middle of a conversation.

        Raises FrameError when bytes of the peer's are here already: they came before the layer, in clear, and nobody knows
        from whom (the STARTTLS injection, CVE-2011-0411).
        """
        if self.decoder.more or self.decoder.pending:
            raise injected()
        layer = factory()
        self.layers.insert(0, layer)
        self._assemble(self.framing)
        self._ends = self._ends or Ends(peer, local, limit=self._limit)
        layer.begin(Ends(peer, local, limit=self._limit))

    def silent(self) -> None:
        """The peer has said nothing for `patience` seconds. Raises FrameError."""
        # In the middle of TLS's handshake silence is a slow network's.
        if self._chooser is not None and all(layer.ready for layer in self.layers):
            self._choose(b"", True)

    def output(self) -> bytes:
        """What the layers themselves want to send now (answers to a handshake, for example)."""
        outgoing = b""
        for layer in reversed(self.layers):
            outgoing = (layer.send(outgoing) if outgoing else b"") + layer.output()
        return outgoing

    @property
    def shuts(self) -> bool:
        """True when the carrier's sending side is to be shut after `end_output`, before the connection is closed."""
        return not any(layer.answers_end for layer in self.layers)

    def blame(self, error: BaseException, peer: Address) -> None:
        """Notes an error that ends our side. The first one counts."""
        if self.ending is Ending.DONE or self.ending is Ending.LEAVING:
            ending = ending_of(error, peer)
            self.ending = self.ending if ending is Ending.DONE else ending

    def leave(self) -> None:
        """Notes that our side is being stopped."""
        if self.ending is Ending.DONE:
            self.ending = Ending.LEAVING

    def end_output(self, closing: bool) -> bytes:
        """The layers' last words, when nothing more will be sent. May be asked again.

        closing: the connection is closed as well; else the layers around one that `answers_end` stay as they are.
        """
        outgoing = b""
        ends = True
        for layer in reversed(self.layers):
            outgoing = layer.send(outgoing) if outgoing else b""
            if ends:
                layer.ending = self.ending
                outgoing += layer.end()
            ends = ends and (closing or not layer.answers_end)
        return outgoing

    def keepalive(self) -> None:
        """The peer has been silent for a while: has `output` ask it whether it is still there, where a layer can (a ping)."""
        for layer in self.layers:
            layer.keepalive()

    def wrap(self, messages: Sequence[bytes]) -> bytes:
        """What goes outside for these encoded messages."""
        if len(messages) == 1:  # the usual case: nothing to join
            data = messages[0]
            for layer in reversed(self.layers):
                data = layer.send(data)
            return data
        in_messages = self.keeps_messages
        outgoing: Sequence[bytes] = messages
        for layer in reversed(self.layers):
            if not in_messages and len(outgoing) > 1:
                outgoing = (b"".join(outgoing),)
            outgoing = [layer.send(each) for each in outgoing]
            in_messages = in_messages and not layer.keeps_messages
        return outgoing[0] if len(outgoing) == 1 else b"".join(outgoing)

    def reframe(self, framing: Framing) -> None:
        """From here on the messages are those of this framing. What was read and not used is somebody else's business."""
        ended = self.ended
        self._assemble(framing)
        if isinstance(self.decoder, Layered):
            self.decoder.ended = ended

    def unread(self, messages: Sequence[Any], inside: bool = False) -> bytes:
        """What was read and not used: these messages, which nobody has taken, and what is held behind them.

        The bytes as they came from outside, or those inside the layers. Raises HandoverError for a layer that cannot say
        it, UsageError or FrameError for messages that do not come out again as they went in.
        """
        decoder = self.decoder
        if isinstance(decoder, Layered) and decoder._error is not None:
            raise decoder._error  # it is to be heard here, behind these messages
        encoded = [self.encode(message) for message in messages]
        again = self.framing.decoder(self._limit)
        told: list[Any] = []
        for each in encoded:
            told += again.feed(each)
        if told != list(messages):
            raise UsageError("this framing does not decode what it encodes")
        if inside or not isinstance(decoder, Layered):
            return b"".join((*encoded, decoder.held()))
        arrived: Any = [*encoded, *decoder.backlog] if decoder.in_messages else b"".join((*encoded, decoder.held()))
        for layer in reversed(self.layers):
            arrived = layer.unread(arrived)
        data: bytes = arrived
        return data

    def _choose(self, head: bytes, over: bool) -> bool:
        """Asks the chooser; True when it has chosen, and everything behind the layers so far is new."""
        chooser = self._chooser
        assert chooser is not None
        branch = chooser.choose(head, over)
        if branch is None:
            return False
        added = self._take(branch)
        if added and self._ends is not None:
            from prise.framing.packets import is_text

            ends = self._ends._replace(text=is_text(self.framing))
            for layer in added:
                layer.begin(ends)
        return True

    def _take(self, branch: Branch) -> list[Layer]:
        """Goes on as a branch says; returns the layers that it adds."""
        added = [make() for make in branch.layers]
        self.layers += added
        if branch.conversation is not None:
            self._chooser = None
            self.conversation = branch.conversation
            self._branch = branch.name
        if branch.limits is not None:
            self.limits, self._limit = branch.limits, branch.limits.message_size
            if self._ends is not None:
                self._ends = self._ends._replace(limit=self._limit)
        self._assemble(branch.framing)
        return added

    # -- changing hands ----------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """What the same pipeline in another process needs to know to go on, as JSON says it."""
        return {"branch": self._branch, "layers": [[type(layer).__name__, layer.facts()] for layer in self.layers]}

    def resume(self, facts: Any, peer: Address, local: Address) -> None:
        """In place of `begin`, for a connection of another process, whose pipeline has said `facts`. Raises HandoverError."""
        from prise.framing.packets import is_text

        branch, known = _told(facts)
        try:
            if branch and self._chooser is not None:
                self._take(self._chooser.named(branch))
            theirs, ours = [name for name, _ in known], [type(layer).__name__ for layer in self.layers]
            if self._chooser is not None or ours != theirs:
                raise HandoverError(
                    "the connection comes with the layers {theirs}, here they are {ours}",
                    theirs=", ".join(theirs) or "-",
                    ours=", ".join(ours) or "-",
                )
            self._ends = Ends(peer, local, is_text(self.framing), self._limit)
            for layer, (_, told) in zip(self.layers, known, strict=True):
                layer.resume(self._ends, told)
        except (LookupError, TypeError, ValueError, AttributeError, FrameError, UsageError) as error:
            raise HandoverError(
                "the connection comes with facts that make no sense here: {cause}", cause=shortened(str(error))
            ) from error


def _told(facts: Any) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """What another process has said of its pipeline, as far as it has the right shape. Raises HandoverError."""
    if isinstance(facts, dict):
        branch, known = facts.get("branch", ""), facts.get("layers", [])
        if isinstance(branch, str) and isinstance(known, list):
            pairs = [each for each in known if isinstance(each, list) and list(map(type, each)) == [str, dict]]
            if len(pairs) == len(known):
                return branch, [(name, told) for name, told in pairs]
    raise HandoverError("the connection comes without the facts of its layers")


class Layered(Decoder):
    """The layers and the framing's decoder, as one decoder.

    ended: the peer has ended its input inside a layer. in_messages: a layer keeps their boundaries; backlog: those that are
    not decoded yet. The error of a layer is raised when what came before it is taken.
    """

    __slots__ = ("_error", "_head", "_inner", "_pipeline", "backlog", "ended", "in_messages")

    def __init__(self, pipeline: Pipeline, inner: Decoder, in_messages: bool) -> None:
        self._pipeline = pipeline
        self._inner = inner
        self.in_messages = in_messages
        self.backlog: deque[bytes] = deque()  # whole messages; bound: what one read held
        self._head = b""  # what the chooser has seen so far; bound: its own
        self._error: FrameError | None = None
        self.more = False
        self.pending = 0
        self.ended = False

    def feed(self, data: bytes, most: int = MOST_MESSAGES, /) -> list[Any]:
        pipeline = self._pipeline
        if data:
            try:
                arrived = self._receive(pipeline.layers, data)
            except FrameError as error:
                self._error, arrived = error, b""
        else:
            arrived = [] if self.in_messages else b""
        if pipeline._chooser is not None:
            return self._undecided(arrived, False, most)
        return self._decode(arrived, most)

    def held(self) -> bytes:
        return self._inner.held()

    def end(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        pipeline = self._pipeline
        if not self.ended:
            for layer in pipeline.layers:
                if layer.ended:
                    break
                layer.receive_end()
        if pipeline._chooser is not None:
            messages = self._undecided(b"", True, MOST_MESSAGES)
            return messages + pipeline.decoder.end() if pipeline.decoder is not self else messages
        return self._inner.end()

    def _receive(self, layers: Sequence[Layer], data: Any) -> Any:
        """Takes bytes through the layers. Behind one that keeps messages, each message goes its own way."""
        several = False
        for layer in layers:
            if several:
                data = [layer.receive(each) for each in data]
            else:
                data = layer.receive(data)
                several = layer.keeps_messages
            if layer.error is not None and self._error is None:
                self._error = layer.error
            self.ended = self.ended or layer.ended
        return data

    def _undecided(self, arrived: bytes, over: bool, most: int) -> list[Any]:
        pipeline = self._pipeline
        self._head += arrived
        if self._error is not None:
            raise self._error
        known = len(pipeline.layers)
        if not pipeline._choose(self._head, over or self.ended):
            self.pending = len(self._head)
            return []
        # From here on another decoder stands in our place; it gets what we have held back.
        heir = pipeline.decoder
        if isinstance(heir, Layered):
            heir.ended = self.ended
            return heir._inherit(known, self._head, most)
        return heir.feed(self._head, most)

    def _inherit(self, known: int, head: bytes, most: int) -> list[Any]:
        """Goes on where another decoder stopped, behind the layers that both have."""
        arrived: Any = head
        if head:
            try:
                arrived = self._receive(self._pipeline.layers[known:], head)
            except FrameError as error:
                self._error, arrived = error, b""
        elif self.in_messages:
            arrived = []
        if self._pipeline._chooser is not None:
            return self._undecided(arrived, False, most)
        return self._decode(arrived, most)

    def _decode(self, arrived: Any, most: int) -> list[Any]:
        inner = self._inner
        if self.in_messages:
            backlog = self.backlog
            backlog.extend(arrived)
            messages: list[Any] = []
            while backlog and len(messages) < most:
                try:
                    messages += inner.feed(backlog.popleft())
                except FrameError as error:
                    self._error = error
                    backlog.clear()
            self.more = bool(backlog)
        else:
            self.more = False  # nor is there more behind an error that is raised here
            messages = inner.feed(arrived, most)
            self.more = inner.more
        if self._error is not None and not self.more:
            if not messages:
                raise self._error.with_traceback(None)
            self.more = True
        self.pending = 0 if self.more else inner.pending
        if not self.pending and not self.more:
            for layer in self._pipeline.layers:  # a loop: `any` with a generator costs more than all the rest here
                if layer.pending:
                    self.pending = 1
        return messages
