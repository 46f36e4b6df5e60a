"""What the keys do, beyond the editing of the line, which is as in a shell (prompt_toolkit's, like Emacs)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prompt_toolkit.filters import has_completions
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

if TYPE_CHECKING:
    from prise.chat.client.screen import Screen

INTERRUPTED = 130


def bindings(screen: Screen) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _enter(event: KeyPressEvent) -> None:
        screen.enter()

    @keys.add("c-c")
    def _interrupt(event: KeyPressEvent) -> None:
        screen.interrupt(INTERRUPTED)

    @keys.add("c-d")
    def _end(event: KeyPressEvent) -> None:
        if screen.buffer.text:
            screen.buffer.delete()
        else:
            screen.interrupt(0)

    @keys.add("pageup")
    def _up(event: KeyPressEvent) -> None:
        screen.area.page(1)

    @keys.add("pagedown")
    def _down(event: KeyPressEvent) -> None:
        screen.area.page(-1)

    @keys.add("c-n", filter=~has_completions)
    def _next(event: KeyPressEvent) -> None:
        screen.turn(1)

    @keys.add("c-p", filter=~has_completions)
    def _previous(event: KeyPressEvent) -> None:
        screen.turn(-1)

    @keys.add("c-l")
    def _draw(event: KeyPressEvent) -> None:
        event.app.renderer.clear()

    @keys.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        screen.pasted(event.data)

    for number in range(9):

        @keys.add("escape", str(number + 1))
        def _look(event: KeyPressEvent, number: int = number) -> None:
            screen.look(number)

    return keys
