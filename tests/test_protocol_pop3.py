"""POP3 against Dovecot, and against servers that mean ill."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.protocols import pop3
from prise.protocols.pop3 import POP3
from prise.protocols.seen import Seen
from real_servers.dovecot import Dovecot

NUMBERS = itertools.count()
MAIL = b"From: a@example.org\r\nSubject: one\r\n\r\nhello\r\n.dot\r\n..\r\n"


@pytest.fixture
def user(dovecot: Dovecot) -> str:
    """Somebody whose mailbox no other test knows."""
    return f"pop3-{next(NUMBERS)}"


@pytest.fixture
def trust(dovecot: Dovecot) -> prise.TLS:
    return prise.TLS(ca=dovecot.ca)


@pytest.fixture
def box(dovecot: Dovecot, user: str, trust: prise.TLS) -> Iterator[POP3]:
    dovecot.deliver(user, MAIL)
    with prise.open(dovecot.pop3_url(user=f"{user}:pw", tls=True), tls=trust) as session:
        yield session


# -- a mailbox ---------------------------------------------------------------------------------------------------------


def test_a_mailbox_is_listed_and_read(box: POP3) -> None:
    assert box.stat() == (1, len(MAIL))
    (message,) = box.list()
    assert (message.name, message.kind, message.size) == ("1", "message", len(MAIL))
    content = box.get("1")
    assert (content.size, content.name, content.read()) == (len(MAIL), "1.eml", MAIL)
    assert box.get(message.facts["uid"]).read() == MAIL
    assert box.top(1).read() == MAIL.partition(b"hello")[0]
    assert box.top(1, lines=1).read() == MAIL.partition(b".dot")[0]
    assert box.sizes() == {1: len(MAIL)}
    assert box.uids() == {1: message.facts["uid"]}


def test_the_same_with_await(dovecot: Dovecot, user: str, trust: prise.TLS) -> None:
    dovecot.deliver(user, MAIL)

    async def main() -> None:
        async with prise.open(dovecot.pop3_url(user=f"{user}:pw"), tls=trust) as box:
            assert box.connection.tls.version.startswith("TLS"), "STLS, before the password"
            assert (await box.stat()).messages == 1
            assert [message.name async for message in box.list()] == ["1"]
            content = await box.get(1)
            assert content.size == len(MAIL)
            assert b"".join([piece async for piece in content]) == MAIL
        url = dovecot.pop3_url("1", user=f"{user}:pw", tls=True)
        assert await prise.get(url, tls=trust).read() == MAIL
        assert [entry.size async for entry in prise.ls(url, tls=trust)] == [len(MAIL)]

    asyncio.run(main())


def test_one_liners(dovecot: Dovecot, user: str, trust: prise.TLS, tmp_path: Path) -> None:
    dovecot.deliver(user, MAIL)
    url = dovecot.pop3_url("1", user=f"{user}:pw", tls=True)
    assert prise.get(url, tls=trust).save(tmp_path / "1.eml") == len(MAIL)
    assert (tmp_path / "1.eml").read_bytes() == MAIL
    assert [entry.name for entry in prise.ls(url, tls=trust)] == ["1"]


def test_nothing_is_deleted_unless_it_is_asked_for(dovecot: Dovecot, user: str, trust: prise.TLS) -> None:
    url = dovecot.pop3_url(user=f"{user}:pw", tls=True)
    for number in (1, 2, 3):
        dovecot.deliver(user, MAIL.replace(b"one", b"number %d" % number))
    with prise.open(url, tls=trust) as box:
        for message in box.list():
            box.get(message.name).read()
    with prise.open(url, tls=trust) as box:
        box.delete(2)
        assert box.stat().messages == 2
        box.reset()
        assert box.stat().messages == 3
        box.delete(1)
    assert len(dovecot.messages(user)) == 2


def test_after_an_error_nothing_is_deleted(dovecot: Dovecot, user: str, trust: prise.TLS) -> None:
    dovecot.deliver(user, MAIL)
    with pytest.raises(ZeroDivisionError), prise.open(dovecot.pop3_url(user=f"{user}:pw", tls=True), tls=trust) as box:
        box.delete(1)
        _ = 1 / 0
    assert len(dovecot.messages(user)) == 1


def test_what_is_new_since_last_time(dovecot: Dovecot, user: str, trust: prise.TLS, tmp_path: Path) -> None:
    url = dovecot.pop3_url(user=f"{user}:pw", tls=True)
    for expected in (["1"], ["2"], []):
        if expected:
            dovecot.deliver(user, MAIL)
        with prise.open(url, tls=trust) as box:
            seen = Seen(box.target, user, tmp_path)
            new = box.new(seen.uids())
            assert [str(number) for number in new] == expected
            seen.keep(box.uids().values())


def test_a_hundred_messages_come_byte_for_byte(dovecot: Dovecot, user: str, trust: prise.TLS) -> None:
    chance = random.Random(1939)
    lines = [
        b"",
        b".",
        b"..",
        b".dot",
        b"caf\xc3\xa9",
        b"x" * 2000,
        b"\xff\xfe",
        b"a\rb",
        b"From here",
        b"-ERR",
        b"+OK",
    ]
    mails = []
    for number in range(100):
        body = b"".join(chance.choice(lines) + b"\r\n" for _ in range(chance.randrange(30)))
        mails.append(b"Subject: %d\r\n\r\n%s" % (number, body))
        dovecot.deliver(user, mails[-1])
    with prise.open(dovecot.pop3_url(user=f"{user}:pw", tls=True), tls=trust) as box:
        assert {box.get(number).read() for number in box.sizes()} == set(mails)


# -- no ----------------------------------------------------------------------------------------------------------------


def test_a_message_that_is_not_there(box: POP3) -> None:
    for name in (7, "no-such-uid"):
        with pytest.raises(prise.NotFound):
            box.get(name)
    assert box.get(1).read() == MAIL, "the session goes on"


def test_a_wrong_password(dovecot: Dovecot, user: str, trust: prise.TLS) -> None:
    with pytest.raises(prise.LoginFailed) as raised:
        prise.open(dovecot.pop3_url(user=f"{user}:secret", tls=True), tls=trust).open()
    assert raised.value.exit_code == 7
    assert "[AUTH]" in raised.value.words or "failed" in raised.value.words.lower()
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("rest", ["", "?tls=never"])
@pytest.mark.parametrize("mechanism", [None, "PLAIN", "LOGIN", "CRAM-MD5"])
def test_every_way_of_logging_in(
    dovecot: Dovecot, user: str, trust: prise.TLS, mechanism: str | None, rest: str
) -> None:
    lines: list[str] = []
    trace = lambda direction, line: lines.append(line)  # noqa: E731
    url = f"pop3://{user}:pw@localhost:{dovecot.pop3_port}/{rest}"
    with prise.open(url, tls=trust, mechanism=mechanism, trace=trace) as box:
        assert box.stat().messages == 0
    assert not any("pw" in line.split() or "AHB3" in line for line in lines), "no password in a trace"
    assert any("****" in line for line in lines)


@pytest.mark.parametrize("where", ["option", "URL"])
def test_apop_when_it_is_asked_for(dovecot: Dovecot, user: str, trust: prise.TLS, where: str) -> None:
    said: list[str] = []
    login, option = (f"{user};AUTH=+APOP", None) if where == "URL" else (user, "APOP")  # RFC 2384 §3
    url = f"pop3s://{login}:pw@localhost:{dovecot.pop3_tls_port}/"
    with prise.open(url, tls=trust, mechanism=option, trace=lambda _, line: said.append(line)) as box:
        assert box.stat().messages == 0
    assert f"APOP {user} ********" in said


def test_a_long_token_is_said_when_the_server_asks_for_it() -> None:
    """A command has 255 octets at most (RFC 2449 §4)."""
    said: list[str] = []
    script = {b"CAPA": b"+OK\r\nSASL XOAUTH2\r\n.\r\n", b"AUTH": b"+ \r\n"}
    with prise.listen(hostile(script), ":0", framing="chunks") as server:
        url = f"pop3://ada@localhost:{server.address.port}/?tls=never"
        with prise.open(url, token="t" * 300, trace=lambda _, line: said.append(line)) as box:
            box.noop()
    assert said[3:6] == ["AUTH XOAUTH2", "+ ", "********"]


def test_a_mailbox_that_is_in_use_is_no_wrong_password() -> None:
    with pytest.raises(prise.Refused, match="IN-USE") as raised:
        attack({b"PASS": b"-ERR [IN-USE] try later\r\n"}, lambda box: None)
    assert not isinstance(raised.value, prise.LoginFailed)


def test_a_certificate_that_nobody_vouches_for(dovecot: Dovecot, user: str) -> None:
    for tls in (True, False):
        with pytest.raises(prise.TLSError):
            prise.open(dovecot.pop3_url(user=f"{user}:pw", tls=tls)).open()


def test_pop3_only_fetches(box: POP3) -> None:
    with pytest.raises(prise.Unsupported, match="smtp"):
        box.put(None, b"mail")


def test_a_server_that_dies_in_the_middle(trust: prise.TLS) -> None:
    with Dovecot() as server:
        server.deliver("ada", b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n" * 5_000_000)
        box = prise.open(server.pop3_url(user="ada:pw", tls=True), tls=prise.TLS(ca=server.ca), timeout=5).open()
        content = box.get(1)
        next(content)
        server.kill()
        with pytest.raises(prise.ConnectionLost):
            content.read()
        with pytest.raises(prise.UsageError, match="open another"):
            box.stat()
        box.close()


# -- servers that mean ill ---------------------------------------------------------------------------------------------


def hostile(script: dict[bytes, bytes], greeting: bytes = b"+OK <1.2@here>\r\n"):
    """A conversation that answers each command by what a table says."""

    def conversation(connection: prise.Connection) -> None:
        connection.send(greeting)
        held = b""
        for chunk in connection:
            held += chunk
            while b"\r\n" in held:
                line, _, held = held.partition(b"\r\n")
                answer = script.get(line.split()[0], b"+OK\r\n")
                connection.send(answer)
                if answer.endswith(b"<cut>"):
                    connection.abort()
                    return

    return conversation


USUAL = {b"CAPA": b"-ERR\r\n"}


def attack(script: dict[bytes, bytes], use, greeting: bytes = b"+OK hello\r\n", rest: str = "?tls=never"):
    with prise.listen(hostile({**USUAL, **script}, greeting), ":0", framing="chunks") as server:
        url = f"pop3://ada:pw@localhost:{server.address.port}/{rest}"
        with prise.open(url, timeout=0.3) as box:
            return use(box)


def test_an_endless_greeting() -> None:
    with pytest.raises(prise.MessageTooLarge):
        attack({}, lambda box: None, greeting=b"+OK " + b"x" * 300_000)


def test_no_greeting_of_pop3() -> None:
    with pytest.raises(prise.ProtocolError, match="neither"):
        attack({}, lambda box: None, greeting=b"SSH-2.0-OpenSSH\r\n")


def test_no_list_of_capabilities_of_pop3() -> None:
    with pytest.raises(prise.ProtocolError, match="neither"):
        attack({b"CAPA": b"HTTP/1.1 400 Bad Request\r\n"}, lambda box: None)


def test_a_list_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pop3, "LONGEST_LIST", 1000)
    with pytest.raises(prise.MessageTooLarge, match="1000 bytes"):
        attack({b"UIDL": b"+OK\r\n" + b"1 %b\r\n" % (b"x" * 500) * 3}, lambda box: box.uids())


def test_silence() -> None:
    with pytest.raises(prise.TooSlow, match=r"0\.3 s"):
        attack({b"STAT": b""}, lambda box: box.stat())


def test_one_byte_now_and_then_is_not_progress() -> None:
    """Each byte comes in time; the answer does not."""

    def slowly(connection: prise.Connection) -> None:
        while True:
            connection.send(b"x")
            try:
                if connection.receive(timeout=0.05) is None:
                    return
            except prise.TooSlow:
                continue

    with prise.listen(slowly, ":0", framing="chunks") as server:
        with pytest.raises(prise.TooSlow):
            prise.open(f"pop3://a:b@localhost:{server.address.port}/?tls=never", timeout=0.3).open()


def test_starttls_injection() -> None:
    script = {b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"STLS": b"+OK begin\r\n+OK injected\r\n"}
    with pytest.raises(prise.ProtocolError, match="in clear"):
        attack(script, lambda box: None, rest="")


def test_a_password_is_not_sent_in_clear() -> None:
    with pytest.raises(prise.TLSError, match="tls=never"):
        attack({}, lambda box: None, rest="")


def test_a_server_that_asks_on_and_on() -> None:
    script = {b"CAPA": b"+OK\r\nSASL CRAM-MD5\r\n.\r\n", b"AUTH": b"+ \r\n" * 100}
    with pytest.raises(prise.ProtocolError, match="on and on"):
        attack(script, lambda box: None)


def test_dots_that_are_not_doubled() -> None:
    with pytest.raises(prise.ProtocolError, match="not doubled"):
        attack({b"RETR": b"+OK\r\n.hidden\r\n.\r\n", b"LIST": b"+OK 1 10\r\n"}, lambda box: box.get(1).read())


def test_a_cut_in_the_middle_of_a_message() -> None:
    with pytest.raises(prise.ConnectionLost):
        attack({b"RETR": b"+OK\r\nhalf<cut>", b"LIST": b"+OK 1 10\r\n"}, lambda box: box.get(1).read())


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"+OK many\r\n", b"+OK 1\r\n", b"OK\r\n", b"\r\n", b"+OK 1 \xff\r\n"])
def test_answers_of_no_protocol(answer: bytes) -> None:
    with pytest.raises(prise.ProtocolError):
        attack({b"STAT": answer}, lambda box: box.stat())


@pytest.mark.parametrize("lines", [b"one 10\r\n.\r\n", b"1\r\n.\r\n", b"1 x\r\n.\r\n"])
def test_lists_of_no_protocol(lines: bytes) -> None:
    with pytest.raises(prise.ProtocolError):
        attack({b"LIST": b"+OK\r\n" + lines}, lambda box: box.sizes())


def test_the_servers_words_cannot_move_the_cursor() -> None:
    with pytest.raises(prise.Refused) as raised:
        attack({b"STAT": b"-ERR \x1b[2Jgone\r\n"}, lambda box: box.stat())
    assert "\x1b" not in str(raised.value)
    assert "gone" in raised.value.words


def test_a_line_end_cannot_become_a_command() -> None:
    with pytest.raises(prise.AddressError):
        prise.open("pop3://a:b%0d%0aDELE@localhost/")
    logins: tuple[dict[str, Any], ...] = (
        {"user": "a\r\nDELE 1", "password": "b"},
        {"user": "a", "password": "b\r\nDELE 1"},
    )
    for login in logins:
        with prise.listen(hostile(USUAL), ":0", framing="chunks") as server:
            with pytest.raises(prise.UsageError, match="line ends"):
                prise.open(f"pop3://localhost:{server.address.port}/?tls=never", **login).open()
