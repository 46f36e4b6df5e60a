"""A full disk: whoever writes is told, nobody is dropped, what was acknowledged is there, and all goes on when there is room."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from chat_live import PATIENCE, stored
from chat_support import OPERATORS, Bot, Person, Program
from cli_process import Running, argv, environment
from prise.relay.recording import Recording
from small_disk import SmallDisk, fill, make_room

MIB = 1024**2
CHAT = (sys.executable, "-W", "error", "-m", "prise", "chat", "--on", "127.0.0.1:0", "--store", "sqlite:chat.sqlite")


@pytest.fixture
def disk(tmp_path: Path) -> SmallDisk:
    return SmallDisk(tmp_path / "disk", 2 * MIB)


def say(bot: Bot, text: str) -> bool:
    """True when it is stored, False when it is not."""
    reference = text.partition(" x")[0]
    bot.send("say", {"text": text, "id": reference})
    while True:
        kind, given = bot.next()
        if kind in ("settled", "failed") and given["id"] == reference:
            if kind == "failed":
                assert "disk is full" in given["why"]
            return kind == "settled"


def test_the_chat_says_so_and_goes_on_when_there_is_room(disk: SmallDisk, tmp_path: Path) -> None:
    with Program(*disk.command(*CHAT, "--rate", "none", "--operator-password", OPERATORS)) as chat:
        chat.errors.wait_for("\n", chat.errors.wait_for(f"/op {OPERATORS}"))
        found = re.search(r"^ +nc 127\.0\.0\.1 (\d+)$", chat.errors.text, re.MULTILINE)
        assert found
        port, there = int(found[1]), disk.seen_from(chat.process.pid)
        with Bot(port, name="ann") as ann, Bot(port, "websocket", name="eve") as eve, Person(port, "bob") as bob:
            stored_ones = [text for text in (f"early {number}" for number in range(20)) if say(ann, text)]
            assert len(stored_ones) == 20
            fill(there)
            said = [f"{number} {'x' * 3000}" for number in range(200)]
            outcomes = {text: say(ann, text) for text in said}  # a few may still fit into what SQLite has already
            stored_ones += [text for text, kept in outcomes.items() if kept]
            refused = [text for text, kept in outcomes.items() if not kept]
            assert len(refused) > 100
            bob.say("and I?" + "y" * 3000)
            bob.sees("nobody has seen what you just said")
            ann.send("do", "/topic the disk is full " + "z" * 200)
            assert "disk is full" in ann.until("notice")["text"]
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/files/big.bin?room=salon",
                data=bytes(MIB),
                method="PUT",
                headers={"Authorization": f"Bearer {ann.me['token']}"},
            )
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(request, timeout=PATIENCE)
            with refusal.value as answer:
                assert answer.status == 507
            with Person(port, "carol") as carol:  # to come, to look and to go needs no room
                carol.say("/who")
                carol.sees("ann")
            assert ann.asks("history", {"count": 500}, "history")["messages"][-1]["text"] == stored_ones[-1]
            make_room(there)
            assert say(ann, "there is room again")
            bob.sees("there is room again")
            bob.say("for me too")
            assert eve.until("message", text="for me too")["author"] == "bob"
            stored_ones += ["there is room again", "for me too"]
            assert [(each["number"], each["text"]) for each in eve.messages()] == list(enumerate(stored_ones, 1))
            assert eve.asks("search", "again", "found")["messages"][0]["text"] == "there is room again"
            for name in ("chat.sqlite", "chat.sqlite-wal"):  # nobody writes now
                shutil.copy(there / name, tmp_path)
            assert not list((there / "chat.sqlite.files").glob("*")), "nothing is left of the upload"
        chat.process.terminate()
        assert chat.finish() == 0, chat.errors.text
        assert "Traceback" not in chat.errors.text
    assert [text for _room, _number, text in stored(tmp_path / "chat.sqlite")] == stored_ones


def test_a_chat_does_not_start_without_room_for_its_store(disk: SmallDisk) -> None:
    done = run(disk.command(*CHAT, filled=disk.size - 8192))
    assert done.returncode == 2
    assert "the chat's store chat.sqlite cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_upload_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    disk = SmallDisk(tmp_path / "disk", 70 * MIB)  # uploads leave 64 MiB of a disk free
    command = disk.command(*argv("web", ".", "--on", "127.0.0.1:0", "--allow", "upload"))
    with Started(command) as web:
        port = web.port(r"127\.0\.0\.1:(\d+)")
        there = disk.seen_from(web.process.pid)
        fill(there)
        put = urllib.request.Request(f"http://127.0.0.1:{port}/big.bin", data=bytes(MIB), method="PUT")
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(put, timeout=PATIENCE)
        with refusal.value as answer:
            assert answer.status == 507
        assert [each.name for each in there.iterdir()] == ["ballast"]
        make_room(there)
        with urllib.request.urlopen(put, timeout=PATIENCE) as answer:
            assert answer.status == 201
        assert (there / "big.bin").stat().st_size == MIB
        web.signal(15)
        assert web.wait() == 0
        assert "Traceback" not in "".join(web.err.rest())


def test_a_file_for_which_there_is_no_room_is_refused_at_once(disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(4 * MIB))
    with Started(disk.command(*argv("receive", "127.0.0.1:0", "--no-code"))) as receive:
        port = receive.port()
        done = run(argv("send", str(tmp_path / "big"), f"127.0.0.1:{port}"))
        assert done.returncode == 1, done.stderr
        assert "room" in done.stderr or "disk" in done.stderr
        assert receive.wait() == 1
        assert "Traceback" not in done.stderr + "".join(receive.err.rest())


def test_a_disk_that_becomes_full_while_a_stream_is_received(disk: SmallDisk) -> None:
    with Started(disk.command(*argv("receive", "127.0.0.1:0", "--no-code"))) as receive:
        port = receive.port()
        done = run([*argv("send", "-", f"127.0.0.1:{port}")], given=bytes(8 * MIB))
        assert done.returncode != 0
        assert receive.wait() != 0
        said = done.stderr + "".join(receive.err.rest())
        assert "No space left" in said, said
        assert "Traceback" not in said


def test_a_relay_that_cannot_record_ends_and_what_it_has_recorded_can_be_read(disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "page.bin").write_bytes(bytes(100_000))
    with Running("web", str(tmp_path / "site"), "--on", "127.0.0.1:0") as web:
        command = argv("relay", "127.0.0.1:0", f"127.0.0.1:{web.port()}", "--record", "talk.jsonl")
        with Started(disk.command("sh", "-c", '"$@"; code=$?; cat talk.jsonl; exit $code', "sh", *command)) as relay:
            url = f"http://127.0.0.1:{relay.port()}/page.bin"
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                assert len(answer.read()) == 100_000
            fill(disk.seen_from(relay.process.pid))
            with (
                pytest.raises((OSError, http.client.HTTPException)),
                urllib.request.urlopen(url, timeout=PATIENCE) as answer,
            ):
                answer.read()
            assert relay.wait() == 1
            said = "\n".join(relay.err.rest())
            assert "No space left" in said
            assert "Traceback" not in said
            (tmp_path / "talk.jsonl").write_text("\n".join(relay.out.rest()))
    events = list(Recording(str(tmp_path / "talk.jsonl")))
    assert sum(len(event.data) for event in events if event.side == "server" and event.connection == 1) > 100_000


def test_what_was_fetched_stays_and_can_be_continued(disk: SmallDisk, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "big.bin").write_bytes(bytes(4 * MIB))
    with Running("web", str(tmp_path / "site"), "--on", "127.0.0.1:0") as web:
        url = f"http://127.0.0.1:{web.port()}/big.bin"
        done = run(disk.command("sh", "-c", '"$@"; code=$?; ls -l; exit $code', "sh", *argv("get", "-O", url)))
        assert done.returncode == 1, done.stderr
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert re.search(r" \d+ .* big\.bin", done.stdout), done.stdout


class Started(Running):
    """Any command, watched as `Running` does it."""

    def __init__(self, command: list[str]) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("cli_process.argv", lambda *_arguments: command)
            super().__init__()


def run(command: list[str], given: bytes = b"") -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, input=given, capture_output=True, env=environment(), timeout=PATIENCE, check=False)
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
