"""SMTP against servers that can little, refuse, lie or hang up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.protocols import letter

MAIL = b"From: a@x.test\r\nTo: b@x.test\r\n\r\nhello\r\n"


class Server:
    """A small SMTP server. extensions: what it offers. answers: command, or its beginning -> what it says in place of 250; a
    callable is given the line. said: the commands that came; messages: what DATA and BDAT brought, dots and all.
    """

    def __init__(
        self, *extensions: str, answers: dict[str, Any] | None = None, greeting: bytes = b"220 hello\r\n"
    ) -> None:
        self.extensions = extensions
        self.answers = answers or {}
        self.greeting = greeting
        self.said: list[str] = []
        self.messages: list[bytes] = []
        self.writes: list[int] = []  # commands that came together

    def __call__(self, connection: prise.Connection) -> None:
        """The conversation."""
        connection.send(self.greeting)
        data = b""
        chunked = b""
        while (piece := connection.receive()) is not None:
            data += piece
            self.writes.append(piece.count(b"\r\n"))
            while b"\r\n" in data:
                line, _, data = data.partition(b"\r\n")
                text = line.decode()
                self.said.append(text)
                answer = self.answer(text)
                if answer is None:
                    return
                if text.startswith("BDAT"):
                    size = int(text.split()[1])
                    while len(data) < size:
                        data += connection.receive() or b""
                    chunked, data = chunked + data[:size], data[size:]
                    if text.endswith("LAST"):
                        self.messages.append(chunked)
                        chunked = b""
                connection.send(answer)
                if text == "DATA" and answer.startswith(b"354"):
                    while not (data == b".\r\n" or data.startswith(b".\r\n") or b"\r\n.\r\n" in data):
                        more = connection.receive()
                        if more is None:
                            return
                        data += more
                    end = 0 if data.startswith(b".\r\n") else data.index(b"\r\n.\r\n") + 2
                    self.messages.append(data[:end])
                    data = data[end + 3 :]
                    last = self.answer("END")
                    if last is None:
                        return
                    connection.send(last)
                if text == "QUIT":
                    return

    def answer(self, line: str) -> bytes | None:
        for begin, answer in self.answers.items():
            if line.startswith(begin):
                said: bytes | None = answer(line) if callable(answer) else answer
                return said
        if line.startswith("EHLO"):
            words = ("x.test", *self.extensions)
            return b"".join(b"250%s%s\r\n" % (b" " if each == words[-1] else b"-", each.encode()) for each in words)
        return b"354 go on\r\n" if line == "DATA" else b"250 2.0.0 fine\r\n"


def opened(server: Callable[..., Any], url: str = "smtp://localhost:{port}/", **options: Any) -> Any:
    """A session with a server, both ended by `with`."""

    class Both:
        def __enter__(self) -> Any:
            self.server = prise.listen(server, ":0", framing="chunks")
            port = self.server.__enter__().address.port
            try:
                options.update(timeout=options.get("timeout", 5.0), netrc=options.get("netrc", False))
                self.session = prise.open(url.format(port=port), keyring=False, **options).open()
            except BaseException:
                self.server.__exit__(None, None, None)
                raise
            return self.session

        def __exit__(self, *exception: Any) -> None:
            self.session.__exit__(*exception)
            self.server.__exit__(None, None, None)

    return Both()


def raw(data: bytes, *, then: Callable[[prise.Connection], None] | None = None) -> Callable[[prise.Connection], None]:
    """A server that says this, and hangs up when the client does."""

    def converse(connection: prise.Connection) -> None:
        connection.send(data)
        if then is not None:
            then(connection)
        for _ in connection:
            pass

    return converse


# Servers that can little


def test_a_server_from_before_ehlo() -> None:
    server = Server(answers={"EHLO": b"500 what?\r\n"})
    with opened(server) as post:
        assert post.extensions == {}
        assert post.send(MAIL).words == "2.0.0 fine"
    assert server.said == [
        "EHLO [127.0.0.1]",
        "HELO [127.0.0.1]",
        "MAIL FROM:<a@x.test>",
        "RCPT TO:<b@x.test>",
        "DATA",
        "QUIT",
    ]
    assert server.messages == [MAIL]


def test_without_pipelining_each_command_waits_and_data_is_not_asked_for_nobody() -> None:
    server = Server("SIZE", answers={"RCPT TO:<no": b"550 5.1.1 no\r\n"})
    with opened(server, name="me.test") as post:
        assert list(post.send(MAIL, recipients=["no1@x.test", "b@x.test", "no2@x.test"]).refused) == [
            "no1@x.test",
            "no2@x.test",
        ]
        with pytest.raises(prise.Refused, match=r"550 5\.1\.1 no"):
            post.send(MAIL, recipients=["no1@x.test", "no2@x.test"])
        post.send(MAIL)
    assert server.said[0] == "EHLO me.test"
    assert server.said[6:9] == [
        f"MAIL FROM:<a@x.test> SIZE={len(MAIL)}",
        "RCPT TO:<no1@x.test>",
        "RCPT TO:<no2@x.test>",
    ]
    assert server.said[9:11] == ["RSET", f"MAIL FROM:<a@x.test> SIZE={len(MAIL)}"]
    assert set(server.writes) == {1}


def test_with_pipelining_all_commands_go_at_once() -> None:
    server = Server("PIPELINING", answers={"RCPT TO:<no": b"550 no\r\n"})
    recipients = [f"{'no' if number % 2 else 'b'}{number}@x.test" for number in range(250)]
    with opened(server) as post:
        delivery = post.send(MAIL, recipients=recipients)
    assert list(delivery.accepted) == recipients[::2]
    assert list(delivery.refused) == recipients[1::2]
    assert [line for line in server.said if line.startswith("RCPT")] == [f"RCPT TO:<{each}>" for each in recipients]
    assert len(server.writes) <= 12
    assert server.messages == [MAIL]


@pytest.mark.parametrize(
    ("answers", "messages"),
    [
        ({"MAIL": b"550 no\r\n", "RCPT": b"503 no\r\n", "DATA": b"503 no\r\n"}, []),
        ({"RCPT": b"550 no\r\n", "DATA": b"554 no\r\n"}, []),
        ({"RCPT": b"550 no\r\n", "END": b"554 no\r\n"}, [b""]),  # it goes on all the same: an empty message ends that
        ({"DATA": b"451 no\r\n"}, []),
        ({"END": b"554 no\r\n"}, [MAIL]),
    ],
)
def test_a_no_at_any_place(answers: dict[str, bytes], messages: list[bytes]) -> None:
    server = Server("PIPELINING", answers=answers)
    with opened(server) as post:
        with pytest.raises(prise.Refused, match="no"):
            post.send(MAIL)
        server.answers = {}
        assert post.send(MAIL).code == "250"
    assert server.messages == [*messages, MAIL]


def test_what_a_server_lacks_is_known_before_anything_is_sent() -> None:
    server = Server("SIZE 60", "AUTH=LOGIN")
    with opened(server) as post:
        assert post.extensions == {"SIZE": ["60"], "AUTH": ["LOGIN"]}
        for call, words in (
            (lambda: post.send(MAIL + b"x" * 60), "takes at most 60"),
            (lambda: post.send(MAIL + b"\xe9"), "other bytes than ASCII"),
            (lambda: post.send(MAIL + b"\0"), "binary, or has NUL"),
            (lambda: post.send(MAIL, recipients="é@x.test"), "lacks SMTPUTF8"),
            (lambda: post.send(MAIL, notify="never"), "lacks DSN"),
        ):
            with pytest.raises(prise.Refused, match=words):
                call()
    assert server.said[1:] == ["QUIT"]


def test_a_letter_suits_a_server_of_seven_bits() -> None:
    server = Server()
    with opened(server) as post:
        post.send(letter.write(sender="a@x.test", to="b@x.test", text="là"))
    assert b"base64\r\n" in server.messages[0]
    assert server.messages[0].endswith(b"\r\nbMOgCg==\r\n") or server.messages[0].endswith(b"\r\nbMOgDQo=\r\n")


def test_a_binary_message_goes_as_it_is() -> None:
    server = Server("CHUNKING", "BINARYMIME", "8BITMIME", "PIPELINING")
    header = b"From: a@x.test\r\nTo: b@x.test\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    body = b"\n\r.\n\0.\r\n" + bytes(range(256)) * 5000
    with opened(server) as post:
        post.send(header.replace(b"\r\n", b"\n") + body)
        post.send(MAIL + b"\0")
    assert server.messages == [header + body, MAIL + b"\0"]
    assert [line for line in server.said if line.startswith(("MAIL", "BDAT"))] == [
        "MAIL FROM:<a@x.test> BODY=BINARYMIME",
        "BDAT 1048576",
        f"BDAT {len(header + body) - 1048576} LAST",
        "MAIL FROM:<a@x.test> BODY=BINARYMIME",
        f"BDAT {len(MAIL) + 1} LAST",
    ]


def test_a_refused_chunk_ends_the_message() -> None:
    server = Server("CHUNKING", "BINARYMIME", answers={"BDAT": b"552 full\r\n"})
    with opened(server) as post, pytest.raises(prise.Refused, match="552 full"):
        post.send(MAIL + b"\0" * 3_000_000)
    assert [line for line in server.said if line.startswith("BDAT")] == ["BDAT 1048576"]


# Logging in


def test_a_password_is_not_sent_in_clear() -> None:
    server = Server("AUTH PLAIN")
    with pytest.raises(prise.TLSError, match="does not offer TLS"):
        opened(server, "smtp://u:pw@localhost:{port}/").__enter__()
    assert [line.split()[0] for line in server.said] == ["EHLO"]


def test_unless_that_is_asked_for() -> None:
    server = Server("AUTH CRAM-MD5 PLAIN", answers={"AUTH PLAIN": b"235 in\r\n"})
    with opened(server, "smtp://u:pw@localhost:{port}/?tls=never", mechanism="plain") as post:
        post.noop()
    assert server.said[1] == "AUTH PLAIN AHUAcHc="


def test_a_login_that_the_server_does_not_want() -> None:
    with pytest.raises(prise.LoginFailed, match="does not offer this way of logging in: AUTH"):
        opened(Server(), "smtp://u:pw@localhost:{port}/?tls=never").__enter__()


def test_a_login_in_netrc_is_used_where_one_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine localhost login u password pw\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for server, said in ((Server("AUTH PLAIN"), "AUTH PLAIN AHUAcHc="), (Server(), "QUIT")):
        with opened(server, "smtp://localhost:{port}/?tls=never", netrc=True):
            pass
        assert server.said[1] == said


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"334 \r\n", prise.ProtocolError),  # it asks for ever
        (b"334 ***\r\n", prise.ProtocolError),
        (b"334 Zm9v\r\n", prise.ProtocolError),
        (b"354 go on\r\n", prise.ProtocolError),
        (b"535 5.7.8 no\r\n", prise.LoginFailed),
        (b"454 later\r\n", prise.LoginFailed),
    ],
)
def test_answers_to_a_login(answer: bytes, error: type[prise.PriseError]) -> None:
    server = Server("AUTH LOGIN", answers=dict.fromkeys(("AUTH", "d", "c", "*", "="), answer))
    with pytest.raises(error) as caught:
        opened(server, "smtp://u:pw@localhost:{port}/?tls=never").__enter__()
    assert "cHc" not in str(caught.value)


# Hostile servers


def endless(data: bytes) -> Callable[[prise.Connection], None]:
    def then(connection: prise.Connection) -> None:
        try:
            while True:
                connection.send(data)
        except prise.PriseError:
            pass

    return then


def slowly(data: bytes) -> Callable[[prise.Connection], None]:
    def then(connection: prise.Connection) -> None:
        try:
            while connection.peer:
                connection.send(data)
                time.sleep(0.02)  # what makes it slow
        except prise.PriseError:
            pass

    return then


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (raw(b"", then=endless(b"220-hello\r\n" * 1000)), prise.ProtocolError),
        (raw(b"220 ", then=endless(b"x" * 65536)), prise.MessageTooLarge),
        (raw(b"220 ", then=slowly(b"x")), prise.TooSlow),
        (raw(b"HTTP/1.1 400 Bad Request\r\n"), prise.ProtocolError),
        (raw(b"\x15\x03\x01\0\2\2\x46\r\n"), prise.ProtocolError),
        (raw(b"354 go on\r\n"), prise.ProtocolError),
        (raw(b"554 5.7.1 not you\r\n"), prise.Refused),
        (raw(b"421 too many\r\n"), prise.Refused),
        (raw(b""), prise.TooSlow),
        (Server(answers={"EHLO": lambda line: None}), prise.ConnectionLost),
        (Server(answers={"EHLO": b"250-x\r\n" * 2000}), prise.ProtocolError),
        (Server(answers={"EHLO": b"421 going down\r\n"}), prise.ConnectionLost),
        (Server(answers={"EHLO": b"450 later\r\n"}), prise.Refused),
        (Server("STARTTLS", answers={"STARTTLS": b"220 go\r\n250 injected\r\n"}), prise.ProtocolError),
        (Server("STARTTLS", answers={"STARTTLS": b"454 not now\r\n"}), prise.Refused),
    ],
)
def test_a_hostile_welcome(server: Callable[..., Any], error: type[prise.PriseError]) -> None:
    begun = time.monotonic()
    with pytest.raises(error):
        opened(server, timeout=0.3).__enter__()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("place", ["MAIL", "RCPT", "DATA", "END"])
@pytest.mark.parametrize("extension", ["PIPELINING", "X"])
def test_a_server_that_hangs_up(place: str, extension: str) -> None:
    for answer in (lambda line: None, b"421 4.3.2 going down\r\n"):
        with opened(Server(extension, answers={place: answer})) as post:
            with pytest.raises(prise.ConnectionLost) as caught:
                post.send(MAIL)
            assert ("going down" in str(caught.value)) == isinstance(answer, bytes)
            assert ("may arrive twice" in str(caught.value)) == (place == "END" and callable(answer))
            with pytest.raises(prise.UsageError, match="open another one"):
                post.noop()


def test_a_server_that_says_nothing_to_the_whole_message() -> None:
    with opened(Server(answers={"END": b""}), timeout=0.2) as post:
        with pytest.raises(prise.TooSlow, match="may arrive twice"):
            post.send(MAIL)
        with pytest.raises(prise.UsageError, match="open another one"):
            post.noop()  # else it would take the answer that is still to come for its own


def test_a_server_that_breaks_off_in_the_middle_of_a_message() -> None:
    def converse(connection: prise.Connection) -> None:
        connection.send(b"220 hello\r\n")
        for data in connection:
            if data.startswith(b"DATA"):
                connection.send(b"354 go on\r\n")
                connection.receive()
                connection.send(b"452 4.3.1 disk full\r\n")
                return
            connection.send(b"250 fine\r\n")

    with opened(converse) as post:
        with pytest.raises(prise.ConnectionLost):
            post.send(MAIL + (b"x" * 70 + b"\r\n") * 300_000)


def test_nonsense_in_answers() -> None:
    for nonsense in (b"25 x\r\n", b"999 x\r\n", b"\0\0\r\n", b"354 go on\r\n"):
        with opened(Server(answers={"RCPT": nonsense})) as post, pytest.raises(prise.PriseError):
            post.send(MAIL)


def test_words_that_would_move_the_cursor() -> None:
    with opened(Server(answers={"RCPT": b"550 \x1b[2Jno\r\n"})) as post, pytest.raises(prise.Refused) as caught:
        post.send(MAIL)
    assert "\x1b" not in str(caught.value)


def test_the_same_with_await() -> None:
    async def main(place: str, answer: Any, error: type[prise.PriseError]) -> None:
        async with prise.listen(Server("PIPELINING", answers={place: answer}), ":0", framing="chunks") as server:
            url = f"smtp://localhost:{server.address.port}/"
            with pytest.raises(error):
                async with prise.open(url, timeout=0.3, netrc=False) as post:
                    await post.send(MAIL)

    for case in (
        ("EHLO", b"250-x\r\n" * 2000, prise.ProtocolError),
        ("RCPT", b"550 no\r\n", prise.Refused),
        ("DATA", lambda line: None, prise.ConnectionLost),
        ("END", b"", prise.TooSlow),
    ):
        asyncio.run(main(*case))


def test_what_a_server_says_of_an_address() -> None:
    for answer, error in ((b"550 no such user\r\n", prise.NotFound), (b"502 disabled\r\n", prise.Refused)):
        with opened(Server(answers={"VRFY": answer})) as post, pytest.raises(prise.Refused) as caught:
            post.verify("a@x.test")
        assert type(caught.value) is error


def test_a_long_token_is_said_when_it_is_asked_for() -> None:
    server = Server("AUTH XOAUTH2", answers={"AUTH": b"334 \r\n", "dXNl": b"235 welcome\r\n"})
    with opened(server, "smtp://localhost:{port}/?tls=never", user="u", token="t" * 2000):
        assert server.said[1] == "AUTH XOAUTH2"
        assert len(server.said[2]) > 2000


def test_a_folder_with_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "1.eml").mkdir()
    (tmp_path / "2.eml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "3.eml").write_bytes(MAIL)
    with opened(Server()) as post:
        sent = post.send_folder(tmp_path)
        assert [each.delivery is None for each in sent] == [True, True, False]
        assert all("cannot be read" in str(each.error) for each in sent[:2])
        with pytest.raises(prise.UsageError, match="no folder"):
            post.send_folder(tmp_path / "nowhere")
