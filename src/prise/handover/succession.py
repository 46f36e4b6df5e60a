"""A new release takes over from an old one, over a channel at a path that both know.

    successor                                   predecessor, which serves all the while
    loads everything, then: succeed      ->     stops accepting and reading, lets what is under way end
                                         <-     each listener and connection, shared for now (frame.py, acknowledged)
                                         <-     all
    gets ready (opens its store...): ready ->
                                         <-     yours          lets go, drains what could not be moved, and ends
    waits at the path, closes the channel, serves

Until `yours` the predecessor can take everything back: when the successor crashes, or takes too long, it goes on as if
nothing had happened. A `restart` on the same path has the predecessor start the successor, as does SIGUSR2. What a successor
gets is in inheritance.py.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from prise.errors import HandoverError, HandoverRefused, PriseError, TooSlow, UsageError
from prise.handover.channel import Channel
from prise.handover.inheritance import READY_TIME, Inheritance, inherit, listens_to_us
from prise.handover.listener import Listener
from prise.handover.notify import succeeded_by
from prise.handover.parcel import Parcel

log = logging.getLogger("prise")

ASK_TIME = 1.0
"""Seconds that a process which connects has to say what it wants."""

_TOO_LATE = "it is ending, and another one has taken over"

MOST_ASKING = 10
"""Those who wait to hear how a restart went; further ones are refused."""


class Succession:
    """The predecessor's side: waits at a path for whoever is to go on.

    path: of the channel's socket. command: how a new release is started; by default as this process was. heir: the channel
    of a successor that is ready, for the server to `bequeath` to; None while there is none. leaving: awaited before anything
    is given away, when nobody talks any more (asyncio); what it returns, as JSON says it, is the heir's `legacy`. staying:
    called when all remains here after all; left: when the heir has it. over: the heir has it.
    """

    def __init__(self, path: str, command: Sequence[str] | None = None) -> None:
        self.path = path
        self.heir: Channel | None = None
        self.heir_pid: int | None = None
        self.wants_connections = False
        self.inheritance: Inheritance | None = None
        self.wake: Callable[[], object] = _nothing
        self.leaving: Callable[[], Awaitable[Any]] | None = None
        self.staying: Callable[[], object] = _nothing
        self.left: Callable[[], object] = _nothing
        self._command = list(command or (sys.executable, *sys.orig_argv[1:]))
        self._listener: Listener | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._ended: int | None = None
        self._asked: list[Channel] = []  # who wants to hear how a restart went; bound: MOST_ASKING
        self.over = False

    # -- as the successor --------------------------------------------------------------------------------------------

    def inherit(self, connections: bool = True) -> Inheritance | None:
        """See `inherit`; asked again, it gives the same."""
        if self.inheritance is None:
            self.inheritance = inherit(self.path, connections)
        return self.inheritance

    def commit(self) -> None:
        """What was inherited is ours, and from here on we wait at the path."""
        if self.inheritance is not None:
            self.inheritance.commit()
        self._listener = Listener(self.path, replace=self.inheritance is not None)
        if self.inheritance is not None:
            self.inheritance.settled()

    def close(self) -> None:
        """Waits no more; what was inherited and not committed goes back, and an heir that still waits hears no."""
        if not self.over:
            self.refuse_heir("the server is ending")
            if self._child is not None:  # it would find nobody here, and serve on its own, where all was to end
                self._child.terminate()
        if self._listener is not None:
            self._listener.close()
        elif self.inheritance is not None:
            self.inheritance.close()

    # -- as the predecessor ------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Readable when somebody has come; -1 when nobody is waited for."""
        return -1 if self._listener is None else self._listener.fileno()

    def read(self) -> None:
        """Somebody has come: hears what they want. A successor becomes `heir`."""
        if self._listener is None:
            return
        try:
            channel = self._listener.accept(0.0)
        except PriseError:
            return  # it has gone again
        try:
            asked = channel.hear(ASK_TIME)
        except PriseError:
            channel.close()
            return  # it says nothing
        kind = asked["type"] if asked is not None else ""
        if self.over:
            _refuse(channel, _TOO_LATE)
        elif kind == "succeed" and self.heir is None and asked is not None:
            self.heir, self.wants_connections = channel, bool(asked.get("connections"))
            said = asked.get("pid")
            known = channel.credentials.pid if channel.credentials is not None else None
            self.heir_pid = known or (said if type(said) is int else None)
        elif kind == "restart" and len(self._asked) < MOST_ASKING:
            self._asked.append(channel)
            self.renew()
        else:
            _refuse(channel, "another process is taking over" if kind == "succeed" else "what is wanted?")

    def renew(self) -> None:
        """Starts the new release; when it is ready, it asks for what we have. From any thread, and from signal handlers."""
        if self._child is not None:
            return  # it is starting
        try:
            # What systemd said of this very process (WATCHDOG_PID=) is not true of another one.
            environment = {name: value for name, value in os.environ.items() if name != "WATCHDOG_PID"}
            self._child = subprocess.Popen(self._command, env=environment)
        except OSError as error:
            log.error("the new release cannot be started: %(error)s", {"error": error})
            self._tell_asking(f"it cannot be started: {error.strerror}")
            return
        log.info("the new release is starting (process %(process)d)", {"process": self._child.pid})
        threading.Thread(target=self._watch, args=(self._child,), name="prise-restart", daemon=True).start()

    def _watch(self, child: subprocess.Popen[bytes]) -> None:
        self._ended = child.wait()
        self.wake()

    def refuse_heir(self, reason: str) -> None:
        """Says no to the successor, if there is one, and to whoever asked for it; everything stays ours."""
        if self.heir is not None:
            _refuse(self.heir, reason)
            self.heir = None
        self._tell_asking(reason)

    def wait_for_heir(self) -> int:
        """Waits for a successor that we have started, and returns its exit code: whoever started us waits for us.

        What it is told by Ctrl-C it hears itself; SIGTERM is passed on to it. Returns 0 at once where there is none.
        """
        child = self._child
        if child is None or not self.over:
            return 0
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
        return max(child.wait(), 0)

    def look(self) -> None:
        """Has the new release ended before it took over? Then this one goes on, and whoever asked is told."""
        if self._ended is not None and not self.over:
            code, self._ended, self._child = self._ended, None, None
            log.error("the new release ended with exit code %(code)d; this one goes on", {"code": code})
            self._tell_asking(f"the new release ended with exit code {code}; the old one goes on")

    def bequeath(
        self,
        listeners: Iterable[tuple[str, Any]],
        connections: Iterable[tuple[str, Any, dict[str, Any]]],
        legacy: Any = None,
    ) -> bool:
        """Gives everything to the heir. True: it has it, and our copies of the connections are closed; False: all is ours.

        listeners: (address, socket or Listening). connections: (address, connection that was paused, its state and facts).
        """
        channel = self.heir
        assert channel is not None
        parcels: list[Parcel] = []
        try:
            for address, listening in listeners:
                parcels.append(parcel := Parcel(listening, keep=True))
                channel.exchange(parcel, {"as": "listener", "address": address}, READY_TIME)
            for address, connection, told in connections:
                try:
                    parcel = Parcel(connection, way="same")
                except PriseError as error:
                    said = {"connection": connection.id, "error": error}
                    log.info("connection %(connection)d stays with the old release: %(error)s", said)
                    continue
                parcels.append(parcel)
                try:
                    channel.exchange(parcel, {"as": "connection", "address": address, **told}, READY_TIME)
                except UsageError as error:  # its state cannot be said, or is too large: nothing went out
                    said = {"connection": connection.id, "error": error}
                    log.error("connection %(connection)d stays with the old release: %(error)s", said)
                    parcels.remove(parcel)
                    parcel.take_back()
            channel.tell("all", legacy=legacy)
            answer = channel.hear(READY_TIME)
            if answer is None or answer["type"] != "ready":
                raise HandoverRefused("the new release was not ready to go on", operation="hand over")
            channel.tell("yours")
        except BaseException as error:
            channel.close()
            for parcel in parcels:
                parcel.take_back()
            self.heir = None
            if not isinstance(error, Exception):
                raise
            log.error("the new release has not taken over, this one goes on: %(error)s", {"error": error})
            self._tell_asking(error.sentence() if isinstance(error, PriseError) else repr(error))
            return False
        self.over = True
        if self.heir_pid:
            succeeded_by(self.heir_pid)
        try:
            self.left()
        except Exception:
            log.exception("the new release has taken over; what was to follow here has failed")
        for parcel in parcels:
            parcel.let_go()
        try:
            channel.hear(READY_TIME)  # its end: by now the path leads to the heir. Our own listener stays until our end
        except PriseError:
            pass  # it has everything all the same
        channel.close()
        self._refuse_waiting()
        self._tell_asking("")
        log.info("the new release has taken over; what could not be moved is drained")
        return True

    def _refuse_waiting(self) -> None:
        """Those who have connected before the path led to the heir."""
        while self._listener is not None:
            try:
                _refuse(self._listener.accept(0.0), _TOO_LATE)
            except PriseError:
                return

    def _tell_asking(self, error: str) -> None:
        asked, self._asked = self._asked, []
        for channel in asked:
            if error:
                _refuse(channel, error)
            else:
                with channel:
                    try:
                        channel.tell("done", pid=self.heir_pid)
                    except PriseError:
                        pass  # who asked has not waited


def restart(path: str, timeout: float | None = 60.0) -> int | None:
    """Has the server at this path replaced by a new process of it; returns the new one's pid, None where it is not known.

    timeout: seconds until it must have taken over. Raises HandoverRefused with the reason when it has not, and the old one
    goes on; HandoverError, TooSlow.
    """
    with Channel.connect(path) as channel:
        try:
            channel.tell("restart")
            answer = channel.hear(timeout)
        except TooSlow as error:
            raise TooSlow(
                "no new process has taken over within {seconds:g} s; it may still do so once it is ready",
                operation="restart",
                seconds=timeout,
            ) from error
        except HandoverError:  # it hung up before it had read that
            listens_to_us(channel, path, "restart")
            raise
        if answer is None:
            listens_to_us(channel, path, "restart")
        if answer is None or answer["type"] != "done":
            reason = "the old process is gone" if answer is None else str(answer.get("error", "-"))[:500]
            raise HandoverRefused("{reason}", operation="restart", reason=reason)
        pid = answer.get("pid")
        return pid if isinstance(pid, int) else None


def _refuse(channel: Channel, reason: str) -> None:
    with channel:
        try:
            channel.tell("no", error=reason)
        except PriseError:
            pass  # it has not waited


def _nothing() -> None:
    pass
