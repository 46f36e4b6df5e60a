"""For testing conversations: without any socket, over a pair of connections in memory, or against every model.

replies = prise.testing.play(form, ["Zoé", "FIN"])            a generator conversation, no I/O at all
left, right = prise.testing.pair(framing="lines")             two connected Connections
prise.connect("mem:room"), prise.listen(f, "mem:room")        clients and servers without the network
prise.testing.faults.proxy(address, faults.Split(1))          a bad network in between
prise.testing.conformance.CASES                               what every model must do, as callable checks
prise.testing.FakeClock                                       time that moves when the test says so
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import Any

from prise.connection.blocking import Connection
from prise.core.conversation import Conversation, last_word, spelling_of
from prise.core.limits import Limits
from prise.core.pipeline import Pipeline
from prise.errors import UsageError
from prise.framing import Framing, framing_of


def pair(framing: str | Framing = "lines", limits: Limits | None = None) -> tuple[Connection, Connection]:
    """Two blocking connections that are each other's peer, in memory. Close both."""
    limits = limits or Limits(idle_time=None)
    framing = framing_of(framing)
    left, right = socket.socketpair()
    return (
        Connection(left, Pipeline(framing, limits.message_size), limits),
        Connection(right, Pipeline(framing, limits.message_size), limits),
    )


def play(conversation: Conversation, messages: Iterable[Any], connection: Any = None) -> list[Any]:
    """Plays a generator conversation against the given messages and returns everything it says, without any socket.

    When the messages are used up the input ends, as if the peer had left. connection: what the conversation is given.
    Raises what the conversation raises, and UsageError for another spelling.
    """
    if spelling_of(conversation) != "generator":
        raise UsageError("only a generator conversation can be played without a connection; use prise.testing.pair")
    generator = conversation(connection)
    said = []
    try:
        said.append(generator.send(None))
        for message in messages:
            said.append(generator.send(message))
    except StopIteration as stop:
        said.append(stop.value)
    else:
        said.append(last_word(generator))
    return [word for word in said if word is not None]


class FakeClock:
    """A clock to be called like `time.monotonic`; it moves only by `advance`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
