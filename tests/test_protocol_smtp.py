"""SMTP against Exim, which delivers into the mailboxes of Dovecot: what arrives is what was sent, byte for byte."""

from __future__ import annotations

import asyncio
import io
import itertools
import time
from collections import Counter
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from random import Random

import pytest

import prise
from peers import PATIENCE
from prise.protocols import letter
from prise.protocols.smtp import RecipientsRefused
from real_servers.dovecot import Dovecot
from real_servers.exim import Exim

NUMBERS = itertools.count(40)


@pytest.fixture
def trust(exim: Exim) -> prise.TLS:
    return prise.TLS(ca=exim.ca)


@pytest.fixture
def user() -> str:
    """A mailbox that no other test writes to."""
    return f"u{next(NUMBERS)}"


def url(exim: Exim, place: str = "", tls: bool = False, login: str = "u1:pw@") -> str:
    return f"smtp{'s' if tls else ''}://{login}localhost:{exim.tls_port if tls else exim.port}/{place}"


def arrived(dovecot: Dovecot, user: str, count: int = 1) -> list[bytes]:
    """The messages of a mailbox, without what the server has put in front (Received), once there are so many."""
    deadline = time.monotonic() + PATIENCE
    while len(messages := dovecot.messages(user)) < count:
        assert time.monotonic() < deadline, f"{len(messages)} of {count} messages"
        time.sleep(0.005)
    return [message[message.index(b"From:") :].replace(b"\n", b"\r\n") for message in messages]


def mail(user: str, body: bytes = b"hello\r\n") -> bytes:
    return b"From: ada@example.org\r\nTo: %s@localhost\r\n\r\n%s" % (user.encode(), body)


def test_a_message_is_sent_by_starttls_and_login(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    message = mail(user, b".dot\r\n..\r\n\r\n.\r\nend\r\n")
    with prise.open(url(exim), tls=trust) as post:
        assert post.connection.tls.version.startswith("TLS")
        assert "PIPELINING" in post.extensions
        delivery = post.send(message)
        assert delivery.sender == "ada@example.org"
        assert delivery.accepted == (f"{user}@localhost",)
        assert not delivery.refused
        assert (delivery.code, delivery.words[:6]) == ("250", "OK id=")
    assert arrived(dovecot, user) == [message]


def test_the_same_with_await(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    async def main() -> None:
        async with prise.open(url(exim, tls=True), tls=trust) as post:
            assert (await post.send(mail(user))).accepted == (f"{user}@localhost",)
            with pytest.raises(RecipientsRefused):
                await post.send(mail("nobody"))
            await post.noop()
        await prise.put(url(exim, f"{user}@localhost"), mail(user), tls=trust)

    asyncio.run(main())
    assert arrived(dovecot, user, 2) == [mail(user)] * 2


def test_whoever_logs_in_may_write_to_more(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    there = f"{user}@members.test"
    with prise.open(url(exim, login=""), tls=trust, netrc=False) as post:
        with pytest.raises(prise.Refused, match="550 members only"):
            post.send(mail(user), recipients=there)
    with prise.open(url(exim, tls=True), tls=trust) as post:
        assert post.send(mail(user), recipients=there).accepted == (there,)
    assert arrived(dovecot, user) == [mail(user)]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
def test_ways_of_logging_in(exim: Exim, trust: prise.TLS, mechanism: str) -> None:
    lines: list[str] = []
    with prise.open(url(exim), tls=trust, mechanism=mechanism, trace=lambda way, line: lines.append(line)):
        pass
    assert any(line.startswith(f"AUTH {mechanism}") for line in lines)
    assert not any("pw" in line or "cHc" in line for line in lines)  # in base64 as well
    with pytest.raises(prise.LoginFailed, match="535") as caught:
        prise.open(url(exim, login="u1:wrong@"), tls=trust, mechanism=mechanism).open()
    assert "wrong" not in str(caught.value)


def test_a_token_in_place_of_the_password(exim: Exim, trust: prise.TLS) -> None:
    with prise.open(url(exim, login="u1@"), token="token", tls=trust) as post:
        post.noop()
    with pytest.raises(prise.LoginFailed, match="535"):
        prise.open(url(exim, login="u1@"), token="other", tls=trust).open()


def test_logins_that_cannot_be(exim: Exim, trust: prise.TLS) -> None:
    with pytest.raises(prise.UsageError, match="the password is not known"):
        prise.open(url(exim, login="u1@"), tls=trust, netrc=False, keyring=False).open()
    with pytest.raises(prise.UsageError, match="one of OAUTHBEARER, XOAUTH2, PLAIN"):
        prise.open(url(exim), tls=trust, mechanism="SCRAM").open()
    with pytest.raises(prise.LoginFailed, match="does not offer this way of logging in: OAUTHBEARER"):
        prise.open(url(exim), tls=trust, mechanism="OAUTHBEARER").open()


def test_a_certificate_of_nobody_we_trust(exim: Exim) -> None:
    for tls in (False, True):
        with pytest.raises(prise.TLSError):
            prise.open(url(exim, tls=tls)).open()


def test_recipients_are_refused_one_by_one(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    with prise.open(url(exim), tls=trust) as post:
        there = [f"{user}@localhost", "nobody@localhost", "later@localhost", "ada@elsewhere.test"]
        delivery = post.send(mail(user), recipients=there)
        assert delivery.accepted == (f"{user}@localhost",)
        said = {address: (no.code, no.words) for address, no in delivery.refused.items()}
        assert said == {
            "nobody@localhost": ("550", "no such user"),
            "later@localhost": ("451", "try again later"),
            "ada@elsewhere.test": ("550", "relay not permitted"),
        }
        with pytest.raises(RecipientsRefused, match="no recipient was accepted; nobody@localhost: 550") as caught:
            post.send(mail(user), recipients=there[1:])
        assert list(caught.value.refused) == there[1:]
        # The session goes on.
        with pytest.raises(RecipientsRefused, match="for 1 others, but not for nobody@localhost") as caught:
            post.put(f"{user}@localhost,nobody@localhost", mail(user))
        assert caught.value.accepted == (f"{user}@localhost",)
    assert arrived(dovecot, user, 2) == [mail(user)] * 2


def test_the_header_says_who_and_bcc_is_left_out(exim: Exim, dovecot: Dovecot, trust: prise.TLS) -> None:
    to, copy, hidden = (f"u{next(NUMBERS)}" for _ in range(3))
    header = f"From: Ada <ada@example.org>\nSender: {to}@localhost\nTo: Ben <{to}@localhost>\nCc: {copy}@localhost\n"
    with prise.open(url(exim), tls=trust) as post:
        delivery = post.send(f"{header}Bcc: secret <{hidden}@localhost>,\n {copy}@localhost\nX-Last: 1\n\nhello\n")
    assert delivery.sender == f"{to}@localhost"
    assert delivery.accepted == tuple(f"{user}@localhost" for user in (to, copy, hidden))
    for user in (to, copy, hidden):
        assert arrived(dovecot, user) == [f"{header}X-Last: 1\n\nhello\n".replace("\n", "\r\n").encode()]


def test_line_ends_of_every_kind(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    """A lone LF or CR could end the message for some servers only: none leaves."""
    text = mail(user, b"a\nb\rc\r\n.\n\r.\r\n\nend")
    with prise.open(url(exim), tls=trust) as post:
        post.send(text)
    assert arrived(dovecot, user) == [mail(user, b"a\r\nb\r\nc\r\n.\r\n\r\n.\r\n\r\nend\r\n")]


def test_whatever_holds_a_message(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str, tmp_path: Path) -> None:
    path = tmp_path / "one.eml"
    path.write_bytes(mail(user))
    with prise.open(url(exim), tls=trust) as post, path.open("rb") as file:
        for message in (path, file, io.BytesIO(mail(user)), iter([b"From: ada@example.org\r", b"\n", mail(user)[23:]])):
            post.send(message)
        post.send(mail(user).decode())
        post.send(message_from_bytes(mail(user)))
    assert arrived(dovecot, user, 6) == [mail(user)] * 6


def test_a_folder(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str, tmp_path: Path) -> None:
    (tmp_path / "1.eml").write_bytes(mail(user))
    (tmp_path / "2.eml").write_bytes(mail("nobody"))
    (tmp_path / "3.eml").write_bytes(b"no message")
    (tmp_path / "4.eml").write_bytes(mail(user))
    (tmp_path / "note.txt").write_bytes(b"")
    with prise.open(url(exim), tls=trust) as post:
        heard: list[object] = []
        done = post.send_folder(tmp_path, report=heard.append)
    assert list(done) == heard
    assert [each.path.name for each in done] == ["1.eml", "2.eml", "3.eml", "4.eml"]
    assert [type(each.error) for each in done] == [type(None), RecipientsRefused, prise.UsageError, type(None)]
    assert arrived(dovecot, user, 2) == [mail(user)] * 2


def test_what_is_too_large_is_not_sent(exim: Exim, trust: prise.TLS, user: str) -> None:
    with prise.open(url(exim), tls=trust) as post:
        sent: list[int] = []
        with pytest.raises(prise.Refused, match="has 6000044 bytes, and the server takes at most 5242880"):
            post.send(mail(user, (b"x" * 58 + b"\r\n") * 100_000), progress=sent.append)
        assert sent == []
        post.noop()


def test_a_letter_with_attachments(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str, tmp_path: Path) -> None:
    picture = tmp_path / "été.png"
    picture.write_bytes(bytes(range(256)) * 40)
    message = letter.write(
        sender="Zoé Ünal <ada@example.org>",
        to=f"Ben <{user}@localhost>",
        subject="Les chiffres de l’été",
        text="Voilà.\n.\n" + "long " * 400,
        html="<p>Voilà.</p>",
        attach=[picture, letter.Attachment("notes.txt", b"a\nb\r\n\0")],
    )
    with prise.open(url(exim), tls=trust) as post:
        post.send(message)
    got = message_from_bytes(arrived(dovecot, user)[0], policy=policy.SMTP)
    assert isinstance(got, EmailMessage)
    assert str(got["From"]) == "Zoé Ünal <ada@example.org>"
    assert str(got["Subject"]) == "Les chiffres de l’été"
    assert got["Date"]
    assert got["Message-ID"].endswith("@example.org>")
    text, html = got.get_body(("plain",)), got.get_body(("html",))
    assert text is not None
    assert text.get_content() == "Voilà.\r\n.\r\n" + "long " * 400 + "\r\n"
    assert html is not None
    assert html.get_content() == "<p>Voilà.</p>\r\n"
    one, two = got.iter_attachments()
    assert (one.get_filename(), one.get_content_type(), one.get_content()) == (
        "été.png",
        "image/png",
        picture.read_bytes(),
    )
    assert (two.get_filename(), two.get_payload(decode=True)) == ("notes.txt", b"a\nb\r\n\0")


def test_addresses_in_all_letters(exim: Exim, dovecot: Dovecot, trust: prise.TLS) -> None:
    message = letter.write(sender="ada@exämple.org", to="émile@localhost", subject="été", text="là")
    with prise.open(url(exim), tls=trust) as post:
        delivery = post.send(message)
        assert delivery.sender == "ada@xn--exmple-cua.org"
        assert delivery.accepted == ("émile@localhost",)
    (got,) = arrived(dovecot, "émile")
    assert "To: émile@localhost\r\n".encode() in got
    assert got.endswith("\r\n\r\nlà\r\n".encode())


def test_being_told_about_the_delivery(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    sender = f"u{next(NUMBERS)}"
    with prise.open(url(exim), tls=trust) as post:
        post.send(mail(user), f"{sender}@localhost", notify="success", ret="headers", envid="order 7+1")
    (report,) = arrived(dovecot, sender)
    assert b"Original-Envelope-ID: order+207+2B1" in report
    assert b"Action: delivered" in report
    assert b"Original-Recipient: rfc822;%s@localhost" % user.encode() in report


def test_in_chunks(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    lines: list[str] = []
    with prise.open(url(exim), tls=trust, chunking=True, trace=lambda way, line: lines.append(line)) as post:
        big = mail(user, b".x" * 30 + b"\r\n" + b".\r\n.line of a large message\r\n" * 40_000)
        post.send(mail(user, b".\r\n"))
        post.send(big)
    assert [line for line in lines if line.startswith("BDAT")][:2] == ["BDAT 47 LAST", "BDAT 1048576"]
    assert Counter(arrived(dovecot, user, 2)) == Counter([mail(user, b".\r\n"), big])


def test_a_hundred_messages_byte_for_byte(exim: Exim, dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    random = Random(6)
    words = [
        b".",
        b"..",
        b"\r\n",
        b"\r\n.\r\n",
        b"\r\n..\r\n",
        "é€😀".encode(),
        b"\xff\xfe",
        b"word ",
        b"\t",
        b"x" * 900,
    ]
    sent = []
    with prise.open(url(exim), tls=trust) as post:
        for number in range(100):
            body = b"".join(random.choices(words, k=random.randrange(60)))
            message = mail(user, b"%d\r\n" % number + body + b"\r\n")
            assert post.send(message).accepted
            sent.append(message)
    assert Counter(arrived(dovecot, user, 100)) == Counter(sent)


def test_a_server_that_dies_in_the_middle(dovecot: Dovecot, tmp_path: Path) -> None:
    path = tmp_path / "large.eml"
    path.write_bytes(mail("u2", b"x" * 70 + b"\r\n" + b"line after line after line\r\n" * 150_000))
    with Exim(dovecot) as server:
        with prise.open(url(server, login=""), tls=prise.TLS(ca=server.ca), timeout=5) as post:
            with pytest.raises(prise.ConnectionLost):
                post.send(path, progress=lambda count: server.kill())
            with pytest.raises(prise.UsageError, match="open another one"):
                post.noop()
    assert dovecot.messages("u2") == []


def test_the_small_commands(exim: Exim, trust: prise.TLS) -> None:
    with prise.open(url(exim), tls=trust, name="client.test") as post:
        assert "ESMTP Exim" in post.greeting
        assert "MAIL RCPT DATA" in post.help()
        assert post.verify("u1@localhost") == "Administrative prohibition"
        post.reset()
        for call in (post.list, post.get):
            with pytest.raises(prise.Unsupported, match="SMTP only sends"):
                call()
        post.noop()
