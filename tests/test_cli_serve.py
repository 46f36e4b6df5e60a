"""`prise serve`: built-in conversations and one's own, in every model, watched over and told to stop."""

from __future__ import annotations

import json
import re
import signal
import socket
from datetime import datetime
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE, Running, run
from prise.cli.conversations import BUILT_IN

pytest.importorskip("click")

MODELS = ("threads", "processes", "select", "asyncio")


def talk(port: int, said: bytes) -> bytes:
    """All that comes back for this input."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(said)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(4096), b""))


ANSWERS = {"echo": b"un\ndeux\n", "upper": b"UN\nDEUX\n", "discard": b"", "greet": b"Thank you for connecting\n"}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("conversation", ANSWERS)
def test_the_built_in_conversations_in_every_model(conversation, model):
    with prise.listen(BUILT_IN[conversation], "127.0.0.1:0", model=model) as server:
        assert isinstance(server.address.port, int)
        assert talk(server.address.port, b"un\ndeux\n") == ANSWERS[conversation]


@pytest.mark.parametrize(("conversation", "model"), list(zip(ANSWERS, MODELS, strict=True)))
def test_each_of_them_and_each_model_by_the_command(conversation, model):
    with Running("serve", conversation, "--on", "127.0.0.1:0", "--model", model) as server:
        assert talk(server.port(), b"un\ndeux\n") == ANSWERS[conversation]
        server.signal()
        assert server.wait() == 0


def test_the_time():
    with Running("serve", "time", "--on", "127.0.0.1:0") as server:
        said = datetime.fromisoformat(talk(server.port(), b"").decode().strip())
    assert abs((datetime.now().astimezone() - said).total_seconds()) < PATIENCE


def test_built_in_conversations_with_a_framing_of_bytes():
    with Running("serve", "greet", "--on", "127.0.0.1:0", "--framing", "netstring") as server:
        assert talk(server.port(), b"") == b"24:Thank you for connecting,"
    with Running("serve", "upper", "--on", "127.0.0.1:0", "--framing", "netstring") as server:
        assert talk(server.port(), b"3:abc,") == b"3:ABC,"


def test_several_addresses(tmp_path):
    path = tmp_path / "echo.sock"
    with Running("serve", "upper", "--on", "127.0.0.1:0", "--on", f"unix:{path}") as server:
        port = server.port()
        server.err.expect(re.escape(f"nc -U {path}"))
        assert talk(port, b"a\n") == b"A\n"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            sock.sendall(b"b\n")
            assert sock.recv(10) == b"B\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert not path.exists()


@pytest.mark.parametrize(("language", "listening"), [("en_US.UTF-8", "is listening on"), ("fr_FR.UTF-8", "écoute sur")])
def test_it_says_where_it_listens_and_at_the_end_what_there_was(language, listening):
    with Running("serve", "echo", "--on", "127.0.0.1:0", language=language) as server:
        line = server.err.expect(r"\(nc 127\.0\.0\.1 (\d+)\)")
        assert listening in line.string
        talk(int(line[1]), b"one\ntwo\n")
        server.signal()
        assert server.wait() == 0
        assert "8 B" in server.err.rest()[-1]
        assert server.out.rest() == []


def test_json_gives_one_event_per_line_on_stdout():
    with Running("serve", "echo", "--on", "127.0.0.1:0", "--json", "--quiet") as server:
        ready = json.loads(server.out.line() or "")
        assert ready["event"] == "ready"
        assert ready["conversation"] == "echo"
        (address,) = ready["addresses"]
        talk(int(address.rpartition(":")[2]), b"one\n")
        server.signal()
        assert server.wait() == 0
        stopped = json.loads(server.out.line() or "")
        assert (stopped["event"], stopped["total"], stopped["messages_received"]) == ("stopped", 1, 1)
        assert server.out.rest() == []
        assert server.err.rest() == []


def test_the_limits():
    arguments = ["--max-message", "4", "--idle", "none", "--message-time", "1.5s", "--max-connections", "none"]
    with Running("serve", "echo", "--on", "127.0.0.1:0", *arguments) as server:
        assert talk(server.port(), b"four\nfives\n") == b"four\n"
        server.err.expect("WARNING.*4 bytes")


def test_workers():
    with Running("serve", "echo", "--on", "127.0.0.1:0", "--workers", "2") as server:
        port = server.port()
        for _ in range(4):
            assert talk(port, b"x\n") == b"x\n"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert "connections: 4;" in server.err.rest()[-1]


def test_conversations_end_when_the_server_is_told_to_stop_and_are_cut_after_drain(tmp_path):
    (tmp_path / "stay.py").write_text("import threading\ndef stay(connection):\n    threading.Event().wait()\n")
    with Running("serve", "stay.py", "--on", "127.0.0.1:0", "--drain", "100ms", cwd=tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port()), PATIENCE) as sock:
            server.signal(signal.SIGTERM)
            try:
                assert sock.recv(10) == b""
            except ConnectionResetError:
                pass  # which is what being cut looks like
        assert server.wait() == 0


# One's own function

HELLO = """
def hello(connection):
    for line in connection:
        connection.send(f"Message reçu : {line}")
"""


@pytest.mark.parametrize("name", ["hello.py:hello", "hello.py", "hello:hello", "{path}/hello.py:hello"])
def test_a_function_of_ones_own(tmp_path, name):
    (tmp_path / "hello.py").write_text(HELLO)
    with Running("serve", name.format(path=tmp_path), "--on", "127.0.0.1:0", cwd=tmp_path) as server:
        assert talk(server.port(), b"salut\n").decode() == "Message reçu : salut\n"


def test_a_file_finds_what_lies_beside_it(tmp_path):
    (tmp_path / "words.py").write_text("GREETING = 'bonjour'\n")
    (tmp_path / "hello.py").write_text("import words\ndef hello(connection):\n    return words.GREETING\n    yield\n")
    with Running("serve", f"{tmp_path}/hello.py", "--on", "127.0.0.1:0") as server:
        assert talk(server.port(), b"") == b"bonjour\n"


def test_a_file_may_be_called_like_a_module_of_python(tmp_path):
    (tmp_path / "time.py").write_text("def greet(connection):\n    return 'it is late'\n    yield\n")
    with Running("serve", f"{tmp_path}/time.py:greet", "--on", "127.0.0.1:0", "--model", "asyncio") as server:
        assert talk(server.port(), b"") == b"it is late\n"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("def f(connection)\n    pass\n", "SyntaxError: expected ':' (mine.py, line 1)"),
        ("\nimport no_such_thing\n", "No module named 'no_such_thing' (mine.py, line 2)"),
        ("def f():\n    1 / 0\n\nf()\n", "ZeroDivisionError: division by zero (mine.py, line 2)"),
        ("def f(): pass\n", "f must take one argument, the connection"),
        ("f = 5\n", "a conversation is a function that takes a connection, not 5"),
        ("def g(c): pass\n", "mine.py has no function f; those that fit are: g"),
    ],
    ids=["syntax", "import", "error", "arguments", "no function", "no such function"],
)
def test_what_is_wrong_with_it_is_said_in_one_line(tmp_path, code, says):
    (tmp_path / "mine.py").write_text(code)
    done = run("serve", "mine.py:f", "--on", "127.0.0.1:0", cwd=tmp_path)
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.returncode == 2


def test_which_function_is_asked_where_there_are_several(tmp_path):
    (tmp_path / "mine.py").write_text("def f(c): pass\ndef g(c): pass\ndef h(): pass\n")
    done = run("serve", "mine.py", cwd=tmp_path)
    assert "which function of mine.py? Write mine.py:FUNCTION; those that fit are: f, g" in done.stderr
    assert done.returncode == 2


def test_a_conversation_that_fails_is_logged_and_the_server_goes_on(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def f(connection):\n    for line in connection:\n        connection.send(1 / int(line))\n"
    )
    with Running("serve", "mine.py", "--on", "127.0.0.1:0", cwd=tmp_path) as server:
        port = server.port()
        assert talk(port, b"0\n") == b""
        server.err.expect("ERROR.*the conversation f failed")
        server.err.expect("ZeroDivisionError")
        assert talk(port, b"") == b""
        server.signal()
        assert server.wait() == 0
        assert "errors: 1 (conversation 1)" in server.err.rest()[-1]


# --reload

VERSION = "def say(connection):\n    return {!r}\n    yield\n"


def reloading(path: Path, *arguments: str) -> Running:
    return Running("serve", path.name, "--on", "127.0.0.1:0", "--reload", *arguments, cwd=path.parent)


def test_reload_serves_what_is_in_the_file_now(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(VERSION.format("one"))
    with reloading(path) as server:
        assert talk(server.port(), b"") == b"one\n"
        path.write_text(VERSION.format("second"))
        server.err.expect(r"mine\.py has changed")
        assert talk(server.port(), b"") == b"second\n"
        server.signal(signal.SIGINT)
        assert server.wait() == 0


def test_reload_waits_for_broken_code_to_be_mended(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def say(connection:\n")
    with reloading(path) as server:
        server.err.expect(r"mine\.py cannot be imported: SyntaxError")
        server.err.expect("waiting for a change")
        path.write_text(VERSION.format("mended"))
        assert talk(server.port(), b"") == b"mended\n"
        path.write_text("import no_such_module\n")
        server.err.expect("cannot be imported")
        server.err.expect("waiting for a change")
        server.signal(signal.SIGINT)  # while nothing is served
        assert server.wait() == 0


def test_reload_looks_at_the_whole_package(tmp_path):
    (tmp_path / "game" / "rules").mkdir(parents=True)
    (tmp_path / "game" / "__init__.py").write_text("")
    (tmp_path / "game" / "play.py").write_text(
        "from game.rules.first import RULE\ndef play(connection):\n    return RULE\n    yield\n"
    )
    rules = tmp_path / "game" / "rules" / "first.py"
    rules.write_text("RULE = 'be kind'\n")
    with Running("serve", "game.play:play", "--on", "127.0.0.1:0", "--reload", cwd=tmp_path) as server:
        assert talk(server.port(), b"") == b"be kind\n"
        rules.write_text("RULE = 'be kinder'\n")
        assert talk(server.port(), b"") == b"be kinder\n"


def test_a_new_start_lets_conversations_end(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def say(connection):\n    for line in connection: pass\n    connection.send('until then')\n")
    with reloading(path) as server:
        with socket.create_connection(("127.0.0.1", server.port()), PATIENCE) as sock:
            sock.sendall(b"hello\n")
            path.write_text(VERSION.format("new"))
            assert sock.makefile().read() == "until then\n"
        assert talk(server.port(), b"") == b"new\n"


def test_reload_ends_when_the_port_is_taken(tmp_path):
    (tmp_path / "mine.py").write_text(VERSION.format("x"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "mine.py", "--on", f"127.0.0.1:{taken.getsockname()[1]}", "--reload", cwd=tmp_path)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1


def test_reload_of_a_file_that_is_not_there(tmp_path):
    done = run("serve", "nowhere.py:f", "--reload", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no file nowhere.py" in done.stderr
