"""The successor's side of a succession (succession.py): asks a server for all it has, and holds that until it can go on."""

from __future__ import annotations

import os
from typing import Any

from prise.errors import HandoverError, HandoverProtocolError, HandoverRefused
from prise.handover.channel import Channel
from prise.handover.received import Received, check, unpacked

READY_TIME = 10.0
"""Seconds that the successor has between what it got and its `ready`; nobody is served in that time."""

MOST = 100_000
"""Connections and listeners that a successor takes."""


class Inheritance:
    """What a successor got; `commit` makes it ours, `close` gives it up (and the predecessor goes on).

    listeners, connections: as they came, each with {"address": ..., ...} as its state. legacy: what the predecessor left
    besides.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.listeners: list[Received] = []
        self.connections: list[Received] = []
        self.legacy: Any = None

    @property
    def addresses(self) -> list[str]:
        """Where the predecessor listens, as it was told."""
        return list(dict.fromkeys(address_of(received) for received in self.listeners))

    def listening_at(self, address: str) -> list[Received]:
        """Takes out the listeners of this address."""
        found = [received for received in self.listeners if address_of(received) == address]
        self.listeners = [received for received in self.listeners if received not in found]
        return found

    def take_connections(self) -> list[Received]:
        """The connections: from now on they are the caller's to close."""
        connections, self.connections = self.connections, []
        return connections

    def commit(self) -> None:
        """From here on it is ours. Raises HandoverError when the predecessor has taken it back, or is gone."""
        try:
            self._channel.tell("ready")
            answer = self._channel.hear(READY_TIME)
            if answer is None or answer["type"] != "yours":
                raise HandoverRefused("the old process has not let go of its connections", operation="take over")
        except BaseException:
            self.close()
            raise
        for received in self.listeners:  # addresses that we were not told to serve
            received.close()

    def settled(self) -> None:
        """Tells the predecessor that whoever comes next finds us."""
        self._channel.close()

    def close(self) -> None:
        for received in (*self.listeners, *self.connections):
            received.close()
        self._channel.close()


def listens_to_us(channel: Channel, path: str, operation: str) -> None:
    """A server hangs up on other users without a word. Raises HandoverRefused when that may be why."""
    server = channel.credentials
    if server is not None and server.uid != os.geteuid():
        raise HandoverRefused(
            "the server at {path} belongs to another user (number {uid}), and does not listen to us",
            operation=operation,
            path=path,
            uid=server.uid,
        )


def inherit(path: str, connections: bool = True) -> Inheritance | None:
    """Asks the server at this path for all it has; None when there is none.

    connections: also the live ones. Raises HandoverRefused with its reason, HandoverError.
    """
    try:
        channel = Channel.connect(path)
    except HandoverError:
        return None
    inheritance = Inheritance(channel)
    try:
        channel.tell("succeed", connections=connections, pid=os.getpid())
        for _ in range(MOST):
            try:
                frame = channel.next_frame(READY_TIME)
            except HandoverError:  # it hung up before it had read that
                listens_to_us(channel, path, "take over")
                raise
            if frame is None:
                listens_to_us(channel, path, "take over")
                raise HandoverRefused("the old process closed the channel", operation="take over")
            if frame.header["type"] == "handover":
                check(frame)
                received = unpacked(frame, channel.credentials, as_is=True)
                told = told_of(received)
                if told.get("as") not in ("listener", "connection") or not isinstance(told.get("address"), str):
                    received.close()
                    raise HandoverProtocolError("what the old process sent does not say where it belongs")
                (inheritance.listeners if told["as"] == "listener" else inheritance.connections).append(received)
                channel.tell("ack", ok=True)
            elif frame.header["type"] == "all":
                inheritance.legacy = frame.header.get("legacy")
                return inheritance
            else:
                raise HandoverRefused(
                    "the old process goes on: {reason}",
                    operation="take over",
                    reason=str(frame.header.get("error", "-"))[:500],
                )
        raise HandoverProtocolError("the old process sends more than {most} connections", most=MOST)
    except BaseException:
        inheritance.close()
        raise


def told_of(received: Received) -> dict[str, Any]:
    """What the predecessor has told of it: "as", "address", and of a connection its "state" and "facts"."""
    return received.state if isinstance(received.state, dict) else {}


def address_of(received: Received) -> str:
    """Where it belongs, as the predecessor was told to listen."""
    return str(told_of(received).get("address", ""))
