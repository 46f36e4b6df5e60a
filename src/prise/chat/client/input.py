"""What helps somebody who types: lines typed earlier, in a file, and completion with Tab."""

from __future__ import annotations

import re
from collections.abc import Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import History

from prise.chat.client.memory import Typed
from prise.chat.client.model import Model
from prise.locale import N_
from prise.locale import translate as _

OURS = {
    "send": (N_("FILE"), N_("shows a file to the room")),
    "join": (N_("ROOM [PASSWORD]"), N_("goes into a room, or looks at one that you are in")),
    "quit": ("", N_("leaves")),
}
"""Commands that are done here; the house has the others."""

SECRET = re.compile(r"\s*/(register|op|lock|nick\s+\S+\s|join\s+\S+\s|identify|login|pass)", re.IGNORECASE)
"""How a line begins that may hold a password: it is not kept."""


class KeptHistory(History):
    """Lines typed in this and earlier conversations."""

    def __init__(self) -> None:
        super().__init__()
        self._typed = Typed()

    def load_history_strings(self) -> Iterable[str]:
        return reversed(self._typed.read())

    def store_string(self, string: str) -> None:
        self._typed.add(string)


class Words(Completer):
    """Completes commands, people, rooms, and the file of /send."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        line = document.text_before_cursor
        if line.startswith("/send "):
            rest = line.removeprefix("/send ").lstrip()
            yield from self._paths.get_completions(Document(rest), complete_event)
            return
        word = line.rpartition(" ")[2]
        if line.startswith("/") and " " not in line:
            commands = self._model.commands | {name: (_(a) if a else "", _(h)) for name, (a, h) in OURS.items()}
            for name, (arguments, help) in sorted(commands.items()):
                if name.startswith(word[1:].lower()):
                    yield Completion(f"/{name} ", -len(word), display=f"/{name} {arguments}", display_meta=help)
            return
        if line.startswith(("/join ", "/part ", "/who ")):
            rooms = {room.name for room in self._model.rooms.values() if not room.other} | set(self._model.listed)
            yield from self._matching(word.removeprefix("#"), sorted(rooms), " ")
            return
        at = word[:1] == "@"
        end = ": " if not line[: -len(word) or None].strip() and not at and word else " "
        yield from self._matching(word.removeprefix("@"), self._model.names(), end)

    @staticmethod
    def _matching(begin: str, words: Iterable[str], end: str) -> Iterable[Completion]:
        for word in words:
            if begin and word.casefold().startswith(begin.casefold()):
                yield Completion(word + end, -len(begin), display=word)
