"""A generator conversation on an event loop: pure etiquette, stepped for each message in the turn that read it."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any

from prise.connection.host import Host
from prise.connection.looped import ENDING
from prise.connection.looped_parting import PartingConnection
from prise.core.conversation import Conversation, HandOver, last_word
from prise.core.pipeline import Pipeline
from prise.errors import PriseError, UsageError


def _nobody_listens(message: Any) -> None:
    """The step of a conversation that is over."""


class GeneratorConnection(PartingConnection):
    """What a generator conversation is given: it may `send` besides what it yields, and never waits."""

    __slots__ = ("_conversation", "_generator", "_inbox", "_leaving", "_left", "_step")

    def __init__(
        self, sock: socket.socket, pipeline: Pipeline, host: Host, conversation: Conversation, sockaddr: Any = None
    ) -> None:
        super().__init__(sock, pipeline, host, sockaddr)
        self._conversation = conversation
        self._generator: Generator[Any, Any, Any] | None = None
        # Messages that backpressure kept from the conversation; most have none ever.
        self._inbox: deque[Any] | None = None
        self._leaving: HandOver | None = None  # how it ends, once the peer has taken what it was sent
        self._left: Iterator[Any] = iter(())  # those of this turn that the conversation has not taken

    def send(self, message: Any) -> None:
        """Sends a message besides the one that is yielded; it is queued and goes out at the end of the turn."""
        self._refuse_if_ended()
        self._counters.messages_sent += 1
        self._queue(self._encode(message))

    def receive(self, timeout: float | None = None) -> Any:
        """Not in a generator: raises UsageError."""
        raise UsageError("a generator conversation receives with `message = yield reply`, not with receive()")

    def close(self) -> None:
        """Ends the conversation after what it has said; the generator is closed at its next `yield`."""
        self.finish()

    def start_tls(self, tls: Any, name: str | None = None) -> None:
        """From here on the connection is encrypted (STARTTLS); what was said before still goes out in clear.

        tls: a `TLS`. name: the host that the certificate must be for; by default the one that was connected to. What comes
        of it is raised at the next `yield`: TLSError, TooSlow. Raises FrameError when the peer has sent more in clear.
        """
        self._start_tls(tls, name, left=next(self._left, None) is not None or self.busy)

    def start(self) -> None:
        self._conversation = self._pipeline.conversation or self._conversation
        self._run_turn(self._start)

    def _start(self) -> None:
        try:
            self._generator = self._conversation(self)
        except BaseException as error:
            self._over(error)
            return
        self._step = self._generator.send
        self.deliver([None])  # `send(None)` is how a generator starts

    @property
    def busy(self) -> bool:
        return bool(self._inbox) or self._leaving is not None

    def deliver(self, messages: list[Any]) -> bool:
        if self._inbox is not None:
            self._inbox.extend(messages)
            if self._leaving is not None:
                return True
            left, self._inbox = iter(self._inbox), None
        else:
            left = iter(messages)
        self._left = left
        out, step, encode, mark = self._out, self._step, self._encode, self._mark
        said = 0
        try:
            for message in left:
                reply = step(message)
                if reply is not None:
                    data = encode(reply)
                    said += 1
                    out.append(data)
                    size = self._out_size = self._out_size + len(data)
                    if size > mark:
                        if not self._blocked:
                            self._flush()
                        if self._stuck:
                            break
                if self._state:
                    break
        except BaseException as error:
            self._stopped(error)
        finally:
            self._counters.messages_sent += said
        if self._state:
            if self._generator is not None:
                self._end(None)
        elif self._blocked and self._stuck:
            self._inbox = deque(left)
            return bool(self._inbox)
        return False

    def _stopped(self, error: BaseException) -> None:
        """What came out of the generator's step, or of encoding what it yielded."""
        if isinstance(error, StopIteration):
            self._say_last(error.value)
        elif isinstance(error, UsageError):
            self._end(error)  # the framing cannot carry what was yielded: raised where it was yielded
        else:
            self._over(error)

    def deliver_end(self, error: BaseException | None) -> None:
        if self._leaving is not None:  # the peer is gone, or does not take what it was sent
            self._leaving = None
            self._over(error or self._error)
        if self._generator is not None:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Raises the end, or the error, at the generator's `yield`; what it returns is its last word."""
        generator, self._generator = self._generator, None
        assert generator is not None
        try:
            word = last_word(generator, error)
        except BaseException as raised:
            self._over(raised)
        else:
            self._say_last(word)

    def _say_last(self, word: Any) -> None:
        if isinstance(word, HandOver):
            self._begin_to_leave(word)
            return
        error: BaseException | None = None
        if word is not None and not self._sent_eof:
            try:
                self._queue(self._encode(word))
                self._counters.messages_sent += 1
            except UsageError as refused:
                error = refused
        self._over(error)

    # -- changing hands ----------------------------------------------------------------------------------------------

    def _begin_to_leave(self, word: HandOver) -> None:
        """The conversation ends by giving the connection away, with the messages that it has not taken."""
        self._inbox = deque((*self._left, *(self._inbox or ())))
        self._leaving = word
        self._step = _nobody_listens
        self.drained()

    def drained(self) -> None:
        word = self._leaving
        if word is None:
            return
        if self._out and not self._blocked:
            self._flush()
        if self._out and not self._state:
            return  # again when the peer has taken it
        from prise.handover.channel import TIMEOUT, exchange_in_thread
        from prise.handover.parcel import Parcel

        self._leaving = None
        try:
            parcel = Parcel(self)
        except PriseError as error:
            self._over(error)
            return

        def settle() -> None:
            error: BaseException | None = outcome[0]
            try:
                with word.channel.parting(parcel):
                    if error is not None:
                        raise error
            except BaseException as raised:
                error = raised
            self._over(error)

        # The channel may block, so a thread waits for it: the loop has others to serve.
        outcome = exchange_in_thread(word.channel, parcel, word.state, TIMEOUT, lambda: self._loop.call(settle))

    @property
    def at_rest(self) -> bool:
        return self._leaving is None and self._generator is not None

    def moved(self) -> None:
        generator, self._generator = self._generator, None
        if generator is not None:
            generator.close()

    def _undelivered(self) -> list[Any]:
        messages, self._inbox = list(self._inbox or ()), None
        return messages

    def _give_back(self, messages: list[Any]) -> None:
        self._inbox = deque(messages)

    def _over(self, error: BaseException | None) -> None:
        self._generator = None
        self._inbox = None
        self._blame(error)
        if self._state < ENDING:
            self.finish()
        self._host.ended(self, error)
        if error is not None and not isinstance(error, Exception):
            raise error  # KeyboardInterrupt and the like are not ours to swallow
