"""The reader's screen: keys that a person presses, and what is shown then; the terminal is a pipe, all else is real."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.base import PipeInput
from prompt_toolkit.output import ColorDepth, DummyOutput

import prise
from prise.reader.pages import ListPage, TextPage, page_of
from prise.reader.places import Place
from prise.reader.screen import Screen
from prise.reader.servers import Servers
from real_servers.dovecot import Dovecot
from real_servers.gophernicus import Gophernicus

PATIENCE = 20.0
DOWN, LEFT, ESCAPE, CTRL_C, UNDO = "\x1b[B", "\x1b[D", "\x1b", "\x03", "\x1f"


class Person:
    """Presses keys and looks at the screen."""

    def __init__(self, screen: Screen, keys: PipeInput) -> None:
        self.screen = screen
        self.reader = screen.reader
        self._keys = keys
        self._drawn = asyncio.Event()
        screen.app.after_render += lambda _app: self._drawn.set()

    def press(self, keys: str) -> None:
        self._keys.send_text(keys)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        drawn = self.screen.app.renderer.last_rendered_screen
        if drawn is None:
            return []
        rows = [drawn.data_buffer[number] for number in range(drawn.height)]
        return ["".join(row[column].char for column in range(80)).rstrip() for row in rows]

    async def sees(self, words: str) -> list[str]:
        await self.until(lambda: any(words in line for line in self.lines))
        return self.lines

    async def until(self, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._drawn.clear()
                    await self._drawn.wait()
        except TimeoutError:
            pytest.fail(f"it never came; there was {self.lines}")


@asynccontextmanager
async def person_at(url: str, **arguments: Any) -> AsyncIterator[Person]:
    place = Place.of(url)
    servers = Servers(place.target, {"netrc": False, "keyring": False, "timeout": 10, **arguments})
    if place.kind == "search":
        page: Any = ListPage(place, [])
    else:
        page = await asyncio.to_thread(lambda: page_of(place, servers.look(place)))
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        screen = Screen(servers, page)
        person = Person(screen, keys)
        running = asyncio.create_task(screen.app.run_async(pre_run=screen._begin))
        try:
            yield person
            person.press("q")
            async with asyncio.timeout(PATIENCE):
                await running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.to_thread(servers.close)


def test_keys_walk_a_menu_and_come_back(gophernicus: Gophernicus) -> None:
    async def main() -> None:
        async with person_at(gophernicus.url()) as person:
            lines = await person.sees("q quits")
            assert lines[0] == "Welcome to the tests"
            assert lines[-2].startswith(" 3/")
            person.press("\r")
            lines = await person.sees("hello gopher")
            assert lines[-2] == f" 100 % │ {gophernicus.url('0/hello.txt')}"
            person.press(LEFT)
            await person.sees("A folder/")
            person.press("jj")
            await person.sees(" 5/")
            person.press("/phone\r")
            await person.sees(" 16/")
            person.press("?")
            await person.sees("gives up what is being fetched")
            person.press("b")
            await person.sees("A phone book [phone book] -> cso://localhost:105/")

    asyncio.run(main())


def test_questions_are_asked_in_the_last_line(
    gophernicus: Gophernicus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a long path would not fit into the line

    async def main() -> None:
        async with person_at(gophernicus.url("7/cgi-bin/search")) as person:
            await person.sees("search for:")
            person.press("cats and q\r")
            await person.sees("Found cats")
            person.press("s")
            assert (await person.sees("save as:"))[-1] == "save as: hello.txt"
            person.press("\x15x\r")  # Ctrl-U empties the line, as in a shell
            await person.sees("14 B saved")
            assert (tmp_path / "x").read_bytes() == b"hello gopher\r\n"
            person.press("s")
            await person.sees("save as:")
            person.press(CTRL_C)
            await person.sees("q quits")

    asyncio.run(main())


def test_what_takes_too_long_is_given_up(gophernicus: Gophernicus) -> None:
    here, over = threading.Event(), threading.Event()

    def silent(connection: prise.Connection) -> None:
        connection.receive()
        here.set()
        over.wait(PATIENCE)

    async def main(slow: str) -> None:
        async with person_at(gophernicus.url()) as person:
            await person.sees("q quits")
            for key in (ESCAPE, CTRL_C):
                here.clear()
                person.press(f"g{slow}\r")
                await person.sees("fetching")
                await asyncio.to_thread(here.wait, PATIENCE)
                person.press(DOWN)  # the screen lives
                person.press(key)
                await person.sees("given up")
            person.press("g" + gophernicus.url("0/hello.txt") + "\r")
            await person.sees("hello gopher")
            over.set()

    with prise.listen(silent, "127.0.0.1:0") as server:
        asyncio.run(main(f"gopher://127.0.0.1:{server.address.port}/"))


def test_a_password_is_asked_for_on_the_screen_and_not_shown(gophernicus: Gophernicus, dovecot: Dovecot) -> None:
    user = "reader-screen"
    dovecot.deliver(user, b"Subject: for the screen\r\n\r\nhello\r\n")

    async def main() -> None:
        async with person_at(gophernicus.url(), tls=prise.TLS(ca=dovecot.ca)) as person:
            await person.sees("q quits")
            for typed in (CTRL_C, "nonsense\r", "pw\r"):
                person.press(f"g{dovecot.url('INBOX', user=user)}\r")
                await person.sees("password of reader-screen at")
                person.press(typed)
                await person.until(lambda: person.screen._asked is None and not person.reader.busy)
                assert "nonsense" not in "".join(person.lines)
            await person.sees("for the screen")
            person.press(f"/{UNDO}")
            await person.sees("find:")
            assert person.screen.buffer.text == ""  # the password does not come back
            person.press(CTRL_C)

    asyncio.run(main())


def test_sigterm_ends_it_and_leaves_the_terminal_as_it_was(gophernicus: Gophernicus) -> None:
    async def main() -> None:
        async with person_at(gophernicus.url()) as person:
            await person.sees("q quits")
            os.kill(os.getpid(), signal.SIGTERM)
            await person.until(lambda: person.screen.app.is_done)

    asyncio.run(main())


def test_hostile_text_moves_no_cursor() -> None:
    def conversation(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"i\x1b[2J\x1b]0;title\x07 \xe2\x80\xaein\t\t\t70\r\n0\x9b31mtext\t/\t\x1bhost\t70\r\n.\r\n")

    async def main(url: str) -> None:
        async with person_at(url) as person:
            lines = await person.sees("q quits")
            assert not any(character < " " or "\x7f" <= character < "\xa0" for line in lines for character in line)
            assert "\u202e" not in "".join(lines)

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        asyncio.run(main(f"gopher://127.0.0.1:{server.address.port}/"))


def test_colours_are_left_out_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    page = TextPage(None, "text")
    servers = Servers(Place.of("gopher://example.org/").target, {})
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        monkeypatch.setenv("NO_COLOR", "1")
        assert Screen(servers, page).app._color_depth is ColorDepth.DEPTH_1_BIT
        monkeypatch.delenv("NO_COLOR")
        assert Screen(servers, page).app._color_depth is not ColorDepth.DEPTH_1_BIT
