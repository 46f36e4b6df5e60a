"""What all protocols share: URLs, logins, transports, and answers that are read bit by bit. POP3 stands for all of them."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from peers import Peer, free_port
from prise.protocols.credentials import Credentials, Login
from prise.protocols.sasl import Answers, choose
from prise.protocols.source import Source
from prise.protocols.target import Target
from real_servers.dovecot import Dovecot
from real_servers.proftpd import Proftpd


@contextmanager
def speaking(script: dict[bytes, bytes], **options: Any) -> Iterator[str]:
    """A POP3 server that answers each command as the script says, else +OK; gives its URL. `<end>` ends it, in the middle."""

    def conversation(connection: prise.Connection) -> None:
        connection.send(b"+OK\r\n")
        held = b""
        for chunk in connection:
            held += chunk
            while b"\r\n" in held:
                line, _, held = held.partition(b"\r\n")
                answer = script.get(line, b"+OK 1 2\r\n")
                connection.send(answer.removesuffix(b"<end>"))
                if answer.endswith(b"<end>") or line == b"QUIT":
                    return

    script = {b"CAPA": b"-ERR\r\n", **script}
    with prise.listen(conversation, ":0", framing="chunks", model="threads", **options) as server:
        yield f"pop3://ada:pw@localhost:{server.address.port}/?tls=never"


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
        ("http://h?a=b/c", "http", "h", 80, False, None, None, "?a=b/c"),
        ("http://h#part", "http", "h", 80, False, None, None, "#part"),
        ("pop3:///3", "pop3", "localhost", 110, False, None, None, "3"),
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
     "pop3://a%0ab@h/", "pop3://%ff@h/", "pop3://h/" + "x" * 9000, "pop3://\udcff@h/", "pop3://h/\udcff",
     "pop3://h%1b[2J/", "pop3://h%c2%9b/", "pop3://h:pop3/", "pop3://[::1/", "pop3://h:\u0663/"],
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
    # A slash or a question mark that was not encoded ends the host: what stands there then is part of the password.
    for url in ("pop3://ada:correcthorse@h:x:y/", "pop3://ada:correcthorse/x@h/", "pop3://ada:correcthorse?x@h/"):
        with pytest.raises(prise.AddressError) as raised:
            Target.parse(url)
        assert "correcthorse" not in str(raised.value)


def test_a_url_without_its_protocol_is_shown_with_one() -> None:
    for text, shown in (("example.org/a", "https://example.org/a"), ("h:80/", "https://h:80/"), ("/a", "https://e")):
        with pytest.raises(prise.AddressError, match=re.escape(shown)):
            Target.parse(text)
    with pytest.raises(prise.AddressError) as raised:
        Target.parse("ada:correcthorse@h/")
    assert "correcthorse" not in str(raised.value)


def test_a_session_that_is_not_open_yet_tells_how_to_open_it() -> None:
    with pytest.raises(AttributeError, match=r"with prise\.open"):
        prise.open("ftp://localhost/").list()


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


def test_a_home_that_is_no_folder_has_no_netrc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", "/dev/null")
    assert Credentials().find(Target.parse("http://h/"), needed=False) is None


def test_a_password_in_another_encoding_stays_as_it_is() -> None:
    """Its bytes come as surrogates, as from a descriptor."""
    login = Credentials("ada", b"caf\xe9".decode(errors="surrogateescape")).find(Target.parse("pop3://h/"))
    assert login is not None
    mechanism = choose(["PLAIN"], login, encrypted=True)
    assert mechanism is not None
    assert Answers(mechanism, login, "h").initial() == "AGFkYQBjYWbp"
    with pytest.raises(prise.UsageError, match="surrogate"):
        Credentials("ada", "\ud800").find(Target.parse("pop3://h/"))


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
    with pytest.raises(prise.UsageError, match="closed before"):
        half.read()  # half a message is not to be taken for a whole one


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


def test_a_session_is_opened_once_and_closed_as_often_as_you_like() -> None:
    with speaking({}) as url:
        box = prise.open(url).open()
        with pytest.raises(prise.UsageError, match="opened once"):
            box.open()
        assert box.stat() == (1, 2)
        box.close()
        box.close()
        assert not box.usable
        for use in (box.stat, lambda: box.connection, lambda: box.get(1)):
            with pytest.raises(prise.UsageError, match="closed"):
                use()


def test_half_of_an_answer_is_never_taken_for_the_whole() -> None:
    """The connection breaks while the rest is read for another command: its reader hears of it as well."""
    with speaking({b"RETR 1": b"+OK\r\none\r\n<end>"}) as url, prise.open(url, timeout=5) as box:
        content = box.get(1)
        with pytest.raises(prise.ConnectionLost):
            box.stat()
        with pytest.raises(prise.ConnectionLost):
            content.read()


def test_a_long_rest_is_left_in_bounded_time() -> None:
    """Each read brings enough to count as progress, and no end."""

    def endless(connection: prise.Connection) -> None:
        connection.send(b"+OK\r\n")
        try:
            for command in connection:
                connection.send(b"-ERR\r\n" if command == b"CAPA\r\n" else b"+OK 1 2\r\n")
                while command == b"RETR 1\r\n" and not over.wait(0.02):
                    connection.send(b"x" * 2000)
        except prise.ConnectionLost:
            pass

    over = threading.Event()
    with prise.listen(endless, ":0", framing="chunks", model="threads") as server:
        box = prise.open(f"pop3://a:b@localhost:{server.address.port}/?tls=never", timeout=0.2).open()
        content = box.get(1)
        next(content)
        begun = time.monotonic()
        content.close()
        assert time.monotonic() - begun < 5, "a MiB at this rate takes ten seconds"
        assert not box.usable
        box.close()
        over.set()


def test_the_time_is_for_tls_as_well() -> None:
    """A server that says nothing more, where TLS is to begin."""
    with speaking({b"CAPA": b"+OK\r\nSTLS\r\n.\r\n", b"STLS": b"+OK\r\n"}) as url:
        with pytest.raises(prise.TooSlow, match=r"0\.2 s"):
            prise.open(url.partition("?")[0], timeout=0.2).open()


def test_one_session_is_for_one_task_at_a_time() -> None:
    """Who comes second is told so; the first gets its answer, and the session stays in step."""

    async def main(url: str) -> None:
        async with prise.open(url) as box:
            first: Any
            second: Any
            first, second = await asyncio.gather(box.stat(), box.stat(), return_exceptions=True)
            assert first == (1, 2)
            assert isinstance(second, prise.UsageError)
            assert "another" in str(second)
            content = box.get(1)
            reading: Any
            listing: Any
            reading, listing = await asyncio.gather(content.read(), box.sizes(), return_exceptions=True)
            assert reading == b"one\r\n"
            assert isinstance(listing, prise.UsageError)
            assert await box.stat() == (1, 2)

    with speaking({b"RETR 1": b"+OK\r\none\r\n.\r\n"}) as url:
        asyncio.run(main(url))


@contextmanager
def never_ending() -> Iterator[str]:
    """A document of Gopher, which ends with the connection."""

    def conversation(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"half" * 1000)  # it looks at the beginning first, which may be an error
        over.wait(5)

    over = threading.Event()
    with prise.listen(conversation, ":0", framing="chunks", model="threads") as server:
        try:
            yield f"gopher://localhost:{server.address.port}/9/x"
        finally:
            over.set()


def test_a_session_is_cut_from_another_thread() -> None:
    with never_ending() as url, prise.open(url) as session:
        content = session.get()
        assert next(content).startswith(b"half")
        cutting = threading.Thread(target=session.abort)
        cutting.start()
        with pytest.raises(prise.ConnectionLost):
            content.read()
        cutting.join()


@pytest.mark.parametrize("cut", ["abort", "close", "cancel"])
def test_a_session_is_cut_by_another_task(cut: str) -> None:
    async def main(url: str) -> None:
        session = await prise.open(url)
        content = await session.get()
        assert (await anext(content)).startswith(b"half")
        reading = asyncio.ensure_future(content.read())
        await asyncio.sleep(0)
        if cut == "close":
            await session.close()
        else:
            (reading.cancel if cut == "cancel" else session.abort)()
        with pytest.raises(asyncio.CancelledError if cut == "cancel" else prise.ConnectionLost):
            await reading
        await session.close()
        assert session._mover._links == {}

    with never_ending() as url:
        asyncio.run(main(url))


def test_not_every_protocol_can_begin_in_the_middle() -> None:
    with pytest.raises(prise.Unsupported, match="middle"):
        prise.get("pop3://h/1", offset=7)


def test_address_stands_in_the_place_of_the_urls_server_and_of_no_other() -> None:
    def here(connection: prise.Connection) -> None:
        connection.receive()
        there = f"http://localhost:{other.address.port}/"
        connection.send(f"HTTP/1.1 302 Found\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode())

    def elsewhere(connection: prise.Connection) -> None:
        connection.receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nthere")

    with prise.listen(here, ":0", framing="chunks") as first, prise.listen(elsewhere, ":0", framing="chunks") as other:
        assert prise.get("http://example.org/", address=first.address, timeout=5).read() == b"there"


def test_after_a_reload_of_the_certificates_data_connections_still_resume(proftpd: Proftpd) -> None:
    """The session that they resume belongs to what was read before."""
    proftpd.place("resumed.txt", b"data")
    trust = prise.TLS(ca=proftpd.ca)
    with prise.open(proftpd.url("resumed.txt", user="u:pw"), tls=trust) as session:
        assert session.get().read() == b"data"
        trust.reload()
        assert session.get().read() == b"data"


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
        Source.of(text)
    with pytest.raises(prise.UsageError):
        Source.of(7)
    with pytest.raises(prise.UsageError, match="str"):
        Source.of(["text"], offset=2).read()
    with pytest.raises(FileNotFoundError):
        Source.of(tmp_path / "missing")  # at once: not when a server waits for it already


def test_what_is_copied_from_another_session_breaks_off(proftpd: Proftpd) -> None:
    """Its error is none of the server that it goes to, which waits for the rest: that session cannot go on."""

    def pieces() -> Iterator[bytes]:
        yield b"first"
        raise prise.Refused(code="430", words="gone")

    with prise.open(proftpd.url("", user="u:pw") + "?tls=never") as session:
        with pytest.raises(prise.Refused, match="gone"):
            session.put("copied.txt", pieces())
        assert not session.usable
