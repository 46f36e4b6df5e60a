"""The talk between a pool and one of its workers: handovers over a channel, and one kind of frame more.

    worker   {"v": 1, "type": "ready", "ok": true}     can take a connection
    pool     a handover (channel.py)                   which the worker acknowledges as always
    worker   {"v": 1, "type": "ready", ...}            that conversation is over, and the next one may come

    "ok": false, "error": "..."    it has failed, and why
    "ended": true                  the worker has ended its side; what the peer still says is to be read away

The worker is a program in any language: the variable PRISE_CHANNEL is the number of the channel's descriptor. The end of
the channel is the end of its work. Standard input is empty; each line on standard output or error is logged by the pool. `work`
is such a worker in Python, worker.php the one in PHP.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from prise.connection.base import disconnect
from prise.connection.blocking import Connection
from prise.core.limits import Limits
from prise.errors import HandoverError, HandoverProtocolError, PriseError, TooSlow
from prise.framing import Framing
from prise.handover.channel import TIMEOUT, AsyncChannel, Channel
from prise.handover.frame import encoded
from prise.handover.visitor import Visitor
from prise.handover.wire import close_all, drive, drive_async, read, write

log = logging.getLogger("prise")

VARIABLE = "PRISE_CHANNEL"

LONGEST_LINE = 2000
"""Bytes of a worker's output that are logged as one line."""

LAST_LINES = 5
"""Lines of output that are remembered, to say why a worker has ended."""

GRACE = 2.0
"""Seconds in which a worker without a conversation ends by itself; then SIGTERM, and after as many again SIGKILL."""


class Ready(NamedTuple):
    """error: why the conversation failed; "" when it did not. ended: see above."""

    error: str
    ended: bool


class WorkerChannel(AsyncChannel):
    """The pool's end of a worker's channel."""

    def hang_up(self) -> None:
        """Who waits for the worker, waits no longer."""
        if not self.closed:
            disconnect(self._sock)

    async def ready(self, timeout: float | None) -> Ready:
        """Waits until the worker can take a connection. Raises HandoverError when it has ended, TooSlow."""
        await drive_async(self._beginning(), self._sock, timeout)
        frame = await drive_async(read(self._sock), self._sock, TIMEOUT)
        if frame is None:
            raise HandoverError("the worker has ended")
        close_all(frame.descriptors)
        header = frame.header
        if header["type"] != "ready":
            raise HandoverProtocolError("a worker was to say that it is ready, and {type!r} came", type=header["type"])
        error = "" if header.get("ok") is True else str(header.get("error", "-"))[:LONGEST_LINE]
        return Ready(error, header.get("ended") is True)


class Worker:
    """A worker that was started, from the pool's side.

    number: of its place in the pool. stale: to be replaced as soon as it has nothing to do.
    wake, visitor, served belong to the pool (staff.py): what it waits for while it has nothing to do; whom it was handed and
    has not let go of; how many conversations it has ended.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.stale = False
        self.wake: asyncio.Future[Visitor | None] | None = (
            None  # these three are the pool's: while it waits for something to do,
        )
        self.visitor: Visitor | None = None  # what it was handed, and has not let go of,
        self.served = 0  # and conversations that it has ended
        self.channel: WorkerChannel
        self._process: asyncio.subprocess.Process
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._was_ready = False  # it was ready once; until then its output is kept, for the error
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(
        cls, number: int, argv: Sequence[str], env: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> Worker:
        """Starts it and waits until it is ready. Raises HandoverError, with what it said, when it never is."""
        if shutil.which(argv[0]) is None:
            raise HandoverError(
                "there is no program {program} that can be run; check the spelling, and the variable PATH",
                program=argv[0],
            )
        worker = cls(number)
        ours, theirs = socket.socketpair()
        worker.channel = WorkerChannel(ours)
        try:
            with theirs:
                worker._process = await asyncio.create_subprocess_exec(
                    *argv,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    env={**(os.environ if env is None else env), VARIABLE: str(theirs.fileno())},
                    process_group=0,  # a Ctrl-C in the terminal is for the pool, which lets conversations end
                )
        except OSError as error:
            worker.channel.close()
            raise HandoverError(
                "{program} could not be started: {error}", program=argv[0], error=error.strerror or error
            ) from error
        worker._tasks = [asyncio.create_task(worker._listen()), asyncio.create_task(worker._watch())]
        try:
            await worker.channel.ready(timeout)
            worker._was_ready = True
            for line in worker._last:
                worker._log(line)
        except (HandoverError, TooSlow) as error:
            if isinstance(error, TooSlow):
                worker.kill()
            await worker.end()
            why = " / ".join(worker._last) or f"{error.sentence()} ({worker.died_of()})"
            raise HandoverError("the worker did not become ready: {why}", why=why) from error
        except BaseException:
            worker.kill()
            await worker.end()
            raise
        return worker

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.returncode

    def died_of(self) -> str:
        """How it ended, and its last words."""
        code = self.exit_code or 0
        killed = code < 0
        how = f"killed by {signal.Signals(-code).name}" if killed else f"exit code {code}"
        return f"{how}: {' / '.join(self._last)}" if self._last else how

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    async def end(self) -> None:
        """Closes the channel, which ends an idle worker, and sees to it that the process is gone."""
        self.channel.close()
        for number, patience in ((0, GRACE), (signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
            if number:
                self._signal(number)
            try:
                await asyncio.wait_for(self._process.wait(), patience)
                break
            except TimeoutError:
                continue
        # Its output ends with it, unless a child of its own goes on with it.
        _, late = await asyncio.wait(self._tasks, timeout=GRACE)
        for task in late:
            task.cancel()
            self._process._transport.close()  # type: ignore[attr-defined]  # there is no other way to the pipe

    def _signal(self, number: int) -> None:
        """To it and its own children. (Process.send_signal would reap it, and take its exit code from asyncio.)"""
        if self.exit_code is None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                pass

    async def _watch(self) -> None:
        """The channel ends with the process, even if children of the worker have inherited it."""
        await self._process.wait()
        self.channel.hang_up()

    async def _listen(self) -> None:
        """Logs what it says."""
        stdout = self._process.stdout
        assert stdout is not None
        rest = b""
        while data := await stdout.read(8192):
            *lines, rest = (rest + data).split(b"\n")
            while len(rest) > LONGEST_LINE:
                lines.append(rest[:LONGEST_LINE])
                rest = rest[LONGEST_LINE:]
            for line in lines:
                self._say(line)
        self._say(rest)

    def _say(self, line: bytes) -> None:
        text = "".join(each if each.isprintable() else " " for each in line.decode(errors="replace")).strip()
        if text:
            self._last.append(text)
            if self._was_ready:
                self._log(text)

    def _log(self, text: str) -> None:
        log.warning("worker %d: %s", self.number, text)


def work(
    conversation: Callable[[Connection], object],
    framing: str | Framing = "lines",
    limits: Limits | None = None,
    channel: Channel | None = None,
) -> None:
    """In a worker: takes one connection after the other from the pool, until the pool ends.

    conversation: a plain function. channel: by default the one that PRISE_CHANNEL names. Raises HandoverError where no pool
    has started this program.
    """
    if channel is None:
        number = os.environ.pop(VARIABLE, "")
        if not number.isdecimal():
            raise HandoverError(
                "this program is a worker, and started by a pool: {variable} is missing", variable=VARIABLE
            )
        channel = Channel.inherited(int(number))
    with channel:
        _ready(channel, ok=True)
        while (received := channel.receive()) is not None:
            error, ended = "", False
            with received.connection(framing, limits) as connection:
                try:
                    conversation(connection)
                except PriseError as raised:
                    error = "" if raised.peer is connection.peer else str(raised)
                except Exception as raised:
                    log.exception("the conversation failed")
                    error = f"{type(raised).__name__}: {raised}"
                ended = not connection.closed  # what was closed may have been given away
            _ready(channel, ok=not error, error=error, ended=ended)


def _ready(channel: Channel, **fields: Any) -> None:
    drive(write(channel._sock, encoded("ready", **fields)), channel._sock, TIMEOUT)
