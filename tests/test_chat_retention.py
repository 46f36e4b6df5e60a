"""What is forgotten: `--keep TIME` and `--keep-messages NUMBER`. Numbers are not given again, searching finds nothing."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from chat_support import PATIENCE, Bot, Chat
from cli_process import run_here


def talk(bot: Bot, *texts: str) -> None:
    for text in texts:
        bot.asks("say", {"text": text, "id": text}, "settled", id=text)


def wait_for_rows(store: Path, count: int) -> None:
    """Until so many messages are left; the server looks for what is old in between."""
    until = time.monotonic() + PATIENCE
    with closing(sqlite3.connect(store)) as base:
        while base.execute("select count(*) from messages where kind = 'say'").fetchone()[0] != count:
            assert time.monotonic() < until


def test_only_the_last_messages_of_each_room_are_kept(tmp_path: Path) -> None:
    store = tmp_path / "chat.sqlite"
    with Chat(store) as chat:
        with chat.bot("bot", rooms=["salon", "den"]) as bot:
            talk(bot, *(f"old {number}" for number in range(1, 11)))
            bot.asks("say", {"room": "den", "text": "old den", "id": "d"}, "settled", id="d")
        chat.terminate()
    with Chat(store, "--keep-messages", "3") as chat:
        wait_for_rows(store, 4)
        chat.terminate()
    with Chat(store, "--keep-messages", "3") as chat:
        with chat.bot("bot", rooms=["salon", "den"], since={"salon": 2}) as bot:
            bot.meanwhile()
            assert [each["number"] for each in bot.messages()] == [8, 9, 10]
            assert bot.texts("den") == ["old den"]
            assert len(bot.asks("search", "old", "found")["messages"]) == 4
            assert bot.asks("history", {"before": 8}, "history")["messages"] == []
            assert bot.asks("say", {"text": "new", "id": "n"}, "settled")["number"] == 11
        chat.terminate()


def test_what_is_too_old_is_forgotten_and_its_numbers_too(tmp_path: Path) -> None:
    store = tmp_path / "chat.sqlite"
    with Chat(store) as chat:
        with chat.bot("bot") as bot:
            talk(bot, "one", "two", "three")
        chat.terminate()
    with closing(sqlite3.connect(store)) as base:
        base.execute("update messages set at = at - 90 * 86400 where text != 'three'")
        base.commit()
    with Chat(store, "--keep", "30d") as chat:
        wait_for_rows(store, 1)
        chat.terminate()
    with closing(sqlite3.connect(store)) as base:
        base.execute("update messages set at = at - 90 * 86400")
        base.commit()
    for _start in range(2):
        with Chat(store, "--keep", "30d") as chat:
            wait_for_rows(store, 0)
            chat.terminate()
    with Chat(store) as chat:
        with chat.bot("bot", since={"salon": 1}) as bot:
            assert bot.until("room")["last"] == 3
            assert bot.asks("search", "one", "found")["messages"] == []
            assert bot.asks("say", {"text": "four", "id": "4"}, "settled")["number"] == 4
        chat.terminate()


@pytest.mark.parametrize(
    "arguments", [("--keep", "soon"), ("--keep", "0d"), ("--keep-messages", "0"), ("--rate", "fast")]
)
def test_what_makes_no_sense_is_said(tmp_path: Path, arguments: tuple[str, str]) -> None:
    done = run_here("chat", "--on", "127.0.0.1:0", "--store", f"sqlite:{tmp_path}/x.sqlite", *arguments)
    assert done.returncode == 2
    assert arguments[1] in done.stderr
    assert "Traceback" not in done.stderr
