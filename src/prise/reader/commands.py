"""What the keys of the reader do, in one table: the screen binds them, and the help shows them."""

from __future__ import annotations

from typing import NamedTuple

from prise.locale import N_


class Command(NamedTuple):
    """keys: by their names in prompt_toolkit. method: of `Reader`. does: for the help."""

    keys: tuple[str, ...]
    method: str
    does: str


COMMANDS = (
    Command(("down", "j"), "down", N_("one line down")),
    Command(("up", "k"), "up", N_("one line up")),
    Command(("pagedown", "space"), "page_down", N_("one page down")),
    Command(("pageup",), "page_up", N_("one page up")),
    Command(("home",), "home", N_("to the beginning")),
    Command(("end",), "end", N_("to the end; more is fetched where there is more")),
    Command(("enter", "right", "l"), "open", N_("opens what is selected")),
    Command(("left", "backspace", "b"), "back", N_("goes back")),
    Command(("/",), "find", N_("finds words in this page")),
    Command(("n",), "find_next", N_("finds them again")),
    Command(("w",), "search", N_("has the server look for words (IMAP, gopher)")),
    Command(("s",), "save", N_("saves it to a file")),
    Command(("u",), "show_url", N_("shows its URL")),
    Command(("g",), "go", N_("goes to a URL")),
    Command(("r",), "reload", N_("fetches it again")),
    Command(("h",), "header", N_("shows the whole header of a message, or hides it")),
    Command(("a",), "attachments", N_("lists what is attached to a message")),
    Command(("?",), "help", N_("shows this")),
    Command(("escape", "c-c"), "cancel", N_("gives up what is being fetched")),
    Command(("q",), "quit", N_("ends the reader")),
)
"""What the keys do."""

WHILE_BUSY = frozenset(("cancel", "quit", "down", "up", "page_down", "page_up", "home", "end"))
"""What can be done while something is being fetched."""

NAMES = {
    "down": "↓",
    "up": "↑",
    "left": "←",
    "right": "→",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "home": "Home",
    "end": "End",
    "enter": "Enter",
    "escape": "Esc",
    "backspace": "Backspace",
    "space": N_("Space"),
    "c-c": "Ctrl-C",
}
"""Keys as people call them, where that is not their name here."""
