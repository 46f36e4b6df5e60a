"""Telnet against telnetd of the GNU inetutils."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

import prise
from cli_process import PATIENCE, Running, Screen
from prise.protocols.telnet import Telnet
from real_servers.telnetd import Telnetd
from tls_support import authority, localhost


def url(telnetd: Telnetd, user: str = "ada", rest: str = "?tls=never") -> str:
    return f"telnet://{user}@localhost:{telnetd.port}/{rest}"


@pytest.fixture(scope="module")
def shell(telnetd: Telnetd) -> Iterator[Telnet]:
    """A session that has logged in, at the shell's prompt."""
    with prise.open(url(telnetd), password="pw", size=(100, 30)) as session:
        session.log_in()
        yield session


def test_a_login_and_a_command(telnetd: Telnetd) -> None:
    with prise.open(url(telnetd), password="pw", terminal="vt100", size=(132, 43)) as session:
        assert "Welcome ada term=vt100 size=43 132\r\nprise$ " in session.log_in()
        session.send_line("echo $((6 * 7))")
        assert session.expect("prise$ ").before == "echo $((6 * 7))\r\n42\r\n"


def test_the_same_with_await(telnetd: Telnetd) -> None:
    async def main() -> None:
        async with prise.open(url(telnetd), password="pw") as session:
            assert "Welcome ada term=xterm size=24 80" in await session.log_in()
            await session.send_line("echo one")
            assert (await session.expect(re.compile(r"\no(n)e"))).match[1] == "n"
            await session.expect("$ ")
            await session.send_line("exit")
            while await session.receive():
                pass
            assert await session.receive() == ""

    asyncio.run(main())


def test_step_by_step_without_log_in(telnetd: Telnetd) -> None:
    with prise.open(f"telnet://localhost:{telnetd.port}") as session:
        assert session.read_until("login: ") == "login: "
        session.send_line("bob")
        session.expect(b"Password: ")
        session.send_line("pw", shown="********")
        assert session.expect(["never", re.compile(r"Welcome (\w+)"), "$ "]).match[1] == "bob"


def test_a_wrong_password(telnetd: Telnetd) -> None:
    with prise.open(url(telnetd)) as session, pytest.raises(prise.LoginFailed, match="Login incorrect") as failure:
        session.log_in(password="wrong")
    assert failure.value.exit_code == 7
    assert failure.value.words == "Login incorrect"


def test_another_password_after_a_wrong_one(telnetd: Telnetd) -> None:
    with prise.open(url(telnetd)) as session:
        with pytest.raises(prise.LoginFailed):
            session.log_in(password="wrong")
        assert "Welcome ada" in session.log_in(password="pw")


def test_a_password_is_not_sent_in_clear_unless_that_is_asked_for(telnetd: Telnetd) -> None:
    with prise.open(url(telnetd, rest="")) as session, pytest.raises(prise.TLSError, match=re.escape("?tls=never")):
        session.log_in(password="pw")
    with pytest.raises(prise.TLSError):
        prise.open(url(telnetd, rest="?tls=required")).open()


def test_nobody_to_log_in(telnetd: Telnetd) -> None:
    with prise.open(f"telnet://localhost:{telnetd.port}/?tls=never", netrc=False, keyring=False) as session:
        with pytest.raises(prise.UsageError, match="who logs in"):
            session.log_in()


def test_a_trace_shows_what_is_said_and_negotiated_but_no_password(telnetd: Telnetd) -> None:
    heard: list[tuple[str, str]] = []
    with prise.open(url(telnetd), password="pw", trace=lambda *line: heard.append(line)) as session:
        session.log_in()
        session.send_line("echo p''w")
        session.expect("$ ")
    assert heard[:4] == [("*", "< WILL 37"), ("*", "> DONT 37"), ("*", "< WILL 38"), ("*", "> DONT 38")]
    for line in [("*", "> WILL TTYPE"), ("*", "< DO LINEMODE"), ("*", "> WONT LINEMODE"), ("*", "> DO ECHO")]:
        assert line in heard
    at = heard.index((">", "ada"))
    assert heard[at + 1 : at + 4] == [("<", "ada"), ("<", "Password: "), (">", "********")]
    assert heard[-2:] == [("<", "echo p''w"), ("<", "********")]  # not even where the server gives it away


def test_the_window_changes_its_size(shell: Telnet) -> None:
    shell.resize(120, 40)
    shell.send_line("stty size")
    assert shell.expect("prise$ ").before == "stty size\r\n40 120\r\n"
    with pytest.raises(prise.UsageError):
        shell.resize(-1, 10)


def test_the_server_echoes_and_wants_each_key(shell: Telnet) -> None:
    assert shell.echoes
    assert shell.by_character
    assert shell.encoding == "utf-8"
    shell.write("echo reç")
    shell.write("u\n")
    assert shell.expect("prise$ ").before == "echo reçu\r\nreçu\r\n"


def test_commands(shell: Telnet) -> None:
    shell.send_line("sh -c 'echo begun; exec sleep 60'")
    shell.expect("\nbegun\r\n")
    shell.command("IP")
    for _ in range(10):
        # An interrupt throws away what the server has not sent yet, its prompt perhaps, and this.
        shell.send_line("echo $((6 * 7))")
        try:
            shell.expect("42", timeout=1)
            break
        except prise.TooSlow:
            pass
    shell.expect("prise$ ")
    shell.command("ayt")
    assert shell.expect("[Yes]")
    with pytest.raises(prise.UsageError, match="SUSP, ABORT"):
        shell.command("REBOOT")


def test_a_time_that_passes_leaves_the_session_as_it_was(shell: Telnet) -> None:
    shell.send_line("echo so far")
    with pytest.raises(prise.TooSlow, match=r"'never', 'n\.ver' came within 0\.1 s; seen last: .*so far") as failure:
        shell.expect(["never", re.compile("n.ver")], timeout=0.1)
    assert isinstance(failure.value, TimeoutError)
    assert shell.expect("$ ", timeout=0).before.endswith("so far\r\nprise")
    assert shell.receive(0.05) is None
    assert shell.receive(0) is None


def test_a_regular_expression_for_bytes_and_nothing_to_expect(shell: Telnet) -> None:
    wrong: list[Any] = [re.compile(b"x"), [], ""]
    for patterns in wrong:
        with pytest.raises(prise.UsageError):
            shell.expect(patterns)


def test_what_telnet_has_not(shell: Telnet) -> None:
    for call in (lambda: shell.list(), lambda: shell.put("name", b""), lambda: shell.get("name")):
        with pytest.raises(prise.Unsupported, match="expect"):
            call()


def test_all_to_the_end(telnetd: Telnetd) -> None:
    with prise.open(url(telnetd), password="pw") as session:
        session.log_in()
        session.send_line("echo bytes; read answer; exit")
        content = session.get()
        come = b""
        while not come.endswith(b"\nbytes\r\n"):
            come += next(content)
        session.send_line()
        assert come == b"echo bytes; read answer; exit\r\nbytes\r\n"
        assert session.get().read() in (b"", b"\r\n")


def test_a_hundred_random_texts_there_and_back_byte_for_byte(telnetd: Telnetd) -> None:
    random = Random(6)
    with prise.open(url(telnetd), password="pw", encoding="latin-1") as session:
        session.log_in()
        session.ask_binary()
        session.send_line("stty raw -echo; echo go; exec cat")
        session.expect("\ngo")
        session.expect("\n")
        for _ in range(100):
            data = bytes(
                random.choice((255, 240, 0, 13, 10, random.randrange(256))) for _ in range(random.randrange(2000))
            )
            session.write(data)
            come = ""
            while len(come) < len(data):
                come += session.receive(PATIENCE) or pytest.fail("nothing comes")
            assert come.encode("latin-1") == data


def test_a_server_that_dies() -> None:
    with Telnetd() as own, prise.open(url(own), password="pw") as session:
        session.log_in()
        session.send_line("echo last; sleep 60")
        session.expect("\nlast")
        own.kill()
        with pytest.raises(prise.ConnectionLost):
            session.expect("$ ")


def test_telnets() -> None:
    """TLS from the first byte, and then a password is sent unasked."""

    def login(connection: prise.Connection) -> None:
        connection.send(b"login: ")
        assert connection.receive() == b"ada\r\n"
        connection.send(b"Password: ")
        assert connection.receive() == b"pw\r\n"
        connection.send(b"prise$ ")

    own = localhost()
    address = f"tls,cert={own.cert},key={own.key}:localhost:0"
    with prise.listen(login, address, framing="chunks") as server:
        where = f"telnets://ada@localhost:{server.address.port}"
        with prise.open(where, password="pw", tls=prise.TLS(ca=authority().cert)) as session:
            assert session.log_in() == "prise$ "
            assert session.connection.tls.version.startswith("TLS")
        with pytest.raises(prise.TLSError):
            prise.open(where).open()


# The command


def test_between_pipes_the_answers_are_awaited(telnetd: Telnetd) -> None:
    with Running("connect", f"telnet://localhost:{telnetd.port}") as process:
        process.write("ada\npw\necho réponse; read answer; exit\n")
        process.out.expect("size=24 80")
        process.out.expect("^(prise[$] )?réponse")
        process.write("\n")
        process.end_input()
        assert process.wait() == 0
        assert process.err.rest() == []


def test_on_a_terminal(telnetd: Telnetd) -> None:
    """A password is not shown; the window's size is followed; Ctrl-] leaves."""
    with Screen("connect", f"telnet://localhost:{telnetd.port}") as screen:
        screen.expect("connected to .*; Ctrl-] leaves", "login: ?")
        screen.type("ada")
        screen.press("Enter")
        screen.expect("Password: ?")
        screen.type("pw")
        screen.press("Enter")
        screen.expect("Password: ?", "Welcome ada term=tmux-256color size=24 80", r"prise\$ ?")
        screen._tmux("resize-window", "-x", "100", "-y", "30")
        screen.type("until [ '30 100' = \"$(stty size)\" ]; do sleep 0.01; done; echo wide")
        screen.press("Enter")
        screen.expect("wide", r"prise\$ ?")
        screen.press("C-]")
        screen.expect("exit 0")
