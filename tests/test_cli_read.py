"""`prise read`: printed in a pipe, read by keys on a terminal."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from chat_support import Program
from cli_process import run_here, without
from real_servers.gophernicus import Gophernicus
from real_servers.inn import Inn


def test_in_a_pipe_a_menu_or_a_text_is_printed(gophernicus: Gophernicus) -> None:
    menu = run_here("read", gophernicus.url()).stdout.splitlines()
    assert menu[:4] == ["Welcome to the tests", "Information", "A text", "A folder/"]
    done = run_here("read", gophernicus.url("0/hello.txt"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello gopher\n", "")


def test_an_empty_group_prints_nothing(inn: Inn) -> None:
    done = run_here("read", inn.url("local.empty"), "--ca", str(inn.ca))
    assert (done.returncode, done.stdout) == (0, "")


def test_mistakes_have_their_exit_codes(gophernicus: Gophernicus) -> None:
    for url, code, said in (
        (gophernicus.url("9/data.bin"), 2, "prise get"),
        (gophernicus.url("1/none"), 1, "none"),
        ("gopher://127.0.0.1:1/", 4, "refused"),
        (gophernicus.url("7/cgi-bin/search"), 2, "wants words"),
        ("telnet://example.org/", 2, "nothing to read"),
        ("example.org", 2, "URL"),
    ):
        done = run_here("read", url)
        assert (done.returncode, done.stdout) == (code, "")
        assert said in done.stderr


def test_the_protocols_own_lines_are_shown_and_then_nothing_takes_the_screen(gophernicus: Gophernicus) -> None:
    done = run_here("read", "-v", gophernicus.url("0/hello.txt"))
    assert "> /hello.txt" in done.stderr.splitlines()


def test_on_a_terminal_it_is_read_by_keys(gophernicus: Gophernicus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    with Program(sys.executable, "-m", "prise", "read", gophernicus.url(), terminal=True) as reader:
        reader.sees("q quits")
        assert re.search(rb"\x1b\[[0-9;]*3[1-7][;m]", bytes(reader.screen._shown))  # a colour
        reader.send(b"\r")
        reader.sees("hello gopher")
        reader.send(b"q")
        assert reader.finish() == 0


def test_without_prompt_toolkit_it_says_what_to_install(gophernicus: Gophernicus, tmp_path: Path) -> None:
    command = ("read", gophernicus.url("0/hello.txt"))
    with Program(
        "env",
        f"PYTHONPATH={without('prompt_toolkit', tmp_path)}",
        sys.executable,
        "-m",
        "prise",
        *command,
        terminal=True,
    ) as reader:
        reader.errors.wait_for("pip install 'prise[cli]'")
        assert reader.finish() == 2
