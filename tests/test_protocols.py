"""What all protocols share: URLs, logins, transports, and answers that are read bit by bit. POP3 stands for all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from peers import Peer, free_port
from prise.protocols.credentials import Credentials, Login
from prise.protocols.source import Source
from prise.protocols.target import Target
from real_servers.dovecot import Dovecot

# -- URLs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "protocol", "host", "port", "tls", "user", "password", "place"),
    [
        ("pop3://example.org", "pop3", "example.org", 110, False, None, None, ""),
        ("POP3S://ada@example.org/3", "pop3", "example.org", 995, True, "ada", None, "3"),
        ("imap://ada:s%3Aecret@[::1]:1143/INBOX/;UID=7", "imap", "::1", 1143, False, "ada", "s:ecret", "INBOX/;UID=7"),
        ("imaps://ada%40example.org;AUTH=*@mail/", "imap", "mail", 993, True, "ada@example.org", None, ""),
        ("ftp://u:@h/", "ftp", "h", 21, False, "u", "", ""),
        ("smtp://h", "smtp", "h", 25, False, None, None, ""),
        ("submission://h", "smtp", "h", 587, False, None, None, ""),
        ("gopher://h/1/a?b", "gopher", "h", 70, False, None, None, "1/a?b"),
        ("news://h/comp.lang.python", "nntp", "h", 119, False, None, None, "comp.lang.python"),
        ("https://h/a?tls=never", "http", "h", 443, True, None, None, "a?tls=never"),
    ],
)
def test_a_url_is_taken_apart(url, protocol, host, port, tls, user, password, place) -> None:
    target = Target.parse(url)
    assert (target.protocol, target.host, target.port, target.tls) == (protocol, host, port, tls)
    assert (target.user, target.password, target.place) == (user, password, place)


def test_what_is_to_be_done_about_tls_is_said_at_the_end() -> None:
    assert Target.parse("nntp://h/group?tls=optional").policy == "optional"
    assert Target.parse("pop3://h?tls=never").policy == "never"
    assert Target.parse("imap://h/INBOX?tls=maybe").place == "INBOX?tls=maybe"


def test_news_without_a_server_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNTPSERVER", "news.example.org")
    assert Target.parse("news:comp.lang.python").host == "news.example.org"
    monkeypatch.delenv("NNTPSERVER")
    with pytest.raises(prise.AddressError, match="NNTPSERVER"):
        Target.parse("news:comp.lang.python")


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "gemini://h/", "pop3:/h", "pop3://h:99999/", "pop3://a b/", "pop3://h/\r\n", "pop3://h:x:y/",
     "pop3://a%0ab@h/", "pop3://%ff@h/", "pop3://h/" + "x" * 9000],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(prise.AddressError):
        Target.parse(url)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_an_address_error(text: str) -> None:
    for url in (text, f"pop3://{text}"):
        try:
            target = Target.parse(url)
        except prise.AddressError:
            continue
        again = Target.parse(str(target))
        assert (again.user, again.host, again.port, again.place) == (
            target.user,
            target.host,
            target.port,
            target.place,
        )


def test_the_password_shows_nowhere() -> None:
    target = Target.parse("pop3://ada:correcthorse@h/1")
    assert "correcthorse" not in str(target) + repr(target)
    with pytest.raises(prise.AddressError) as raised:
        Target.parse("pop3://ada:correcthorse@h:x:y/")
    assert "correcthorse" not in str(raised.value)


# -- Who logs in -------------------------------------------------------------------------------------------------------


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "netrc"
    path.write_text("machine mail.example.org login ada password from-netrc\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    return path


def test_what_is_said_outright_comes_first(netrc: Path) -> None:
    target = Target.parse("pop3://ada:from-url@mail.example.org/")
    assert Credentials("bob", "said").find(target) == Login("bob", "said")
    assert Credentials().find(target) == Login("ada", "from-url")
    assert Credentials().find(Target.parse("pop3://mail.example.org/")) == Login("ada", "from-netrc")
    assert Credentials("ada", token="abc").find(target) == Login("ada", "abc", token=True)


def test_netrc_is_for_its_machine_and_its_user(netrc: Path) -> None:
    assert Credentials().find(Target.parse("pop3://elsewhere.example.org/")) is None
    assert Credentials().find(Target.parse("pop3://bob@mail.example.org/")) is None
    assert Credentials(use_netrc=False).find(Target.parse("pop3://mail.example.org/")) is None


def test_a_netrc_that_cannot_be_read_is_named_and_not_quoted(netrc: Path) -> None:
    netrc.write_text("machine mail.example.org login ada pasword from-netrc\n")
    with pytest.raises(prise.UsageError, match="netrc") as raised:
        Credentials().find(Target.parse("pop3://mail.example.org/"))
    assert "from-netrc" not in str(raised.value)


def test_at_last_somebody_is_asked(netrc: Path) -> None:
    asked = []

    def ask(host: str, user: str | None) -> tuple[str, str]:
        asked.append((host, user))
        return "eve", "typed"

    credentials = Credentials(ask=ask, use_keyring=False)
    assert credentials.find(Target.parse("pop3://eve@h/")) == Login("eve", "typed")
    assert credentials.find(Target.parse("pop3://h/"), needed=False) is None
    assert asked == [("h", "eve")]


def test_nobody_is_known() -> None:
    with prise.listen(lambda connection: connection.send(b"+OK\r\n-ERR\r\n"), ":0", framing="chunks") as server:
        with pytest.raises(prise.UsageError, match="netrc"):
            prise.open(f"pop3://localhost:{server.address.port}/?tls=never", netrc=False, keyring=False).open()


# -- Opening -----------------------------------------------------------------------------------------------------------


def test_an_option_that_the_protocol_does_not_know() -> None:
    with pytest.raises(prise.UsageError, match="mechanism"):
        prise.open("pop3://h/", colour="blue")


def test_a_blocking_session_in_a_loop_is_refused() -> None:
    async def main() -> None:
        prise.open("pop3://h/").open()

    with pytest.raises(prise.UsageError, match="async with"):
        asyncio.run(main())


@pytest.fixture
def mailbox(dovecot: Dovecot) -> str:
    """Somebody with three messages."""
    if not dovecot.messages("protocols"):
        for number in (1, 2, 3):
            dovecot.deliver("protocols", b"Subject: %d\r\n\r\n%s" % (number, b"line\r\n" * 1000))
    return "pop3://protocols:pw@localhost:{port}/"


def test_every_transport_will_do(dovecot: Dovecot, mailbox: str, tmp_path: Path) -> None:
    """The URL says who is meant (and whose certificate it must be); `address` says how to get there."""
    url, trust = mailbox.format(port=1), prise.TLS(ca=dovecot.ca)
    there = f"127.0.0.1:{dovecot.pop3_port}"
    with prise.Relay(f"unix:{tmp_path}/pop3.sock", there) as relay:
        with prise.open(url, address=relay.address, tls=trust) as box:
            assert box.connection.peer.scheme == "unix"
            assert box.stat().messages == 3
    with prise.open(url, address=f"exec:nc 127.0.0.1 {dovecot.pop3_port}", tls=trust) as box:
        assert box.stat().messages == 3


@pytest.mark.parametrize(
    ("proxy", "command"),
    [
        ("socks5", ("microsocks", "-i", "127.0.0.1", "-p")),
        ("http", ("ncat", "--proxy-type", "http", "-l", "-k", "127.0.0.1")),
    ],
)
def test_through_proxies(dovecot: Dovecot, mailbox: str, proxy: str, command: tuple[str, ...]) -> None:
    url, trust = mailbox.format(port=dovecot.pop3_port), prise.TLS(ca=dovecot.ca)
    port = free_port()
    with Peer(*command, str(port), port=port), prise.open(url, via=f"{proxy}://127.0.0.1:{port}", tls=trust) as box:
        assert box.stat().messages == 3


# -- Answers, bit by bit -----------------------------------------------------------------------------------------------


def test_the_natural_loop_works(dovecot: Dovecot, mailbox: str) -> None:
    """The list is still being read when the first message is fetched: its rest is held meanwhile."""
    with prise.open(mailbox.format(port=dovecot.pop3_port), tls=prise.TLS(ca=dovecot.ca)) as box:
        assert [len(box.get(message.name).read()) for message in box.list()] == [6014] * 3


def test_what_is_left_in_the_middle_does_no_harm(dovecot: Dovecot, mailbox: str) -> None:
    with prise.open(mailbox.format(port=dovecot.pop3_port), tls=prise.TLS(ca=dovecot.ca)) as box:
        with box.get(1) as content:
            next(content)
        assert box.stat().messages == 3
        half = box.get(2)
        next(half)
    assert list(half) == [], "with its session closed it is at its end"


def test_two_answers_at_a_time(dovecot: Dovecot, mailbox: str) -> None:
    with prise.open(mailbox.format(port=dovecot.pop3_port), tls=prise.TLS(ca=dovecot.ca)) as box:
        first, second = box.get(1), box.get(2)
        assert second.read().startswith(b"Subject: 2")
        assert first.read().startswith(b"Subject: 1")


def test_a_one_liner_closes_its_session(dovecot: Dovecot, mailbox: str) -> None:
    content = prise.get(mailbox.format(port=dovecot.pop3_port) + "1", tls=prise.TLS(ca=dovecot.ca))
    connection = content._session.connection
    assert not connection.closed
    content.read()
    assert connection.closed


# -- What is sent ------------------------------------------------------------------------------------------------------


def test_put_takes_whatever_has_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        for data in (b"0123456789", "0123456789", bytearray(b"0123456789"), path, file):
            source = Source.of(data)
            assert (source.size, source.read()) == (10, b"0123456789")
    assert Source.of(path, offset=4).read() == b"456789"
    assert Source.of(iter([b"01", b"23", b"45"]), offset=3).read() == b"345"
    with path.open() as text, pytest.raises(prise.UsageError, match="'rb'"):
        Source.of(text).read()
    with pytest.raises(prise.UsageError):
        Source.of(7)
