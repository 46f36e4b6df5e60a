"""What was said in the chat room is kept: over restarts, over SIGKILL in the middle of it all, and when it cannot be kept."""

from __future__ import annotations

import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from chat_support import PATIENCE, Chat, Person, in_room, said


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "data" / "prise" / "chat.sqlite"


def kept(store: Path) -> list[tuple[str, str]]:
    """What the store holds, in order. The numbers are 1, 2, 3…"""
    with closing(sqlite3.connect(store)) as base:
        rows = base.execute("select number, author, text from messages order by number").fetchall()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    return [row[1:] for row in rows]


def test_the_last_twenty_messages_are_shown_also_after_a_restart(store: Path) -> None:
    lines = [f"line {number} é👋" for number in range(1, 26)]
    with Chat(store) as chat:
        with chat.person("alice") as alice, chat.person("bob") as bob:
            for line in lines:
                alice.say(line)
            alice.sees("line 25")
            bob.sees("line 25")
            with chat.person("carol") as carol:
                carol.sees("4 here")
                assert said(carol.screen.lines) == [("alice", line) for line in lines[-20:]]
        chat.terminate()
    with Chat(store) as chat:
        with chat.person("dave") as dave:
            dave.sees("2 here")
            assert said(dave.screen.lines) == [("alice", line) for line in lines[-20:]]
            dave.say("new")
            dave.sees("<dave> new")
        chat.terminate()
    assert kept(store) == [*(("alice", line) for line in lines), ("dave", "new")]


def test_only_the_user_can_read_what_was_said(store: Path) -> None:
    with Chat(store) as chat:
        with chat.person("alice") as alice:
            alice.say("a secret")
            alice.sees("<alice> a secret")
        for path in store.parent.iterdir():  # the journal and the lock too
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        for folder in (store.parent, store.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        chat.terminate()


def flood(person: Person, word: str) -> None:
    """Talks without a pause until the server is gone."""
    number = 0
    try:
        while True:
            lines = [f"{word} {number + i}" for i in range(50)]
            number += 50
            person.say("\n".join(lines))
    except OSError:
        pass


def test_a_killed_server_has_kept_every_message_that_anybody_was_shown(store: Path) -> None:
    with Chat(store) as chat, in_room(chat, "alice", "bob", "carol", "watcher") as people:
        talkers = [
            threading.Thread(target=flood, args=(person, person_name))
            for person, person_name in zip(people[:3], ("one", "two", "three"), strict=True)
        ]
        for talker in talkers:
            talker.start()
        people[-1].screen.wait_size(200_000)
        chat.process.kill()
        for talker in talkers:
            talker.join()
        shown = []
        for person in people:
            person.leaves()
            shown.append(said(person.screen.lines))
    history = kept(store)
    assert len(set(history)) == len(history), "nothing is there twice"
    for word in ("one", "two", "three"):
        numbers = [int(text.split()[1]) for _author, text in history if text.startswith(word)]
        assert numbers == list(range(len(numbers))), "what each one said is there without a gap, in order"
    for seen in shown:
        assert len(seen) > 1000
        begin = history.index(seen[0])
        assert seen == history[begin : begin + len(seen)]
    with Chat(store) as chat:
        with chat.person("dave") as dave:
            dave.sees("2 here")
            assert said(dave.screen.lines) == history[-20:]
        chat.terminate()


def test_what_cannot_be_kept_is_not_shown_and_its_author_told(store: Path) -> None:
    """A limit on the size of files (ulimit -f) stands for a full disk."""
    with Chat(store) as chat, in_room(chat, "alice", "bob") as (alice, bob):
        alice.say("before")
        place = bob.sees("<alice> before")
        journal = Path(f"{store}-wal").stat().st_size
        hard = resource.prlimit(chat.process.pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(chat.process.pid, resource.RLIMIT_FSIZE, (journal, hard))
        alice.say("lost")
        alice.sees(f"* nobody has seen what you just said: the chat's store {store} cannot be written: ")
        chat.sees(f"* the chat's store {store} cannot be written: ")
        bob.say("/who")
        bob.sees("* 3 here: operator, alice, bob", place)  # the room goes on
        resource.prlimit(chat.process.pid, resource.RLIMIT_FSIZE, (hard, hard))  # there is room again
        alice.say("after")
        bob.sees("<alice> after")
        assert "lost" not in bob.screen.text
        chat.terminate()
    assert kept(store) == [("alice", "before"), ("alice", "after")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"These are the notes of last week, and no data base. " * 50, "file is not a database"),
        (None, "is not a chat's store, or one of a newer prise"),
    ],
    ids=["text", "another data base"],
)
def test_a_file_that_is_no_store_is_left_alone(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "notes"
    if content is None:
        with closing(sqlite3.connect(path)) as base:
            base.execute("create table notes (text)")
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    done = subprocess.run(
        [sys.executable, "-m", "prise", "chat", "--tcp", "127.0.0.1:0", "--store", f"sqlite:{path}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert reason in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("store", ["chat.sqlite", "sqlite:", "postgres:chat", "sqlite:/proc/version/chat.sqlite"])
def test_a_store_that_cannot_be_is_said_in_one_line(store: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prise", "chat", "--tcp", "127.0.0.1:0", "--store", store],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "sqlite:" in done.stderr


def test_signals_in_quick_succession_do_no_harm(store: Path) -> None:
    with Chat(store) as chat, chat.person("alice") as alice:
        alice.say("hello")
        alice.sees("<alice> hello")
        chat.process.send_signal(signal.SIGINT)
        chat.process.send_signal(signal.SIGTERM)
        chat.terminate(signal.SIGTERM)
    assert kept(store) == [("alice", "hello")]
