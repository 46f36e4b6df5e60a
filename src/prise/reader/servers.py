"""`Servers`: the one session that is open, and what is fetched with it. Blocking: on a screen it is called from a thread.

The session stays open as long as one server is read. Where the server has hung up meanwhile, it is opened once more, and nobody
is told.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import prise
from prise.errors import ConnectionLost, LoginFailed, PeerError, PriseError, Refused, Unsupported, UsageError
from prise.protocols.target import Target
from prise.reader.places import Place
from prise.reader.portions import Portion, portion

T = TypeVar("T")

MOST_SHOWN = 4 * 1024 * 1024
"""Bytes of a text or a message that is shown; a larger one can be saved."""

Ask = Callable[[str, "str | None"], "tuple[str, str] | None"]


class Thing(NamedTuple):
    """What is not a list. kind: a MIME type. whole: False where the rest was not read, since it is not going to be shown."""

    data: bytes
    kind: str | None = None
    name: str | None = None
    whole: bool = True

    @property
    def is_text(self) -> bool:
        return self.whole and b"\0" not in self.data


class Servers:
    """arguments: those of `prise.open`. Their user and password are for the first server alone.

    told: called now and then with how many bytes of a thing have come. turn: goes up with each `cancel`; what is fetched for one
    that is over raises ConnectionLost. Where none is given, it is the one in which the call begins.
    """

    def __init__(self, first: Target, arguments: dict[str, Any]) -> None:
        self._first = first
        self._arguments = arguments
        self.ask: Ask | None = arguments.get("ask")
        self._answers: dict[tuple[Target, str, str | None], tuple[str, str]] = {}
        self._session: Any = None
        self._target: Target | None = None
        self._used: Any = None  # the session with which a thread does something
        self._lock = threading.Lock()
        self.turn = 0
        self.told: Callable[[int], None] = lambda count: None

    # -- what is fetched -----------------------------------------------------------------------------------------------

    def look(self, place: Place, turn: int | None = None) -> Portion | Thing:
        """What is there: the first portion of a list, or a thing. Raises what the session does."""
        first: PriseError | None = None
        nothing: Portion | None = None
        for way in place.ways:
            try:
                if way == "get":
                    return self._do(place, lambda session: self._thing(session, place), turn)
                found = self.portion(place, turn=turn)
                if found.entries or len(place.ways) == 1:
                    return found
                nothing = nothing or found
            except (Refused, Unsupported, UsageError) as error:
                first = first or error
        if nothing is not None:
            return nothing
        assert first is not None
        raise first

    def portion(self, place: Place, more: Any = None, turn: int | None = None) -> Portion:
        """The next portion of a list. Raises what the session does."""
        return self._do(place, lambda session: portion(session, place, more), turn)

    def save(self, place: Place, path: Path, turn: int | None = None) -> int:
        """Writes a thing into a file; returns its bytes. Raises what the session does, and OSError."""
        return self._do(place, lambda session: self._save(session, place, path), turn)

    def _thing(self, session: Any, place: Place) -> Thing:
        pieces: list[bytes] = []
        size = 0
        with _content(session, place) as content:
            for piece in content:
                pieces.append(piece)
                size += len(piece)
                self.told(size)
                if size > MOST_SHOWN or b"\0" in piece:
                    return Thing(b"", content.kind, content.name, whole=False)
            return Thing(b"".join(pieces), content.kind, content.name)

    def _save(self, session: Any, place: Place, path: Path) -> int:
        size = 0
        with _content(session, place) as content, written(path) as file:
            for piece in content:
                size += file.write(piece)
                self.told(size)
        return size

    # -- the session ---------------------------------------------------------------------------------------------------

    def _do(self, place: Place, action: Callable[[Any], T], turn: int | None) -> T:
        turn = self.turn if turn is None else turn
        session, kept = self._session_at(place.target, turn)
        try:
            return self._use(session, action)
        except PeerError as error:
            # 400 is how a news server says goodbye to who was silent too long (RFC 3977 §3.2.1).
            hung_up = isinstance(error, ConnectionLost) or (isinstance(error, Refused) and error.code == "400")
            if not (hung_up and kept and turn == self.turn):
                raise
        session.abort()
        session, _kept = self._session_at(place.target, turn)
        return self._use(session, action)

    def _use(self, session: Any, action: Callable[[Any], T]) -> T:
        """Does something with a session; where that is given up meanwhile, it is closed here, by the thread that uses it."""
        with self._lock:
            self._used = session
        try:
            return action(session)
        finally:
            with self._lock:
                if self._used is session:  # and not another one, with which another thread has begun
                    self._used = None
                given_up = self._session is not session
            if given_up:
                session.close()

    def _session_at(self, target: Target, turn: int) -> tuple[Any, bool]:
        """The session with a server, and whether it was open before."""
        with self._lock:
            self._check(turn)
            kept = self._session
            if kept is not None and kept.usable and self._target == target:
                return kept, True
            self._session = None
        if kept is not None:
            kept.close()

        server = target.at("")

        def ask(host: str, user: str | None) -> tuple[str, str] | None:
            return self._asked(server, host, user) if turn == self.turn else None

        arguments = {**self._arguments, "ask": ask}
        if server != self._first.at(""):
            arguments |= {"user": None, "password": None}
        session = prise.open(target, **arguments).make(blocking=True)
        with self._lock:
            self._check(turn)
            self._session, self._target = session, target
        try:
            self._use(session, lambda session: session.open())
        except BaseException as error:
            if self._session is session:
                self._session = None
            if isinstance(error, LoginFailed):
                self._answers.clear()
            raise
        self._check(turn)
        return session, False

    def _check(self, turn: int) -> None:
        """A job that was given up before it had a session must not take the place of the next one's."""
        if turn != self.turn:
            raise ConnectionLost("it was given up", peer=self._target)

    def _asked(self, server: Target, host: str, user: str | None) -> tuple[str, str] | None:
        """A password is asked for once, also when the session is opened again; but not told to another server of that host."""
        answer = self._answers.get((server, host, user))
        if answer is None and self.ask is not None:
            answer = self.ask(host, user)
            if answer is not None:
                self._answers[server, host, user] = answer
        return answer

    def cancel(self) -> None:
        """Gives up what is being fetched; from another thread. What is fetched next has a session of its own."""
        with self._lock:
            self.turn += 1
            session, self._session = self._session, None
            idle = self._used is not session
        if session is not None:
            session.abort()
            if idle:
                session.close()

    def close(self) -> None:
        """Says farewell; gives up what is being fetched. Twice is harmless."""
        with self._lock:
            session = self._session
            busy = session is not None and self._used is session
            if not busy:
                self._session = None
        if busy:
            self.cancel()
        elif session is not None:
            session.close()


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write into, which takes the place of what was there when all is written: what is cut short replaces nothing.
    Raises OSError."""
    path = path.resolve()
    if path.exists() and not path.is_file():  # a device, a named pipe
        with path.open("wb") as device:
            yield device
        return
    part = path.with_name(f"{path.name}.part")
    file = part.open("xb")  # one that is there already may be somebody's own
    try:
        with file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _content(session: Any, place: Place) -> Any:
    return session.get() if place.name is None else session.get(place.name)
