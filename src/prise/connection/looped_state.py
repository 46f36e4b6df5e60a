"""What a connection on an event loop knows of itself, and what its halves ask of one another.

States, in the order in which they can only be left:
    open      reading, unless the outbox is above its mark or the conversation has messages left to take (backpressure)
    ending    the conversation is over; what it said is still being written
    lingering our side is shut; reading (and throwing away) until the peer's end, bounded, so that no reset destroys the answers
    closed

The code is in layers, each a class that adds to the one before it:
    state (here)  ->  writing (looped_writing.py)  ->  ending (looped_ending.py)  ->  the loop's turns (looped.py)
"""

from __future__ import annotations

import socket
from abc import abstractmethod
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Protocol

from prise.connection.base import BaseConnection
from prise.connection.host import Host
from prise.core.deadlines import NEVER
from prise.core.pipeline import Pipeline
from prise.errors import ConnectionLost, FrameError, TooSlow, UsageError

OPEN, ENDING, LINGERING, CLOSED = range(4)


class OutgoingFile(Protocol):
    """What is being sent besides messages (looped_files.py)."""

    def set_aside(self, out: list[bytes | memoryview]) -> None:
        """Takes out of the outbox what is to follow the file."""


class LoopedState(BaseConnection):
    """Everything but `post` and `abort` belongs to the loop's thread."""

    __slots__ = (
        "_active",
        "_again",
        "_blocked",
        "_blocked_since",
        "_counters",
        "_decoder",
        "_discarded",
        "_encode",
        "_end_told",
        "_eof",
        "_error",
        "_feed",
        "_file",
        "_goal",
        "_handshake_time",
        "_handshake_until",
        "_host",
        "_input_ended",
        "_in_turn",
        "_layered",
        "_limits",
        "_linger_until",
        "_loop",
        "_mark",
        "_out",
        "_out_size",
        "_partial_since",
        "_paused",
        "_pinged",
        "_pings",
        "_posted_size",
        "_reading",
        "_recv",
        "_run",
        "_sent_eof",
        "_shaking",
        "_started",
        "_state",
        "_time",
        "_written",
        "scheduled",
    )

    def __init__(self, sock: socket.socket, pipeline: Pipeline, host: Host, sockaddr: Any = None) -> None:
        super().__init__(sock, pipeline, sockaddr)
        sock.setblocking(False)
        self._use_pipeline()
        self._host = host
        self._limits = host.limits
        self._mark = host.limits.outbox_mark
        self._loop = host.loop
        self._time = host.loop.time
        self._counters = host.counters
        self._recv = sock.recv
        # Each conversation has context variables of its own. A task brings its own, and cannot be woken from inside them.
        self._run: Callable[..., Any] | None = None if host.loop.wakes_tasks else copy_context().run
        self._state = OPEN
        self._started = False  # the conversation
        self._shaking = False  # the layers are being set up
        self._handshake_time = host.limits.handshake_time
        self._handshake_until = NEVER
        self._pings = False  # a layer is to ask a silent peer whether it is still there
        self._pinged = 0.0
        self._in_turn = False  # True while our own code is below: what is said then is written at the end of the turn
        self._paused = False  # it is about to change hands (looped_parting.py)
        self._again = False
        self._eof = False  # nothing more will be read
        self._input_ended = False  # by us
        self._end_told = False  # the conversation knows that nothing more comes
        self._sent_eof = False
        self._error: BaseException | None = None  # what ended the connection, where it was not the peer's plain end
        self._reading = True  # the socket is watched for input: only then does a message's time run
        self._out: list[bytes | memoryview] = []
        self._out_size = 0
        self._file: OutgoingFile | None = None  # is being sent: what waits in the outbox follows it
        self._blocked = False  # the kernel took less than we had: wait until it is writable
        self._blocked_since = 0.0
        self._written = 0
        self._goal = 0
        self._posted_size = 0  # bytes that other threads posted and the loop has not taken yet; under the loop's lock
        self._partial_since = 0.0
        self._linger_until = NEVER
        self._discarded = 0
        self._active = self._time()
        self.scheduled = NEVER

    def _use_pipeline(self) -> None:
        """Its parts are kept at hand; they are others after a choice among protocols, and after `start_tls`."""
        pipeline = self._pipeline
        self._decoder = pipeline.decoder
        self._feed = pipeline.feed
        self._encode = pipeline.encode
        self._layered = pipeline.layered

    # -- what the subclasses say ----------------------------------------------------------------------------------------

    @abstractmethod
    def _layers_moved(self, messages: list[Any]) -> list[Any]:
        """After every call into the layers; see looped.py."""

    @abstractmethod
    def start(self) -> None:
        """Starts the conversation, if there is one: the layers are set up."""

    @abstractmethod
    def deliver(self, messages: list[Any]) -> bool:
        """Gives the conversation messages after those it has left; True when some are left now."""

    @abstractmethod
    def deliver_end(self, error: BaseException | None) -> None:
        """Tells the conversation, which has taken everything, that nothing more comes (and why, unless the peer ended)."""

    @property
    @abstractmethod
    def busy(self) -> bool:
        """True while messages are left for the conversation: nothing more is read or decoded."""

    @property
    def away(self) -> bool:
        """True while the conversation does not ask for a message: it awaits something else."""
        return False

    def drained(self) -> None:
        """The outbox went out: a conversation that waited for that goes on."""

    def closed_now(self) -> None:
        """The socket has just been closed."""

    # -- what the loop calls (`loops.base.Handler`) -------------------------------------------------------------------------

    @abstractmethod
    def on_readable(self) -> None: ...

    @abstractmethod
    def on_writable(self) -> None: ...

    @abstractmethod
    def on_again(self) -> None: ...

    @abstractmethod
    def on_deadline(self, now: float) -> float: ...

    # -- what the other classes add -------------------------------------------------------------------------------------

    @abstractmethod
    def _settle(self) -> None:
        """After anything unusual: decides what to wait for, and whether this connection is over."""

    @abstractmethod
    def _tell_end(self, error: BaseException | None) -> None:
        """Tells the conversation that nothing more comes, and why."""

    @abstractmethod
    def _fail(self, error: FrameError | TooSlow) -> None:
        """A limit was passed or the framing is broken: the conversation is told, may say a last word, and it is over."""

    @abstractmethod
    def _broken(self, error: OSError | ConnectionLost) -> None:
        """The peer, or the network, broke the connection: nothing more comes and nothing can be sent."""

    # -- what all of them use -------------------------------------------------------------------------------------------

    def _within(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls into the conversation, with its own context variables."""
        return function(*arguments) if self._run is None else self._run(function, *arguments)

    @property
    def _stuck(self) -> bool:
        """Backpressure: the peer leaves more unread than the mark, so nothing more is taken from it."""
        return self._blocked and self._out_size > self._mark

    def _refuse_if_ended(self) -> None:
        if self._state != OPEN or self._sent_eof:
            if self._error is not None:
                raise self._error
            if self._state == OPEN:
                raise UsageError("the sending side is closed already", operation="send", peer=self.peer)
            raise ConnectionLost("the connection is closed", operation="send", peer=self.peer)
