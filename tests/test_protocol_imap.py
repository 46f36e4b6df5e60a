"""IMAP against Dovecot."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

import prise
from prise import errors
from prise.protocols.imap import Event, Search
from real_servers.dovecot import Dovecot

NAMES = itertools.count()

PLAIN = b"From: Ada <ada@example.org>\r\nSubject: one\r\nMessage-ID: <1@example.org>\r\n\r\nhello\r\n.dot\r\n"

MIXED = b"""\
From: =?utf-8?q?Ad=C3=A9la=C3=AFde?= <a@example.org>
To: friends: bob@example.org, "Eve, X" <eve@example.org>;
Subject: =?utf-8?b?ZMOpasOg?= vu
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

h=C3=A9llo=
 world
--b
Content-Type: application/octet-stream
Content-Disposition: attachment; filename*=utf-8''caf%C3%A9.bin
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--b
Content-Type: message/rfc822

Subject: inside

inner
--b--
""".replace(b"\n", b"\r\n")


@pytest.fixture
def trust(dovecot: Dovecot) -> prise.TLS:
    return prise.TLS(ca=dovecot.ca)


@pytest.fixture
def user() -> str:
    """A user whom nobody had before, with an empty mailbox."""
    return f"imap-{next(NAMES)}"


def url(dovecot: Dovecot, user: str, rest: str = "INBOX", tls: bool = True, password: str = "pw") -> str:
    port = dovecot.tls_port if tls else dovecot.port
    return f"imap{'s' if tls else ''}://{user}:{password}@localhost:{port}/{rest}"


@pytest.fixture
def box(dovecot: Dovecot, user: str, trust: prise.TLS) -> Iterator[Any]:
    with prise.open(url(dovecot, user), tls=trust) as session:
        yield session


# -- list, get, put ---------------------------------------------------------------------------------------------------------


def test_a_mailbox_is_listed_and_read(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    dovecot.deliver(user, PLAIN)
    with prise.open(url(dovecot, user), tls=trust) as box:
        (message,) = box.list()
        assert (message.name, message.kind, message.title, message.size) == ("1", "message", "one", len(PLAIN))
        assert message.facts["from"] == "Ada <ada@example.org>"
        assert message.facts["message_id"] == "<1@example.org>"
        assert datetime.now(UTC) - message.modified < timedelta(minutes=5)
        content = box.get(message.name)
        assert (content.size, content.name, content.kind) == (len(PLAIN), "1.eml", "message/rfc822")
        assert content.read() == PLAIN
        assert box.mailbox.readonly
        (again,) = box.fetch(1, "FLAGS")
        assert "\\Seen" not in again.flags


def test_the_same_with_await(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    async def main() -> None:
        async with prise.open(url(dovecot, user, tls=False), tls=trust) as box:
            assert box.connection.tls.version.startswith("TLS")  # by STARTTLS
            assert await box.put("INBOX", PLAIN, flags="\\Flagged") == 1
            assert [message.name async for message in box.list()] == ["1"]
            content = await box.get(1)
            assert content.size == len(PLAIN)
            assert b"".join([piece async for piece in content]) == PLAIN
            assert await box.search(flagged=True) == [1]
            assert [message.data async for message in box.messages([1])] == [PLAIN]
            await box.noop()
            with pytest.raises(errors.NotFound):
                await box.select("nowhere")
        assert await prise.get(url(dovecot, user, "INBOX/;UID=1"), tls=trust).read() == PLAIN
        assert [entry.name async for entry in prise.ls(url(dovecot, user, ""), tls=trust)] == ["INBOX"]

    asyncio.run(main())


def test_one_line_is_enough(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    assert prise.put(url(dovecot, user), PLAIN, tls=trust) == 1
    assert prise.put(url(dovecot, user), MIXED, tls=trust) == 2
    assert prise.get(url(dovecot, user, "INBOX/2"), tls=trust).read() == MIXED
    assert prise.get(url(dovecot, user, "INBOX/;UID=2"), tls=trust).read() == MIXED
    assert prise.get(url(dovecot, user, "INBOX/;UID=2;PARTIAL=10.20"), tls=trust).read() == MIXED[10:30]
    assert prise.get(url(dovecot, user, "INBOX/;UID=2"), offset=100, tls=trust).read() == MIXED[100:]
    assert prise.get(url(dovecot, user, "INBOX/;UID=2/;SECTION=2"), tls=trust).read() == bytes(range(10))
    assert [entry.name for entry in prise.ls(url(dovecot, user, "INBOX?SUBJECT%20vu"), tls=trust)] == ["2"]
    parts = [entry.name for entry in prise.ls(url(dovecot, user, "INBOX/;UID=2"), tls=trust)]
    assert parts == ["2", "2/1", "2/2", "2/3", "2/3.1"]


def test_a_hundred_messages_come_back_byte_for_byte(box: Any, tmp_path: Path) -> None:
    random = Random(143)
    pieces = [
        b".",
        b"..",
        b"\r\n",
        b"\r\n.\r\n",
        b"{12}",
        b"{12+}\r\n",
        b"A1 OK done\r\n",
        b")\r\n",
        b'"',
        b"\\",
        b"\t",
        b"\x80\xff",
    ]
    pieces += ["é", "\N{PILE OF POO}", "x" * 2000, "\x01\x7f"]  # type: ignore[list-item]
    for number in range(100):
        body = b"".join(
            piece if isinstance(piece, bytes) else piece.encode()
            for piece in random.choices(pieces, k=random.randrange(1, 60))
        )
        message = b"Subject: %d\r\n\r\n%b" % (number, body)
        uid = box.put("INBOX", message)
        assert box.get(uid).read() == message
    path = tmp_path / "mail.eml"
    assert box.get(uid).save(path) == len(message)
    assert box.put(None, path) == uid + 1
    assert box.put(None, iter([message[:5], message[5:]])) == uid + 2
    with path.open("rb") as file:
        assert box.put(None, file) == uid + 3
    assert [each.data for each in box.messages([uid, uid + 1, uid + 2, uid + 3])] == [message] * 4


def test_nul_needs_a_binary_literal(box: Any) -> None:
    message = b"MIME-Version: 1.0\r\nContent-Type: image/x\r\nContent-Transfer-Encoding: binary\r\n\r\n\0\1\0"
    uid = box.put(None, message, binary=True)
    assert box.part(uid, "1").read() == b"\0\1\0"  # the server has put it into base64


def test_a_get_that_was_cut_is_resumed(box: Any, tmp_path: Path) -> None:
    message = b"Subject: long\r\n\r\n" + Random(1).randbytes(150_000).hex().encode()
    uid = box.put(None, message)
    path = tmp_path / "long.eml"
    path.write_bytes(message[:70_001])
    rest = box.get(uid, offset=70_001)
    assert rest.size == len(message) - 70_001
    rest.save(path, append=True)
    assert path.read_bytes() == message
    assert box.get(uid, offset=len(message)).read() == b""


def test_what_is_left_in_the_middle_does_not_stop_the_session(box: Any) -> None:
    uid = box.put(None, b"\r\n" + b"x" * 300_000)
    with box.get(uid) as content:
        next(content)
    assert box.search() == [uid]
    for message in box.list():
        assert len(box.get(message.name).read()) == message.size  # another command in the middle of a list


# -- parts ------------------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_message_are_a_tree(box: Any) -> None:
    uid = box.put(None, MIXED)
    (message,) = box.fetch(uid, ["BODYSTRUCTURE", "ENVELOPE", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"])
    assert message.envelope.subject == "déjà vu"
    assert [str(person) for person in message.envelope.to] == ["bob@example.org", "Eve, X <eve@example.org>"]
    assert message.sections["HEADER.FIELDS (SUBJECT)"].startswith(b"Subject: =?utf-8")
    whole, text, attachment, mail, inner = message.structure.walk()
    assert (whole.number, whole.type) == ("", "multipart/mixed")
    assert (text.number, text.type, text.parameters["charset"]) == ("1", "text/plain", "utf-8")
    assert (attachment.disposition, attachment.filename) == ("attachment", "café.bin")
    assert (mail.type, mail.envelope.subject) == ("message/rfc822", "inside")
    assert (inner.number, inner.size) == ("3.1", 5)


def test_a_part_is_decoded(box: Any) -> None:
    uid = box.put(None, MIXED)
    assert box.part(uid, "1").read().decode() == "héllo world"
    content = box.part(uid, "2")
    assert (content.name, content.kind, content.size) == ("café.bin", "application/octet-stream", None)
    assert content.read() == bytes(range(10))
    assert box.part(uid, "2", raw=True).read() == b"AAECAwQFBgcICQ=="
    assert box.part(uid, "2", raw=True, offset=4).read() == b"AwQFBgcICQ=="
    evil = box.put(None, MIXED.replace(b"caf%C3%A9.bin", b"..%2F..%2F.profile"))
    assert box.part(evil, "2").name == "profile"  # a name for a file, and no way out of a folder
    assert box.part(uid, "3").read() == b"Subject: inside\r\n\r\ninner"
    assert box.part(uid, "HEADER").read() == MIXED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert box.get(f"{uid}/3.1").read() == b"inner"
    with pytest.raises(errors.NotFound, match="has no part 9"):
        box.part(uid, "9")
    with pytest.raises(errors.UsageError):
        box.part(uid, "1] BODY[")
    with pytest.raises(errors.UsageError):
        box.part(uid, "1", offset=5)


# -- finding ----------------------------------------------------------------------------------------------------------------


def test_messages_are_found(box: Any) -> None:
    first, second = box.put(None, PLAIN, flags=["\\Seen"]), box.put(None, MIXED, date=datetime(2020, 2, 1, tzinfo=UTC))
    assert box.search() == [first, second]
    assert box.search(unseen=True) == [second]
    assert box.search(from_="ada", larger=10) == [first]
    assert box.search(subject="DÉJÀ") == [second]
    assert box.search(text='a "quote" \\ that is not there') == []
    assert box.search(before=date(2020, 2, 2)) == [second]
    assert box.search(header=("Message-ID", "<1@")) == [first]
    assert box.search(Search(subject="one") | Search(subject="déjà")) == [first, second]
    assert box.search(~(Search(seen=True) & Search(subject="one"))) == [second]
    assert box.search("OR SUBJECT one SUBJECT déjà", uid=[second]) == [second]
    assert box.search(uid=range(1, 10_000, 2)) == [first]
    assert box.sort("REVERSE ARRIVAL") == [first, second]
    assert box.sort("ARRIVAL", seen=True) == [first]
    with pytest.raises(errors.Refused, match="Unknown argument"):
        box.search("NONSENSE")
    with pytest.raises(errors.UsageError, match="a search has no sender='x'"):
        box.search(sender="x")


def test_a_large_mailbox_is_one_stream(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    for number in range(300):
        dovecot.deliver(user, b"Subject: %d\r\n\r\n%d\r\n" % (number, number))
    with prise.open(url(dovecot, user), tls=trust) as box:
        messages = box.list()
        assert messages.size == 300
        titles = sorted(int(message.title) for message in messages)
        assert titles == list(range(300))
        assert [message.name for message in box.list(last=2)] == ["299", "300"]
        assert len(list(box.list(last=1000))) == 300
        assert sum(len(message.data) for message in box.messages("1:*")) == sum(dovecot_sizes(dovecot, user))
        assert [message.uid for message in box.messages(range(10, 20))] == list(range(10, 20))


def dovecot_sizes(dovecot: Dovecot, user: str) -> list[int]:
    return [len(message) for message in dovecot.messages(user)]


# -- changing ---------------------------------------------------------------------------------------------------------------


def test_flags_are_set_and_taken_away(box: Any) -> None:
    uids = [box.put(None, PLAIN) for _ in range(3)]
    box.list().close()  # opened for reading only, and opened again for this:
    box.add_flags(uids, ["\\Seen", "$Work"])
    box.remove_flags(uids[0], "\\Seen")
    box.set_flags(uids[1], ("\\Flagged",))
    flags = {message.uid: message.flags - {"\\Recent"} for message in box.fetch(uids, "FLAGS")}
    assert flags == dict(zip(uids, [{"$Work"}, {"\\Flagged"}, {"\\Seen", "$Work"}], strict=True))
    with pytest.raises(errors.UsageError, match="is no flag"):
        box.add_flags(uids, "a b")


def test_messages_are_copied_moved_and_removed(box: Any) -> None:
    first, second, third = (box.put(None, PLAIN) for _ in range(3))
    box.create("Été")
    assert box.copy([first, third], "Été") == {first: 1, third: 2}
    assert box.move(second, "Été") == {second: 3}
    assert box.search() == [first, third]
    box.add_flags(first, "\\Deleted")
    box.remove(third)  # and not the first
    assert box.search() == [first]
    assert box.mailbox.exists == 1
    box.expunge([first])
    assert box.status("Été").messages == 3
    box.select("Été")
    with pytest.raises(errors.NotFound):
        box.copy(1, "nowhere")
    with pytest.raises(errors.NotFound):
        box.put("nowhere", PLAIN)


# -- mailboxes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Été", 'a "quote"', "back\\slash", "with space", "日本語", "a&b", "&-", "x" * 150])
def test_any_name_will_do(box: Any, name: str) -> None:
    box.create(name)
    assert name in [entry.name for entry in box.list("")]
    assert box.select(name).exists == 0
    box.unselect()
    box.rename(name, f"{name}2")
    box.subscribe(f"{name}2")
    assert [entry.name for entry in box.mailboxes(subscribed=True)] == [f"{name}2"]
    box.unsubscribe(f"{name}2")
    box.delete(f"{name}2")
    assert [entry.name for entry in box.mailboxes()] == ["INBOX"]


def test_what_a_mailbox_is_for(box: Any) -> None:
    box.create("Sent")
    box.create("projects/prise")
    entries = {entry.name: entry for entry in box.list("")}
    assert entries["Sent"].facts["use"] == "\\Sent"
    assert entries["projects"].kind == "folder"  # it is no mailbox itself
    assert [entry.name for entry in box.list("projects")] == ["projects/prise"]
    assert entries["projects/prise"].facts["delimiter"] == "/"
    assert box.namespaces().personal == (("", "/"),)
    assert box.id({"name": "prise"})["name"] == "Dovecot"


def test_an_open_mailbox_tells_about_itself(box: Any) -> None:
    box.put(None, PLAIN)
    opened = box.select()
    assert (opened.name, opened.exists, opened.uidnext, opened.readonly) == ("INBOX", 1, 2, False)
    assert "\\Deleted" in opened.permanent
    box.put(None, PLAIN)
    assert box.mailbox.exists == 2  # the server has said so, unasked
    counts = box.status()
    assert (counts.messages, counts.unseen, counts.uidnext, counts.size) == (2, 2, 3, 2 * len(PLAIN))
    box.examine()
    with pytest.raises(errors.UsageError, match="open for reading only"):
        box.add_flags(1, "\\Seen")  # it was opened for reading only, on purpose
    box.unselect()
    assert box.mailbox is None


def test_a_url_may_say_which_mailbox_it_meant(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    with prise.open(url(dovecot, user), tls=trust) as box:
        box.put(None, PLAIN)
        valid = box.examine().uidvalidity
    assert prise.get(url(dovecot, user, f"INBOX;UIDVALIDITY={valid}/;UID=1"), tls=trust).read() == PLAIN
    with pytest.raises(errors.NotFound, match="UIDVALIDITY"):
        prise.get(url(dovecot, user, f"INBOX;UIDVALIDITY={valid + 1}/;UID=1"), tls=trust)


# -- waiting ----------------------------------------------------------------------------------------------------------------


def test_new_mail_is_waited_for(dovecot: Dovecot, box: Any, user: str) -> None:
    box.select()
    dovecot.deliver(user, PLAIN)
    events = []
    for event in box.idle(timeout=10):
        events.append(event)
        if event.kind == "exists":
            assert box.search() == [1]  # another command ends the wait
            box.add_flags(1, "\\Seen")
    assert events[-1] == Event("exists", 1)


def test_what_others_do_is_told(dovecot: Dovecot, trust: prise.TLS, user: str, box: Any) -> None:
    uids = [box.put(None, PLAIN), box.put(None, PLAIN)]

    async def main() -> None:
        async with prise.open(url(dovecot, user), tls=trust) as other:
            await other.examine()
            events = await other.idle(timeout=10, every=0.2)  # begun anew five times a second
            box.add_flags(uids[1], "\\Flagged")
            async for event in events:
                if event.kind == "flags":
                    assert (event.number, "\\Flagged" in event.message.flags) == (2, True)
                    break
            await events.close()
            await other.noop()
            box.remove(uids[0])
            async with other.idle(timeout=10) as events:
                async for event in events:
                    if event.kind == "expunge":
                        break
            assert other.mailbox.exists == 1

    asyncio.run(main())


def test_a_wait_ends_in_time(box: Any) -> None:
    assert list(box.idle(timeout=0.05)) == []
    assert box.search() == []


# -- coming and going -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5"])
@pytest.mark.parametrize("tls", [True, False])
def test_ways_of_logging_in(dovecot: Dovecot, trust: prise.TLS, user: str, mechanism: str, tls: bool) -> None:
    lines: list[str] = []
    with prise.open(
        url(dovecot, user, tls=tls), tls=trust, mechanism=mechanism, trace=lambda *line: lines.append(" ".join(line))
    ) as box:
        assert box.capabilities >= {"IMAP4REV1", "UIDPLUS"}
    assert any("AUTHENTICATE" in line for line in lines)
    assert not any("pw" in line or "cHc" in line or "AHB3" in line for line in lines), lines  # base64 of it neither


def test_a_wrong_password(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    with pytest.raises(errors.LoginFailed) as caught:
        prise.open(url(dovecot, user, password="wrong"), tls=trust).open()
    assert caught.value.code == "NO"
    assert "Authentication failed" in caught.value.words
    assert "wrong" not in str(caught.value)


def test_a_mechanism_that_the_server_lacks(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    with pytest.raises(errors.LoginFailed, match="XOAUTH2"):
        prise.open(url(dovecot, user), tls=trust, mechanism="XOAUTH2").open()


def test_a_url_may_say_how_to_log_in(dovecot: Dovecot, trust: prise.TLS, user: str) -> None:
    lines: list[str] = []
    who = url(dovecot, user).replace(f"{user}:", f"{user};AUTH=CRAM-MD5:")
    with prise.open(who, tls=trust, trace=lambda _, line: lines.append(line)):
        assert any("AUTHENTICATE CRAM-MD5" in line for line in lines)


def test_an_authority_that_nobody_knows(dovecot: Dovecot, user: str) -> None:
    with pytest.raises(errors.TLSError):
        prise.open(url(dovecot, user)).open()


def test_what_is_not_there(box: Any) -> None:
    for missing in (
        lambda: box.get(99),
        lambda: box.list("nowhere"),
        lambda: box.delete("nowhere"),
        lambda: box.status("nowhere"),
    ):
        with pytest.raises(errors.NotFound):
            missing()
    assert list(box.fetch([98, 99])) == []
    with pytest.raises(errors.UsageError):
        box.get(None)
    with pytest.raises(errors.UsageError):
        box.select("a\r\nA1 DELETE INBOX")
    assert box.search() == []  # none of this has hurt the session


def test_a_server_that_is_killed_in_the_middle(user: str) -> None:
    with Dovecot() as server:
        server.deliver(user, b"\r\n" + b"x" * 20_000_000)
        session = prise.open(url(server, user, tls=False), tls=prise.TLS(ca=server.ca), timeout=5).open()
        content = session.get(1)
        assert content.size == 20_000_002
        next(content)
        server.kill()
        with pytest.raises(errors.ConnectionLost):
            content.read()
        with pytest.raises(errors.UsageError):
            session.search()
        session.close()


def test_what_others_did_meanwhile_is_listed_and_found(dovecot: Dovecot, trust: prise.TLS, user: str, box: Any) -> None:
    with prise.open(url(dovecot, user), tls=trust) as other:
        assert list(box.list()) == []
        first, second = other.put(None, PLAIN), other.put(None, PLAIN)
        assert [message.name for message in box.list()] == [str(first), str(second)]
        other.remove(first)
        assert box.search() == [second]


def test_a_message_is_no_command_when_it_is_refused(box: Any) -> None:
    with pytest.raises(errors.Refused, match="Invalid system flag"):
        box.put(None, b"A9 CREATE Smuggled\r\n", flags="\\Nonsense")
    assert [entry.name for entry in box.list("")] == ["INBOX"]


def test_a_piece_of_a_message_is_resumed(box: Any) -> None:
    uid = box.put(None, PLAIN)
    piece = f"INBOX/;UID={uid}/;PARTIAL=5.10"
    assert [box.get(piece, offset=offset).read() for offset in (0, 4, 10)] == [PLAIN[5:15], PLAIN[9:15], b""]
