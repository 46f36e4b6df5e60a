"""`--handover` and `prise restart`, as they are typed."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

import prise

PRISE = [sys.executable, "-m", "prise"]
PATIENCE = 20.0
ENGLISH = {**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "en"}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def until_there(path: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def restarted(path: Path) -> int:
    done = subprocess.run(
        [*PRISE, "restart", str(path), "--json"], capture_output=True, text=True, timeout=60, env=ENGLISH, check=False
    )
    assert done.returncode == 0, done.stderr
    event = json.loads(done.stdout)
    assert event["event"] == "restarted"
    return int(event["pid"])


def end(process: subprocess.Popen[str], *pids: int) -> str:
    for pid in (process.pid, *pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _, said = process.communicate(timeout=PATIENCE)
    return said


def start(*arguments: str, **options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PRISE, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENGLISH, **options},
    )


def test_a_served_function_keeps_its_clients(tmp_path: Path) -> None:
    (tmp_path / "counter.py").write_text(
        "async def count(connection):\n"
        "    total = connection.state = connection.state or 0\n"
        "    async for line in connection:\n"
        "        total = connection.state = total + int(line)\n"
        "        await connection.send(str(total))\n"
    )
    path, port = tmp_path / "take", free_port()
    server = start("serve", f"{tmp_path}/counter.py:count", "--on", f"127.0.0.1:{port}", "--handover", str(path))
    pid = 0
    try:
        until_there(path)
        with prise.connect(f"127.0.0.1:{port}") as client:
            assert client.ask("40", timeout=PATIENCE) == "40"
            pid = restarted(path)
            assert client.ask("2", timeout=PATIENCE) == "42"
            assert server.wait(PATIENCE) == 0
    finally:
        said = end(server, pid)
    assert said.count("is listening on") == 2


def test_a_folder_is_served_on(tmp_path: Path) -> None:
    (tmp_path / "page.txt").write_text("here")
    path, port = tmp_path / "private" / "take", free_port()
    server = start("web", str(tmp_path), "--on", f"127.0.0.1:{port}", "--handover", str(path), "--log", "none")
    pid = 0
    try:
        until_there(path)
        for _ in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/page.txt", timeout=PATIENCE) as answer:
                assert answer.read() == b"here"
            pid = restarted(path)
    finally:
        end(server, pid)


def test_where_nobody_serves_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PRISE, "restart", str(tmp_path / "take")],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENGLISH,
        check=False,
    )
    assert done.returncode == 4
    assert "nobody takes connections at" in done.stderr


SLOW_TO_RENEW = """
import os, pathlib, time

here = pathlib.Path(__file__).parent
if (here / "first").exists():
    (here / "second.tmp").write_text(str(os.getpid()))
    (here / "second.tmp").rename(here / "second")
    time.sleep(30)
(here / "first").touch()

def conversation(connection):
    pass
"""
"""A program whose new release takes its time to load."""


def slow_to_renew(folder: Path) -> subprocess.Popen[str]:
    (folder / "slow.py").write_text(SLOW_TO_RENEW)
    where = ("--on", "127.0.0.1:0", "--handover", str(folder / "take"))
    server = start("serve", f"{folder / 'slow.py'}:conversation", *where)
    until_there(folder / "take")
    return server


def test_a_new_process_that_still_starts_ends_with_the_server(tmp_path: Path) -> None:
    """It would find nobody there, and go on serving where somebody wanted no server any more."""
    server = slow_to_renew(tmp_path)
    asking = start("restart", str(tmp_path / "take"))
    until_there(tmp_path / "second")
    end(server)
    _, said = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 4
    assert "the server is ending" in said
    second, until = int((tmp_path / "second").read_text()), time.monotonic() + PATIENCE
    with suppress(ProcessLookupError):
        while True:
            os.kill(second, 0)
            assert time.monotonic() < until
            time.sleep(0.02)
    assert not (tmp_path / "take").exists()


def test_a_restart_that_takes_longer_than_one_wants_to_wait(tmp_path: Path) -> None:
    server = slow_to_renew(tmp_path)
    asking = start("restart", str(tmp_path / "take"), "--timeout", "300ms")
    _, said = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 5
    assert "no new process has taken over within 0.3 s" in said
    end(server)


def test_a_server_of_another_user_is_not_taken_for_a_dead_one(tmp_path: Path) -> None:
    """It takes orders from its own user alone, and hangs up on root, too."""
    path = str(tmp_path / "take")
    listener = socket.socket(socket.AF_UNIX)
    with listener:
        listener.bind(path)
        ours = os.geteuid()
        os.seteuid(65534)  # the kernel notes who listens, here
        try:
            listener.listen()
        finally:
            os.seteuid(ours)
        asking = start("restart", path)
        listener.accept()[0].close()
        _, said = asking.communicate(timeout=PATIENCE)
    assert asking.returncode == 4
    assert "belongs to another user (number 65534)" in said


def test_an_empty_path_is_no_option_left_out() -> None:
    done = subprocess.run(
        [*PRISE, "serve", "echo", "--handover", ""],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENGLISH,
        check=False,
    )
    assert done.returncode == 2
    assert "--handover needs a path" in done.stderr


def test_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [*PRISE, "serve", "echo", "--handover", str(tmp_path / "take"), "--reload"],
        capture_output=True, text=True, timeout=60, env=ENGLISH, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "do not go together" in done.stderr


def test_the_service_manager_hears_who_is_the_service_now(tmp_path: Path) -> None:
    """MAINPID= comes from the old process, whom systemd believes; and the old one does not say that the service stops."""
    path, port = tmp_path / "take", free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        manager.settimeout(PATIENCE)
        server = start(
            "serve",
            "echo",
            "--on",
            f"127.0.0.1:{port}",
            "--handover",
            str(path),
            NOTIFY_SOCKET=str(tmp_path / "manager"),
        )
        pid = 0
        heard: list[str] = []
        try:
            until_there(path)
            pid = restarted(path)
            assert server.wait(PATIENCE) == 0
        finally:
            end(server, pid)
        while heard[-1:] != ["STOPPING=1"]:
            heard.append(manager.recv(4096).decode().split("\n")[0])
        assert heard[0] == "READY=1"
        assert sorted(heard[1:3]) == [f"MAINPID={pid}", "READY=1"]
        assert heard[3:] == ["STOPPING=1"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_a_terminal_the_first_process_stays_until_the_last_one_ends(tmp_path: Path, number: signal.Signals) -> None:
    path, port = tmp_path / "take", free_port()
    ours, theirs = pty.openpty()
    server = subprocess.Popen(
        [*PRISE, "serve", "echo", "--on", f"127.0.0.1:{port}", "--handover", str(path), "-q"],
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENGLISH,
        start_new_session=True,
    )
    try:
        os.close(theirs)
        until_there(path)
        with prise.connect(f"127.0.0.1:{port}") as client:
            pid = restarted(path)
            assert client.receive(PATIENCE) is None  # echo keeps no state, so its conversations end
        with prise.connect(f"127.0.0.1:{port}") as client:
            assert client.ask("new", timeout=PATIENCE) == "new"
        assert server.poll() is None
        os.killpg(server.pid, number)  # as Ctrl-C, or closing the terminal's job
        assert server.wait(PATIENCE) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
        os.close(ours)
