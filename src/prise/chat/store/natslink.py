"""One connection of a node to NATS, from dialling until it is lost; nothing is mended, the next link begins anew.

So nothing waits in buffers that nobody sees, and there is one way to begin: check the stream, follow it from the number that
the node has, follow the facts. nats-py's own reconnecting and its ordered consumers are not used: they publish what waited
before the node knows what became of it, and a consumer stays deaf for up to 20 s after the server was restarted.

Only what JetStream 2.9 knows is used, since an older server says yes to newer settings and ignores them; what was asked for
is compared with what the server says it has made.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from prise import ConnectError, MissingExtra, PriseError, UsageError
from prise.chat.store.natsfollow import Follower, Heard
from prise.chat.store.natswire import Backplane, name_of, token

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.js.client import JetStreamContext

log = logging.getLogger("prise.chat")

ANSWER_TIME = 3.0
"""Seconds that JetStream has for an answer."""

DIAL_TIME = 2
"""Seconds for each step of the connecting."""


class Listener(Protocol):
    """Who hears of it. What is awaited holds up what follows, back to the server."""

    async def said(self, sequence: int, data: bytes, pending: int, /) -> None:
        """The next message of the stream."""

    async def noted(self, revision: int, key: str, value: str, pending: int, /) -> None:
        """A fact; "" for one that is gone."""

    def answered(self, number: int, answer: Mapping[str, Any], /) -> None:
        """JetStream's answer to what was published under this number."""

    def people(self, data: bytes, /) -> None:
        """Another node's word of its people, or our own."""


class Link:
    """lost: done, with the reason, once the link has to be given up; `close` it then. first, last: what the stream had when
    `open` was done, as the numbers of messages."""

    def __init__(self, backplane: Backplane, listener: Listener) -> None:
        self.backplane = backplane
        self.lost: asyncio.Future[PriseError] = asyncio.get_running_loop().create_future()
        self.first = self.last = 0
        self._listener = listener
        self._followers: list[Follower] = []
        self._trouble: BaseException | None = None
        self._out: deque[tuple[str, bytes, str, dict[str, str] | None]] = deque()
        self._more, self._idle = asyncio.Event(), asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._inbox = ""
        self._client: Client
        self._stream: JetStreamContext

    # -- beginning ---------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connects, and finds the stream and the bucket, or makes them. Raises ConnectError, UsageError, MissingExtra."""
        from prise.chat.store import natsstream

        where = self.backplane
        client = await self._dial()
        version = client.connected_server_version
        if (version.major, version.minor) < (2, 9):
            raise UsageError(
                "nats-server at {where} is {version}; 2.9 or newer is needed",
                where=where,
                version=f"{version.major}.{version.minor}",
            )
        self._stream = client.jetstream(timeout=ANSWER_TIME)
        with self.asking():
            state = await natsstream.prepared(self._stream, where)
        self.first, self.last = state.first_seq, state.last_seq
        self._inbox = client.new_inbox()
        with self.asking():
            await client.subscribe(f"{self._inbox}.*", cb=self._answered)
        self._sender = asyncio.create_task(self._send())

    async def _dial(self) -> Client:
        try:
            import nats.errors
            from nats.aio.client import Client
        except ImportError:
            raise MissingExtra(
                "the package {package} is not installed; get it with: pip install 'prise[{extra}]'",
                package="nats-py",
                extra="nats",
            ) from None
        where = self.backplane
        client = self._client = Client()
        try:
            await client.connect(
                list(where.servers),
                name="prise chat",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=DIAL_TIME,
                error_cb=self._met_trouble,
                closed_cb=self._closed,
                tls=self._tls(),
                user=where.user if where.password is not None else None,
                password=where.password,
                token=where.user if where.password is None else None,
                user_credentials=where.credentials or None,
            )
        except ImportError:
            await self.close()
            raise MissingExtra(
                "credentials are signed with the package nkeys, which is not installed; get it with: pip install nkeys"
            ) from None
        except (OSError, nats.errors.Error, TimeoutError, ValueError) as error:
            await self.close()
            # "no servers" says less than the reason of the last attempt.
            cause = error if not isinstance(error, nats.errors.NoServersError) else self._trouble or error
            raise ConnectError(
                "the backplane does not answer ({cause}); is nats-server running there?",
                operation="connect",
                peer=str(where),
                cause=plain(cause),
            ) from error
        return client

    def _tls(self) -> Any:
        if not self.backplane.secure:
            return None
        import ssl

        try:
            return ssl.create_default_context(cafile=self.backplane.ca or None)
        except OSError as error:
            raise UsageError(
                "{path}: no certificates can be read there: {cause}",
                path=self.backplane.ca,
                cause=error.strerror or error,
            ) from error

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While JetStream is asked. Raises UsageError, ConnectError instead of the errors of nats-py."""
        import nats.errors
        import nats.js.errors

        try:
            yield
        except nats.js.errors.ServiceUnavailableError as error:
            raise UsageError(
                "nats-server at {where} has no JetStream (or, in a cluster, no leader now); start it with -js",
                where=self.backplane,
            ) from error
        except nats.js.errors.APIError as error:
            raise UsageError(
                "nats-server at {where} refuses: {cause}", where=self.backplane, cause=error.description or error
            ) from error
        except (OSError, nats.errors.Error, TimeoutError) as error:
            raise ConnectError("nats-server at {where}: {cause}", where=self.backplane, cause=plain(error)) from error

    async def message(self, number: int) -> bytes | None:
        """What the stream has under this number; None: nothing (any more)."""
        import nats.js.errors

        with self.asking():
            try:
                return (await self._stream.get_msg(self.backplane.name, seq=number)).data or b""
            except nats.js.errors.NotFoundError:
                return None

    async def begin_behind(self, number: int) -> None:
        """Lets the numbers of the stream, which is empty, begin behind this one."""
        with self.asking():
            await self._stream.purge_stream(self.backplane.name, seq=number + 1)
        self.first, self.last = number + 1, number

    # -- following -----------------------------------------------------------------------------------------------------------

    async def follow(self, after: int) -> int:
        """From now on the listener hears each message behind this number; it returns how many there are."""

        async def said(subject: str, sequence: int, data: bytes, headers: Mapping[str, str], pending: int) -> None:
            await self._listener.said(sequence, data, pending)

        return await self._follow(said, self.backplane.name, after + 1)

    async def follow_facts(self) -> int:
        """From now on the listener hears of all facts, and then of each that changes; it returns how many there are."""

        async def noted(subject: str, revision: int, data: bytes, headers: Mapping[str, str], pending: int) -> None:
            try:
                key = name_of(subject.removeprefix(self.backplane.facts))
                value = "" if "KV-Operation" in headers else data.decode()
            except ValueError:
                key = value = ""  # somebody else's: no node of ours writes such
            await self._listener.noted(revision, key, value, pending)

        return await self._follow(noted, f"KV_{self.backplane.name}", 0, f"{self.backplane.facts}>")

    async def _follow(self, heard: Heard, stream: str, start: int, subjects: str = "") -> int:
        follower = Follower(heard, self.lose, self.send)
        with self.asking():
            count = await follower.begin(self._client, self._stream, stream, start, subjects)
        self._followers.append(follower)
        return count

    def alive(self) -> None:
        """What holds us up is our own disk."""
        for follower in self._followers:
            follower.alive()

    def tick(self) -> None:
        """To be called every `TICK` seconds."""
        for follower in self._followers:
            follower.tick()

    # -- sending -------------------------------------------------------------------------------------------------------------

    def publish(self, number: int, room: str, data: bytes, id: str) -> None:
        """Sends a message for the stream, behind what was sent before; the answer has this number."""
        self.send(self.backplane.log + token(room), data, f"{self._inbox}.{number}", {"Nats-Msg-Id": id})

    def send(self, subject: str, data: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Never waits: what holds up is lost with the link within seconds."""
        self._out.append((subject, data, reply, headers))
        self._idle.clear()
        self._more.set()

    async def _send(self) -> None:
        import nats.errors

        while True:
            self._idle.set()
            await self._more.wait()
            self._more.clear()
            while self._out:
                subject, data, reply, headers = self._out.popleft()
                try:
                    await self._client.publish(subject, data, reply, headers)
                except nats.errors.MaxPayloadError as error:
                    if reply:
                        self._listener.answered(int(reply.rpartition(".")[2]), {"error": {"description": plain(error)}})
                except (nats.errors.Error, OSError) as error:
                    self.lose(plain(error))
                    return

    async def _answered(self, message: Msg) -> None:
        if "Status" in (message.headers or {}):  # no responders
            self.lose("JetStream is not there, or has no leader now")
            return
        self._listener.answered(int(message.subject.rpartition(".")[2]), json.loads(message.data))

    async def listen_to_people(self) -> None:
        """From now on the listener hears of the people of all nodes."""

        async def heard(message: Msg) -> None:
            self._listener.people(message.data)

        with self.asking():
            await self._client.subscribe(self.backplane.people, cb=heard)

    def send_people(self, data: bytes) -> None:
        self.send(self.backplane.people, data)

    async def put(self, key: str, value: str, new: bool) -> tuple[int, bool]:
        """Keeps a fact, and returns the revision of the bucket, and whether it is ours: with `new`, another one may be there."""
        import nats.js.errors

        subject = token(key)
        with self.asking():
            if not value:
                deleted = {"KV-Operation": "DEL"}
                answer = await self._stream.publish(self.backplane.facts + subject, headers=deleted)
                return answer.seq, True
            bucket = await self._stream.key_value(self.backplane.name)
            if not new:
                return await bucket.put(subject, value.encode()), True
            try:
                return await bucket.create(subject, value.encode()), True
            except nats.js.errors.KeyWrongLastSequenceError:
                entry = await bucket.get(subject)
                return entry.revision or 0, False

    # -- ending --------------------------------------------------------------------------------------------------------------

    def lose(self, cause: str | PriseError) -> None:
        """Gives the link up."""
        if not self.lost.done():
            self.lost.set_result(cause if isinstance(cause, PriseError) else PriseError("{cause}", cause=cause))

    async def _met_trouble(self, error: Exception) -> None:
        import nats.errors

        self._trouble = error
        if not isinstance(error, OSError | TimeoutError | nats.errors.Error):
            log.error("the backplane: a message could not be dealt with", exc_info=error)
            self.lose(plain(error))

    async def _closed(self) -> None:
        self.lose(plain(self._trouble) if self._trouble else "the connection was closed")

    async def flush(self) -> None:
        """Waits, a second at the most, until what was sent is there."""
        import nats.errors

        try:
            async with asyncio.timeout(1):
                await self._idle.wait()
                await self._client.flush(1)
        except (OSError, nats.errors.Error, TimeoutError):
            pass

    async def close(self) -> None:
        """Ends it, whatever state it is in."""
        self.lose("closed")
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.wait([self._sender])
        client = getattr(self, "_client", None)
        if client is None:
            return
        # What is still in the socket's buffer can hold up an orderly end for minutes when the network is gone, so it is cut;
        # what had to get out was waited for (`flush`). nats-py has no public way to.
        writer = getattr(client._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()
        tasks = [client._reading_task, client._ping_interval_task, client._flusher_task]
        tasks += [subscription._wait_for_msgs_task for subscription in client._subs.values()]
        try:
            async with asyncio.timeout(1):
                await client.close()
        except Exception as error:  # of a client that was cut in the middle of something
            log.debug("the backplane: closing: %r", error)
        if started := [task for task in tasks if task is not None and task is not asyncio.current_task()]:
            for task in started:
                task.cancel()
            await asyncio.wait(started, timeout=1)


def plain(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).removeprefix("nats: ") or type(error).__name__
