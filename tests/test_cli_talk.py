"""`prise talk`: two people, who both type whenever they like, until one says FIN."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cli_process import PATIENCE, Running, Screen

pytest.importorskip("click")


@contextmanager
def two(one: str = "en_US.UTF-8", other: str = "en_US.UTF-8", *options: str) -> Iterator[tuple[Running, Running]]:
    """The one who waits and the one who calls."""
    with Running("talk", "--listen", "127.0.0.1:0", language=one) as waiting:
        port = waiting.port()
        with Running("talk", f"127.0.0.1:{port}", *options, language=other) as calling:
            yield waiting, calling


def test_both_say_something_whenever_they_like():
    with two() as (waiting, calling):
        calling.write("one\ntwo\n")
        assert [waiting.out.line(), waiting.out.line()] == ["one", "two"]
        waiting.write("three\n")
        assert calling.out.line() == "three"
        waiting.write("four\n")
        assert calling.out.line() == "four"


@pytest.mark.parametrize("word", ["FIN", "fin", " Fin "])
@pytest.mark.parametrize(("language", "goodbye"), [("en_US.UTF-8", "Goodbye"), ("fr_FR.UTF-8", "Au revoir")])
def test_fin_ends_the_talk_and_the_other_reads_goodbye(language, goodbye, word):
    """In the language of the one who reads it."""
    with two(one=language) as (waiting, calling):
        calling.write(f"so long\n{word}\n")
        assert [waiting.out.line(), waiting.out.line()] == ["so long", goodbye]
        assert waiting.wait() == 0
        assert calling.wait() == 0
        assert calling.out.rest() == []


def test_either_may_end_it():
    with two() as (waiting, calling):
        waiting.write("FIN\n")
        assert calling.out.line() == "Goodbye"
        assert (waiting.wait(), calling.wait()) == (0, 0)


def test_a_name_goes_before_each_line_but_not_before_fin():
    with two("en_US.UTF-8", "en_US.UTF-8", "--name", "Zoé") as (waiting, calling):
        calling.write("bonjour\nFIN\n")
        assert [waiting.out.line(), waiting.out.line()] == ["Zoé: bonjour", "Goodbye"]


def test_a_talk_whose_input_ends_without_fin():
    with two() as (waiting, calling):
        calling.write("only this")
        calling.end_input()
        assert waiting.out.line() == "only this"
        waiting.err.expect("the other side has left")
        assert (waiting.wait(), calling.wait()) == (0, 0)


def test_whoever_comes_later_is_refused():
    with Running("talk", "--listen", "127.0.0.1:0") as waiting:
        port = waiting.port()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as first:
            first.sendall(b"me first\n")
            assert waiting.out.line() == "me first"
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), PATIENCE)
            first.sendall(b"and still here\n")
            assert waiting.out.line() == "and still here"


def test_the_other_may_have_nc():
    if shutil.which("nc") is None:
        pytest.skip("nc is not installed")
    with Running("talk", "--listen", "127.0.0.1:0") as waiting:
        port = waiting.err.expect(r"\(?nc 127\.0\.0\.1 (\d+)")[1]
        with subprocess.Popen(["nc", "127.0.0.1", port], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nc:
            assert nc.stdin is not None
            assert nc.stdout is not None
            nc.stdin.write(b"caf\xe9\n")  # not UTF-8: shown as well as it can be
            nc.stdin.flush()
            assert waiting.out.line() == "caf\ufffd"
            waiting.write("hello\nFIN\n")
            assert [nc.stdout.readline(), nc.stdout.readline()] == [b"hello\n", b"FIN\n"]
            assert waiting.wait() == 0  # though nc stays
            nc.stdin.close()


def test_someone_who_does_not_leave_after_fin_is_left():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with Running("talk", f"127.0.0.1:{listener.getsockname()[1]}") as calling:
            peer, _ = listener.accept()
            with peer:
                calling.write("FIN\n")
                assert calling.wait() == 0
                assert peer.recv(100) == b"FIN\n"


def test_ctrl_c_is_130():
    with Running("talk", "--listen", "127.0.0.1:0") as waiting:
        waiting.port()
        waiting.signal(signal.SIGINT)
        assert waiting.wait() == 130


def test_two_terminals_two_languages():
    with Screen("talk", "--listen", "127.0.0.1:0", language="fr_FR.UTF-8") as one:
        screen = one.expect(".*nc 127.0.0.1 \\d+.*")
        port = next(line for line in screen if "nc 127" in line).rpartition("127.0.0.1 ")[2].strip(" )")
        with Screen("talk", f"127.0.0.1:{port}") as other:
            one.expect("> ?")
            other.expect("> ?")
            one.type("je tape encore")
            other.type("hello")
            other.press("Enter")
            one.expect("hello", "> je tape encore")
            one.press("Enter")
            other.expect("> hello", "je tape encore", "> ?")
            other.type("fin")
            other.press("Enter")
            one.expect("Au revoir", "exit 0")
            other.expect("> fin", "exit 0")
