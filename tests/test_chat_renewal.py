"""A chat room is renewed while people talk: a new process takes over, and nobody notices."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import prise
from prise.handover import HandoverRefused, restart

PATIENCE = 30.0
PEOPLE = 500
SPEAKERS = 3
EACH = 30


class House:
    """A chat server with its successors: real processes."""

    def __init__(self, folder: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = int(found.getsockname()[1])
        self.path = str(folder / "take")
        self.broken = folder / "broken"
        place = ["--on", f"127.0.0.1:{self.port}", "--store", f"sqlite:{folder / 'chat.sqlite'}"]
        start = (
            f"import os, sys; os.path.exists({str(self.broken)!r}) and sys.exit(9); "
            "from prise.cli import main; sys.exit(main())"
        )
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-c", start, "chat", *place, "--rate", "none", "--handover", self.path, *options],
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "en"},
        )
        self.pids = {self.process.pid}

    async def ready(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while not os.path.exists(self.path):
                assert self.process.poll() is None, self.said()
                await asyncio.sleep(0.02)

    async def restart(self) -> int:
        pid = await asyncio.to_thread(restart, self.path, PATIENCE)
        assert pid is not None
        self.pids.add(pid)
        return pid

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> None:
        for pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.log.close()


@contextmanager
def house(folder: Path, *options: str) -> Iterator[House]:
    opened = House(folder, *options)
    try:
        yield opened
    finally:
        try:
            print(opened.said())
        finally:
            opened.stop()


class Guest:
    """Somebody with nc."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def come(cls, house: House, name: str) -> Guest:
        guest = cls(*await asyncio.open_connection("127.0.0.1", house.port))
        await guest.until("nickname")
        guest.say(name)
        await guest.until(f"you are {name}")
        return guest

    def say(self, line: str) -> None:
        self.writer.write(f"{line}\n".encode())

    async def line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            data = await self.reader.readline()
        assert data, "the server has ended the connection"
        return data.decode().rstrip("\n")

    async def until(self, what: str) -> str:
        while what not in (line := await self.line()):
            pass
        return line

    async def leave(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


class Program(Guest):
    """Somebody with a program, in a room of their own choice."""

    @classmethod
    async def enter(cls, house: House, name: str, room: str) -> Program:
        guest = cls(*await asyncio.open_connection("127.0.0.1", house.port))
        guest.say(json.dumps({"hello": {"name": name, "rooms": [room]}}))
        await guest.until('"room"')
        return guest

    def speak(self, text: str) -> None:
        self.say(json.dumps({"say": text}))


def test_500_people_talk_through_two_renewals_and_lose_nothing(tmp_path: Path) -> None:
    """Everybody hears everything that is said in their room, once and in one order; no connection breaks."""

    async def listen(guest: Guest, expected: int) -> list[str]:
        heard: list[str] = []
        while len(heard) < expected:
            if match := re.search(r"word (\d+ \d+)", await guest.line()):
                heard.append(match[1])
        return heard

    async def speak(guest: Guest, number: int, start: asyncio.Event) -> None:
        for each in range(EACH):
            text = f"word {number} {each}"
            guest.speak(text) if isinstance(guest, Program) else guest.say(text)
            await guest.writer.drain()
            if each == 5:
                start.set()
            await asyncio.sleep(0.05)

    async def main(opened: House) -> None:
        await opened.ready()
        rooms: list[list[Guest]] = [
            await asyncio.gather(*(Guest.come(opened, f"nc{each}") for each in range(PEOPLE // 10)))
        ]
        for number in range(9):
            names = [(f"p{number}x{each}", f"room{number}") for each in range(PEOPLE // 10)]
            rooms.append(await asyncio.gather(*(Program.enter(opened, *each) for each in names)))
        start = asyncio.Event()
        expected = SPEAKERS * EACH
        listening = [[asyncio.ensure_future(listen(guest, expected)) for guest in room] for room in rooms]
        speaking = [
            asyncio.ensure_future(speak(guest, number, start))
            for room in rooms
            for number, guest in enumerate(room[:SPEAKERS])
        ]
        await start.wait()
        first = await opened.restart()
        second = await opened.restart()
        assert len({opened.process.pid, first, second}) == 3
        await asyncio.gather(*speaking)
        for room in listening:
            heard = await asyncio.gather(*room)
            assert len(set(heard[0])) == expected
            assert all(each == heard[0] for each in heard)
            for number in range(SPEAKERS):
                mine = [int(each.split()[1]) for each in heard[0] if each.split()[0] == str(number)]
                assert mine == sorted(mine)
        await asyncio.to_thread(opened.process.wait, PATIENCE)
        assert "left" not in opened.said()
        await asyncio.gather(*(guest.leave() for room in rooms for guest in room))

    with house(tmp_path) as opened:
        asyncio.run(main(opened))


def test_names_rooms_and_private_words_go_along(tmp_path: Path) -> None:
    async def main(opened: House) -> None:
        await opened.ready()
        ada, bob = await Guest.come(opened, "ada"), await Guest.come(opened, "bob")
        await ada.until("bob joined")
        ada.say("/join garden")
        await ada.until("you are in garden")
        bob.say("/join garden")
        await ada.until("bob joined")
        bob.say("/away tea")
        bob.say("/ignore carol")
        bob.say("half a li")
        await bob.until("half a li")
        bob.writer.write(b"the beginning of a line")
        await opened.restart()
        bob.writer.write(b" and its end\n")
        assert (await ada.until("and its end")).endswith("the beginning of a line and its end")
        ada.say("/msg bob psst")
        assert "psst" in await bob.until("psst")
        bob.say("/reply yes?")
        assert "yes?" in await ada.until("yes?")
        ada.say("/who")
        assert "bob" in await ada.until("bob")
        carol = await Guest.come(opened, "carol")
        carol.say("hello")
        await carol.until("hello")
        await bob.leave()
        await ada.until("bob")
        await ada.leave()
        await carol.leave()

    with house(tmp_path) as opened:
        asyncio.run(main(opened))


def test_programs_and_websockets_go_along_and_keep_their_numbers(tmp_path: Path) -> None:
    async def main(opened: House) -> None:
        await opened.ready()
        hello = json.dumps({"hello": {"name": "page"}})
        async with await prise.connect(f"ws://127.0.0.1:{opened.port}/chat", framing="lines|json") as page:
            await page.send(json.loads(hello))
            async with await prise.connect(f"127.0.0.1:{opened.port}", framing="lines|json") as program:
                await program.send({"hello": {"name": "program", "bot": True}})

                async def until(connection: prise.AsyncConnection, kind: str, text: str = "") -> dict[str, object]:
                    async with asyncio.timeout(PATIENCE):
                        async for given in connection:
                            if kind in given and (not text or given[kind].get("text") == text):
                                found: dict[str, object] = given[kind]
                                return found
                    raise AssertionError("the server has ended the connection")

                await until(page, "room")
                await until(program, "room")
                await program.send({"say": "before"})
                before = await until(page, "message", "before")
                await opened.restart()
                await page.send({"say": {"text": "after", "id": "1"}})
                after = await until(program, "message", "after")
                assert int(str(after["number"])) == int(str(before["number"])) + 1
                assert (await until(page, "settled"))["number"] == after["number"]
                await opened.restart()
                await program.send({"say": "again"})
                await until(page, "message", "again")

    with house(tmp_path) as opened:
        asyncio.run(main(opened))


def test_a_new_release_that_crashes_at_its_start_changes_nothing(tmp_path: Path) -> None:
    async def main(opened: House) -> None:
        await opened.ready()
        ada, bob = await Guest.come(opened, "ada"), await Guest.come(opened, "bob")
        opened.broken.touch()
        with pytest.raises(HandoverRefused, match="exit code 9"):
            await opened.restart()
        ada.say("still here?")
        await bob.until("still here?")
        opened.broken.unlink()
        await opened.restart()
        bob.say("now it is new")
        await ada.until("now it is new")
        await asyncio.gather(ada.leave(), bob.leave())

    with house(tmp_path) as opened:
        asyncio.run(main(opened))


def test_a_successor_that_fails_with_everything_in_its_hands_changes_nothing(tmp_path: Path) -> None:
    async def main(opened: House) -> None:
        await opened.ready()
        ada, bob = await Guest.come(opened, "ada"), await Guest.come(opened, "bob")
        inheritance = await asyncio.to_thread(prise.handover.inherit, opened.path)
        assert inheritance is not None
        assert len(inheritance.connections) == 2
        ada.say("meanwhile")
        inheritance.close()
        await bob.until("meanwhile")
        bob.say("all is well")
        await ada.until("all is well")
        await asyncio.gather(ada.leave(), bob.leave())

    with house(tmp_path) as opened:
        asyncio.run(main(opened))


def test_over_tls_people_are_told_to_come_back(tmp_path: Path) -> None:
    """Their keys cannot change hands; the page and `prise chat join` come back by themselves, by their tokens."""

    async def main(opened: House) -> None:
        await opened.ready()
        tls = prise.TLS(verify=False)
        async with await prise.connect(f"tls:127.0.0.1:{opened.port}", tls=tls) as ada:
            await ada.receive()
            await ada.send("ada")
            await opened.restart()
            said = [line async for line in ada]
            assert "come back" in said[-1]
        async with await prise.connect(f"tls:127.0.0.1:{opened.port}", tls=tls) as again:
            assert "nickname" in await again.receive()

    with house(tmp_path, "--tls") as opened:
        asyncio.run(main(opened))
