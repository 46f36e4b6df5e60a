"""The access log: its formats, that nothing in a request can forge a line, and that a log that is stuck holds nobody back."""

from __future__ import annotations

import io
import json
import os
import re
import select
import subprocess
from pathlib import Path

import pytest

import prise
from peers import need
from prise import Address, UsageError
from prise.web import accesslog
from prise.web.accesslog import AccessLog
from prise.web.application import Application
from prise.web.conversation import LIMITS, Exchange, http_branch
from prise.web.request import Request

PEER = Address.parse("127.0.0.1:5000")


def exchange(target: str = "/a.txt", **headers: str) -> Exchange:
    request = Request("GET", target, target, "", 1, headers, "localhost", 0, True, False)
    return Exchange(PEER, request, 200, 5, 0.25)


def written(format: str, *exchanges: Exchange, user: str | None = None) -> list[str]:
    file = io.BytesIO()
    with AccessLog(file, format, user=lambda request: user) as log:
        for each in exchanges:
            log.record(each)
    return file.getvalue().decode().splitlines()


def test_common_and_combined() -> None:
    [line] = written("common", exchange(), user="ada")
    assert re.fullmatch(
        r'127\.0\.0\.1 - ada \[\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET /a\.txt HTTP/1\.1" 200 5', line
    )
    [line] = written("combined", exchange(referer="http://x/", **{"user-agent": "curl/8"}))
    assert line.endswith('200 5 "http://x/" "curl/8"')


def test_json_lines() -> None:
    [line] = written("json", exchange(**{"user-agent": "c"}), user="ada")
    fields = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields.pop("time"))
    assert fields == {
        "peer": str(PEER),
        "user": "ada",
        "method": "GET",
        "target": "/a.txt",
        "version": "1.1",
        "status": 200,
        "bytes": 5,
        "seconds": 0.25,
        "referer": None,
        "agent": "c",
    }


@pytest.mark.parametrize("format", accesslog.FORMATS)
def test_a_request_that_could_not_be_read_has_a_line(format: str) -> None:
    assert len(written(format, Exchange(PEER, None, 400, 10, 0.0))) == 1


@pytest.mark.parametrize("format", accesslog.FORMATS)
def test_nothing_forges_a_line_or_speaks_to_a_terminal(format: str) -> None:
    evil = 'x"\n127.0.0.1 - - "\x1b[2J\x9b\r\u2028\\'
    lines = written(format, exchange(evil, referer=evil, **{"user-agent": evil}), user=evil)
    assert len(lines) == 1
    assert lines[0].isascii()
    assert lines[0].isprintable()
    if format != "json":
        assert lines[0].count('"') == (6 if format == "combined" else 2)


def test_a_pipe_that_nobody_reads_holds_nobody_back_and_what_is_lost_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accesslog, "MOST_WAITING", 100)
    reading, writing = os.pipe()
    with os.fdopen(writing, "wb", buffering=0) as file, os.fdopen(reading, "rb") as reader:
        log = AccessLog(file)
        for _ in range(5000):
            log.record(exchange("/" + "x" * 1000))
        assert log.dropped > 1000
        log.close(timeout=0.01)  # it does not wait for the reader either
        thread = log._thread
        assert thread is not None
        while thread.is_alive():
            if select.select([reader], [], [], 0.05)[0]:
                os.read(reader.fileno(), 65536)
        thread.join()


def test_what_is_lost_is_told_in_the_log_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accesslog, "MOST_WAITING", 0)
    file = io.BytesIO()
    with AccessLog(file) as log:
        log.record(exchange())
        monkeypatch.setattr(accesslog, "MOST_WAITING", 10)
        log.record(exchange())
    assert "# 1 answers were not logged" in file.getvalue().decode()


def test_a_path_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        with AccessLog(tmp_path / "log") as log:
            log.record(exchange())
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    with pytest.raises(UsageError):
        AccessLog(tmp_path / "missing" / "log")
    with pytest.raises(UsageError):
        AccessLog(tmp_path / "log", "xml")


def test_a_full_disk_is_counted() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        with AccessLog(full) as log:
            log.record(exchange())
        assert log.dropped == 1


def test_a_server_logs_its_answers_and_who_asked(tmp_path: Path) -> None:
    need("curl")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "a.txt").write_text("hello")
    application = Application(tmp_path / "root", auth="ada:secret")
    with AccessLog(tmp_path / "log", "json", user=application.user) as log:
        conversation, framing = http_branch(application, quick=application.quick, log=log.record)
        with prise.listen(conversation, ":0", framing=framing, limits=LIMITS, model="asyncio") as server:
            url = f"http://127.0.0.1:{server.addresses[0].port}/a.txt"
            for options in ([], ["-u", "ada:secret"]):
                subprocess.run(["curl", "-qs", *options, url], check=True, capture_output=True, timeout=20)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(each["status"], each["user"], each["target"]) for each in lines] == [
        (401, None, "/a.txt"),
        (200, "ada", "/a.txt"),
    ]
    assert lines[1]["bytes"] == 5
