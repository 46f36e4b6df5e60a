"""What the tests of bad networks share: every model on every transport, clients of both colours, and a look at what is left over.

A `Scene` is a server in one model on one transport. Its clients send numbered messages of all sizes and compare what comes back,
so that a byte which is lost, doubled, changed or out of place is seen.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import prise
from prise.testing import conformance, faults
from prise.testing.faults import Fault, Way
from tls_support import Issued, authority, client_tls, issue, localhost

SECONDS = float(os.environ.get("TORTURE_SECONDS", "5"))
PATIENCE = 20.0

MODELS = ("threads", "processes", "select", "asyncio", "uvloop")
"""uvloop: the model asyncio on that loop; asyncio: on Python's own."""

TRANSPORTS = ("tcp", "unix", "tls", "ws", "wss")

SPELLINGS = {
    "threads": ("function", "generator", "coroutine"),
    "processes": ("coroutine", "function", "generator"),
    "select": ("generator", "coroutine"),
    "asyncio": ("coroutine", "generator"),
    "uvloop": ("generator", "coroutine"),
}
"""One after the other with the transports, so that each model meets each of its spellings."""

FRAMING = "prefixed:4 | text"
"""A message that was cut is no message in it. (A last line without its end is one, to the framing of lines.)"""

BREAKS = (faults.Truncate, faults.Reset)
WAYS: tuple[Way | None, ...] = (None, "up", "down")

WHATEVER_A_PEER_DOES = (prise.PeerError,)
"""The errors with which a conversation on a broken network may end; anything else is a fault of ours."""


@dataclass
class Scene:
    """A server of an echo. Leaving it proves that nothing is left over.

    host: where it listens. inside: a context in which its sockets are made (a namespace). options: more for `prise.listen`.
    """

    model: str
    transport: str
    folder: Path
    host: str = "127.0.0.1"
    inside: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    limits: prise.Limits = field(default_factory=lambda: prise.Limits(linger_time=0.2))
    conversation: str = "echo"
    options: dict[str, Any] = field(default_factory=dict)
    server: prise.Server = field(init=False)

    @property
    def spelling(self) -> str:
        spellings = SPELLINGS[self.model]
        place = TRANSPORTS.index(self.transport) if self.transport in TRANSPORTS else 0
        return spellings[place % len(spellings)]

    @property
    def address(self) -> str:
        issued = localhost() if self.host == "127.0.0.1" else elsewhere(self.host)
        certificate = f"cert={issued.cert},key={issued.key}"
        return {
            "tcp": f"{self.host}:0",
            "unix": f"unix:{self.folder}/{self.model}",
            "tls": f"tls,{certificate}:{self.host}:0",
            "ws": f"ws://{self.host}:0",
            "wss": f"wss,{certificate}:{self.host}:0",
            "udp": f"udp:{self.host}:0",
        }[self.transport]

    @contextlib.contextmanager
    def on(self) -> Iterator[Scene]:
        if self.model == "uvloop":
            _warm_up()
        before = Left.now()
        uvloop = os.environ.get("PRISE_UVLOOP")
        os.environ["PRISE_UVLOOP"] = "1" if self.model == "uvloop" else "0"
        try:
            self.server = prise.listen(
                getattr(conformance, f"{self.conversation}_{self.spelling}"),
                self.address,
                model="asyncio" if self.model == "uvloop" else self.model,
                framing=FRAMING,
                limits=self.limits,
                **self.options,
            )
            with self.inside():
                self.server.start()
            try:
                yield self
                self.empty()
            finally:
                self.server.drain()
        finally:
            os.environ.pop("PRISE_UVLOOP")
            if uvloop is not None:
                os.environ["PRISE_UVLOOP"] = uvloop
        assert self.server.stats().open == 0
        before.unchanged()

    def empty(self, left: int = 0) -> None:
        """Waits until no more than these connections are open; on a datagram transport nothing says that one is over."""
        if self.transport != "udp":
            until(lambda: self.server.stats().open <= left, f"connections closed, {self.server.stats()}")

    def connect(self, address: prise.Address | None = None, **options: Any) -> Any:
        """A client, directly or by another address."""
        tls = client_tls() if self.transport in ("tls", "wss") else None
        return prise.connect(address or self.server.address, framing=FRAMING, tls=tls, **options)

    def answers(self, address: prise.Address | None = None) -> None:
        with self.connect(address) as client:
            assert client.ask("are you there?", timeout=PATIENCE) == "are you there?"


@functools.cache
def elsewhere(host: str) -> Issued:
    """A certificate for an address of a namespace."""
    return issue(host, (host,), issuer=authority())


@functools.cache
def _warm_up() -> None:
    """libuv opens a pipe for the whole process with its first loop, and keeps it."""
    import uvloop

    uvloop.new_event_loop().close()


def messages(dice: Random, count: int, most: int = 2000) -> list[str]:
    """Numbered, of all sizes up to `most` characters; some are empty but for the number."""
    alphabet = "abcdefghijklmnopqrstuvwxyz é€\n\0"
    found = []
    for number in range(count):
        size = int(most ** dice.random())
        found.append(f"{number} " + "".join(dice.choices(alphabet, k=size)))
    return found


def random_faults(dice: Random, clear: int) -> list[Fault]:
    """Up to three that take their time, and in half of the cases one that breaks the connection.

    clear: bytes that are said in each direction, so that most of these break something.
    """
    chosen: list[Fault] = []
    for _ in range(dice.randrange(4)):
        only: Way | None = dice.choice(WAYS)
        chosen.append(
            dice.choice(
                [
                    faults.Split(dice.randint(1, 50), only=only),
                    faults.Split(1, 5000, pause=0.0003, only=only),
                    faults.Coalesce(dice.randint(2, 9000), 0.004, only=only),
                    faults.Delay(0.003 * dice.random(), 0.003, only=only),
                    faults.Throttle(dice.randint(100_000, 1_000_000), only=only),
                ]
            )
        )
    if dice.random() < 0.5:
        only = dice.choice(WAYS)
        chosen.insert(
            dice.randint(0, len(chosen)),
            dice.choice(BREAKS)(dice.randrange(clear), only=only),
        )
    return chosen


@dataclass
class Heard:
    """What a client got. ended: before all came. error: what was raised, or why the connection broke (`lost`); None for an end
    that the peer meant."""

    messages: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    ended: bool = False

    def is_beginning_of(self, sent: list[str]) -> None:
        """Whole, right and in order; and no other error than those that a network causes."""
        assert self.messages == sent[: len(self.messages)], self.error
        assert self.error is None or isinstance(self.error, WHATEVER_A_PEER_DOES), repr(self.error)

    def is_all_of(self, sent: list[str]) -> None:
        assert self.error is None, repr(self.error)
        assert self.messages == sent


def talk(connector: Any, sent: list[str], window: int = 10, patience: float = PATIENCE) -> Heard:
    """A blocking client: sends, at most `window` ahead of the answers, until all has come back or the connection ends.

    patience: seconds for each answer.
    """
    heard = Heard()
    try:
        with connector as client:
            for start in range(0, len(sent), window):
                batch = sent[start : start + window]
                for message in batch:
                    client.send(message)
                for _ in batch:
                    answer = client.receive(timeout=patience)
                    if answer is None:
                        heard.error, heard.ended = client.lost, True
                        return heard
                    heard.messages.append(answer)
    except Exception as error:
        heard.error = error
    return heard


def talk_async(connector: Any, sent: list[str], window: int = 10, patience: float = PATIENCE) -> Heard:
    """`talk` in the other colour."""

    async def go() -> Heard:
        heard = Heard()
        try:
            async with connector as client:
                for start in range(0, len(sent), window):
                    batch = sent[start : start + window]
                    for message in batch:
                        await client.send(message)
                    for _ in batch:
                        answer = await client.receive(timeout=patience)
                        if answer is None:
                            heard.error, heard.ended = client.lost, True
                            return heard
                        heard.messages.append(answer)
        except Exception as error:
            heard.error = error
        return heard

    return asyncio.run(go())


def all_at_once(*work: Callable[[], Any]) -> list[Any]:
    """Runs these in threads of their own and gives what they return; raises what one of them raises."""
    results: list[Any] = [None] * len(work)
    errors: list[BaseException] = []

    def do(number: int) -> None:
        try:
            results[number] = work[number]()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=do, args=(number,), daemon=True) for number in range(len(work))]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2 * PATIENCE
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
        assert not thread.is_alive(), "a client hangs"
    if errors:
        raise errors[0]
    return results


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Waits for what a server does by itself; there is no event for it across processes."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"not within {patience:g} s: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Left:
    """What a process has: open descriptors, threads, children."""

    descriptors: frozenset[str]
    threads: frozenset[str]
    children: frozenset[str]

    @classmethod
    def now(cls) -> Left:
        gc.collect()
        descriptors = set()
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):  # the one of the listing itself
                descriptors.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        threads = {f"{thread.name} {thread.ident}" for thread in threading.enumerate()}
        children: set[str] = set()
        for task in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):
                children |= set(Path(f"/proc/self/task/{task}/children").read_text().split())
        return cls(frozenset(descriptors), frozenset(threads), frozenset(children))

    def unchanged(self) -> None:
        """Nothing more than there was, after a moment for what is just ending."""
        deadline = time.monotonic() + 5.0
        while True:
            now = Left.now()
            more = [now.descriptors - self.descriptors, now.threads - self.threads, now.children - self.children]
            if not any(more):
                return
            assert time.monotonic() < deadline, f"left over: {more}"
            time.sleep(0.02)
