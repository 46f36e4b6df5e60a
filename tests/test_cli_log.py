"""`--log json`: what is logged, as one JSON object a line; and the formatter, for programs of one's own."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE, until
from cli_process import Running, run_here
from prise.observe import JsonLines

FAILING = """
import logging

def talk(connection):
    for line in connection:
        logging.getLogger("mine").warning("it was said: %s", line)
        raise ValueError("two\\nlines: é")
"""


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands that run in this process set up its logging."""
    root, mine = logging.getLogger(), logging.getLogger("prise")
    theirs, own, level, propagate = root.handlers[:], mine.handlers[:], mine.level, mine.propagate
    yield
    root.handlers[:], mine.handlers[:], mine.propagate = theirs, own, propagate
    mine.setLevel(level)


def logged(template: str, *values: Any, **more: Any) -> dict[str, Any]:
    """What the formatter makes of a record."""
    record = logging.LogRecord("prise", logging.INFO, "file.py", 1, template, values, more.pop("exc_info", None))
    vars(record).update(more)
    line = JsonLines().format(record)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    return told


# The formatter


def test_the_values_of_a_sentence_have_keys_of_their_own() -> None:
    told = logged("connection %(connection)d from %(peer)s", {"connection": 7, "peer": prise.Address.parse("[::1]:1")})
    moment = told.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
    assert abs(datetime.fromisoformat(moment).timestamp() - datetime.now().timestamp()) < 60
    assert told == {
        "level": "info",
        "logger": "prise",
        "message": "connection 7 from [::1]:1",
        "template": "connection %(connection)d from %(peer)s",
        "connection": 7,
        "peer": "[::1]:1",
    }


def test_so_has_what_others_log_with_extra() -> None:
    told = logged("%d of %d", 1, 2, order=12, price=float("nan"), parts={"a": [1]}, message="theirs", level="theirs")
    assert (told["message"], told["template"]) == ("1 of 2", "%d of %d")
    assert (told["order"], told["price"], told["parts"]) == (12, "nan", {"a": "[1]"})
    assert (told["level"], told["level_"]) == ("info", "theirs")


def test_a_traceback_is_text() -> None:
    try:
        raise ValueError("no\nline")
    except ValueError:
        told = logged("failed", exc_info=sys.exc_info())
    assert told["traceback"].endswith("ValueError: no\nline")
    assert "Traceback" in told["traceback"]


def test_what_comes_from_the_network_breaks_no_line() -> None:
    told = logged("%(error)s", {"error": 'a\nb"\x00\u2028'})
    assert told["error"] == 'a\nb"\x00\u2028'


def test_the_library_logs_with_names(caplog: pytest.LogCaptureFixture) -> None:
    """Every model says the same of a conversation that fails."""

    def fail(connection: prise.Connection) -> None:
        raise RuntimeError("oh")

    caplog.set_level(logging.INFO)
    with prise.listen(fail, "127.0.0.1:0") as server, prise.connect(server.address) as client:
        local = str(client.local)
        assert client.receive(PATIENCE) is None
        until(lambda: bool(caplog.records), "it is logged")
    told = json.loads(JsonLines().format(caplog.records[0]))
    assert (told["level"], told["peer"]) == ("error", local)
    assert told["conversation"].endswith("fail")
    assert told["message"].startswith(f"connection {told['connection']} from {local}: the conversation ")


# The command


def next_record(running: Running) -> dict[str, Any]:
    line = running.err.line()
    assert line is not None
    told: dict[str, Any] = json.loads(line)
    return told


def test_serve_logs_json_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(FAILING)
    arguments = ("serve", "talk.py", "--on", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--log", "json")
    with Running(*arguments, language="fr_FR.UTF-8", cwd=tmp_path) as server:
        told = [next_record(server), next_record(server)]
        ready, metrics = sorted(told, key=lambda each: "metrics" in each["message"])
        assert (ready["level"], ready["conversation"]) == ("info", "talk.py")
        assert urllib.request.urlopen(f"http://{metrics['address']}{metrics['path']}", timeout=PATIENCE).status == 200
        port = int(ready["addresses"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            sock.sendall(b"hello\n")
            assert sock.recv(1) == b""
        mine, failed = next_record(server), next_record(server)
        assert (mine["logger"], mine["message"]) == ("mine", "it was said: hello")
        assert (failed["level"], failed["logger"], failed["conversation"]) == ("error", "prise", "talk")
        assert failed["peer"].startswith("127.0.0.1:")
        assert failed["traceback"].endswith("ValueError: two\nlines: é")
        server.signal(signal.SIGTERM)
        stopped = next_record(server)
        assert (stopped["message"], stopped["total"]) == ("the server has stopped", 1)
        assert stopped["errors"]["conversation"] == 1
        assert server.wait() == 0
        assert server.err.rest() == []


def test_verbose_says_who_comes_and_goes() -> None:
    with Running("serve", "echo", "--on", "127.0.0.1:0", "--verbose", "--log", "json") as server:
        port = int(next_record(server)["addresses"].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            came = next_record(server)
            assert (came["level"], came["peer"]) == ("debug", f"127.0.0.1:{sock.getsockname()[1]}")
        assert next_record(server)["message"] == f"connection {came['connection']} is closed"
        server.signal(signal.SIGTERM)
        assert server.wait() == 0


def test_relay_logs_json_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics"

    def echo(connection: prise.Connection) -> None:
        for line in connection:
            connection.send(line)

    with prise.listen(echo, "127.0.0.1:0") as server:
        arguments = ("relay", "127.0.0.1:0", str(server.address), "--log", "json", "--metrics", f"unix:{path}")
        with Running(*arguments) as relay:
            metrics, ready = next_record(relay), next_record(relay)
            assert metrics["address"] == f"unix:{path}"
            with prise.connect(ready["addresses"]) as client:
                assert client.ask("x", PATIENCE) == "x"
                joined = next_record(relay)
                assert (joined["passage"], joined["server"]) == (1, str(server.address))
            over = next_record(relay)
            assert (over["level"], over["passage"], over["to_server"], over["to_client"]) == ("info", 1, 2, 2)
            relay.signal(signal.SIGTERM)
            assert next_record(relay)["total"] == 1
            assert relay.wait() == 0
            assert relay.err.rest() == []
            assert not path.exists()


def test_web_logs_json_and_tells_its_metrics(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    with Running(
        "web", str(tmp_path), "--on", "127.0.0.1:0", "--metrics", f"unix:{tmp_path}/m", "--log", "json"
    ) as web:
        port = int(web.err.expect(r"http://127.0.0.1:(\d+)")[1])
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/a.txt", timeout=PATIENCE).read() == b"x"
        assert json.loads(web.err.expect(r"^\{.*\}$")[0])["status"] == 200
        with prise.open("http://localhost/metrics", address=f"unix:{tmp_path}/m") as session:
            assert b'model="asyncio"' in session.get().read()


def test_chat_tells_its_metrics(tmp_path: Path) -> None:
    store, path = f"sqlite:{tmp_path}/chat.sqlite", tmp_path / "m"
    arguments = ("chat", "--on", "127.0.0.1:0", "--store", store, "--metrics", f"unix:{path}", "--log", "json")
    with Running(*arguments) as chat:
        port = int(chat.err.expect(r"127\.0\.0\.1[: ](\d+)")[1])
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
            assert sock.recv(1)
            with prise.open("http://localhost/metrics", address=f"unix:{path}") as session:
                assert b"prise_connections_open 1\n" in session.get().read()
        chat.signal(signal.SIGTERM)
        assert chat.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("serve", "echo", "--metrics", "udp::0"), "metrics are read by HTTP"),
        (("serve", "echo", "--log", "yaml"), "'yaml' is not one of"),
        (("serve", "php:x.php", "--metrics", ":9100"), "--metrics is not for php:"),
        (("relay", ":0", ":1", "--metrics", "stdio:"), "metrics are read by HTTP"),
    ],
)
def test_what_cannot_work_is_said_at_once(arguments: tuple[str, ...], says: str) -> None:
    done = run_here(*arguments)
    assert done.returncode == 2
    assert says in done.stderr
