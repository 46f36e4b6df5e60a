"""`prise send` and `prise receive`: two processes, and what happens to them."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli_process import PATIENCE, Running, argv, environment, run, run_here

pytest.importorskip("click")

from prise.cli.progress import clock, line

BIG = 457 * 65536
"""Bytes: more than all the buffers between two processes."""


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(65536) * (BIG // 65536))
    return path


@contextmanager
def stalling(port: int, most: int) -> Iterator[int]:
    """A way to the port of a receiver on which no more than so many bytes pass, and nothing after them; its own port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(("127.0.0.1", port)) as onward:
        listener.settimeout(PATIENCE)

        def back(caller: socket.socket) -> None:
            try:
                while data := onward.recv(65536):
                    caller.sendall(data)
                caller.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

        def forth() -> None:
            caller, _ = listener.accept()
            with caller:
                answers = threading.Thread(target=back, args=(caller,))
                answers.start()
                left = most
                try:
                    while left and (data := caller.recv(min(left, 65536))):
                        onward.sendall(data)
                        left -= len(data)
                    over.wait(PATIENCE)
                    onward.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                answers.join(PATIENCE)

        thread = threading.Thread(target=forth)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join(PATIENCE)


def wait_for_part(path: Path) -> None:
    until = time.monotonic() + PATIENCE
    while not (path.exists() and path.stat().st_size):
        if time.monotonic() > until:
            pytest.fail(f"{path} never came")
        time.sleep(0.01)


def test_a_file_and_a_folder(tmp_path):
    (tmp_path / "file").write_text("hello")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "x").write_text("x")
    (tmp_path / "folder" / "link").symlink_to("below")
    with Running("receive", "127.0.0.1:0", str(tmp_path / "into")) as receiver:
        port = receiver.port()
        sent = run("send", str(tmp_path / "file"), str(tmp_path / "folder"), f"127.0.0.1:{port}")
        assert sent.returncode == receiver.wait() == 0
        assert receiver.err.rest() == ["received and verified: 2 files, 6 B"]
    assert sent.stdout == ""
    assert sent.stderr.splitlines() == [
        f"left out, not a file or folder: {tmp_path / 'folder' / 'link'}",
        "sent and verified: 2 files, 6 B",
    ]
    assert (tmp_path / "into" / "file").read_text() == "hello"
    assert (tmp_path / "into" / "folder" / "below" / "x").read_text() == "x"


def test_the_sender_waits(tmp_path):
    (tmp_path / "file").write_text("hello")
    with Running("send", "--listen", str(tmp_path / "file"), "127.0.0.1:0") as sender:
        address = sender.err.expect(r"waiting: prise receive --connect (\S+)$")[1]
        received = run("receive", "--connect", address, cwd=tmp_path / ".", given=None)
        assert received.returncode == 0
        assert "1 of them were there already" in received.stderr  # it came into the folder that it was sent from
        assert sender.wait() == 0


@pytest.mark.parametrize(
    "address",
    ["unix:{folder}/s", "tls,cert={folder}/c.pem,key={folder}/k.pem:localhost:{port}", "ws:localhost:{port}/files"],
    ids=["unix", "tls", "ws"],
)
def test_over_whatever_carries_bytes(tmp_path, big, address):

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = address.format(folder=tmp_path, port=port)
    calling = listening.replace(f"cert={tmp_path}/c.pem,key={tmp_path}/k.pem", f"ca={tmp_path}/c.pem")
    if "tls" in address:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
             "-keyout", f"{tmp_path}/k.pem", "-out", f"{tmp_path}/c.pem", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True,
        )  # fmt: skip
    with Running("receive", listening, str(tmp_path / "into")) as receiver:
        receiver.err.expect("waiting")
        assert run("send", str(big), calling).returncode == receiver.wait() == 0
    assert (tmp_path / "into" / "big").read_bytes() == big.read_bytes()


def test_a_stream_from_stdin_to_stdout(tmp_path):
    data = os.urandom(1_000_000)
    with (
        open(tmp_path / "out", "wb") as out,
        subprocess.Popen(
            argv("receive", "127.0.0.1:0", "-"), stdout=out, stderr=subprocess.PIPE, env=environment()
        ) as receiver,
    ):
        assert receiver.stderr is not None
        port = int(receiver.stderr.readline().rpartition(b":")[2])
        sent = run("send", "-", f"127.0.0.1:{port}", given=data)
        err = receiver.stderr.read()
    assert (sent.returncode, receiver.returncode, err) == (0, 0, b"received and verified: 1 file, 1.0 MB\n")
    assert (tmp_path / "out").read_bytes() == data


# No


def test_what_exists_is_not_overwritten_unless_asked(tmp_path):
    (tmp_path / "file").write_text("new")
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / "file").write_text("old")
    with Running("receive", "127.0.0.1:0", str(tmp_path / "into")) as receiver:
        sent = run("send", str(tmp_path / "file"), f"127.0.0.1:{receiver.port()}")
        assert sent.returncode == receiver.wait() == 1
        assert receiver.err.rest() == ["prise: 'file' is here already; --overwrite replaces it"]
    assert sent.stderr == "prise: 'file' exists there already; --overwrite on that side replaces it\n"
    assert (tmp_path / "into" / "file").read_text() == "old"
    with Running("receive", "--overwrite", "127.0.0.1:0", str(tmp_path / "into")) as receiver:
        assert run("send", str(tmp_path / "file"), f"127.0.0.1:{receiver.port()}").returncode == 0
    assert (tmp_path / "into" / "file").read_text() == "new"


def test_strangers_and_wrong_codes_are_sent_away(tmp_path):
    (tmp_path / "file").write_text("hello")
    with Running("receive", "127.0.0.1:0", str(tmp_path / "into"), "--code", "banana") as receiver:
        address = receiver.err.expect(r"waiting: prise send FILE (\S+) --code banana$")[1]
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as scanner:
            scanner.sendall(b"GET / HTTP/1.0\r\n\r\n")
            receiver.err.expect("is it one of them.*still waiting")
        wrong = run("send", str(tmp_path / "file"), address, "--code", "apple")
        assert wrong.returncode == 1
        assert "the code is not the one of the other side" in wrong.stderr
        receiver.err.expect("the code is not the one of the other side; still waiting")
        none = run("send", str(tmp_path / "file"), address)
        assert none.returncode == 1
        assert "asks for a code" in none.stderr
        assert run("send", str(tmp_path / "file"), address, "--code", "Banana").returncode == receiver.wait() == 0
    assert (tmp_path / "into" / "file").read_text() == "hello"


@pytest.mark.parametrize(("options", "shows"), [((), r" --code (\w{4}-\w{4})$"), (("--no-code",), r"(:\d+)$")])
def test_a_code_is_made_up_where_other_machines_can_come(tmp_path, options, shows):
    (tmp_path / "file").write_text("hello")
    with Running("receive", "*:0", str(tmp_path / "into"), *options) as receiver:
        match = receiver.err.expect(r"waiting: prise send FILE \S+:(\d+).*")
        code = receiver.err.seen[-1]
        words = code.split("--code ")
        assert (len(words) == 2) == (not options)
        given = ("--code", words[1]) if not options else ()
        assert run("send", str(tmp_path / "file"), f"127.0.0.1:{match[1]}", *given).returncode == receiver.wait() == 0
    assert shows


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["-", "file", ":1"], 2, "standard input (-) is sent alone"),
        (["file", ":1", "--code", "x", "--no-code"], 2, "exclude each other"),
        (["file", ":1", "--code", " "], 2, "the code is empty"),
        (["file"], 2, "Missing argument"),
        (["nothing", ":1"], 1, "nothing: No such file"),
        (["/dev/null", ":1"], 2, "neither a file nor a folder"),
        (["file", "127.0.0.1:1"], 4, "refused"),
    ],
)
def test_what_cannot_work_is_said(tmp_path, arguments, code, says):
    (tmp_path / "file").touch()
    done = run_here("send", *arguments, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert says in done.stderr


# Cut short, and continued


@pytest.mark.parametrize("victim", ["sender", "receiver"])
def test_what_was_killed_continues(tmp_path, big, victim):
    into = tmp_path / "into"
    with Running("receive", "127.0.0.1:0", str(into)) as receiver:
        with stalling(receiver.port(), BIG // 2) as port, Running("send", str(big), f"127.0.0.1:{port}") as sender:
            wait_for_part(into / "big.part")
            killed, other = (sender, receiver) if victim == "sender" else (receiver, sender)
            killed.signal(signal.SIGKILL)
            killed.wait()
            if victim == "receiver":
                assert other.wait() == 8
        assert other.wait() == 8
        assert "running the same again continues" in other.err.rest()[-1]
    there = (into / "big.part").stat().st_size
    assert 0 < there < BIG
    with Running("receive", "127.0.0.1:0", str(into)) as receiver:
        assert run("send", str(big), f"127.0.0.1:{receiver.port()}").returncode == receiver.wait() == 0
    assert (into / "big").read_bytes() == big.read_bytes()
    assert not (into / "big.part").exists()


# Progress


def test_progress_is_for_terminals(tmp_path, big):
    """Nothing of it in a pipe (the tests above compare all of stderr); on a terminal one line, which is gone at the end."""
    with Running("receive", "127.0.0.1:0", str(tmp_path / "into")) as receiver:
        address = f"127.0.0.1:{receiver.port()}"
        ours, theirs = pty.openpty()
        with subprocess.Popen(argv("send", str(big), address), stderr=theirs, env=environment(TERM="xterm")) as sender:
            os.close(theirs)
            seen = b""
            try:
                while data := os.read(ours, 65536):
                    seen += data
            except OSError:
                pass  # how a terminal ends on Linux
        os.close(ours)
        assert sender.returncode == receiver.wait() == 0
    text = seen.decode()
    assert "big" in text
    assert "of 29.9 MB" in text
    assert text.endswith("\r\x1b[Ksent and verified: 1 file, 29.9 MB\r\n")


def test_the_line_of_progress():
    assert line("x", 1_200_000, 2_700_000, 1_000_000, 80) == "x    44 %   1.2 MB of 2.7 MB   1.0 MB/s   0:01 left"
    assert line("x", 1_200_000, None, 10.0, 80) == "x   1.2 MB   10 B/s"
    assert line("", 10, 0, 0.0, 80) == "10 B   0 B/s"
    assert line("a/long/name/of/a/file", 5, 10, 1.0, 60).startswith("…")


@pytest.mark.parametrize("width", [0, 1, 5, 20, 40, 60, 200])
def test_the_line_is_shorter_than_the_terminal(width):
    assert len(line("some/file", 5, 10, 1.0, width)) <= max(width - 1, 0)


@pytest.mark.parametrize(("seconds", "shown"), [(0.4, "0:00"), (75, "1:15"), (3723, "1:02:03"), (1e9, "99:59:59")])
def test_the_clock(seconds, shown):
    assert clock(seconds) == shown
