"""What SMTP puts on the wire: addresses that are nothing else, lines and dots as they must be. Without any network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from email.message import EmailMessage
from email.mime.text import MIMEText
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise.protocols import letter
from prise.protocols.credentials import Credentials
from prise.protocols.smtp import SMTPTalk, outgoing
from prise.protocols.smtp.dialog import extensions_of
from prise.protocols.smtp.envelope import Notices, addresses, envelope_of, xtext
from prise.protocols.smtp.outgoing import Outgoing
from prise.protocols.talk import Options
from prise.protocols.target import Target

MAIL = b"From: a@x.test\r\nTo: b@x.test\r\n\r\nhello\r\n"


# What goes into a command


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a b@x.test",
        "a@x.test> NOTIFY=NEVER",
        "a@x.test\r\nDATA",
        "<a@x.test",
        "a@x＞y.test",
        "a@",
        "@x.test",
        "\udcff@x.test",
    ],
)
def test_an_address_is_nothing_else(address: str) -> None:
    for call in (
        lambda: addresses([address]),
        lambda: letter.write(sender="a@x.test", to=[address]),
    ):
        with pytest.raises(prise.UsageError):
            call()


def test_addresses_in_all_spellings() -> None:
    assert addresses("Ada <ada@x.test>, ben@bücher.test") == ["ada@x.test", "ben@xn--bcher-kva.test"]
    assert addresses(["root", '"two words"@x.test', "a@[127.0.0.1]", "John Q. Public <j@x.test>"]) == [
        "root",
        '"two words"@x.test',
        "a@[127.0.0.1]",
        "j@x.test",
    ]


def test_names_in_the_header_do_not_pass_for_addresses() -> None:
    fields = Outgoing(b"From: a@x.test\nTo: =?utf-8?q?evil=40y.test=2C?= <b@x.test>,\n C <c@x.test>\n\n").fields
    assert envelope_of(fields, None, None).recipients == ("b@x.test", "c@x.test")


def test_who_resends_is_the_sender() -> None:
    message = b"From: a@x.test\nTo: b@x.test\nResent-From: c@x.test\nResent-To: d@x.test\nResent-Bcc: e@x.test\n\n"
    out = Outgoing(message)
    assert envelope_of(out.fields, None, None) == ("c@x.test", ("d@x.test", "e@x.test"))
    assert b"Resent-Bcc" not in b"".join(out.pieces())
    twice = Outgoing(b"Resent-From: f@x.test\n" + message)
    with pytest.raises(prise.UsageError, match="resent more than once"):
        envelope_of(twice.fields, None, None)
    assert envelope_of(twice.fields, "<>", "g@x.test") == ("", ("g@x.test",))


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (b"", "does not begin with a header"),
        (b"hello", "does not begin with a header"),
        (b"\nFrom: a@x.test\n", "does not begin with a header"),
        (b"From: a@x.test\nno header\nBcc: b@x.test\n\n", "is no header"),
        (b"To: b@x.test\n\n", "has no sender"),
        (b"From: a@x.test\n\n", "has no recipients"),
        (b"From: a@x.test\nTo: b@x.test c@x.test\n\n", "header to cannot be read"),
        (b"X: " + b"x" * 2_000_000, "longer than 1048576"),
    ],
)
def test_what_is_no_message(message: bytes, words: str) -> None:
    with pytest.raises(prise.UsageError, match=words):
        envelope_of(Outgoing(message).fields, None, None)


def test_requests_to_be_told_that_there_are_not() -> None:
    wrong: list[Any] = [
        ("sometimes", None, None),
        ("never,delay", None, None),
        (None, "half", None),
        (None, None, "a\nb"),
    ]
    for notify, ret, envid in wrong:
        with pytest.raises(prise.UsageError):
            Notices.wanted(notify, ret, envid, None)
    assert Notices.wanted(["failure", "delay"], None, None, {"b@x.test": "c=d@x.test"}).for_recipient("b@x.test") == [
        "NOTIFY=FAILURE,DELAY",
        "ORCPT=rfc822;c+3Dd@x.test",
    ]
    assert xtext("a+b=c d") == "a+2Bb+3Dc+20d"


def test_headers_that_a_letter_cannot_have() -> None:
    for headers in ({"X\n": "1"}, {"X": "1\r\nBcc: b@x.test"}, {"Content-Type": "x"}, {"To": "b"}, {"": "x"}):
        with pytest.raises(prise.UsageError):
            letter.write(sender="a@x.test", to="b@x.test", headers=headers)
    with pytest.raises(prise.UsageError):
        letter.write(sender="a@x.test", to="b@x.test", subject="x\nBcc: c@x.test")
    with pytest.raises(prise.UsageError, match="not UTF-8"):
        letter.write(sender="a@x.test", to="b@x.test", text="\udcff")
    with pytest.raises(prise.UsageError, match="from one address, not from 2"):
        letter.write(sender="a@x.test, c@x.test", to="b@x.test")
    with pytest.raises(prise.UsageError, match="not a MIME type"):
        letter.write(sender="a@x.test", attach=[letter.Attachment("a", b"", "text")])
    message = letter.write(sender="a@x.test", to="b@x.test", headers={"Date": "Thu, 01 Jan 1970 00:00:00 +0000"})
    assert message.get_all("Date") == ["Thu, 01 Jan 1970 00:00:00 +0000"]


def test_a_letter_in_html_alone_with_another_letter() -> None:
    message = letter.write(
        sender="root", to=["b@x.test", "c@x.test"], html="<p>là", attach=[letter.Attachment("old.eml", MAIL)]
    )
    (attached,) = message.iter_attachments()
    body = message.get_body()
    assert body is not None
    assert body.get_content_type() == "text/html"
    assert (attached.get_filename(), attached.get_content()) == ("old.eml", MAIL)
    assert message["Message-ID"].endswith("@localhost>")
    assert envelope_of(Outgoing(message).fields, None, None) == ("root", ("b@x.test", "c@x.test"))


# What leaves, whatever comes in


def undotted(data: bytes) -> bytes:
    """As a server reads it."""
    assert data.endswith(b"\r\n.\r\n")
    lines = data[:-3].split(b"\r\n")
    assert b"." not in lines[:-1]
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


@given(st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n", b"\r\n.\r\n"]), max_size=30), st.integers(1, 4))
@settings(max_examples=50)
def test_lines_and_dots_in_pieces_of_every_size(parts: list[bytes], size: int) -> None:
    body = b"".join(parts)
    whole = Outgoing(b"A: b\n\n" + body)
    data = b"".join(whole.pieces())
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert b"".join(outgoing.normalised(pieces)) == b"".join(outgoing.normalised([body]))
    assert undotted(b"".join(whole.dotted())) == data
    assert data.count(b"\r") == data.count(b"\n") == data.count(b"\r\n")
    assert whole.size == len(data)


@given(st.binary(max_size=60))
@settings(max_examples=50)
def test_any_bytes_are_sent_or_refused(data: bytes) -> None:
    for message in (data, b"From: a@x.test\nTo: " + data, MAIL + data):
        try:
            out = Outgoing(message)
            envelope_of(out.fields, None, None)
        except prise.UsageError:
            continue
        assert sum(len(piece) for piece in out.pieces()) == out.size


@given(st.text(max_size=40))
@settings(max_examples=50)
def test_any_text_is_an_address_or_none(text: str) -> None:
    try:
        found = addresses(text)
    except prise.UsageError:
        return
    for address in found:
        assert not set(address) & set("\r\n\0")
        assert ">" not in address or address.startswith('"')


@given(st.lists(st.text(max_size=20), max_size=5))
@settings(max_examples=50)
def test_any_extensions(lines: list[str]) -> None:
    for keyword, parameters in extensions_of(lines).items():
        assert keyword.split() == [keyword]
        assert all(isinstance(parameter, str) for parameter in parameters)


def drive(talk: SMTPTalk, steps: Any, answers: Iterator[bytes]) -> bytes:
    """Runs a procedure without a socket; returns what it sent."""
    sent, answer = b"", None
    try:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, bytes):
                sent += step
            else:
                answer = next(answers, b"")
    except StopIteration:
        return sent


@pytest.mark.parametrize(
    ("local", "name"),
    [("tcp:192.0.2.7:5", "[192.0.2.7]"), ("tcp:[fe80::1%eth0]:5", "[IPv6:fe80::1]"), ("unix:/run/x", "localhost")],
)
def test_who_we_are_is_our_address(local: str, name: str) -> None:
    talk = SMTPTalk(Target.parse("smtp://x.test/"), Options(Credentials(use_netrc=False)))
    talk.local = prise.Address.parse(local)
    assert drive(talk, talk.hello(), iter([b"220 hello\r\n250 hello\r\n"])) == f"EHLO {name}\r\n".encode()


@given(st.binary(max_size=60) | st.sampled_from([b"250 a\r\n", b"250-a\r\n250 b\r\n", b"550 a\r\n", b"354 a\r\n"]))
@settings(max_examples=50)
def test_any_answer_byte_by_byte(answer: bytes) -> None:
    """Ends in a result or in a named error, and the same whole and byte by byte."""
    ends = []
    for pieces in ([answer * 4], [bytes([byte]) for byte in answer * 4]):
        talk = SMTPTalk(Target.parse("smtp://x.test/"), Options())
        talk.extensions = {}
        try:
            ends.append(drive(talk, talk.send.steps(MAIL), iter(pieces)))
        except prise.PriseError as error:
            ends.append(str(error).encode())
    assert ends[0] == ends[1]


def test_a_message_of_python_is_written_to_suit() -> None:
    message = EmailMessage(policy=SMTP)
    message["From"], message["To"], message["Subject"] = "é@x.test", "b@x.test", "été"
    message.set_content("là")
    assert "From: é@x.test\r\n".encode() in b"".join(Outgoing(message).pieces())
    assert Outgoing(message, eight_bits=False).fields["from"] == "é@x.test"


def test_names_that_would_pass_for_addresses_when_they_are_written() -> None:
    """Python's `email` drops the quotes of a name that is longer than a line."""
    name = "Ada <eve@x.test>, " + "long " * 20
    with pytest.raises(prise.UsageError, match="longer than 64 characters"):
        Outgoing(letter.write(sender="a@x.test", to=f'"{name}" <b@x.test>'))
    for length in (40, 64):
        fits = letter.write(sender="a@x.test", to=[f'"{name[:length]}" <b@x.test>', "c@x.test"])
        assert envelope_of(Outgoing(fits).fields, None, None).recipients == ("b@x.test", "c@x.test")


def test_an_address_that_was_encoded_with_its_name_is_not_guessed() -> None:
    message = MIMEText("hello")
    message["From"], message["To"] = "É <a@x.test>", "b@x.test"  # the old classes encode all of it
    with pytest.raises(prise.UsageError, match="header from cannot be read"):
        envelope_of(Outgoing(message).fields, None, None)
    assert envelope_of(Outgoing(message).fields, "a@x.test", None) == ("a@x.test", ("b@x.test",))


@pytest.mark.parametrize("character", ["\x0b", "\x1c", "\x85", "\u2028", "\0", "\r"])
def test_what_ends_a_line_for_anybody_is_not_in_a_header(character: str) -> None:
    with pytest.raises(prise.UsageError, match="line ends"):
        letter.write(sender="a@x.test", subject=f"a{character}b")


@pytest.mark.parametrize("name", ["a\x0b.txt", "a\nb", "a\udcff.txt"])
def test_what_an_attachment_cannot_be_called(name: str) -> None:
    with pytest.raises(prise.UsageError, match="name of an attachment"):
        letter.write(sender="a@x.test", attach=[letter.Attachment(name, b"")])


@pytest.mark.parametrize("address", ["<", "é<", 'A"a"_<a@x.test> ,.:'])
def test_a_header_that_python_fails_at(address: str) -> None:
    with contextlib.suppress(prise.UsageError):  # some versions read it
        letter.write(sender="a@x.test", headers={"Reply-To": address})


def test_a_message_that_python_cannot_write() -> None:
    message = MIMEText("hello")
    nonsense: Any = [1]
    message.set_payload(nonsense)
    with pytest.raises(prise.UsageError, match="cannot be written"):
        Outgoing(message)
