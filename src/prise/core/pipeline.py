"""One connection's way of the data, both ways, without I/O:

    bytes in  -> layers -> framing -> messages         feed(data)
    bytes out <- layers <- framing <- a message        encode(message)

Without layers, `feed` and `encode` *are* the framing's own methods: an unused seam costs nothing. The framing must not be fed
while `more` is True and the conversation has not caught up; that is how decoding stays behind the conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from prise.framing.base import MOST_MESSAGES, Framing
from prise.layers.base import Layer, LayerFactory


class Pipeline:
    """feed: like `Decoder.feed`; encode: like `Framing.encode`; decoder: its `more` and `pending` are for reading."""

    __slots__ = ("_layers", "decoder", "encode", "feed", "framing")

    feed: Callable[..., list[Any]]
    encode: Callable[[Any], bytes]

    def __init__(self, framing: Framing, limit: int, layers: Sequence[LayerFactory] = ()) -> None:
        self.decoder = framing.decoder(limit)
        self._layers: tuple[Layer, ...] = tuple(make() for make in layers)
        self.framing = framing
        if self._layers:
            self.feed = self._feed_layers
            self.encode = self._encode_layers
        else:
            self.feed = self.decoder.feed
            self.encode = framing.encode

    @property
    def layered(self) -> bool:
        return bool(self._layers)

    @property
    def encoding(self) -> Framing | None:
        """The framing, where the bytes of a message depend on nothing else; None where a layer may change them."""
        return None if self._layers else self.framing

    @property
    def ready(self) -> bool:
        """True when every layer's handshake is over."""
        return all(layer.ready for layer in self._layers)

    def output(self) -> bytes:
        """What the layers themselves want to send now (answers to a handshake, for example)."""
        outgoing = b""
        for layer in reversed(self._layers):
            outgoing = (layer.send(outgoing) if outgoing else b"") + layer.output()
        return outgoing

    def end_output(self) -> bytes:
        """The layers' last words, when nothing more will be sent."""
        outgoing = b""
        for layer in reversed(self._layers):
            outgoing = (layer.send(outgoing) if outgoing else b"") + layer.end()
        return outgoing

    def _feed_layers(self, data: bytes, most: int = MOST_MESSAGES) -> list[Any]:
        for layer in self._layers:
            data = layer.receive(data)
        return self.decoder.feed(data, most)

    def _encode_layers(self, message: Any) -> bytes:
        data = self.framing.encode(message)
        for layer in reversed(self._layers):
            data = layer.send(data)
        return data
