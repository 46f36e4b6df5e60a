"""What a layer is: it changes the bytes of one connection on their way in and out, and may talk with the other side itself.

A layer does no I/O. One instance serves one connection; a server is given a factory (usually the class).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable


class Layer(ABC):
    """One connection's layer. `ready` turns True when its handshake, if it has one, is over."""

    ready: bool = True

    @abstractmethod
    def receive(self, data: bytes) -> bytes:
        """Takes bytes from the outside, returns those meant for the inside. Raises FrameError for what breaks the layer."""

    @abstractmethod
    def send(self, data: bytes) -> bytes:
        """Takes bytes from the inside, returns those that go outside."""

    def output(self) -> bytes:
        """What the layer itself has to say to the outside since it was last asked."""
        return b""

    def end(self) -> bytes:
        """The inside has nothing more to send: the layer's own last words."""
        return b""


LayerFactory = Callable[[], Layer]
