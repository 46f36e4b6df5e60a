"""`prise serve php:script.php`: PHP workers behind the command, talked to over real sockets."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import prise
from cli_process import PATIENCE, Running, argv, environment, run, run_here
from peers import need

pytest.importorskip("click")

ROOT = Path(__file__).resolve().parent.parent
GUESTBOOK = ROOT / "examples" / "php_guestbook" / "guestbook.php"

TALK = r"""<?php

return function (Prise\Received $connection): void {
    while (($line = $connection->readLine()) !== null) {
        $word = trim($line);
        match ($word) {
            'fail' => throw new RuntimeException('désolé'),
            'fatal' => eval('function twice() {} function twice() {}'),
            'kill' => posix_kill(getmypid(), SIGKILL),
            'exit' => exit(),
            'print' => print("écrit\n"),
            default => null,
        };
        $connection->write(match ($word) {
            'pid' => getmypid() . "\n",
            'who' => $connection->header['peer'] . "\n",
            'timeout' => ini_get('default_socket_timeout') . "\n",
            default => strtoupper($line),
        });
        if ($word === 'bye') {
            return;
        }
    }
    $connection->write("FIN\n");
};
"""


@pytest.fixture(autouse=True)
def php():
    need("php")


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "talk.php"
    path.write_text(TALK)
    return path


def serving(script: Path, *options: str, on: str = "127.0.0.1:0", **more: Any) -> Running:
    return Running("serve", f"php:{script}", "--on", on, *options, **more)


def talk(port: int, text: str) -> str:
    """Says it, ends the input, and returns all that comes back."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile(encoding="utf-8") as file:
            return file.read()


def connect(port: int) -> prise.Connection:
    return prise.connect(f"127.0.0.1:{port}").open()


# Serving


def test_it_serves_until_it_is_stopped_and_counts(script):
    with serving(script, "--workers", "2") as server:
        port = server.port()
        assert talk(port, "ça va, été ?\n") == "çA VA, éTé ?\nFIN\n"  # strtoupper() leaves the accents alone
        assert talk(port, "bye\n") == "BYE\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert server.err.expect(r"connections: 2; refused: 0; errors: 0")


def test_more_clients_than_workers(script):
    with serving(script, "--workers", "2") as server, ThreadPoolExecutor(12) as threads:
        port = server.port()
        answers = list(threads.map(lambda number: talk(port, f"it is {number}\npid\n"), range(24)))
        assert [answer.splitlines()[0] for answer in answers] == [f"IT IS {number}" for number in range(24)]
        assert len({answer.splitlines()[1] for answer in answers}) == 2


def test_a_slow_client_occupies_one_worker_only(script):
    with serving(script, "--workers", "2") as server:
        port = server.port()
        with connect(port) as slow:
            assert slow.ask("first", timeout=PATIENCE) == "FIRST"
            assert talk(port, "quick\n") == "QUICK\nFIN\n"
            assert slow.ask("second", timeout=PATIENCE) == "SECOND"


def test_the_queue_is_bounded(script):
    with serving(script, "--workers", "1", "--queue", "0", "--json") as server:
        port = server.port()
        with connect(port) as talks:
            assert talks.ask("first", timeout=PATIENCE) == "FIRST"
            with connect(port) as refused:
                assert refused.receive(timeout=PATIENCE) is None
        server.err.expect("refused: 0 connections wait")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        events = [json.loads(line) for line in server.out.rest()]
        assert [event["event"] for event in events] == ["ready", "stopped"]
        assert events[1]["refused"]["queue"] == 1


def test_a_drain_ends_the_input_and_the_last_words_arrive(script):
    with serving(script, "--workers", "1") as server, connect(server.port()) as peer:
        assert peer.ask("first", timeout=PATIENCE) == "FIRST"
        server.signal(signal.SIGTERM)
        assert peer.receive(timeout=PATIENCE) == "FIN"
        assert peer.receive(timeout=PATIENCE) is None
        assert server.wait() == 0


def test_a_second_signal_cuts(tmp_path):
    script = tmp_path / "stubborn.php"
    script.write_text(
        r"<?php return function (Prise\Received $c) { $c->write('here'); while (true) { usleep(9999); } };"
    )
    with serving(script, "--workers", "1") as server:
        with socket.create_connection(("127.0.0.1", server.port()), PATIENCE) as sock:
            assert sock.recv(100) == b"here"
            server.signal(signal.SIGINT)
            while True:  # until the listener is gone, the first signal may not have been seen
                try:
                    socket.create_connection(sock.getpeername(), PATIENCE).close()
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:
                    continue
            server.signal(signal.SIGINT)
            assert sock.recv(100) == b""
        assert server.wait() == 0


def test_unix_sockets_and_several_addresses(script, tmp_path):
    path = tmp_path / "talk.sock"
    with serving(script, "--on", "127.0.0.1:0", on=f"unix:{path}") as server:
        port = server.port()
        assert talk(port, "bye\n") == "BYE\n"
        with prise.connect(f"unix:{path}").open() as connection:
            assert connection.ask("bye", timeout=PATIENCE) == "BYE"


def test_tls_is_taken_off_by_the_server(script):
    with serving(script, "--tls", "--self-signed", "--workers", "1") as server:
        pin = server.err.expect(r"--pin (\w+)")[1]
        with prise.connect(f"tls:127.0.0.1:{server.port()}", tls=prise.TLS(pin=pin)).open() as connection:
            assert connection.ask("secret", timeout=PATIENCE) == "SECRET"
            connection.send_eof()
            assert connection.receive(timeout=PATIENCE) == "FIN"
            assert connection.receive(timeout=PATIENCE) is None
            assert connection.lost is None


def test_idle_is_how_long_php_waits(script):
    with serving(script, "--idle", "5m") as server:
        assert talk(server.port(), "timeout\n") == "300\nFIN\n"


def test_the_php_code_learns_who_talks(script):
    with serving(script) as server:
        with socket.create_connection(("127.0.0.1", server.port()), PATIENCE) as sock:
            sock.sendall(b"who\nbye\n")
            assert sock.recv(100).decode().startswith(f"127.0.0.1:{sock.getsockname()[1]}\n")


# Failing


def test_an_exception_ends_its_conversation_and_is_logged(script):
    with serving(script, "--workers", "1") as server:
        port = server.port()
        pid = talk(port, "pid\n").splitlines()[0]
        assert talk(port, "fail\n") == ""
        server.err.expect(
            r"ERROR connection from 127.0.0.1:\d+: the conversation failed: RuntimeException: désolé \(talk.php"
        )
        assert talk(port, "pid\n").splitlines()[0] == pid


def test_a_fatal_error_ends_the_worker_and_is_logged(script):
    with serving(script, "--workers", "1") as server:
        port = server.port()
        pid = talk(port, "pid\n").splitlines()[0]
        assert talk(port, "fatal\n") == ""
        server.err.expect(
            r"ERROR worker 1 has died \(exit code 255: .*Fatal error.*and with it the connection from 127"
        )
        assert talk(port, "pid\n").splitlines()[0] != pid
        server.signal(signal.SIGTERM)
        server.err.expect(r"errors: 1 \(worker 1\); PHP workers that were started again: 1")


def test_a_worker_that_is_killed_takes_only_its_own_connection(script):
    with serving(script, "--workers", "2") as server:
        port = server.port()
        with connect(port) as other:
            assert other.ask("still", timeout=PATIENCE) == "STILL"
            assert talk(port, "kill\n") == ""
            server.err.expect("killed by SIGKILL")
            assert other.ask("here", timeout=PATIENCE) == "HERE"


def test_exit_ends_the_conversation_alone(script):
    with serving(script, "--workers", "1") as server:
        port = server.port()
        assert talk(port, "exit\n") == ""
        assert talk(port, "bye\n") == "BYE\n"
        server.signal(signal.SIGTERM)
        server.err.expect("errors: 0; PHP workers that were started again: 0")


def test_what_is_printed_is_logged(script):
    with serving(script) as server:
        assert talk(server.port(), "print\n") == "PRINT\nFIN\n"
        server.err.expect("worker [0-9]+: écrit")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<?php retur {", r"ParseError: .*broken.php, line 1"),
        ("<?php echo 1;", "must return a function"),
        ("<?php throw new LogicException('pas prêt');", "pas prêt"),
        ("<?php exit(3);", r"exit code 3"),
    ],
    ids=["syntax", "no function", "exception", "exit"],
)
def test_a_script_that_cannot_be_served(tmp_path, text, why):
    script = tmp_path / "broken.php"
    script.write_text(text)
    done = run("serve", f"php:{script}", "--on", "127.0.0.1:0")
    assert done.returncode == prise.UsageError.exit_code
    assert re.search(rf"^prise: \S*broken.php cannot be served: .*{why}", done.stderr)
    assert done.stderr.count("\n") == 1
    assert "listening" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("serve", "php:missing.php"), "there is no file missing.php"),
        (("serve", f"php:{GUESTBOOK}", "--framing", "netstring"), "--framing is not for PHP"),
        (("serve", f"php:{GUESTBOOK}", "--message-time", "1s"), "--message-time is not for PHP"),
        (("serve", f"php:{GUESTBOOK}", "--on", "udp:127.0.0.1:0"), "stream"),
        (("serve", f"php:{GUESTBOOK}", "--handover", "here"), "--handover is not for php:"),
        (("serve", "echo", "--queue", "3"), "--queue is for php:"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(arguments, why):
    done = run_here(*arguments)
    assert done.returncode == prise.UsageError.exit_code
    assert why in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_php(script, tmp_path):
    done = subprocess.run(
        argv("serve", f"php:{script}"),
        env=environment() | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == prise.UsageError.exit_code
    assert "PHP is not installed" in done.stderr


def test_an_address_that_is_taken(script):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", f"php:{script}", "--on", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == prise.BindError.exit_code


# New code


def version(port: int) -> str:
    return talk(port, "")


@pytest.mark.parametrize("way", ["--reload", "SIGHUP"])
def test_changed_code_is_served_after_the_conversations_that_go_on(tmp_path, way):
    script = tmp_path / "version.php"
    text = r"<?php return function (Prise\Received $c) { $c->write('one'); $c->readLine(); $c->write('one'); };"
    script.write_text(text)
    with serving(script, "--workers", "2", *([way] if way == "--reload" else [])) as server:
        port = server.port()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as old:
            assert old.recv(100) == b"one"
            script.write_text(text.replace("one", "the second"))
            if way == "SIGHUP":
                server.signal(signal.SIGHUP)
            server.err.expect("the workers are replaced")
            while version(port) != "the second" * 2:  # the other worker may still be the old one
                pass
            old.sendall(b"\n")
            assert old.recv(100) == b"one"
        script.write_text("<?php oops")
        if way == "SIGHUP":
            server.signal(signal.SIGHUP)
        server.err.expect("the workers stay as they are: .*ParseError")
        assert version(port) == "the second" * 2


# The rest


def test_the_library_for_php_is_in_the_wheel(tmp_path):
    """There is no checkout beside an installed prise."""
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = tmp_path / "hello.php"
    script.write_text(r"<?php return function (Prise\Received $c): void { $c->write('bonjour'); };")
    # Not measured: its files would count beside those of the checkout.
    with serving(script, PYTHONPATH=str(tmp_path / "installed"), COVERAGE_PROCESS_CONFIG="") as server:
        assert talk(server.port(), "") == "bonjour"


def test_the_guestbook(tmp_path):
    book = tmp_path / "book.txt"
    with serving(GUESTBOOK, "--workers", "2", GUESTBOOK=str(book)) as server:
        port = server.port()
        with connect(port) as ada:
            assert ada.receive(timeout=PATIENCE) == "Bienvenue ! Le livre d'or dit :"
            assert ada.receive(timeout=PATIENCE) == "Votre nom ?"
            assert ada.ask("Zoé", timeout=PATIENCE) == "Votre mot, Zoé ?"
            assert ada.ask("Très \x1b[31mjoli\x07", timeout=PATIENCE) == "Merci, Zoé !"
            assert ada.receive(timeout=PATIENCE) is None
        server.err.expect("Zoé a signé")
        assert re.search(r"^  \d{4}-\d\d-\d\d Zoé : Très  \[31mjoli$", talk(port, "\n"), re.MULTILINE)
        assert book.read_text().count("\n") == 1
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: talk(port, f"N{number}\nici\n"), range(16)))
        assert sorted(re.findall(r"N(\d+) : ici", book.read_text()), key=int) == [str(number) for number in range(16)]
        talk(port, "x" * 100_000)
        assert os.path.getsize(book) < 3000
