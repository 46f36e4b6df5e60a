"""Plays the server for the procedures of prise/protocols, without any I/O: what it says is the fuzzer's.

A procedure yields steps (prise/protocols/steps.py). Whatever it sends is thrown away; whenever it waits, it gets the next piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from fuzz.target import LONGEST, Given, must, told
from prise.address import Address
from prise.errors import PeerError, Refused, Unsupported
from prise.protocols.credentials import Credentials
from prise.protocols.steps import MAIN, Accept, Dial, Flow, Items, Listen, Now, Peer, Receive, Step, Steps
from prise.protocols.talk import Options, Talk
from prise.protocols.target import Target

HERE = Address("tcp", "127.0.0.1", 50000)
MOST_STEPS = 20_000
"""Of one conversation, and four more for each byte that the server says: what is endless must end."""

PASSWORD = "pass word"

Make = Callable[[Target, Options], Any]


def talk(kind: Make, url: str, login: bool = True, **more: Any) -> Any:
    """A talk of this class with the server of this URL, which traces what is said. login: it knows who logs in."""
    credentials = Credentials("user", PASSWORD, use_netrc=False) if login else Credentials(use_netrc=False)
    options = Options(credentials, trace=lambda direction, line: None, more=more)
    return kind(Target.parse(url), options)


LINK = b"\0link\0"
"""Between what comes on the main link and what comes on each further one (FTP's data connections, Gopher's)."""


class Script:
    """What the server says, piece by piece; afterwards its input has ended."""

    def __init__(self, given: Given) -> None:
        self._links = [Given(data, given.choice, given.cut).pieces() for data in given.data.split(LINK)]
        self._opened = 1
        self._most = MOST_STEPS + 4 * len(given.data)
        self.items: list[Any] = []
        self._steps = 0

    def _next(self, link: int, default: bytes | None = b"") -> bytes | None:
        pieces: Iterator[bytes] = self._links[link] if link < len(self._links) else iter(())
        return next(pieces, default)

    def _answer(self, step: Step) -> Any:
        self._steps += 1
        must(self._steps < self._most, "a conversation does not end")
        match step:
            case None:
                return self._next(MAIN)
            case Receive(seconds=seconds, link=link):
                return self._next(link, b"" if seconds is None else None)
            case Items(values=values):
                self.items += values
            case Dial() | Accept():
                self._opened += 1
                return self._opened - 1
            case Listen() | Peer():
                return HERE
            case Now():
                return self._steps / 100
        return None

    def run(self, steps: Steps[Any]) -> Any:
        """One procedure to its result; what comes bit by bit is in `items`. Raises what it raises."""
        answer: Any = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                if isinstance(done.value, Flow):
                    self.run(done.value.steps)
                return done.value
            answer = self._answer(step)


def converse(
    given: Given, make: Callable[[], Any], begin: Callable[[Any], list[Steps[Any]]], alike: bool = True
) -> None:
    """The greeting, then these procedures and the farewell. What the server says means the same however it is cut.

    alike: False where what comes at the same time counts (an answer before the request was sent).
    """
    whole = _told(Given(given.data), make(), begin)
    pieces = _told(given, make(), begin)
    if alike and len(given.data) <= LONGEST:  # of several bounds, which one is passed first may depend on the pieces
        same = len(whole) == len(pieces) and all(map(_same, whole, pieces))
        must(same, "the answer depends on how bytes arrive:", whole, pieces)


class Told(NamedTuple):
    """What came of one procedure: its result, or the error that the server has caused, as text; and the items before."""

    result: str
    broken: bool
    items: Sequence[Any]


def _same(one: Told, other: Told) -> bool:
    """Equal; where an answer is broken, how much of it came before that was seen depends on the pieces, and which of two
    faults as well."""
    if not (one.broken and other.broken):
        return one == other
    short, long = sorted((one.items, other.items), key=len)
    kinds = {each.result.partition(":")[0] for each in (one, other)}
    return len(kinds) == 1 and (not short or short == long[: len(short)])


def _told(given: Given, talk: Talk, begin: Callable[[Any], list[Steps[Any]]]) -> list[Told]:
    script = Script(given)
    found: list[Told] = []
    for each in (talk.hello(), *begin(talk), talk.bye()):
        items: list[Any] = []
        script.items = items
        broken = refused = False
        try:
            result = _shown(script.run(each))
        except (PeerError, Unsupported) as error:  # a server that cannot do what is asked for is Unsupported
            broken, refused = True, isinstance(error, Refused | Unsupported)
            result = f"{type(error).__name__}: {told(error)}"
        found.append(Told(result, broken, b"".join(items) if items and isinstance(items[0], bytes) else items))
        if broken and (not refused or len(found) == 1):  # a session whose greeting goes wrong is closed
            break
    return found


def _shown(result: Any) -> str:
    """A result; of a flow what is known before it is read."""
    return repr((result.size, result.name, result.kind)) if isinstance(result, Flow) else repr(result)
