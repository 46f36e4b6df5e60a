"""`prise top`: one table, JSON, and the screen of a terminal; of servers that come and go."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

import prise
from cli_process import PATIENCE, Running, Screen, run_here
from prise.cli.columns import cut
from prise.cli.top_table import KEPT, Watched, curve_of, rows, short, table
from prise.observe.scrape import Sample

METRICS = """
prise_info{version="0.1.0",model="select",workers="2"} 1
prise_connections_open 120
prise_connections_limit 2000
prise_connections_total 1000
prise_messages_received_total %d
prise_messages_sent_total 0
prise_received_bytes_total %d
prise_sent_bytes_total 0
prise_errors_total{cause="frame"} 2
prise_errors_total{cause="lost"} 0
prise_draining 1
prise_worker_restarts_total 3
process_cpu_seconds_total{process="supervisor"} %f
process_resident_memory_bytes{process="supervisor"} 23000000
process_open_fds{process="supervisor"} 12
process_max_fds{process="supervisor"} 1024
"""


def echo(connection: prise.Connection) -> None:
    for line in connection:
        connection.send(line)


def watched(*readings: tuple[int, int, float], address: str = ":9100") -> Watched:
    """A server that was read a second apart. readings: messages, bytes, CPU seconds."""
    server = Watched(address)
    for second, values in enumerate(readings):
        server.take(Sample(METRICS % values, float(second)))
    return server


def shown(server: Watched, width: int = 80) -> str:
    return "\n".join(row.text.rstrip() for row in rows(server, width))


# The table


def test_the_table_says_what_is_there_and_how_fast_it_changes() -> None:
    text = shown(watched((0, 0, 1.0), (500, 1_000_000, 1.25), (2_000, 3_500_000, 1.5)))
    assert text.startswith(":9100   prise 0.1.0   select   draining\n")
    assert re.search(r"connections +120 open of 2000 +0/s new  ", text)
    assert re.search(r"messages +in 1.5 k/s +out 0/s +▃█", text)
    assert re.search(r"bytes +in 2.5 MB/s +out 0 B/s +▄█", text)
    assert "errors 2 (frame 2)" in text
    assert "refused" not in text, "what is 0 is left out"
    assert "workers that were started again: 3" in text
    assert re.search(r"supervisor +25 % +23.0 MB +12 of 1024", text)


def test_after_one_reading_there_are_no_rates() -> None:
    text = shown(watched((5, 5, 1.0)))
    assert re.search(r"messages +in - +out -$", text, re.MULTILINE)
    assert re.search(r"supervisor +- +23.0 MB", text)


@pytest.mark.parametrize("width", [0, 1, 7, 20, 40, 79, 200])
def test_no_row_is_wider_than_the_terminal(width: int) -> None:
    for row in table([watched((0, 0, 1.0), (1, 1, 1.0)), watched(address="x" * 300)], width):
        assert len(row.text) <= width


def test_what_a_server_says_moves_no_cursor() -> None:
    server = Watched(":1")
    server.take(Sample('prise_info{model="\x1b[2J"} 1\nprocess_cpu_seconds_total{process="\x1b[H"} 1\n', 0.0))
    assert "\x1b" not in shown(server)
    assert "^[[2J" in shown(server)
    assert cut("日本", 3) == "日"


def test_a_server_that_is_gone_keeps_what_was_known_without_rates() -> None:
    server = watched((0, 0, 1.0), (500, 10, 1.25))
    server.fail("connection refused")
    text = shown(server)
    assert "connection refused" in text
    assert re.search(r"messages +in - ", text)
    assert "120 open of 2000" in text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (3.25, "3.2"), (99.4, "99.4"), (480.4, "480"), (999.6, "1.0 k"), (12_345, "12.3 k"), (4e6, "4.0 M")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


def test_a_curve_moves_and_does_not_flicker() -> None:
    assert curve_of([], 10, 0) == ""
    assert curve_of([0.0, 0.0], 10, 2) == "▁▁"
    assert curve_of([0.0, 5.0, 10.0], 10, 3) == "▁▅█"
    values = [float(each % 7) for each in range(KEPT)]
    before = curve_of(values, 40, KEPT)
    assert len(before) == 40
    after = curve_of(values[6:] + [0.0] * 6, 40, KEPT + 6)
    assert after[:-1] == before[1:], "six readings are one column: it has moved by one"


# The command


def test_one_table_on_what_is_no_terminal() -> None:
    with prise.listen(echo, "127.0.0.1:0", metrics="127.0.0.1:0") as server:
        done = run_here("top", "--every", "100ms", str(server.metrics))
    assert done.returncode == 0
    assert done.stdout.startswith(f"{server.metrics}   prise {prise.__version__}   threads   up ")
    assert re.search(r"0 open of 2000 +0/s new", done.stdout)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_json_of_several_servers(tmp_path: Path) -> None:
    with (
        prise.listen(echo, "127.0.0.1:0", metrics=f"unix:{tmp_path}/m") as one,
        prise.listen(echo, "127.0.0.1:0", model="threads", workers=2, metrics="127.0.0.1:0") as two,
        prise.connect(one.address) as client,
    ):
        assert client.ask("x", PATIENCE) == "x"
        url = f"http://{two.metrics}"
        done = run_here("top", "--once", "--json", "--every", "100ms", f"unix:{tmp_path}/m", url)
    first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0
    assert (first["address"], first["model"], first["open"], first["total"]) == (f"unix:{tmp_path}/m", "threads", 1, 1)
    assert first["per_second"]["messages_received"] == 0
    assert first["errors"]["frame"] == 0
    assert [each["name"] for each in second["processes"]] == ["supervisor", "worker-0", "worker-1"]
    assert second["processes"][0]["memory"] > 1_000_000


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["127.0.0.1:1"], 4, "connection refused"),
        (["unix:/nowhere"], 4, "/nowhere"),
        (["--every", "0.01", ":1"], 2, "--every is at least"),
        ([":x"], 3, "no service is called x"),
        ([], 2, "ADDRESS"),
        ([":1"] * 21, 2, "20 servers"),
    ],
)
def test_what_goes_wrong(arguments: list[str], code: int, says: str) -> None:
    done = run_here("top", "--once", *(() if "--every" in arguments else ("--every", "100ms")), *arguments)
    assert done.returncode == code
    assert says in done.stdout + done.stderr


def test_a_server_that_is_none_of_ours_is_told_apart() -> None:
    def greet(connection: prise.Connection) -> None:
        connection.send("220 hello")

    with prise.listen(greet, "127.0.0.1:0") as server:
        done = run_here("top", "--once", "--every", "100ms", str(server.address))
    assert done.returncode == 1
    assert "no answer of HTTP" in done.stdout


def test_json_goes_on_while_a_server_is_away_until_it_is_told_to_stop(tmp_path: Path) -> None:
    path = tmp_path / "m"

    def next_object(running: Running) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(running.out.line() or "")
        return found

    with Running("top", "--json", "--every", "100ms", f"unix:{path}") as top:
        assert "error" in next_object(top)
        with prise.listen(echo, "127.0.0.1:0", metrics=f"unix:{path}"):
            while "error" in (told := next_object(top)):
                pass
            assert told["per_second"] is None
            assert next_object(top)["per_second"] is not None
        while "error" not in next_object(top):
            pass
        with prise.listen(echo, "127.0.0.1:0", metrics=f"unix:{path}"):
            while "error" in next_object(top):
                pass
        top.signal(signal.SIGINT)
        assert top.wait() == 130


def test_the_screen_of_a_terminal(tmp_path: Path) -> None:
    """A server is there, goes away, and is back; q ends it."""
    path = tmp_path / "m"
    with Screen("top", "--every", "100ms", f"unix:{path}") as screen:
        screen.expect(r"  connect unix:.*")
        with (
            prise.listen(echo, "127.0.0.1:0", metrics=f"unix:{path}") as server,
            prise.connect(server.address) as client,
        ):
            screen.expect(r".*   prise 0.*   threads   up \d:\d\d", r"  connections   1 open of 2000 .*")
            assert client.ask("x", PATIENCE) == "x"
            text = screen.expect(r"  connections   1 open of 2000 .*▁*█+", r"  messages .*", r"  bytes .*")
            assert text[-1] == " every 0.1 s   ↑ ↓ move   q quits"
        screen.expect(r"  connect unix:.*")
        with prise.listen(echo, "127.0.0.1:0", model="processes", metrics=f"unix:{path}"):
            screen.expect(r".* processes .*", r"  connections   0 open of 2000 .*")
        screen.press("q")
        screen.expect("exit 0")


def test_ctrl_c_ends_it_too(tmp_path: Path) -> None:
    with Screen("top", f"unix:{tmp_path}/m") as screen:
        screen.expect(r"  connect unix:.*")
        screen.press("C-c")
        screen.expect("exit 0")
