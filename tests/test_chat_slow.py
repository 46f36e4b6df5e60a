"""A member who does not read: the others never wait, the server's memory stays where it is, and the room is told."""

from __future__ import annotations

import threading
from pathlib import Path

from chat_support import NAME, Chat, Person, in_room, said

LINES = 4_000
LINE = "x" * 1_000


def talk(person: Person, word: str) -> None:
    for number in range(LINES):
        person.say(f"{word} {number} {LINE}")


def test_a_stuck_member_is_dropped_and_the_others_miss_nothing(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite") as chat, in_room(chat, "alice", "bob", "carol") as people:
        alice, bob, carol = people
        stuck = chat.person("dave", read=False)
        alice.sees("* dave joined")
        before = chat.memory
        talkers = [threading.Thread(target=talk, args=pair) for pair in ((alice, "one"), (bob, "two"))]
        for talker in talkers:
            talker.start()
        for talker in talkers:
            talker.join()
        for person in people:
            for word in ("one", "two"):
                person.sees(f"{word} {LINES - 1} {LINE}\n")
            person.sees("* dave is gone: too slow to read what is said")
        assert chat.memory - before < 32 * 1024 * 1024
        texts = [text for _author, text in said(carol.screen.lines)]
        for word in ("one", "two"):
            mine = [text for text in texts if text.startswith(word)]
            assert mine == [f"{word} {number} {LINE}" for number in range(LINES)]
        assert said(alice.screen.lines) == said(bob.screen.lines) == said(carol.screen.lines)
        stuck.__exit__(None, None, None)
        with chat.person("dave") as dave:  # the name is free again
            dave.sees("5 here")
        chat.terminate()


def test_a_connection_that_never_says_a_name_gets_nothing_and_harms_nobody(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite") as chat, in_room(chat, "alice", "bob") as (alice, bob), chat.person() as nobody:
        nobody.sees(NAME)
        alice.say("hello")
        bob.sees("<alice> hello")
        assert nobody.screen.text == f"{NAME}\n"
        chat.terminate()


def test_an_operator_whose_terminal_hangs_stops_nobody(tmp_path: Path) -> None:
    """The server's stdout is a pipe here, which nobody empties for a while."""
    with Chat(tmp_path / "chat.sqlite", reading=False) as chat, in_room(chat, "alice", "bob") as (alice, bob):
        for number in range(1500):
            alice.say(f"{number} {LINE}")
        bob.sees(f"<alice> 1499 {LINE}\n")
        chat.start_reading()
        alice.say("one more")
        chat.sees("lines were not shown here: this terminal is too slow")
        chat.terminate()
