"""IMAP against servers that are not Dovecot: old ones, new ones, and those that mean harm. Each is a conversation of prise's."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Event
from typing import Any

import pytest

import prise
from prise import errors
from tls_support import authority, localhost

GREETING = b"* OK [CAPABILITY IMAP4rev1 UIDPLUS] ready\r\n"
SELECTED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\nTAG OK [READ-WRITE] done\r\n"
BODY = b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\nTAG OK done\r\n"


@contextmanager
def imap(
    answers: Mapping[str, Any] | None = None,
    greeting: bytes = GREETING,
    heard: list[str] | None = None,
    tls: bool = False,
) -> Iterator[str]:
    """The URL of a server that answers what a command begins with: TAG stands for the command's tag. An iterable of bytes is sent
    piece by piece, None closes the connection, and all that is not there is OK."""
    offered = re.search(rb"CAPABILITY[^\]]*", greeting)
    capability = b"* %b\r\nTAG OK done\r\n" % offered[0] if offered else b"TAG OK done\r\n"
    known = {"CAPABILITY": capability, "SELECT": SELECTED, "EXAMINE": SELECTED, **(answers or {})}

    def conversation(connection: Any) -> None:
        connection.send(greeting)
        waiting = b""
        while True:
            while not (match := re.match(rb"([^\r\n]*?(?:\{(\d+)(\+?)\})?)\r\n", waiting)):
                data = connection.receive()
                if data is None:
                    return
                waiting += data
            line, size, at_once = match.groups()
            if size is not None:
                if not at_once:
                    connection.send(b"+ go on\r\n")
                while len(waiting) < match.end() + int(size) + 2:
                    waiting += connection.receive()
                literal = waiting[match.end() : match.end() + int(size)]
                waiting = line + b" literal:" + literal.hex().encode() + waiting[match.end() + int(size) :]
                waiting = waiting.replace(b"{" + size + at_once + b"}", b"", 1)
                continue
            waiting = waiting[match.end() :]
            tag, _, command = line.decode().partition(" ")
            if heard is not None:
                heard.append(line.decode() if tag == "DONE" else command)
            key = next((key for key in known if (command or tag).startswith(key)), None)
            answer = known[key] if key is not None else b"TAG OK done\r\n"
            if callable(answer):
                answer = answer(connection)
            if answer is None:
                return
            for piece in [answer] if isinstance(answer, bytes) else answer:
                connection.send(piece.replace(b"TAG", tag.encode()))
            if tls and command == "STARTTLS":
                connection.start_tls(prise.TLS(cert=localhost().cert, key=localhost().key))

    with prise.listen(conversation, "tcp:localhost:0", framing="chunks") as server:
        yield f"imap://u:secret@localhost:{server.address.port}/INBOX{'' if tls else '?tls=never'}"


def session(url: str, **options: Any) -> Any:
    return prise.open(url, **{"timeout": 0.5, **options})


# -- old servers and new ones -----------------------------------------------------------------------------------------------


def test_a_server_of_1996() -> None:
    heard: list[str] = []
    answers = {
        "CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n",
        "UID SEARCH": b"* SEARCH 2 3\r\n* SEARCH 5\r\nTAG OK done\r\n",
        "LIST": b'* LIST () "/" {5}\r\nINBOX\r\n* list (\\Noselect) NIL "a"\r\nTAG OK done\r\n',
        "LSUB": b"* LSUB () NIL INBOX\r\nTAG OK done\r\n",
        "NOOP": b"* 4 EXISTS\r\nTAG OK done\r\n",
    }
    with imap(answers, greeting=b"* OK ready\r\n", heard=heard) as url, session(url) as box:
        assert heard == ["CAPABILITY", 'LOGIN "u" "secret"', "CAPABILITY"]
        assert box.search(subject="é") == [2, 3, 5]
        assert heard[-1] == "UID SEARCH CHARSET UTF-8 SUBJECT  literal:c3a9"
        assert [(entry.name, entry.kind) for entry in box.list("")] == [("INBOX", "mailbox"), ("a", "folder")]
        assert [entry.name for entry in box.mailboxes(subscribed=True)] == ["INBOX"]
        assert box.put("INBOX", b"\r\nhi") is None
        assert box.copy([2, 3], "x") == {}
        for impossible in (
            lambda: box.move([2], "x"),
            lambda: box.remove([2]),
            lambda: box.expunge([2]),
            lambda: box.sort("DATE"),
        ):
            with pytest.raises(errors.Unsupported):
                impossible()
        events = list(box.idle(timeout=0.08, every=0.02))  # it is asked now and then
        assert ("exists", 4) in [event[:2] for event in events]
        box.unselect()
        assert heard[-2:] == ['EXAMINE "INBOX"', "CLOSE"]


def test_a_server_without_move_copies_and_removes() -> None:
    heard: list[str] = []
    answers = {"UID COPY": b"TAG OK [COPYUID 9 2:3 7:8] done\r\n"}
    with imap(answers, heard=heard) as url, session(url) as box:
        assert box.move([2, 3], "Sent") == {2: 7, 3: 8}
        assert heard[-3:] == ['UID COPY 2:3 "Sent"', "UID STORE 2:3 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 2:3"]


def test_a_server_that_is_all_utf_8() -> None:
    heard: list[str] = []
    answers = {
        "ENABLE": b"* ENABLED UTF8=ACCEPT\r\nTAG OK done\r\n",
        "LIST": '* LIST (\\HasNoChildren) "/" "Été & co"\r\nTAG OK done\r\n'.encode(),
        "UID SEARCH": b'* ESEARCH (TAG "TAG") UID ALL 3:5,9\r\nTAG OK done\r\n',
        "UID FETCH": b"* 1 FETCH (UID 1 BODY[] NIL)\r\nTAG OK done\r\n",
    }
    greeting = b"* OK [CAPABILITY IMAP4rev2 IMAP4rev1 ENABLE UTF8=ACCEPT LITERAL-] ready\r\n"
    with imap({**answers, "LOGIN": b"TAG OK " + greeting[5:]}, greeting, heard) as url, session(url) as box:
        assert "ENABLE UTF8=ACCEPT IMAP4REV2" in heard
        (entry,) = box.list("")
        assert entry.name == "Été & co"
        box.select(entry.name)
        assert heard[-1] == 'SELECT "Été & co"'
        assert box.search(subject="é") == [3, 4, 5, 9]
        assert heard[-1] == "UID SEARCH RETURN (ALL) SUBJECT  literal:c3a9"  # and no CHARSET
        with pytest.raises(errors.NotFound):
            box.get(1)


def test_tokens_and_first_answers_on_the_line() -> None:
    heard: list[str] = []
    greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 AUTH=PLAIN] ready\r\n"
    lines: list[str] = []
    with imap({}, greeting, heard) as url:
        token_url = url.replace("u:secret@", "u@")
        with session(token_url, token="secret", netrc=False, trace=lambda *line: lines.append(line[1])):
            pass
    assert heard[0].startswith("AUTHENTICATE XOAUTH2 dXNlcj11")
    assert not any("dXNlcj11" in line or "secret" in line for line in lines)


def test_a_password_in_any_language_is_not_shown() -> None:
    heard: list[str] = []
    lines: list[str] = []
    with imap(heard=heard) as url:
        with session(url.replace("u:secret@", "u@"), password="sécret", trace=lambda *line: lines.append(line[1])):
            pass
    assert heard[0] == f'LOGIN "u"  literal:{"sécret".encode().hex()}'
    assert "A1 LOGIN u ********" in lines
    assert not any("cret" in line for line in lines)


def test_a_token_that_is_refused() -> None:
    def challenge(connection: Any) -> bytes:
        connection.send(b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n")
        assert connection.receive() == b"\r\n"  # an empty answer, and then the error comes
        return b"TAG NO [AUTHENTICATIONFAILED] bad token\r\n"

    greeting = b"* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n"
    with imap({"AUTHENTICATE": challenge}, greeting) as url, pytest.raises(errors.LoginFailed, match="bad token"):
        session(url.replace("u:secret@", "u@"), token="secret", netrc=False).open()


def test_a_name_that_cannot_be_decoded_is_opened_by_its_bytes() -> None:
    heard: list[str] = []
    with imap({"LIST": b'* LIST () "/" "&bad"\r\nTAG OK done\r\n'}, heard=heard) as url, session(url) as box:
        (entry,) = box.list("")
        assert (entry.name, entry.facts["raw"]) == ("&bad", b"&bad")
        box.select(entry.facts["raw"])
        assert heard[-1] == 'SELECT "&bad"'


def test_what_nobody_has_asked_for_is_taken_note_of() -> None:
    answers = {
        "UID FETCH": b"* 7 EXISTS\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (FLAGS () UID 1 BODY[] {5}\r\nhello)\r\n"
        b"* 3 EXPUNGE\r\n* OK [ALERT] disk is full\x1b[2J\r\nTAG OK done\r\n",
        "NOOP": b"* 1 FETCH (FLAGS (\\Seen))\r\n* OK still here {3}\r\n* CAPABILITY IMAP4rev1 IDLE\r\nTAG OK done\r\n",
    }
    with imap(answers) as url, session(url) as box:
        assert box.get(1).read() == b"hello"
        assert box.mailbox.exists == 6
        assert box.alerts[0] == "[ALERT] disk is full\N{REPLACEMENT CHARACTER}[2J"
        assert [message.data for message in box.messages([1])] == [b"hello"]
        box.noop()
        assert box.capabilities == {"IMAP4REV1", "IDLE"}


def test_a_list_is_given_as_it_comes() -> None:
    first_is_here = Event()

    def slowly(connection: Any) -> Iterator[bytes]:
        yield b"* 1 FETCH (UID 7 RFC822.SIZE 1)\r\n"
        assert first_is_here.wait(10)
        yield b"* 2 FETCH (UID 8 RFC822.SIZE 1)\r\n* 3 FETCH (UID 9 RFC822.SIZE 1)\r\nTAG OK done\r\n"

    with imap({"FETCH": slowly}) as url, session(url, timeout=10) as box:
        messages = box.list()
        assert (messages.size, next(messages).name) == (3, "7")
        first_is_here.set()
        assert [message.name for message in messages] == ["8", "9"]


def test_a_literal_is_refused_before_it_is_sent() -> None:
    def conversation(connection: Any) -> None:
        connection.send(GREETING)
        for answer in (b"A1 OK [CAPABILITY X] done\r\n", b"A2 NO [OVERQUOTA] too big\r\n", b"* BYE\r\nA3 OK done\r\n"):
            connection.receive()
            connection.send(answer)

    with prise.listen(conversation, "tcp:localhost:0", framing="chunks") as server:
        with session(f"imap://u:p@localhost:{server.address.port}/INBOX?tls=never") as box:
            with pytest.raises(errors.Refused, match="OVERQUOTA"):
                box.put(None, b"x" * 100)


def test_a_mailbox_that_is_not_there_is_known_before_the_message_is_sent() -> None:
    def conversation(connection: Any) -> None:
        connection.send(GREETING.replace(b"UIDPLUS", b"LITERAL+"))
        for answer in (
            b"A1 OK done\r\n",
            b"* CAPABILITY LITERAL+\r\nA2 OK\r\n",
            b"A3 NO [TRYCREATE] none\r\n",
            b"A4 OK\r\n",
        ):
            connection.receive()
            connection.send(answer)

    with prise.listen(conversation, "tcp:localhost:0", framing="chunks") as server:
        with session(f"imap://u:p@localhost:{server.address.port}/INBOX?tls=never") as box:
            with pytest.raises(errors.NotFound, match="none"):
                box.put("Nowhere", b"A9 DELETE INBOX\r\n")
            box.noop()


def test_data_that_goes_wrong_on_its_way_ends_the_session() -> None:
    from prise.protocols.source import Source

    pieces: Any = ["text"]
    with imap() as url, session(url) as box:
        with pytest.raises(errors.PriseError, match="not bytes"):
            box.put(None, Source(pieces, 4))
        assert not box.usable


def test_data_of_another_size_than_it_said(tmp_path: Any) -> None:
    from prise.protocols.source import Source

    for size in (3, 9):
        with imap() as url, session(url) as box, pytest.raises(errors.PriseError, match=f"not the {size} bytes"):
            box.put(None, Source([b"hello"], size))


# -- TLS and the login ------------------------------------------------------------------------------------------------------


def test_capabilities_are_asked_again_behind_starttls() -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=CRAM-MD5 LITERAL+] ready\r\n"
    answers = {"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n"}
    heard: list[str] = []
    with imap(answers, greeting, heard, tls=True) as url, session(url, tls=prise.TLS(ca=authority().cert)) as box:
        assert heard == ["STARTTLS", "CAPABILITY", 'LOGIN "u" "secret"', "CAPABILITY"]
        assert box.capabilities == {"IMAP4REV1"}


def test_what_comes_behind_starttls_in_clear_is_refused() -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"
    answers = {"STARTTLS": b"TAG OK begin\r\n* PREAUTH [CAPABILITY X] you are in\r\n"}
    with imap(answers, greeting) as url, pytest.raises(errors.ProtocolError, match="in clear"):
        session(url.partition("?")[0]).open()


@pytest.mark.parametrize(
    "greeting", [b"* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] in\r\n", b"* OK [CAPABILITY IMAP4rev1] hi\r\n"]
)
def test_a_password_is_not_sent_in_clear(greeting: bytes) -> None:
    heard: list[str] = []
    with imap({}, greeting, heard) as url, pytest.raises(errors.TLSError, match="does not offer TLS"):
        session(url.partition("?")[0]).open()
    assert heard == []


def test_a_server_that_takes_no_login_in_clear() -> None:
    with imap({}, b"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hi\r\n") as url:
        with pytest.raises(errors.LoginFailed, match="LOGINDISABLED"):
            session(url).open()


def test_who_is_in_already_does_not_log_in() -> None:
    heard: list[str] = []
    with imap({}, b"* PREAUTH [CAPABILITY IMAP4rev1] in\r\n", heard) as url, session(url) as box:
        box.noop()
    assert heard == ["NOOP", "LOGOUT"]


# -- those that mean harm ---------------------------------------------------------------------------------------------------


def forever(piece: bytes) -> Callable[[Any], Iterator[bytes]]:
    def pieces(connection: Any) -> Iterator[bytes]:
        while True:
            yield piece

    return pieces


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b"220 ftp.example.org\r\n", errors.ProtocolError),
        (b"* LIST () NIL x\r\n", errors.ProtocolError),
        (b"* BYE go away\r\n", errors.Refused),
        (b"A1 OK hello\r\n", errors.ProtocolError),
        (b"\r\n", errors.ProtocolError),
        (b"\0\xff\r\n", errors.ProtocolError),
        (b"* OK", errors.TooSlow),
        (b"* OK hi\r\n" + b"* OK more\r\n" * 20_000, errors.ProtocolError),
        (b"* OK " + b"x" * 2_000_000, errors.MessageTooLarge),
    ],
)
def test_strange_greetings(greeting: bytes, error: type[Exception]) -> None:
    with imap({"CAPABILITY": b""}, greeting) as url, pytest.raises(error):
        session(url, timeout=0.3).open()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"TAG YES done\r\n", errors.ProtocolError),
        (b"TAG PREAUTH done\r\n", errors.ProtocolError),
        (b"A999 OK done\r\n", errors.ProtocolError),
        (b"+ go on\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 BODY[] {4294967296}\r\nx", errors.MessageTooLarge),
        (b"* 1 FETCH (UID 1 BODY[] {99999999999999999999}\r\nx", errors.MessageTooLarge),
        (b"* 1 FETCH (UID 1 BODY[] {99999999999999999999999}\r\nx", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 BODY[] {10}\r\nhello", errors.TooSlow),
        (b"* 1 FETCH " + b"(" * 1000 + b"\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1\r\n", errors.ProtocolError),
        (b"* 1 FETCH UID 1)\r\n", errors.ProtocolError),
        (b'* 1 FETCH (UID 1 X "a)\r\n', errors.ProtocolError),
        (b"* 1 FETCH (UID)\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID x)\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 ENVELOPE (NIL))\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 BODYSTRUCTURE (NIL))\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 X (" + b"a " * 600_000 + b"))\r\n", errors.FrameError),
        (b"* 1 FETCH (UID 1 X (" + b"a " * 510_000 + b"))\r\n", errors.ProtocolError),
        (b"* BYE shutting down\r\n", errors.ConnectionLost),
        (None, errors.ConnectionLost),
        (forever(b"* OK nothing\r\n" * 1000), errors.ProtocolError),
        (forever(b"x" * 60_000), errors.MessageTooLarge),
        (forever(b"* 1 FETCH (UID 1 X {0}\r\n" + b" {0}\r\n" * 5000), errors.MessageTooLarge),
    ],
)
def test_strange_answers(answer: Any, error: type[Exception]) -> None:
    with imap({"UID FETCH": answer}) as url:
        box = session(url, timeout=0.3).open()
        with pytest.raises(error):
            list(box.messages([1], largest=1_000_000))
        with pytest.raises(errors.UsageError, match="broke off"):
            box.noop()
        box.close()


def test_expunged_for_ever() -> None:
    with imap({"NOOP": forever(b"* 1 EXPUNGE\r\n" * 5000)}) as url:
        box = session(url).open()
        box.select()
        with pytest.raises(errors.ProtocolError, match="does not stop"):
            box.noop()
        box.close()


@pytest.mark.parametrize(
    "found",
    [
        b"* ESEARCH UID ALL 1:4294967295\r\n",
        b"* ESEARCH UID ALL 1:*\r\n",
        b"* ESEARCH UID ALL x\r\n",
        b"* SEARCH 1 x\r\n",
    ],
)
def test_strange_finds(found: bytes) -> None:
    with imap({"UID SEARCH": found + b"TAG OK done\r\n"}) as url:
        box = session(url).open()
        with pytest.raises(errors.ProtocolError):
            box.search()
        box.close()


@pytest.mark.parametrize(
    ("command", "answer", "call"),
    [
        ("UID SEARCH", b"* SEARCH\r\n", lambda box: box.search()),
        ("UID FETCH", b"* 1 FETCH (UID 1 RFC822.SIZE 1)\r\n", lambda box: box.part(1, "1")),
        ("LIST", b'* LIST (\\Noselect) "/" x\r\n', lambda box: box.list("x")),
    ],
)
def test_an_answer_that_does_not_end(command: str, answer: bytes, call: Callable[[Any], Any]) -> None:
    examined = b"TAG NO that is none\r\n" if command == "LIST" else SELECTED
    with imap({command: forever(answer * 2000), "EXAMINE": examined}) as url:
        box = session(url).open()
        with pytest.raises(errors.ProtocolError, match="does not stop"):
            call(box)
        box.close()


@pytest.mark.parametrize("delimiter", ['"//"', "{2}\r\n\xff\xfe", '"é"', '""', "NIL"])
def test_a_delimiter_that_is_none_leads_nowhere(delimiter: str) -> None:
    heard: list[str] = []
    listed = f"* LIST (\\Noselect) {delimiter} x\r\n".encode("latin-1") + b"TAG OK done\r\n"
    with imap({"EXAMINE": b"TAG NO that is none\r\n", "LIST": listed}, heard=heard) as url, session(url) as box:
        with pytest.raises(errors.Refused, match="that is none"):
            box.list("x")
        assert [command for command in heard if command.startswith("LIST")] == ['LIST "" "x"']


def test_a_message_of_4_gib_is_announced_and_not_allocated() -> None:
    with imap({"UID FETCH": b"* 1 FETCH (UID 1 BODY[] {4294967296}\r\nhello"}) as url:
        box = session(url, timeout=0.3).open()
        tracemalloc.start()
        try:
            content = box.get(1)
            assert content.size == 4294967296
            assert next(content) == b"hello"
            with pytest.raises(errors.TooSlow):
                next(content)
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()
        box.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"* 1 FETCH (UID 1 BODY[] {10}\r\nhello", errors.TooSlow),
        (
            b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\nTAG BAD x\r\n",
            errors.PriseError,
        ),
        (b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello\r\nTAG OK done\r\n", errors.ProtocolError),
        (b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\nTAG NO it is broken\r\n", errors.Refused),
        (forever(b"* 1 FETCH (UID 1 BODY[] {5}\r\nhello)\r\n" + b"* 1 FETCH (UID 1)\r\n" * 2000), errors.ProtocolError),
    ],
)
def test_strange_bodies(answer: bytes, error: type[Exception]) -> None:
    with imap({"UID FETCH": answer}) as url:
        box = session(url, timeout=0.3).open()
        with pytest.raises(error):
            box.get(1).read()
        box.close()


def test_another_piece_than_was_asked_for() -> None:
    with imap({"UID FETCH": BODY}) as url:
        box = session(url).open()
        with pytest.raises(errors.ProtocolError, match="piece of the message"):
            box.get(1, offset=2)
        box.close()


def test_byte_by_byte_is_too_slow() -> None:
    import time

    def dripping(connection: Any) -> Iterator[bytes]:
        for _ in range(200):
            yield b"x"
            time.sleep(0.01)  # it is the slowness that is tested

    with imap({"NOOP": dripping}) as url:
        box = session(url, timeout=0.2).open()
        with pytest.raises(errors.TooSlow):
            box.noop()
        box.close()


def test_the_connection_is_cut_while_waiting() -> None:
    with imap({"IDLE": b"+ idling\r\n* 5 EXISTS\r\n* BYE bored\r\n"}, GREETING.replace(b"UIDPLUS", b"IDLE")) as url:
        box = session(url).open()
        events = box.idle(timeout=5)
        with pytest.raises(errors.ConnectionLost, match="bored"):
            list(events)
        box.close()


def test_a_server_that_ends_the_wait_by_itself() -> None:
    answers = {"IDLE": b"+ idling\r\n* 2 FETCH (FLAGS (\\Seen))\r\nTAG OK enough\r\n"}
    with imap(answers, GREETING.replace(b"UIDPLUS", b"IDLE")) as url, session(url) as box:
        assert [(event.kind, event.number) for event in box.idle(timeout=5)] == [("flags", 2)]
        box.noop()


def test_what_cannot_be_switched_on_stays_off() -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 ENABLE UTF8=ACCEPT] ready\r\n"
    with imap({"ENABLE": b"TAG BAD not today\r\n"}, greeting) as url, session(url) as box:
        assert box.enabled == frozenset()


@pytest.mark.parametrize(
    ("challenge", "error"),
    [(b"+ \r\n", None), (b"+ \xff\r\n", errors.ProtocolError), (b"+ abc\r\n", errors.ProtocolError)],
)
def test_challenges(challenge: bytes, error: type[Exception] | None) -> None:
    """CRAM-MD5 has one challenge, in base64; a second one ends it ("*", RFC 4422 §3.5)."""

    def authenticate(connection: Any) -> bytes:
        connection.send(challenge)
        assert connection.receive().endswith(b"\r\n")
        connection.send(b"+ \r\n")
        assert connection.receive() == b"*\r\n"
        return b"TAG OK done\r\n"

    with imap({"AUTHENTICATE": authenticate}, b"* OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5] hi\r\n") as url:
        if error is None:
            session(url).open().close()
        else:
            with pytest.raises(error, match="base64"):
                session(url).open()


def test_nothing_is_smuggled_into_a_command() -> None:
    heard: list[str] = []
    with imap({}, heard=heard) as url, session(url) as box:
        for wrong in (
            lambda: box.create("a\r\nA9 DELETE INBOX"),
            lambda: box.search("SUBJECT {5}"),
            lambda: box.search('SUBJECT "a'),
            lambda: box.search("ALL\r\nA9 NOOP\0"),
            lambda: box.fetch("1:*)", "FLAGS"),
            lambda: box.fetch([1], "FLAGS\r\nA9 NOOP"),
            lambda: box.fetch([0]),
            lambda: box.add_flags([1], "\\Seen)\r\nA9 NOOP"),
            lambda: box.part(1, "1] BODY[]"),
            lambda: box.get("INBOX/;UID=1/;SECTION=1%5D%20BODY%5B;PARTIAL=0.5"),
            lambda: box.search("SUBJECT é \0"),  # the first word is a literal: nothing of it may be on its way by then
            lambda: box.search(header=("a", "\0")),
        ):
            with pytest.raises(errors.UsageError):
                wrong()
        assert not any("A9" in line or "BODY" in line or "SUBJECT" in line for line in heard)
        box.search(subject="a\r\nA9 NOOP")  # a literal may hold it
        assert heard[-1] == f"UID SEARCH SUBJECT  literal:{b'a'.hex()}0d0a{b'A9 NOOP'.hex()}"


def test_a_number_without_end_is_none() -> None:
    with imap({"APPEND": b"TAG OK [APPENDUID 1 " + b"9" * 5000 + b"] done\r\n"}) as url, session(url) as box:
        assert box.put(None, b"hello") is None


def test_what_was_said_before_tls_is_forgotten() -> None:
    greeting = b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n* ENABLED UTF8=ACCEPT\r\n* OK [ALERT] call 0900\r\n"
    answers = {"CAPABILITY": b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n"}
    with imap(answers, greeting, tls=True) as url, session(url, tls=prise.TLS(ca=authority().cert)) as box:
        assert (box.enabled, list(box.alerts)) == (frozenset(), [])


def test_events_are_kept_only_for_who_waits_for_them() -> None:
    answers = {"IDLE": b"TAG NO not now\r\n", "NOOP": b"* 4 EXISTS\r\nTAG OK done\r\n"}
    with imap(answers, GREETING.replace(b"UIDPLUS", b"IDLE")) as url, session(url) as box:
        with pytest.raises(errors.Refused, match="not now"):
            box.idle()
        box.noop()
        assert (box._events, box.mailbox.exists) == (None, 4)


def test_a_set_is_moved_as_it_was_copied() -> None:
    heard: list[str] = []
    answers = {"UID SEARCH": b"* SEARCH 5 6\r\nTAG OK done\r\n"}
    with imap(answers, heard=heard) as url, session(url) as box:
        box.move("5:*", "Sent")  # by copying, since this server has no MOVE: what comes meanwhile stays where it is
    assert heard[-4:] == ['UID COPY 5:6 "Sent"', "UID STORE 5:6 +FLAGS.SILENT (\\Deleted)", "UID EXPUNGE 5:6", "LOGOUT"]
