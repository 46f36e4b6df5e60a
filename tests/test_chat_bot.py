"""The example of a bot, as somebody would start it, in a real room."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("click")

from chat_support import Chat, Program

BOT = Path(__file__).parent.parent / "examples" / "chat_bot" / "bot_prise.py"


def test_the_bot_tells_the_time(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite") as chat, chat.person("alice") as alice:
        with Program(sys.executable, str(BOT), f"127.0.0.1:{chat.port}"):
            alice.sees("* horloge joined")
            alice.say("!heure")
            end = alice.sees("<horloge> il est ")
            alice.sees("\n", end)
            assert re.search(r"<horloge> il est \d\d:\d\d\n", alice.screen.text)
        alice.sees("* horloge left")
