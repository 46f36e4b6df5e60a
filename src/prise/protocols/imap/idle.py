"""Waiting for what happens in the mailbox that is open: IDLE (RFC 2177), or asking now and then where the server has no IDLE."""

from __future__ import annotations

from prise.errors import ConnectionLost
from prise.protocols.imap.commands import Event
from prise.protocols.imap.messages import Messages
from prise.protocols.imap.parser import Status
from prise.protocols.session import streaming
from prise.protocols.steps import Flow, Items, Now, Receive, Steps

RENEWAL = 29 * 60.0
"""Seconds, after which IDLE is begun anew: a server may end a session that says nothing for 30 minutes (RFC 2177)."""

POLLING = 30.0
"""Seconds between two questions, where there is no IDLE."""


class Idle(Messages):
    _idling = False

    @streaming
    def idle(self, timeout: float | None = None, every: float | None = None) -> Steps[Flow[Event]]:
        """What happens from now on in the mailbox that is open, or in the URL's: messages come and go, flags change.

        timeout: seconds, after which it ends; None: never. It ends as well when the session is used for something else: then
        the events that have come are still given. every: seconds, after which IDLE is begun anew, 29 minutes by default (a router
        on the way may want less); where the server has no IDLE, seconds between two questions, 30.
        Raises ConnectionLost when the server goes away.
        """
        yield from self._open_mailbox()
        idles = self._has("IDLE", "IMAP4REV2")
        self._events = []
        try:
            if idles:
                yield from self._begin_idle()
        except BaseException:
            self._events = None
            raise
        every = every if every is not None else RENEWAL if idles else POLLING
        return Flow(self._happening(timeout, every, idles), leave=self._leave_idle, endless=True)

    def _happening(self, timeout: float | None, every: float, idles: bool) -> Steps[None]:
        now: float = yield Now()
        until = None if timeout is None else now + timeout
        again = now + every
        try:
            while True:
                ended = False
                while self.reader.pending and not ended:
                    status = self._sorted((yield from self._response()), ())
                    if isinstance(status, Status):  # the server ends it by itself
                        self._idling, ended = False, True
                        self._answered(status)
                yield from self._give()
                now = yield Now()
                if ended or (until is not None and now >= until):
                    break
                if now >= again:
                    yield from self._end_idle()
                    yield from self._begin_idle() if idles else self.noop.steps()
                    yield from self._give()
                    again = now + every
                data = yield Receive(max((again if until is None else min(again, until)) - now, 0.001))
                if data is not None:
                    if not data:
                        raise ConnectionLost(
                            "the server closed the connection while it was waited for", operation="IDLE"
                        )
                    self.reader.put_back(data)
            yield from self._end_idle()
            yield from self._give()
        finally:
            self._events = None

    def _give(self) -> Steps[None]:
        events, self._events = self._events, []
        self._unasked = 0  # the caller takes them
        if events:
            yield Items(events)

    def _begin_idle(self) -> Steps[None]:
        yield from self._start("IDLE")
        yield from self._go_on()
        self._idling = True

    def _end_idle(self) -> Steps[None]:
        if self._idling:
            self._idling = False
            yield from self.say("DONE")
            status = yield from self._next()
            assert isinstance(status, Status)  # there was no other name
            self._answered(status)

    def _leave_idle(self) -> Steps[None]:
        self._events = None
        yield from self._end_idle()
