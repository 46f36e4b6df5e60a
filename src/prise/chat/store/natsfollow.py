"""A stream of JetStream, followed in order and without gaps, or not at all: whoever follows begins anew then.

The server sends a sign of life twice a second when there is nothing else, so that its silence says something; and it asks now
and then whether what it sent was taken, so that it sends no more than can be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from prise import UsageError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.client import JetStreamContext

HEARTBEAT = 0.5
"""Seconds of silence after which the server gives a sign of life."""

TICK = 0.5
"""Seconds between two calls of `Follower.tick`."""

MOST_SILENCE = 5
"""Ticks without a sign of life. Ticks and not seconds: when this process itself was held up, they were too."""

Heard: TypeAlias = Callable[[str, int, bytes, Mapping[str, str], int], Awaitable[None]]
"""Takes subject, sequence, payload, headers, and how many are still to come. While it is awaited the next one waits."""


class Follower:
    """heard: takes what is in the stream. lose: is told why it cannot go on. send: sends to a subject."""

    def __init__(self, heard: Heard, lose: Callable[[str], None], send: Callable[[str, bytes], None]) -> None:
        self._heard = heard
        self._lose = lose
        self._send = send
        self._last = 0
        self._silence = 0

    async def begin(
        self, client: Client, context: JetStreamContext, stream: str, start: int, subjects: str = ""
    ) -> int:
        """start: the sequence to begin with; 0: with the last of each of these subjects. Returns how many there are.

        Raises UsageError, and the errors of nats-py.
        """
        from nats.js import api

        inbox = client.new_inbox()
        config = api.ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE if start else api.DeliverPolicy.LAST_PER_SUBJECT,
            opt_start_seq=start or None,
            filter_subject=subjects or None,
            ack_policy=api.AckPolicy.NONE,
            max_deliver=1,
            idle_heartbeat=HEARTBEAT,
            flow_control=True,
            num_replicas=1,
            mem_storage=True,
        )
        await client.subscribe(inbox, cb=self._delivered)
        info = await context.add_consumer(stream, config)
        made = info.config
        if (made.opt_start_seq or 0) != start or (made.filter_subject or "") != subjects or not made.idle_heartbeat:
            raise UsageError("nats-server cannot deliver the stream {stream} as it is needed", stream=stream)
        # Some may have been sent before this answer was.
        return (info.num_pending or 0) + (info.delivered.consumer_seq if info.delivered else 0)

    async def _delivered(self, message: Msg) -> None:
        self.alive()
        headers = message.headers or {}
        if "Status" in headers:
            self._control(headers, message.reply)
            return
        fields = message.reply.split(".")  # ADR-15 of NATS; the second form has a domain and an account in front
        first = 5 if len(fields) == 9 else 7
        sequence, count, pending = int(fields[first]), int(fields[first + 1]), int(fields[first + 3])
        if count != self._last + 1:
            self._lose("messages of the stream got lost on their way")
            return
        self._last = count
        await self._heard(message.subject, sequence, message.data, headers, pending)

    def _control(self, headers: Mapping[str, str], reply: str) -> None:
        stalled = reply or headers.get("Nats-Consumer-Stalled")
        if headers["Status"] != "100":
            self._lose(headers.get("Description") or headers["Status"])
        elif stalled:
            self._send(stalled, b"")  # all before it was taken
        elif int(headers.get("Nats-Last-Consumer", self._last)) != self._last:
            self._lose("messages of the stream got lost on their way")

    def alive(self) -> None:
        """There was a sign of life, or it is ourselves who are slow."""
        self._silence = 0

    def tick(self) -> None:
        """To be called every `TICK` seconds."""
        self._silence += 1
        if self._silence > MOST_SILENCE:
            self._lose("the backplane is silent")
