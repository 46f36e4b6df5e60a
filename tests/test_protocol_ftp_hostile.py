"""FTP servers that are mistaken or mean: each talk ends soon, in little memory, with an error that says what was wrong."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from ftp_fake import Answer, Line, fake
from prise.errors import (
    ConnectionLost,
    LoginFailed,
    MessageTooLarge,
    NotFound,
    PriseError,
    ProtocolError,
    Refused,
    TLSError,
    TooSlow,
)
from prise.protocols.ftp import FTPTalk, data, files
from prise.protocols.steps import Accept, Dial, Flow, Items, Listen, Peer, Receive
from prise.protocols.talk import Options
from prise.protocols.target import Target
from tls_support import client_tls, server_tls

TIMEOUT = 0.3


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < 10


def greeted(conversation: Callable[[Any], None], kind: type[PriseError], match: str, **options: Any) -> None:
    """What becomes of a client that such a server greets."""
    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        with pytest.raises(kind, match=match):
            prise.open(f"ftp://127.0.0.1:{server.address.port}/", timeout=TIMEOUT, **options).open()


def sending(*pieces: bytes, times: int = 1, pause: float = 0.0) -> Callable[[Any], None]:
    def conversation(connection: Any) -> None:
        try:
            for _ in range(times):
                for piece in pieces:
                    connection.send(piece)
                    if pause:
                        try:
                            connection.receive(pause)
                        except TooSlow:
                            pass
            for _ in connection:
                pass
        except PriseError:
            pass  # the client has gone, as it should

    return conversation


# -- the greeting ------------------------------------------------------------------------------------------------------


def test_a_greeting_without_end() -> None:
    greeted(sending(b"220-hello\r\n" * 100, times=10_000), ProtocolError, "more than 1000 lines")


def test_a_line_without_end() -> None:
    greeted(sending(b"220 " + b"x" * 60_000, times=1000), MessageTooLarge, "65536 bytes")


def test_an_answer_that_is_always_to_come() -> None:
    greeted(sending(b"120 soon\r\n" * 1000, times=1000), ProtocolError, "100 times")


def test_a_byte_now_and_then() -> None:
    greeted(sending(b"2", times=100, pause=0.05), TooSlow, "0.3 s")


def test_silence() -> None:
    greeted(sending(), TooSlow, "0.3 s")


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\r\n",
        b"\xff\xfd\x18\r\n",
        b"700 x\r\n",
        b"22 x\r\n",
    ],
)
def test_another_protocol(greeting: bytes) -> None:
    greeted(sending(greeting), ProtocolError, "three digits")


def test_a_connection_that_is_cut() -> None:
    for said in (b"", b"22", b"220-hello\r\nthere\r\n"):

        def conversation(connection: Any, said: bytes = said) -> None:
            connection.send(said)

        greeted(conversation, ConnectionLost, "closed the connection")


def test_a_greeting_that_says_no() -> None:
    greeted(sending(b"421 too many of you\r\n"), Refused, "421 too many of you")


def test_words_that_would_move_the_cursor() -> None:
    greeted(sending(b"530 \x1b[2J\x9b no\r\n"), Refused, "530 \ufffd")


def test_answers_in_clear_behind_the_agreement_on_tls() -> None:
    """The STARTTLS injection."""

    def conversation(connection: Any) -> None:
        connection.send(b"220 hello\r\n")
        connection.receive()
        connection.send(b"234 go\r\n230 you are in\r\n")
        connection.receive()

    greeted(conversation, ProtocolError, "in clear")


def test_a_server_that_speaks_in_clear_inside_tls_as_vsftpd_does() -> None:
    def conversation(connection: Any) -> None:
        connection.send(b"220 hello\r\n")
        connection.receive()
        connection.send(b"234 go\r\n")
        connection.start_tls(server_tls())
        connection.receive()
        os.write(connection.fileno(), b"500 OOPS: vsftpd: refusing to run with writable root\r\n")
        connection.receive()

    greeted(conversation, TLSError, "500 OOPS.*its log knows more", tls=client_tls())


def test_a_password_is_not_given_to_a_server_without_tls() -> None:
    said: list[str] = []

    def no(line: Line) -> None:
        said.append(line.argument)
        line.say("502 no")

    with fake({"AUTH": no, "USER": no}) as url:
        with pytest.raises(TLSError, match="does not offer TLS"):
            prise.open(url.replace("//", "//ada:secret@"), timeout=TIMEOUT).open()
        assert said == ["TLS"]
        with pytest.raises(TLSError):
            prise.open(f"{url}?tls=required", timeout=TIMEOUT).open()


def test_logins_that_go_on_and_on() -> None:
    for answers in (
        {"USER": "332 account?"},
        {"USER": "331 password?", "PASS": "332 account?"},
        {"USER": "331 x", "PASS": "331 x"},
    ):
        with fake(answers) as url, pytest.raises(LoginFailed):
            prise.open(url, timeout=TIMEOUT).open()


# -- where data connections lead -----------------------------------------------------------------------------------------


def test_passive_mode_that_points_elsewhere_is_refused() -> None:
    with fake({"EPSV": "500 what?", "PASV": "227 go (8,8,8,8,4,1)"}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ProtocolError, match=r"to go elsewhere, to 8\.8\.8\.8"):
            ftp.get("x")


@pytest.mark.parametrize("host", ["10,0,0,1", "127,0,0,1", "0,0,0,0"])
def test_passive_mode_that_tells_an_inner_address_leads_to_the_server(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def retr(line: Line) -> None:
            line.say("150 here")
            with listener.accept()[0] as sock:
                sock.sendall(b"data")
            line.say("226 done")

        answers: dict[str, Answer] = {
            "EPSV": "500 what?",
            "PASV": f"227 go ({host},{port >> 8},{port & 255})",
            "RETR": retr,
        }
        with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
            for _ in range(2):
                assert ftp.get("x").read() == b"data"


@pytest.mark.parametrize("answer", ["229 go", "229 go (|||0|)", "229 (|||99999|)", "150 what?"])
def test_a_port_that_is_none(answer: str) -> None:
    with fake({"EPSV": answer, "PASV": "227 go"}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ProtocolError):
            ftp.get("x")


def test_active_mode_lets_nobody_but_the_server_in() -> None:
    def eprt(line: Line) -> None:
        port = int(line.argument.split("|")[3])
        stranger = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        line.say("200 ok")
        line.connection.receive()  # LIST
        line.say("150 here")
        with stranger:
            line.connection.receive()

    with fake({"EPRT": eprt}) as url, prise.open(url, timeout=TIMEOUT, active=True) as ftp:
        with pytest.raises(ProtocolError, match=r"came from 127\.0\.0\.2"):
            ftp.list("")


def test_active_mode_and_a_server_that_never_comes() -> None:
    for port in ("PORT", "EPRT"):
        answers: dict[str, Answer] = {port: "200 ok", "MLSD": "150 here"}
        with fake(answers) as url, prise.open(url, timeout=TIMEOUT, active=True) as ftp:
            with pytest.raises(TooSlow):
                ftp.list("")


def test_active_mode_of_old_servers() -> None:
    where: list[int] = []

    def port(line: Line) -> None:
        numbers = [int(number) for number in line.argument.split(",")]
        assert numbers[:4] == [127, 0, 0, 1]
        where.append(numbers[4] * 256 + numbers[5])
        line.say("200 ok")

    def retr(line: Line) -> None:
        with socket.create_connection(("127.0.0.1", where[-1])) as sock:
            line.say("150 here")
            sock.sendall(b"data")
        line.say("226 done")

    with fake({"PORT": port, "RETR": retr}) as url, prise.open(url, timeout=TIMEOUT, active=True) as ftp:
        assert ftp.get("x").read() == b"data"
        assert ftp.get("x").read() == b"data"
    assert len(where) == 2


def test_ipv6_both_ways() -> None:
    with fake({"MLSD": [b"type=file; x\r\n"]}, host="::1") as url, prise.open(url, timeout=TIMEOUT) as ftp:
        assert [entry.name for entry in ftp.list("")] == ["x"]

    where: list[int] = []

    def eprt(line: Line) -> None:
        assert line.argument.startswith("|2|::1|")
        where.append(int(line.argument.split("|")[3]))
        line.say("200 ok")

    def mlsd(line: Line) -> None:
        with socket.create_connection(("::1", where[-1])) as sock:
            line.say("150 here")
            sock.sendall(b"type=file; y\r\n")
        line.say("226 done")

    with fake({"EPRT": eprt, "MLSD": mlsd}, host="::1") as url, prise.open(url, timeout=TIMEOUT, active=True) as ftp:
        assert [entry.name for entry in ftp.list("")] == ["y"]
    with fake({}, host="::1") as url, prise.open(url, timeout=TIMEOUT, active=True) as ftp:
        with pytest.raises(Refused):  # PORT knows no IPv6
            ftp.list("")


# -- how transfers end -----------------------------------------------------------------------------------------------------


def ending(data: bytes, *said: str, reset: bool = False, hang_up: bool = False) -> Callable[[Line], None]:
    """A download that ends in this way."""

    def answer(line: Line) -> None:
        line.say("150 here")
        with line.data() as sock:
            sock.sendall(data)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.say(*said)
        if hang_up:
            line.connection.close()

    return answer


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("code", ["426 the connection broke", "451 the disk broke", "552 no room"])
def test_a_server_that_gives_up_and_says_so(code: str, reset: bool) -> None:
    with fake({"RETR": ending(b"some", code, reset=reset)}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(Refused, match=code) as caught:
            ftp.get("x").read()
        assert not isinstance(caught.value, NotFound)
        assert ftp.pwd() == "/"  # the session goes on


def test_less_than_was_announced() -> None:
    answers: dict[str, Answer] = {"SIZE": "213 10", "RETR": ending(b"some", "226 done")}
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ConnectionLost, match="6 bytes less"):
            ftp.get("x").read()


def test_a_reset_behind_the_last_byte_of_a_file_whose_size_is_known() -> None:
    answers: dict[str, Answer] = {"SIZE": "213 4", "RETR": ending(b"some", "226 done")}
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        assert ftp.get("x").read() == b"some"


def test_a_download_that_stalls_is_soon_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "SOON", 0.05)

    def retr(line: Line) -> None:
        line.say("150 here")
        with line.data() as sock:
            sock.sendall(b"some")
            sock.recv(1)  # until it is left
        line.say("426 you have left")

    with fake({"SIZE": "213 10", "RETR": retr}) as url, prise.open(url, timeout=9) as ftp:
        content = ftp.get("x")
        assert next(content) == b"some"
        content.close()
        assert ftp.pwd() == "/"


def test_a_reset_where_the_size_is_not_known() -> None:
    with fake({"RETR": ending(b"", "226 done", reset=True)}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ConnectionLost):
            ftp.get("x").read()


def test_a_server_that_ends_the_session_behind_a_transfer() -> None:
    with fake({"RETR": ending(b"some", "421 no time any more")}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ConnectionLost, match="421 no time"):
            ftp.get("x").read()


def test_a_server_that_has_no_time_any_more() -> None:
    for command in ("EPSV", "SIZE", "TYPE"):
        with fake({command: "421 you were idle for too long"}) as url:
            with pytest.raises(ConnectionLost, match="421 you were idle"), prise.open(url, timeout=TIMEOUT) as ftp:
                ftp.get("x")


def test_an_end_that_the_server_does_not_confirm() -> None:
    with fake({"RETR": ending(b"some", hang_up=True)}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ConnectionLost):
            ftp.get("x").read()
    with fake({"RETR": ending(b"some")}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(TooSlow):
            ftp.get("x").read()


def test_a_giant_size_is_only_a_number() -> None:
    answers: dict[str, Answer] = {"SIZE": f"213 {2**62}", "RETR": ending(b"some", "226 done")}
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        content = ftp.get("x")
        assert content.size == 2**62
        with pytest.raises(ConnectionLost):
            content.read()
    with fake({"SIZE": f"213 {10**30}"}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ProtocolError, match="no size"):
            ftp.size("x")


@pytest.mark.parametrize("command", ["RETR", "STOR", "MLSD"])
def test_a_transfer_that_is_over_before_it_began(command: str) -> None:
    with fake({command: "226 done"}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ProtocolError, match="does not fit"):
            {"RETR": lambda: ftp.get("x"), "STOR": lambda: ftp.put("x", b""), "MLSD": lambda: ftp.list("")}[command]()


def refusing(line: Line) -> None:
    """Takes a little, then has no room."""
    line.say("150 go on")
    with line.data() as sock:
        sock.recv(10)
    line.say("552 no room")


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 100_000


def test_an_upload_that_is_refused_in_the_middle() -> None:
    with fake({"STOR": refusing}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(Refused, match="552 no room"):
            ftp.put("x", endless())
        assert ftp.pwd() == "/"

    async def main() -> None:
        async with prise.open(url, timeout=TIMEOUT) as ftp:
            with pytest.raises(Refused, match="552 no room"):
                await ftp.put("x", endless())
            assert await ftp.pwd() == "/"

    with fake({"STOR": refusing}) as url:
        asyncio.run(main())


def test_an_upload_that_nobody_reads() -> None:
    def stor(line: Line) -> None:
        line.say("150 go on")
        with line.data():
            line.connection.receive()

    with fake({"STOR": stor}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(TooSlow):
            ftp.put("x", endless())


def test_an_upload_that_broke_though_the_server_says_it_is_there() -> None:
    def stor(line: Line) -> None:
        line.say("150 go on")
        with line.data() as sock:
            sock.recv(10)
        line.say("226 done")

    with fake({"STOR": stor}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ConnectionLost, match="before all was sent"):
            ftp.put("x", endless())


# -- lists -----------------------------------------------------------------------------------------------------------------


def test_a_list_in_one_endless_line() -> None:
    with fake({"MLSD": [b"type=file; " + b"x" * 60_000] * 100}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(MessageTooLarge):
            list(ftp.list(""))


def test_a_list_without_end_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_HELD", 1000)
    answers: dict[str, Answer] = {"FEAT": "500 what?", "LIST": [b"-rw-r--r-- 1 u g 5 Jan 11  2020 x\r\n" * 1000] * 10}
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(ProtocolError, match="more than 1000 lines"):
            ftp.list("")
    monkeypatch.setattr(files, "MOST_HELD", 1_000_000)
    monkeypatch.setattr(files, "MOST_LISTED", 1000)
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(MessageTooLarge, match="more than 1000 bytes"):
            ftp.list("")


def test_a_folder_that_may_not_be_listed_is_left_again() -> None:
    """Without MLSD a folder is gone into: whatever becomes of its list, we are back afterwards."""
    went: list[str] = []

    def cwd(line: Line) -> None:
        went.append(line.argument)
        line.say("250 there")

    answers: dict[str, Answer] = {"FEAT": "500 what?", "PWD": '257 "/home"', "CWD": cwd, "LIST": "550 denied"}
    with fake(answers) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        with pytest.raises(Refused, match="550 denied"):
            ftp.list("folder")
        assert ftp.pwd() == "/home"
    assert went == ["folder", "/home"]


def test_a_list_that_is_cut_short_by_the_caller_says_nothing_more() -> None:
    """A cancelled task, Ctrl-C: the procedure is closed in the middle."""
    talk = FTPTalk(Target.parse("ftp://localhost/"), Options())
    talk.features = {}
    steps = talk._folder("folder")
    answer: Any = None
    for heard in (b'257 "/"\r\n', b"250 there\r\n"):
        while steps.send(answer) is not None:
            answer = None
        answer = heard
    steps.send(answer)
    steps.close()


def test_a_server_for_which_a_is_a_file() -> None:
    def listing(line: Line) -> None:
        line.say("150 here")
        with line.data() as sock:
            sock.sendall(b"" if line.argument else b"01-16-24  02:30PM  12 x.txt\r\ngarbage\r\n")
        line.say("226 done")

    with fake({"FEAT": "500 what?", "LIST": listing}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        assert [(entry.name, entry.kind) for entry in ftp.list("")] == [("x.txt", "file"), ("garbage", "other")]


@pytest.mark.parametrize(
    ("command", "answer"), [("PWD", "257 /"), ("MDTM", "213 yesterday"), ("SIZE", "213 big"), ("MLST", "250 no")]
)
def test_answers_without_an_answer(command: str, answer: str) -> None:
    with fake({command: answer}) as url, prise.open(url, timeout=TIMEOUT) as ftp:
        use = {
            "PWD": ftp.pwd,
            "MDTM": lambda: ftp.modified("x"),
            "SIZE": lambda: ftp.size("x"),
            "MLST": lambda: ftp.stat("x"),
        }
        with pytest.raises(ProtocolError):
            use[command]()


# -- without a socket ------------------------------------------------------------------------------------------------------

CONTROL = (
    b"220-hello\r\n there\r\n220 go\r\n502 no\r\n331 password?\r\n230 in\r\n211-\r\n MLST x;\r\n SIZE\r\n211 end\r\n200 ok\r\n"
    b"213 9\r\n229 (|||5|)\r\n150 here\r\n226 done\r\n"
)
DATA = b"some data"


def drive(steps: Any, control: Iterator[bytes], data: Iterator[bytes]) -> Any:
    """Runs a procedure on what a server says, to its result; with the bytes of its items."""
    answer: Any = None
    found = b""
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return found if end.value is None else end.value
        match step:
            case None:
                answer = next(control, b"")
            case Receive():
                answer = next(data, b"")
            case Items(values):
                answer, found = None, found + b"".join(values)
            case Dial() | Accept():
                answer = 1
            case Peer() | Listen():
                answer = prise.Address("tcp", "127.0.0.1", 5)
            case _:
                answer = None


def talked(control: bytes, data: bytes, step: int) -> tuple[bytes, dict[str, str]]:
    heard = iter([control[at : at + step] for at in range(0, len(control), step)])
    came = iter([data[at : at + step] for at in range(0, len(data), step)])
    talk = FTPTalk(Target.parse("ftp://localhost/x?tls=optional"), Options())
    drive(talk.hello(), heard, came)
    flow = drive(talk.get.steps("x"), heard, came)
    assert isinstance(flow, Flow)
    return drive(flow.steps, heard, came), talk.features


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_it_does_not_matter_in_which_pieces_it_comes(step: int) -> None:
    assert talked(CONTROL, DATA, step) == (DATA, {"MLST": "x;", "SIZE": ""})


@given(st.binary(max_size=200), st.integers(0, len(CONTROL)), st.booleans())
@settings(max_examples=50)
def test_whatever_a_server_says_is_an_answer_or_an_error(noise: bytes, at: int, instead: bool) -> None:
    control = CONTROL[:at] + noise + (b"" if instead else CONTROL[at:])
    try:
        talked(control, DATA, 50)
    except PriseError as error:
        assert str(error)
