"""Moves the bytes of a talk: takes the steps of its procedures (steps.py), and does them on connections of prise.

Written once, as coroutines. What really waits are the `Link`s below it: on a blocking connection their methods never suspend,
so the coroutine runs to its end when it is first stepped, and no event loop is needed.

Time: a server has `timeout` seconds for each answer, however many pieces it comes in, and in a long one for each further
KiB: a byte now and then is not progress. The time that the caller takes to use what he got does not count.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from prise.address import Address
from prise.clients.connect import CLIENT_LIMITS, Retry, connect
from prise.errors import ConnectionLost, PeerError, PriseError, Refused, TooSlow, UsageError
from prise.framing import Chunks
from prise.protocols.links import Link, Links
from prise.protocols.source import Failed
from prise.protocols.steps import (
    MAIN,
    Accept,
    Close,
    Dial,
    End,
    Items,
    Listen,
    Now,
    Peer,
    Receive,
    Reconnect,
    Send,
    StartTLS,
    Step,
    Steps,
)
from prise.protocols.target import Target
from prise.tls import TLS

PROGRESS = 1024
"""Bytes that count as progress: with them a server's time begins anew."""


@dataclass(frozen=True, slots=True)
class Way:
    """How the server is reached. address: where to connect in place of the URL's host and port, any address of prise's. tls: whom
    to trust. via, retry: as for `prise.connect`. timeout: seconds, see above; None: no limit."""

    address: Address | None = None
    tls: TLS | None = None
    via: Any = ()
    timeout: float | None = 30.0
    retry: int | Retry = 1


class Mover:
    """The connections of one session, and what runs over them.

    received: bytes that came in all, on all links. usable: False once a procedure has broken off, so that nobody knows what the
    server would say next. busy: a procedure runs; another one in the middle of it would take its answers.
    """

    def __init__(self, links: Links, target: Target, way: Way) -> None:
        self._make = links
        self._target = target
        self._way = way
        self._home = (target.host, target.port)  # what `way.address` stands in the place of
        self._tls = way.tls
        self._proxied = False  # a proxy is in between
        self.timeout = way.timeout
        self._links: dict[int, Link] = {}
        self._number = MAIN
        self.received = 0
        self.usable = True
        self.busy = False
        self._waited = 0.0  # seconds, for the answer that is awaited
        self._progress = 0  # bytes of it

    @property
    def tls(self) -> TLS:
        """What is trusted; made when it is needed, since reading the system's certificates takes 20 ms."""
        self._tls = self._tls or TLS()
        return self._tls

    @property
    def is_open(self) -> bool:
        """There is a main link."""
        return MAIN in self._links

    @property
    def main(self) -> Any:
        """The connection of the main link. Raises UsageError where there is none (any more)."""
        self._refuse_if_closed()
        return self._links[MAIN].connection

    async def open(self) -> None:
        """Connects the main link, and encrypts it where the URL says so."""
        await self._dial(self._target.port)
        if self._target.tls and self.main.tls is None:
            await self._start_tls(MAIN)

    async def run(self, steps: Steps[Any]) -> Any:
        """Runs a procedure that gives one result."""
        values = await self._advance(steps)
        assert not isinstance(values, Items), "a procedure with items is run by `next_items`"
        return values

    async def next_items(self, steps: Steps[None]) -> Any:
        """Runs a procedure until it gives items; None at its end."""
        if not self.usable:
            raise self._cut()
        values = await self._advance(steps, talked=True)
        return values.values if isinstance(values, Items) else None

    async def _advance(self, steps: Steps[Any], talked: bool = False) -> Any:
        """Until there are items or a result. Whatever breaks off in the middle leaves the session of no use.

        talked: something was said already. Between items it was, even if all that they are made of is here.
        """
        if not self.usable:
            raise UsageError(
                "this session broke off in the middle of an answer and is closed: open another one", peer=self._target
            )
        self._refuse_if_closed()
        self.refuse_if_busy()
        self.busy = True
        try:
            return await self._stepped(steps, talked)
        except Failed as failure:
            raise failure.error from None
        finally:
            self.busy = False

    async def _stepped(self, steps: Steps[Any], talked: bool) -> Any:
        answer: Any = None
        error: PriseError | None = None
        failed: PriseError | None = None  # the last step that did
        if not talked:
            self._waited, self._progress = 0.0, 0  # else a byte with each item would do
        try:
            while True:
                try:
                    step = steps.throw(error) if error is not None else steps.send(answer)
                except StopIteration as end:
                    return end.value
                if isinstance(step, Items):
                    return step
                talked = True
                answer, error = None, None
                try:
                    answer = await self._do(step)
                except PriseError as failure:
                    failure.peer = failure.peer or self._target
                    error = failed = failure
        except PriseError as failure:
            if isinstance(failure, PeerError):
                failure.peer = failure.peer or self._target  # readers of bytes do not know where these come from
            # A wait that the procedure itself has ended, by Receive(seconds), leaves nothing undone. After a step that failed
            # an answer may still come, in whatever words the procedure says so: the next command would take it for its own.
            ended = isinstance(failure, TooSlow) and failed is None
            if talked and not ended and not is_harmless(failure):
                self.break_off()
            raise
        except BaseException:  # Ctrl-C, a cancelled task, a mistake, a file that cannot be read
            if talked:
                self.break_off()
            raise

    def refuse_if_busy(self) -> None:
        """Raises UsageError where another thread or task is in the middle of a procedure; that one goes on."""
        if self.busy:
            raise UsageError(
                "another thread or task uses this session just now: each needs a session of its own", peer=self._target
            )

    def _refuse_if_closed(self) -> None:
        if not self.is_open:
            raise UsageError("this session is closed: open another one", peer=self._target)

    async def _do(self, step: Step) -> Any:
        if step is None:
            return await self._receive(MAIN, None)
        if isinstance(step, bytes):
            self._waited, self._progress = 0.0, 0
            return await self._links[MAIN].send(step)
        match step:
            case Send(data, link):
                self._waited, self._progress = 0.0, 0
                return await self._links[link].send(data)
            case Receive(seconds, link):
                return await self._receive(link, seconds)
            case StartTLS(link):
                return await self._start_tls(link)
            case Dial(port):
                return await self._dial(port)
            case Listen():
                if self._proxied:
                    raise UsageError("the server cannot connect to us through a proxy: leave `active` out")
                host = self.main.local.host or "127.0.0.1"
                return await self._make.listen(host)
            case Accept():
                return self._keep(await self._make.accept(self.timeout))
            case Peer(link):
                where = Address("tcp", self._target.host, self._target.port)
                return where if self._proxied else self._links[link].connection.peer
            case End(link):
                return await self._links[link].end()
            case Reconnect(target):
                return await self._reconnect(target)
            case Close(link):
                return await self._links.pop(link).close()
            case Now():
                return time.monotonic()
        raise TypeError(f"{step!r} is no step")

    async def _receive(self, link: int, seconds: float | None) -> bytes | None:
        patience = seconds
        if seconds is None and self.timeout is not None:
            patience = max(self.timeout - self._waited, 0.001)
        begun = time.monotonic()
        try:
            data = await self._links[link].receive(patience)
        except TooSlow as error:
            if seconds is not None:
                return None
            raise TooSlow(
                "the server did not answer within {seconds:g} s",
                operation="receive",
                peer=self._target,
                seconds=self.timeout,
            ) from error
        if not data and not self.usable:  # no end of the server's: another thread has cut it
            raise self._cut()
        size = len(data)
        self.received += size
        if seconds is None:
            self._waited += time.monotonic() - begun
            self._progress += size
            if self._progress >= PROGRESS:
                self._waited, self._progress = 0.0, 0
        return data

    def _cut(self) -> ConnectionLost:
        return ConnectionLost("the session was cut on this side", operation="receive", peer=self._target)

    async def _dial(self, port: int) -> int:
        first = not self._links
        at_home = (self._target.host, port) == self._home
        address = self._way.address if at_home else None
        if address is None:
            # A second link goes to the host that the first one reached, whatever a server says (RFC 2577 §3).
            host = self._target.host
            address = Address("tcp", host, port)
            if not first and not self._proxied and self._way.address is None and self.main.peer.host is not None:
                address = Address("tcp", self.main.peer.host, port)
        shaking = CLIENT_LIMITS.handshake_time
        if self.timeout is not None and shaking is not None:
            shaking = min(shaking, self.timeout)
        limits = replace(CLIENT_LIMITS, write_time=self.timeout, handshake_time=shaking)
        connector = connect(
            address,
            framing=Chunks(),
            timeout=self.timeout,
            limits=limits,
            tls=self._tls,
            via=self._way.via,
            retry=self._way.retry if first else 1,
        )
        self._proxied = connector.proxied
        return self._keep(await self._make.dial(connector))

    def _keep(self, link: Link) -> int:
        number = self._number
        self._number += 1
        self._links[number] = link
        if not self.usable:  # cut by another thread while it was made
            link.abort()
        return number

    async def _start_tls(self, link: int) -> None:
        if link != MAIN and self._links[link].connection.tls is not None:
            return  # `address` has it already
        tls: Any = self.tls if link == MAIN else self.tls.resuming(self.main, self._target.host)
        await self._links[link].start_tls(tls, self._target.host)

    async def _reconnect(self, target: Target) -> Any:
        for link in self._links.values():
            link.abort()
        await self.close()
        self._target, self._number = target, MAIN
        await self.open()
        self._waited, self._progress = 0.0, 0
        return self.main.tls

    def break_off(self) -> None:
        """Cuts everything: nobody knows what would come next."""
        self.usable = False
        for link in list(self._links.values()):  # another thread may be about to add one
            link.abort()

    async def close(self) -> None:
        """Closes all links."""
        try:
            await self._make.close()
            for number in sorted(self._links, reverse=True):
                await self._links.pop(number).close()
        finally:
            for link in self._links.values():  # Ctrl-C, a cancelled task: nobody closes the others any more
                link.abort()
            self._links.clear()


def is_harmless(error: PriseError) -> bool:
    """True for errors after which the session goes on as before: a no of the server, and calls that were wrong."""
    return isinstance(error, Refused | UsageError)
