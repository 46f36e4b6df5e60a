"""What the people of this node have said and nobody has seen yet: sent to the stream, and not back from there.

It is a queue, because the house is told in order what became of each. JetStream's answer says where a message is; that it has
arrived says the same, and either may come first or, when a link is lost, not at all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from prise import PriseError, UsageError
from prise.chat.events import Message
from prise.chat.store.natswire import message_id, packed, unpacked

CONFIRM_TIME = 60.0
"""Seconds in which it has to be known what became of a message. JetStream knows it again for twice as long."""

ANSWER_TIME = 5.0
"""Seconds without an answer to a message after which the link is given up, though it lives."""

Publish: TypeAlias = Callable[[int, str, bytes, str], None]
"""Sends a message: number of the sending, room, payload, id."""

Settled: TypeAlias = Callable[[Sequence[Message], PriseError | None], None]
"""See `House.settled`."""


@dataclass(eq=False, slots=True)
class _Saying:
    """since: when it was said. sent: when on this link; 0: not. number: where the stream has it, once that is known."""

    message: Message
    id: str
    since: float
    sent: float = 0.0
    number: int = 0
    outcome: Message | PriseError | None = None


class Sayings:
    """Bounded by the house, which has at most MOST_WAITING on their way."""

    def __init__(self, publish: Publish, settled: Settled) -> None:
        self._publish = publish
        self._settled = settled
        self._queue: deque[_Saying] = deque()
        self._by_id: dict[str, list[_Saying]] = {}
        self._sendings: dict[int, _Saying] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, message: Message, refused: PriseError | None) -> bool:
        """Sends it, if it is not refused. True: it can be settled."""
        saying = _Saying(message, message_id(message), time.monotonic(), outcome=refused)
        self._queue.append(saying)
        self._by_id.setdefault(saying.id, []).append(saying)
        if refused is None:
            try:
                unpacked(packed(message, saying.id), 0)
            except ValueError:
                saying.outcome = UsageError("this cannot be stored: it is not text")
            else:
                self._send(saying)
        return saying.outcome is not None

    def _send(self, saying: _Saying) -> None:
        self._count += 1
        self._sendings[self._count] = saying
        saying.sent = time.monotonic()
        self._publish(self._count, saying.message.room, packed(saying.message, saying.id), saying.id)

    def answered(self, sending: int, answer: Mapping[str, Any]) -> None:
        """JetStream has taken it, or not."""
        saying = self._sendings.pop(sending, None)
        if saying is None:
            return
        if "error" in answer:
            cause = answer["error"].get("description", "?")
            saying.outcome = saying.outcome or PriseError("the backplane has not taken it: {cause}", cause=cause)
        else:  # a duplicate is there for long, perhaps, and does not arrive again
            saying.number = int(answer["seq"])

    def stored(self, id: str, message: Message) -> None:
        """A message is in the archive; it may be one of ours."""
        for saying in self._by_id.get(id, ()):
            saying.outcome = saying.outcome or message

    def settle(self, last: int) -> None:
        """Tells the house, in order, of all whose fate is known. last: the number that has arrived."""
        stored: list[Message] = []
        while self._queue:
            head = self._queue[0]
            if head.outcome is None and 0 < head.number <= last:
                head.outcome = replace(head.message, number=head.number)
            if head.outcome is None:
                break
            self._queue.popleft()
            rest = self._by_id.pop(head.id)[1:]
            if rest:
                self._by_id[head.id] = rest
            if isinstance(head.outcome, Message):
                stored.append(head.outcome)
                continue
            if stored:
                self._settled(stored, None)
                stored = []
            self._settled([head.message], head.outcome)
        if stored:
            self._settled(stored, None)

    def cut(self) -> None:
        """The link is lost: answers do not come any more."""
        self._sendings.clear()
        for saying in self._queue:
            saying.sent = 0.0

    def send_again(self) -> None:
        """On a new link, when all that is in the stream has arrived: what has not is not there."""
        self._refuse_overtaken()
        for saying in self._queue:
            if saying.outcome is None:
                self._send(saying)

    def _refuse_overtaken(self) -> bool:
        """What was said before something that is stored would come too late. It happens when a cluster changes its leader."""
        queue = list(self._queue)
        last = max((place for place, saying in enumerate(queue) if isinstance(saying.outcome, Message)), default=0)
        overtaken = [saying for saying in queue[:last] if saying.outcome is None and not saying.number]
        for saying in overtaken:
            saying.outcome = PriseError("the backplane has not taken it, but what was said after it")
        return bool(overtaken)

    def look_after(self) -> bool:
        """Gives up what takes too long. False: JetStream answers no more, so that the link has to be given up too."""
        now = time.monotonic()
        for saying in self._queue:
            if saying.outcome is None and now > saying.since + CONFIRM_TIME:
                saying.outcome = _unsettled(saying, CONFIRM_TIME)
        head = next((saying for saying in self._queue if saying.outcome is None), None)
        late = head is not None and head.sent and not head.number and now > head.sent + ANSWER_TIME
        return not late or self._refuse_overtaken()

    def give_up(self, seconds: float) -> None:
        """The node stops, and has waited so long."""
        for saying in self._queue:
            saying.outcome = saying.outcome or _unsettled(saying, seconds)


def _unsettled(saying: _Saying, seconds: float) -> PriseError:
    if saying.number:
        return PriseError("it was stored, but has not come back to this server within {seconds:g} s", seconds=seconds)
    return PriseError(
        "it is not known whether this was stored: the backplane has not answered for {seconds:g} s", seconds=seconds
    )
