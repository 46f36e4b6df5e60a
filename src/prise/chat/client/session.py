"""The connection of a client: comes in, listens, and comes back by itself, as the same person, behind what it has seen.

What is said has an id and is sent again after a lost connection until the house has settled it, so nothing is lost and nothing
said twice. There is no terminal here: `Listener` is told what happens, and asked for a name or a passphrase.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import prise
from prise.chat import cleaning
from prise.chat.client.fields import text
from prise.chat.client.memory import Identities
from prise.chat.client.model import MOST_PENDING, Model, News
from prise.chat.client.room import Pending, Room
from prise.locale import translate

LIMITS = prise.Limits(
    idle_time=None,
    message_size=16 * 1024 * 1024,  # a page of history in one message
    outbox_size=8 * 1024 * 1024,
)
SILENCE = 30.0
"""Seconds without a word from the house after which it is asked whether it is there; after as many more it is given up."""
ANSWER_TIME = 30.0
"""Seconds for the answer to `hello`."""
PAGE = 100
"""Messages of the history asked for at once."""
TRIES = prise.Retry(attempts=1_000_000, first=0.5, longest=20.0)
"""The pauses between attempts to come back."""
WELL = 10.0
"""Seconds that a connection must have lasted for the pauses to be short again."""


class NotLetIn(prise.PeerError):
    """The house does not let us in: the name is taken, we are banned, it is full."""


class LoginRefused(NotLetIn):
    """A passphrase or a password is missing or wrong."""

    exit_code = 7


class Over(prise.PeerError):
    """The house has ended the conversation, for good."""


class Nonsense(prise.PeerError):
    """What came is not what a house says."""


class Listener(Protocol):
    """Who is told, and asked."""

    def news(self, kind: str, given: Any, news: News) -> None:
        """An object has come, and the model has taken it."""

    def changed(self, state: str, detail: str = "") -> None:
        """Of the connection: connecting, in, lost (detail: why)."""

    async def answer(self, code: str, why: str) -> str | None:
        """A better name ("name", "taken"), the name's "passphrase" or the house's "password"; None to give up."""


@dataclass(slots=True, kw_only=True)
class Wish:
    """What `hello` says. rooms: empty for the house's first. history: how many of the last messages."""

    name: str = ""
    rooms: list[str] = field(default_factory=list)
    language: str = ""
    passphrase: str = ""
    password: str = ""
    history: int = 50


class Session:
    """`run` it; the rest may be called at any time, from the same loop.

    connect: makes the connector, `prise.connect(..., framing=FRAMING, limits=LIMITS)`.
    """

    def __init__(
        self,
        connect: Callable[[], prise.Connector],
        model: Model,
        listener: Listener,
        wish: Wish,
        kept: Identities | None = None,
    ) -> None:
        self.model = model
        self.wish = wish
        self.token = ""
        self._connect = connect
        self._listener = listener
        self._kept = kept
        self._connection: prise.AsyncConnection | None = None
        self._leaving = False
        self._asked: set[str] = set()  # rooms whose history is on its way
        self.settled = asyncio.Event()  # set whenever something is

    # -- what we do ------------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def say(self, said: str, room: Room) -> Pending | None:
        """Says something, now or as soon as we are back; None when too much waits."""
        if len(self.model.pending) >= MOST_PENDING:
            return None
        pending = self.model.say(room, said, secrets.token_hex(8))
        self._say(pending)
        return pending

    def _say(self, pending: Pending) -> None:
        room = self.model.rooms.get(cleaning.key(pending.room))
        self._send(
            "say", {"room": room.title if room is not None else pending.room, "text": pending.text, "id": pending.id}
        )

    def do(self, command: str, room: Room | None) -> bool:
        """Has a command done; False when we are not connected: commands are not repeated."""
        return self._send(
            "do", {"command": command, "room": room.name} if room and not room.other else {"command": command}
        )

    def older(self, room: Room) -> bool:
        """Asks for what was said in a room before what is there, unless it has been asked for; False when it cannot."""
        if not room.more or room.name in self._asked:
            return False
        fields: dict[str, Any] = {"room": room.name, "count": PAGE}
        if first := room.first:
            fields["before"] = first
        if not self._send("history", fields):
            return False
        self._asked.add(room.name)
        return True

    def search(self, words: str) -> bool:
        return self._send("search", {"words": words})

    def _send(self, kind: str, given: Any) -> bool:
        if self._connection is None:
            return False
        with suppress(prise.PeerError):  # `_listen` is told the same
            self._connection.post({kind: given})
        return True

    async def leave(self) -> None:
        """Ends the conversation; `run` returns."""
        self._leaving = True
        connection = self._connection
        if connection is not None:
            with suppress(prise.PeerError):
                await connection.send({"quit": {}})
                await connection.send_eof() if connection.half_closes else await connection.close()

    # -- the connection --------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until we leave. Raises what the first attempt raises, NotLetIn, Over; later, lost connections are made again."""
        been_in = False
        pauses = TRIES.pauses()
        loop = asyncio.get_running_loop()
        while not self._leaving:
            self._listener.changed("connecting")
            try:
                async with self._connect() as connection:
                    if not await self._enter(connection):
                        return
                    been_in, since = True, loop.time()
                    try:
                        await self._listen(connection)
                    except prise.FrameError as error:
                        raise Nonsense(
                            "the house does not keep to the protocol: {why}", why=error.sentence(translate)
                        ) from None
                    finally:
                        if loop.time() - since > WELL:
                            pauses = TRIES.pauses()
                if self._leaving:
                    return
                why = ""
            except (NotLetIn, Over, Nonsense):
                raise
            except prise.PeerError as error:
                if not been_in:
                    raise
                why = error.sentence(translate)
            finally:
                self._connection = None
                self._asked.clear()
            if self._leaving:
                return
            self._listener.changed("lost", why)
            await asyncio.sleep(next(pauses))

    async def _enter(self, connection: prise.AsyncConnection) -> bool:
        """Says hello until we are in; False to give up. Raises NotLetIn, ConnectionLost."""
        while not (self.model.name or self.wish.name):
            name = await self._listener.answer("name", "")
            if name is None:
                return False
            self.wish.name = name.strip()
        while True:
            await connection.send({"hello": self._hello()})
            kind, given = await self._receive(connection, ANSWER_TIME)
            while kind not in ("welcome", "denied", "error", "goodbye"):
                kind, given = await self._receive(connection, ANSWER_TIME)
            if kind == "welcome":
                self._came_in(connection, given)
                return True
            why = text(given, "why") or kind
            code = text(given, "code") if kind == "denied" else ""
            if code not in ("name", "taken", "passphrase", "password"):
                raise NotLetIn("{why}", why=why, peer=connection.peer)
            answer = await self._listener.answer(code, why)
            if answer is None:
                if self._leaving:
                    return False
                refused = LoginRefused if code in ("passphrase", "password") else NotLetIn
                raise refused("{why}", why=why, peer=connection.peer)
            if code in ("name", "taken"):
                self.wish.name, self.token, self.model.name = answer, "", ""
            else:
                setattr(self.wish, code, answer)

    def _hello(self) -> dict[str, Any]:
        model, wish = self.model, self.wish
        name = model.name or wish.name
        token = self.token or (self._kept.token(name) if self._kept is not None else "")
        since = model.since()
        rooms = list(dict.fromkeys([*wish.rooms, *since]))
        fields: dict[str, Any] = {"name": name, "history": wish.history, "language": wish.language}
        fields |= {
            "token": token,
            "passphrase": wish.passphrase,
            "password": wish.password,
            "since": since,
            "rooms": rooms,
        }
        return {field: value for field, value in fields.items() if value or field == "history"}

    def _came_in(self, connection: prise.AsyncConnection, given: Any) -> None:
        model = self.model
        self._connection = connection
        self._take("welcome", given)
        token = given.get("token") if isinstance(given, dict) else None
        if isinstance(token, str) and 0 < len(token) <= 4096:
            self.token = token
            if self._kept is not None:
                self._kept.keep(model.name, token)
        self._listener.changed("in")
        for room in model.rooms.values():
            if room.other:  # the house replays rooms, but not what was said to us alone
                self._send("history", {"room": room.name, "count": PAGE})
        for pending in tuple(model.pending.values()):
            self._say(pending)

    async def _receive(self, connection: prise.AsyncConnection, timeout: float) -> tuple[str, Any]:
        """The next object. Raises ConnectionLost, TooSlow."""
        given = await connection.receive(timeout=timeout)
        if given is None:
            raise prise.ConnectionLost("the house has closed the connection", operation="receive", peer=connection.peer)
        if isinstance(given, dict) and len(given) == 1:
            kind, fields = next(iter(given.items()))
            return str(kind), fields
        return "", None

    async def _listen(self, connection: prise.AsyncConnection) -> None:
        asked = False
        while True:
            try:
                kind, given = await self._receive(connection, SILENCE)
            except prise.TooSlow:
                if asked:
                    connection.abort()
                    raise
                asked = self._send("ping", 1)
                continue
            except prise.ConnectionLost:
                if self._leaving:
                    return
                raise
            asked = False
            if kind == "goodbye":
                if self._leaving:
                    return
                if not (isinstance(given, dict) and given.get("again") is True):
                    raise Over("{why}", why=text(given, "why") or "goodbye", peer=connection.peer)
                raise prise.ConnectionLost("{why}", why=text(given, "why"), peer=connection.peer)
            self._take(kind, given)

    def _take(self, kind: str, given: Any) -> None:
        if kind == "history":
            self._asked.discard(text(given, "room"))
        elif kind == "error":
            self._asked.clear()  # it may be the answer to such a question
        news = self.model.take(kind, given)
        if kind in ("settled", "failed", "parted", "left"):
            self.settled.set()
        if kind == "renamed" and self._kept is not None and self.token and text(given, "id") == self.model.id:
            self._kept.keep(self.model.name, self.token)
        self._listener.news(kind, given, news)

    async def all_settled(self, most: int = 0) -> None:
        """Waits until no more than so many messages are unsettled."""
        while len(self.model.pending) > most:
            self.settled.clear()
            await self.settled.wait()
