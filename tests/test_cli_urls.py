"""`prise get`, `put`, `ls` and `protocols`, as a user runs them; in this process where the process itself does not matter."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

import cli_process
import prise
from blocking_support import until
from prise.cli import urls
from prise.cli.fetching import file_name
from prise.cli.get import MOST_PRETTY, pretty
from prise.cli.root import run
from real_servers.dovecot import Dovecot
from real_servers.gophernicus import Gophernicus
from real_servers.nginx import Nginx
from real_servers.proftpd import Proftpd


class Done(NamedTuple):
    code: int
    out: bytes
    said: str


Command = Callable[..., Done]


@pytest.fixture
def command(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command in this process: its exit code, stdout and stderr."""
    monkeypatch.setenv("NETRC", "/dev/null")

    def call(*arguments: str | Path) -> Done:
        capfdbinary.readouterr()
        code = run([str(argument) for argument in arguments])
        out, said = capfdbinary.readouterr()
        return Done(code, out, said.decode())

    return call


@pytest.fixture
def mailbox(dovecot: Dovecot) -> str:
    if not dovecot.messages("cli"):
        dovecot.deliver("cli", b"Subject: hello\r\n\r\nworld\r\n")
    return dovecot.pop3_url(user="cli:pw", tls=True)


# -- get ---------------------------------------------------------------------------------------------------------------


def test_data_goes_to_stdout_and_nothing_else_does(command: Command, dovecot: Dovecot, mailbox: str) -> None:
    done = command("get", f"{mailbox}1", "--ca", dovecot.ca)
    assert done == (0, b"Subject: hello\r\n\r\nworld\r\n", "")


def test_verbose_shows_the_protocol_and_no_password(command: Command, dovecot: Dovecot, mailbox: str) -> None:
    done = command("get", f"{mailbox}1", "--ca", dovecot.ca, "-v")
    assert done.code == 0
    assert "> RETR 1" in done.said
    assert "< +OK" in done.said
    assert not re.search(r"\bpw\b|Y2xpAHB3|AGNsaQBwdw", done.said)
    assert b"world" in done.out


def test_into_a_file_and_into_a_folder(command: Command, nginx: Nginx, tmp_path: Path) -> None:
    nginx.place("one.txt", b"one\n")
    nginx.place("two.txt", b"two\n")
    done = command("get", nginx.url("one.txt"), "-o", tmp_path / "file")
    assert (done.code, (tmp_path / "file").read_bytes()) == (0, b"one\n")
    done = command("get", nginx.url("one.txt"), nginx.url("two.txt"), "-o", f"{tmp_path}/folder/", "--json")
    assert done.code == 0
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["one.txt", "two.txt"]
    events = [json.loads(line) for line in done.out.splitlines()]
    assert sorted(event["size"] for event in events) == [4, 4]


def test_one_of_several_that_is_not_there(command: Command, nginx: Nginx, tmp_path: Path) -> None:
    nginx.place("there.txt", b"there\n")
    done = command("get", nginx.url("there.txt"), nginx.url("missing.txt"), "-o", f"{tmp_path}/")
    assert done.code == 1
    assert "404" in done.said
    assert (tmp_path / "there.txt").read_bytes() == b"there\n"


def test_two_urls_never_go_to_one_file(command: Command, nginx: Nginx, tmp_path: Path) -> None:
    done = command("get", nginx.url("a/index.html"), nginx.url("b/index.html"), "-o", f"{tmp_path}/")
    assert done.code == 2
    assert "one by one" in done.said


def test_one_of_several_that_is_no_url(command: Command, tmp_path: Path) -> None:
    done = command("get", "pop3://localhost:1/1", "gemini://localhost/", "-o", f"{tmp_path}/")
    assert (done.code, "none of" in done.said, "refused" in done.said) == (2, True, False)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://example.org/a/b.txt?c=d/e#f", "b.txt"),
        ("http://example.org/a/", "a"),
        ("http://example.org", "index.html"),
        ("http://ada:secret@example.org", "index.html"),
        ("http://example.org/..", "index.html"),
        ("http://example.org/%2e%2e%2fetc%2fpasswd", ".._etc_passwd"),
        ("http://example.org/a%00b%e9", "ab\N{REPLACEMENT CHARACTER}"),
        ("imap://h/INBOX/;UID=7", "UID=7"),
        ("news:5d1@example.org", "5d1@example.org"),
    ],
)
def test_a_name_from_a_url_is_a_file_of_this_folder(url: str, name: str) -> None:
    assert file_name(url) == name


def test_a_disk_that_is_full(command: Command, nginx: Nginx) -> None:
    nginx.place("one.txt", b"one\n")
    done = command("get", nginx.url("one.txt"), "-o", "/dev/full")
    assert (done.code, done.said) == (1, "prise: /dev/full: No space left on device\n")


def test_ctrl_c_cuts_what_is_fetched_side_by_side(tmp_path: Path) -> None:
    begun, over = threading.Semaphore(0), threading.Event()

    def endless(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"x" * 5000)
        begun.release()
        over.wait(cli_process.PATIENCE)

    with prise.listen(endless, ":0", framing="chunks", model="threads") as server:
        there = [f"gopher://localhost:{server.address.port}/9/{name}" for name in "abc"]
        with cli_process.Running("get", *there, "--parallel", "2", "-o", f"{tmp_path}/") as running:
            assert begun.acquire(timeout=cli_process.PATIENCE)
            assert begun.acquire(timeout=cli_process.PATIENCE)
            running.signal()
            assert running.wait() == 130
        over.set()


def test_ctrl_c_tells_how_to_go_on(tmp_path: Path) -> None:
    over = threading.Event()

    def slow(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 500_000)
        over.wait(cli_process.PATIENCE)

    path = tmp_path / "f"
    with prise.listen(slow, ":0", framing="chunks", model="threads") as server:
        with cli_process.Running("get", f"http://localhost:{server.address.port}/f", "-o", str(path)) as running:
            until(lambda: path.exists() and path.stat().st_size > 100_000, "the first half")
            running.signal()
            running.err.expect(r"f has .* so far; -C goes on from there")
            assert running.wait() == 130
        over.set()


def test_what_breaks_off_is_told_with_its_url_and_how_to_go_on(command: Command, tmp_path: Path) -> None:
    def half(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")

    with prise.listen(half, ":0", framing="chunks", model="threads") as server:
        url = f"http://localhost:{server.address.port}/f"
        done = command("get", url, "-o", tmp_path / "f")
        piped = command("get", url)
    assert (done.code, url in done.said, "-C goes on" in done.said) == (8, True, True)
    assert (piped.code, piped.out, "-C" in piped.said) == (8, b"half", False)


def test_json_is_laid_out_for_people_and_what_is_none_stays_as_it_is() -> None:
    assert b"".join(pretty(iter([b'{"a":', b'"\xc3\xa9"}']))).decode() == '{\n  "a": "é"\n}\n'
    deep = b"[" * 200_000 + b"]" * 200_000
    many = [b"[" + b" " * MOST_PRETTY, b" " * 10, b"]"]
    for pieces in ([b"{not", b" json"], [deep], many):
        assert b"".join(pretty(iter(pieces))) == b"".join(pieces)
    assert b"".join(pretty(iter([b'"\\ud800"']))) == b'"?"\n', "half of a surrogate pair"


def test_several_that_need_the_same_password_ask_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def ask(host: str, user: str | None) -> tuple[str, str]:
        asked.append((host, user))
        return "ada", "pw"

    monkeypatch.setattr(urls, "ask", ask)
    asking = urls.Asking()
    threads = [threading.Thread(target=asking, args=("h", "ada")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (asking("h", "ada"), asked) == (("ada", "pw"), [("h", "ada")])


@pytest.mark.parametrize("server", ["nginx", "proftpd"])
def test_what_was_cut_short_goes_on(
    command: Command, server: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    there = request.getfixturevalue(server)
    there.place("long.bin", bytes(range(256)) * 100)
    url = there.url("long.bin", user="u:pw") + "?tls=never" if server == "proftpd" else there.url("long.bin")
    path = tmp_path / "long.bin"
    path.write_bytes(bytes(range(256)) * 30)
    done = command("get", "-C", url, "-o", path)
    assert done.code == 0, done.said
    assert path.read_bytes() == bytes(range(256)) * 100
    done = command("get", "-C", url, "-o", path)
    assert done.code == 0, done.said
    assert path.read_bytes() == bytes(range(256)) * 100, "it was complete"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["get", "gemini://example.org/"], 2, "none of"),
        (["get", "pop3://nowhere.invalid/1"], 3, "nowhere.invalid"),
        (["get", "pop3://localhost:1/1"], 4, "refused"),
        (["get", "http://localhost:1/", "-C"], 2, "-o"),
        (["get"], 2, "URL"),
        (["put", "/nowhere/at/all", "ftp://localhost/"], 2, "/nowhere/at/all"),
        (["ls", "http://user name@h/"], 2, "spaces"),
    ],
)
def test_errors_say_what_and_where(command: Command, arguments: list[str], code: int, says: str) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (code, b"")
    assert says in done.said


def test_exit_codes_of_a_server_that_says_no(command: Command, dovecot: Dovecot, mailbox: str) -> None:
    assert command("get", f"{mailbox}99", "--ca", dovecot.ca).code == 1
    assert command("get", f"{mailbox}1").code == 6, "a certificate that nobody vouches for"
    assert command("get", f"{mailbox.replace('cli:pw', 'cli:wrong')}1", "--ca", dovecot.ca).code == 7


def test_a_password_from_a_descriptor(command: Command, dovecot: Dovecot, mailbox: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"pw\n")
    os.close(writing)
    try:
        done = command("get", f"{mailbox.replace(':pw@', '@')}1", "--ca", dovecot.ca, "--password-fd", str(reading))
    finally:
        os.close(reading)
    assert done.code == 0


def test_the_system_does_not_show_a_password() -> None:
    """A server that never answers keeps the command waiting, while we look at it as any user could."""
    connected = threading.Event()

    def silent(connection: prise.Connection) -> None:
        connected.set()
        connection.receive()

    with prise.listen(silent, ":0") as server:
        url = f"pop3://ada:correcthorse@localhost:{server.address.port}/1?tls=never"
        with cli_process.Running("get", url) as running:
            assert connected.wait(cli_process.PATIENCE)
            shown = Path(f"/proc/{running.process.pid}/cmdline").read_bytes()
            assert b"ada:************@localhost" in shown
            assert b"correcthorse" not in shown


def test_nobody_reads_any_more() -> None:
    with prise.listen(lambda connection: connection.send(b"x" * 5_000_000), ":0", framing="chunks") as server:
        url = f"gopher://localhost:{server.address.port}/9/x"
        script = f"{shlex.join(cli_process.argv('get', url))} | head -c 10"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", script],
            capture_output=True,
            env=cli_process.environment(),
            timeout=cli_process.PATIENCE,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"x" * 10, b"")


def test_what_is_new_since_last_time(command: Command, dovecot: Dovecot, tmp_path: Path) -> None:
    url = dovecot.pop3_url(user="cli-new:pw", tls=True)
    folder = tmp_path / "mail"
    for number, said in enumerate(("1 new message", "1 new message", "0 new messages")):
        if said.startswith("1"):
            dovecot.deliver("cli-new", f"Subject: {number}\r\n\r\n".encode())
        done = command("get", "--new", url, "-o", folder, "--ca", dovecot.ca)
        assert (done.code, done.said.strip()) == (0, said)
    assert sorted(path.read_bytes() for path in folder.iterdir()) == [b"Subject: 0\r\n\r\n", b"Subject: 1\r\n\r\n"]
    assert len(dovecot.messages("cli-new")) == 2


# -- ls ----------------------------------------------------------------------------------------------------------------


def test_a_name_on_each_line(command: Command, dovecot: Dovecot, mailbox: str) -> None:
    assert command("ls", mailbox, "--ca", dovecot.ca) == (0, b"1\n", "")


def test_a_list_for_people_and_one_for_programs(command: Command, gophernicus: Gophernicus) -> None:
    done = command("ls", gophernicus.url(), "--json")
    entries = [json.loads(line) for line in done.out.splitlines()]
    assert {"text", "menu", "search"} <= {entry["kind"] for entry in entries}
    done = command("ls", "-l", gophernicus.url())
    assert done.code == 0
    assert b"\x1b" not in done.out


def test_names_that_are_not_utf_8(command: Command) -> None:
    """A pipe gets the bytes of the server, JSON an escape, and people a mark. Lines without a name are for people alone."""

    def menu(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(
            b"iHello\t\tnull\t1\r\n0Coffee\tcaf\xe9\tlocalhost\t%d\r\n.\r\n" % int(server.address.port or 0)
        )

    with prise.listen(menu, ":0", framing="chunks") as server:
        url = f"gopher://localhost:{server.address.port}/"
        plain, told, long = (command("ls", *how, url) for how in ([], ["--json"], ["-l"]))
    assert plain == (0, b"0caf\xe9\n", "")
    assert [json.loads(line)["name"] for line in told.out.splitlines()] == ["", "0caf\udce9"]
    assert [line.split() for line in long.out.splitlines()] == [[b"Hello"], [b"0caf?", b"Coffee"]]


def test_only_the_last(command: Command, proftpd: Proftpd) -> None:
    for name in ("a", "b", "c"):
        proftpd.place(f"listed/{name}", b"x")
    url = proftpd.url("listed/", user="u:pw") + "?tls=never"
    assert sorted(command("ls", url).out.split()) == [b"a", b"b", b"c"]
    assert len(command("ls", url, "--last", "2").out.split()) == 2
    assert len(command("ls", url, "--first", "1").out.split()) == 1


# -- put ---------------------------------------------------------------------------------------------------------------


def test_a_file_keeps_its_name_in_a_folder(command: Command, proftpd: Proftpd, tmp_path: Path) -> None:
    (tmp_path / "été 1.txt").write_bytes(b"summer")
    proftpd.place("in/x", b"")
    url = proftpd.url("in/", user="u:pw") + "?tls=never"
    done = command("put", tmp_path / "été 1.txt", url)
    assert done.code == 0, done.said
    assert (proftpd.root / "in" / "été 1.txt").read_bytes() == b"summer"


def test_the_root_is_a_folder_too(command: Command, proftpd: Proftpd, tmp_path: Path) -> None:
    (tmp_path / "to-root.txt").write_bytes(b"here")
    url = proftpd.url("", user="u:pw") + "?tls=never"
    done = command("put", tmp_path / "to-root.txt", url)
    assert done.code == 0, done.said
    assert (proftpd.root / "to-root.txt").read_bytes() == b"here"
    done = command("put", "-", url)
    assert (done.code, "alone" in done.said) == (2, True)


def test_an_upload_goes_on(command: Command, proftpd: Proftpd, tmp_path: Path) -> None:
    data = os.urandom(10_000)
    (tmp_path / "up.bin").write_bytes(data)
    proftpd.place("half.bin", data[:4000])
    url = proftpd.url("half.bin", user="u:pw") + "?tls=never"
    done = command("put", "-C", tmp_path / "up.bin", url)
    assert done.code == 0, done.said
    assert (proftpd.root / "half.bin").read_bytes() == data
    (tmp_path / "up.bin").write_bytes(b"another")
    done = command("put", "-C", tmp_path / "up.bin", url)
    assert (done.code, "longer" in done.said) == (2, True)
    assert (proftpd.root / "half.bin").read_bytes() == data


def test_whole_folders(command: Command, proftpd: Proftpd, tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "é.txt").write_bytes(b"deep")
    (tmp_path / "out" / "top.txt").write_bytes(b"top")
    url = proftpd.url("tree", user="u:pw") + "?tls=never"
    done = command("put", "-r", tmp_path / "out", url)
    assert (done.code, done.said) == (0, "2 files\n")
    done = command("get", proftpd.url("tree/", user="u:pw") + "?tls=never")
    assert (done.code, "get -r" in done.said) == (2, True)
    done = command("get", "-r", url, "-o", tmp_path / "back")
    assert (done.code, done.said) == (0, "2 files\n")
    assert (tmp_path / "back" / "deep" / "é.txt").read_bytes() == b"deep"


def test_standard_input_and_http(nginx: Nginx) -> None:
    done = cli_process.run("put", "-", nginx.url("dav/stream.txt"), given=b"from a pipe")
    assert done.returncode == 0, done.stderr
    assert (nginx.root / "dav/stream.txt").read_bytes() == b"from a pipe"


# -- protocols ---------------------------------------------------------------------------------------------------------


def test_the_table_of_the_tutorials(command: Command) -> None:
    rows = [json.loads(line) for line in command("protocols", "--json").out.splitlines()]
    ports = {row["protocol"]: row["port"] for row in rows}
    assert ports == {
        "http": 80, "nntp": 119, "ftp": 21, "smtp": 25, "pop3": 110, "imap": 143, "telnet": 23, "gopher": 70,
    }  # fmt: skip
    assert b"nntplib" in command("protocols").out
