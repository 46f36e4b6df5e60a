"""`prise.compat.nntplib` does what Python's `nntplib` did: the same tests for both, where Python still has it."""

from __future__ import annotations

import asyncio
import importlib
import io
import ssl
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import prise
import prise.compat
from prise.compat import nntplib as ours
from real_servers.inn import Inn
from real_servers.sn import Sn

GROUP = "local.t40"


def of_python() -> list[ModuleType]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return [importlib.import_module("nntplib")] if sys.version_info < (3, 13) else []


MODULES = [ours, *of_python()]


@pytest.fixture(params=MODULES, ids=lambda module: module.__name__)
def nntplib(request: pytest.FixtureRequest) -> ModuleType:
    module: ModuleType = request.param
    return module


ARTICLE = (
    "From: =?utf-8?q?Ren=C3=A9?= <a@example.org>\r\nNewsgroups: {group}\r\nSubject: article {number}\r\n"
    "Message-ID: <compat.{number}@example.org>\r\nReferences: <a@example.org> <b@example.org>\r\n\r\n"
    ".dot\r\n..\r\nhéllo\r\n"
)


@pytest.fixture(scope="session")
def posted(inn: Inn) -> Inn:
    """INN with three articles in GROUP."""
    with ours.NNTP(inn.host, inn.port) as news:
        for number in (1, 2, 3):
            news.post(ARTICLE.format(group=GROUP, number=number).encode())
    return inn


@pytest.fixture
def news(nntplib: ModuleType, posted: Inn) -> Iterator[Any]:
    with nntplib.NNTP(posted.host, posted.port, timeout=10) as news:
        yield news


@pytest.fixture
def old(nntplib: ModuleType, sn: Sn) -> Iterator[Any]:
    with nntplib.NNTP(sn.host, sn.port, timeout=10) as news:
        yield news


def outcome(call: Callable[[], object]) -> object:
    """What a call gives, or how it fails."""
    try:
        return call()
    except Exception as error:
        return type(error).__name__, error.args


SINCE = datetime(2020, 1, 1, 12, 30)

CALLS: dict[str, Callable[[Any], object]] = {
    "getwelcome": lambda news: news.getwelcome(),
    "getcapabilities": lambda news: news.getcapabilities(),
    "capabilities": lambda news: news.capabilities(),
    "version": lambda news: (news.nntp_version, news.nntp_implementation),
    "list": lambda news: news.list(),
    "list pattern": lambda news: news.list("local.t*"),
    "newgroups": lambda news: news.newgroups(SINCE),
    "newgroups of a date": lambda news: news.newgroups(SINCE.date()),
    "newgroups of a text": lambda news: news.newgroups("20200101"),
    "newnews": lambda news: news.newnews("local.test", SINCE),
    "description": lambda news: news.description("local.test"),
    "description of nothing": lambda news: news.description("no.such"),
    "descriptions": lambda news: news.descriptions("local.*"),
    "help": lambda news: news.help(),
    "no group yet": lambda news: news.article(1),
    "no such group": lambda news: news.group("no.such"),
    "empty group": lambda news: news.group("local.empty"),
    "slave": lambda news: news.slave(),
}
IN_GROUP: dict[str, Callable[[Any, int, str], object]] = {
    "stat": lambda news, number, name: news.stat(number),
    "stat the current one": lambda news, number, name: news.stat(),
    "stat by id": lambda news, number, name: news.stat(name),
    "stat nothing": lambda news, number, name: news.stat(4711),
    "next": lambda news, number, name: news.next(),
    "last": lambda news, number, name: news.last(),
    "before the first": lambda news, number, name: news.last(),
    "head": lambda news, number, name: news.head(number),
    "head by text": lambda news, number, name: news.head(str(number)),
    "body": lambda news, number, name: news.body(number),
    "body by id": lambda news, number, name: news.body(name),
    "article": lambda news, number, name: news.article(number),
    "article the current one": lambda news, number, name: news.article(),
    "no such article": lambda news, number, name: news.article(4711),
    "no such id": lambda news, number, name: news.article("<no@such.example>"),
    "xhdr": lambda news, number, name: news.xhdr("subject", f"{number}-{number + 2}"),
    "xhdr by id": lambda news, number, name: news.xhdr("subject", name),
    "xover": lambda news, number, name: news.xover(number, number + 1),
    "xover of nothing": lambda news, number, name: news.xover(4711, 4712),
    "over": lambda news, number, name: news.over((number, number + 1)),
    "over open": lambda news, number, name: news.over((number, None)),
    "over the current one": lambda news, number, name: news.over(None),
    "over by id": lambda news, number, name: news.over(name),
}


def transcript(module: ModuleType, server: Inn | Sn, group: str) -> dict[str, object]:
    """What a session of all these calls gives."""
    with module.NNTP(server.host, server.port, timeout=10) as news:
        calls = dict(CALLS)
        if isinstance(server, Sn):
            del calls["no group yet"]  # it falls over
        found = {name: outcome(lambda call=call: call(news)) for name, call in calls.items()}  # type: ignore[misc]
        _, count, first, last, name = news.group(group)
        _, overviews = news.over((first, last))
        identity = overviews[0][1]["message-id"]
        found["group"] = (count, first, last, name)
        found |= {
            name: outcome(lambda call=call: call(news, first, identity))  # type: ignore[misc]
            for name, call in IN_GROUP.items()
        }
        found["quit"] = news.quit()
    return found


@pytest.mark.parametrize("server", ["inn", "sn"])
def test_each_method_gives_and_raises_what_that_of_python_does(
    server: str, posted: Inn, sn: Sn, request: pytest.FixtureRequest
) -> None:
    real: Inn | Sn = posted if server == "inn" else sn
    group = GROUP if server == "inn" else "local.test"
    found = transcript(ours, real, group)
    for module in MODULES[1:]:
        expected = transcript(module, real, group)
        assert found == expected
        types = {name: [type(each) for each in value] for name, value in found.items() if isinstance(value, tuple)}
        for name, value in expected.items():
            if isinstance(value, tuple):
                assert [kind.__name__ for kind in types[name]] == [type(each).__name__ for each in value], name
    assert found["no such group"][0] == "NNTPTemporaryError"  # type: ignore[index]


def test_groups_and_articles(nntplib: ModuleType, news: Any) -> None:
    response, count, first, last, name = news.group(GROUP)
    assert response.startswith("211 ")
    assert (count, first, last, name) == (3, 1, 3, GROUP)
    response, (number, message_id, lines) = news.article(1)
    assert (number, message_id) == (1, "<compat.1@example.org>")
    assert lines[-3:] == [b".dot", b"..", "héllo".encode()]
    _, info = news.head("<compat.2@example.org>")
    assert b"Subject: article 2" in info.lines
    _, overviews = news.over((1, None))
    assert [number for number, _ in overviews] == [1, 2, 3]
    assert nntplib.decode_header(overviews[0][1]["from"]) == "René <a@example.org>"
    assert overviews[0][1][":lines"] == "3"
    assert overviews[0][1]["xref"].endswith(f"{GROUP}:1")
    response, groups = news.list("local.empty")
    assert groups == [("local.empty", "0000000000", "0000000001", "y")]
    assert groups[0].flag == "y"


def test_the_clock_of_the_server(news: Any) -> None:
    response, when = news.date()
    assert response.startswith("111 ")
    assert when.tzinfo is None
    assert abs(when.replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


def test_results_go_into_a_file(news: Any, tmp_path: Path) -> None:
    news.group(GROUP)
    kept = io.BytesIO()
    _, info = news.body(1, file=kept)
    assert info.lines == []
    assert kept.getvalue() == ".dot\r\n..\r\nhéllo\r\n".encode()
    path = tmp_path / "overviews"
    _, overviews = news.over((1, 2), file=str(path))
    assert overviews == []
    assert path.read_bytes().count(b"\r\n") == 2


SHAPES: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "a file": io.BytesIO,
    "lines": lambda data: data.splitlines(),
    "lines with their ends": lambda data: iter(data.splitlines(keepends=True)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_can_be_posted(nntplib: ModuleType, news: Any, shape: str) -> None:
    number = f"{nntplib.__name__}.{shape.replace(' ', '.')}"
    data = ARTICLE.format(group="local.t41", number=number).replace("\r\n", "\n").encode()
    assert news.post(SHAPES[shape](data)).startswith("240 ")
    _, info = news.body(f"<compat.{number}@example.org>")
    assert info.lines == [b".dot", b"..", "héllo".encode()]


def test_what_is_no_article_is_refused(nntplib: ModuleType, news: Any) -> None:
    with pytest.raises(nntplib.NNTPTemporaryError, match="441 "):
        news.post(b"hello")


def test_an_article_is_offered_by_one_server_to_another(nntplib: ModuleType, inn: Inn) -> None:
    name = f"<feed.{nntplib.__name__}@example.org>"
    article = (
        f"Path: x\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: {name}\r\n"
        "From: a@example.org\r\nNewsgroups: local.t42\r\nSubject: fed\r\n\r\nhello\r\n"
    )
    with nntplib.NNTP(inn.host, inn.feed_port) as feed:
        assert feed.ihave(name, article.encode()).startswith("235 ")
        with pytest.raises(nntplib.NNTPTemporaryError, match="435 "):
            feed.ihave(name, article.encode())


def test_a_reader_at_a_server_for_servers(nntplib: ModuleType, inn: Inn) -> None:
    with nntplib.NNTP(inn.host, inn.feed_port, readermode=True) as news:
        assert "READER" in news.getcapabilities()
        assert "NNRP" in news.getwelcome()


def test_the_login(nntplib: ModuleType, inn: Inn) -> None:
    with nntplib.NNTP(inn.host, inn.login_port, "u", "pw") as news:
        assert news.group("local.members")[4] == "local.members"
        # Python's own module forgot to remember that it had logged in, and asked the server.
        with pytest.raises((ValueError, nntplib.NNTPPermanentError), match=r"Already (logged in|authenticated)"):
            news.login("u", "pw")
        with pytest.raises((ValueError, nntplib.NNTPPermanentError)):
            news.starttls()
    with nntplib.NNTP(inn.host, inn.login_port) as news:
        with pytest.raises(nntplib.NNTPTemporaryError, match="480 "):
            news.group("local.members")
        with pytest.raises(ValueError, match="At least one of"):
            news.login(usenetrc=False)
        with pytest.raises(nntplib.NNTPTemporaryError, match="481 ") as caught:
            news.login("u", "wrong")
        assert caught.value.response.startswith("481 ")
        assert isinstance(caught.value, nntplib.NNTPError)


def test_the_login_of_netrc(nntplib: ModuleType, inn: Inn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with nntplib.NNTP(inn.host, inn.login_port, usenetrc=True) as news:
        with pytest.raises(nntplib.NNTPTemporaryError, match="480 "):
            news.group("local.members")
    (tmp_path / ".netrc").write_text(f"machine {inn.host} login u password pw\n")
    (tmp_path / ".netrc").chmod(0o600)
    with nntplib.NNTP(inn.host, inn.login_port, usenetrc=True) as news:
        assert news.group("local.members")[4] == "local.members"


def test_tls_from_the_start_and_later(nntplib: ModuleType, inn: Inn) -> None:
    context = ssl.create_default_context(cafile=str(inn.ca))
    with nntplib.NNTP_SSL("localhost", inn.tls_port, ssl_context=context) as news:
        assert news.group("local.test")[0].startswith("211 ")
        with pytest.raises((ValueError, nntplib.NNTPPermanentError), match=r"[Aa]lready"):
            news.starttls(context)
    with nntplib.NNTP("localhost", inn.port) as news:
        news.starttls(context)
        assert "STARTTLS" not in news.getcapabilities()
        assert news.group("local.test")[0].startswith("211 ")
    with pytest.raises(ssl.SSLError):
        nntplib.NNTP_SSL("localhost", inn.tls_port, ssl_context=ssl.create_default_context())


def scripted(answers: dict[str, str], encoding: str = "utf-8") -> Callable[[prise.Connection], None]:
    """A conversation that answers lines by what a table says, and 500 to all others."""

    def conversation(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        held = ""
        for chunk in connection:
            *lines, held = (held + chunk.decode(encoding)).split("\r\n")
            for line in lines:
                answer = answers.get(line, "205 bye" if line == "QUIT" else "500 what?")
                connection.send(answer.replace("\n", "\r\n").encode(encoding) + b"\r\n")

    return conversation


def test_nobody_there_and_somebody_who_leaves(nntplib: ModuleType) -> None:
    with pytest.raises(ConnectionRefusedError):
        nntplib.NNTP("127.0.0.1", 1)
    with pytest.raises(OSError, match=r"."):
        nntplib.NNTP("no-such-host.invalid")
    with pytest.raises(ValueError, match="timeout=0"):
        nntplib.NNTP("127.0.0.1", 1, timeout=0)

    def leaves(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        connection.receive(5)

    with prise.listen(leaves, ":0", framing="chunks") as server:
        with pytest.raises(EOFError):
            nntplib.NNTP("127.0.0.1", server.address.port)


def test_answers_of_no_protocol(nntplib: ModuleType) -> None:
    answers = {
        "DATE": "111 yesterday",
        "GROUP a": "340 go ahead",
        "STAT": "999 ?",
        "HELP": "205 bye",
        "QUIT": "205 bye",
    }

    def silent(connection: prise.Connection) -> None:
        connection.receive(5)

    with prise.listen(scripted(answers), ":0", framing="chunks") as server:
        with nntplib.NNTP("127.0.0.1", server.address.port, timeout=5) as news:
            for call, kind in (
                (news.date, nntplib.NNTPDataError),
                (lambda: news.group("a"), nntplib.NNTPReplyError),
                (news.stat, nntplib.NNTPProtocolError),
                (news.help, nntplib.NNTPReplyError),
                (news.next, nntplib.NNTPPermanentError),
            ):
                with pytest.raises(kind):
                    call()
    with prise.listen(silent, ":0", framing="chunks") as server:
        with pytest.raises(TimeoutError):
            nntplib.NNTP("127.0.0.1", server.address.port, timeout=0.1)


FIELDS = "Subject:\nFrom:\nDate:\nMessage-ID:\nReferences:\n"
OVERVIEW = "1\ts\tf\td\t<m@x>\t\t10\t2"
FORMATS = {
    "none": ("503 no", OVERVIEW + "\tXref: a b:1"),
    "old names": ("215 f\n" + FIELDS + "Bytes:\nLines:\nXref:full\n.", OVERVIEW + "\tXref: a b:1"),
    "new names": ("215 f\n" + FIELDS + ":bytes\n:lines\nXref:full\nTo:full\n.", OVERVIEW + "\txref: a b:1\t"),
    "more than it said": ("215 f\n" + FIELDS + "Bytes:\nLines:\n.", OVERVIEW + "\tXref: a b:1"),
    "metadata": ("215 f\n" + FIELDS + ":bytes\n:lines\n:score\n.", OVERVIEW + "\t17"),
    "too short": ("215 f\nSubject:\n.", OVERVIEW),
    "others": ("215 f\n" + FIELDS.replace("From:", "Form:") + "Bytes:\nLines:\n.", OVERVIEW),
    "no name": ("215 f\n" + FIELDS + "Bytes:\nLines:\nXref:full\n.", OVERVIEW + "\ta b:1"),
    "less": ("215 f\n" + FIELDS + "Bytes:\nLines:\nXref:full\n.", "1\ts\tf"),
    "no number": ("503 no", "x\ts\tf"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_overviews_of_all_kinds(name: str) -> None:
    format, line = FORMATS[name]
    answers = {"LIST OVERVIEW.FMT": format, "XOVER 1-2": f"224 o\n{line}\n."}
    found = []
    for module in MODULES:
        with prise.listen(scripted(answers), ":0", framing="chunks") as server:
            with module.NNTP("127.0.0.1", server.address.port, timeout=5) as news:
                found.append(outcome(lambda news=news: news.xover(1, 2)))  # type: ignore[misc]
    assert all(each == found[0] for each in found), found
    if name in ("too short", "others", "no name"):
        assert found[0][0] == "NNTPDataError"  # type: ignore[index]


def test_a_server_that_wants_a_login_before_it_becomes_one_for_readers(nntplib: ModuleType) -> None:
    answers = {
        "mode reader": "480 who are you?",
        "authinfo user u": "381 password?",
        "authinfo pass pw": "281 welcome",
        "authinfo user v": "281 no need for one",
    }
    with prise.listen(scripted(answers), ":0", framing="chunks") as server:
        port = server.address.port
        with nntplib.NNTP("127.0.0.1", port, readermode=True) as news:
            assert news.readermode_afterauth
            with pytest.raises(nntplib.NNTPReplyError, match="381"):
                news.login("u")
        with nntplib.NNTP("127.0.0.1", port, "v", "pw"):
            pass
        with nntplib.NNTP("127.0.0.1", port, "u", "pw", readermode=True) as news:
            assert news.readermode_afterauth, "it was tried again behind the login"


def test_a_line_end_in_an_argument_is_no_second_command(inn: Inn) -> None:
    with ours.NNTP(inn.host, inn.port) as news:
        with pytest.raises(ValueError, match="line ends"):
            news.group("local.test\r\nPOST")
        assert news.group("local.test")[4] == "local.test"


def test_a_password_with_a_line_end_is_not_shown(inn: Inn) -> None:
    with ours.NNTP(inn.host, inn.login_port) as news, pytest.raises(ValueError, match="line ends") as caught:
        news.login("u", "secret\n")
    assert "secret" not in str(caught.value)


def test_what_fails_on_this_side_leaves_no_answer_unread(posted: Inn, tmp_path: Path) -> None:
    with ours.NNTP(posted.host, posted.port) as news:
        news.group(GROUP)
        with pytest.raises(FileNotFoundError):
            news.article(1, file=str(tmp_path / "no folder" / "file"))
        assert news.stat(2)[1] == 2
        news.body(1, file=bytes(tmp_path / "body"))
        assert (tmp_path / "body").read_bytes() == ".dot\r\n..\r\nhéllo\r\n".encode()
        with pytest.raises(ZeroDivisionError):
            news.post(b"%d" % (1 // number) for number in (1, 0))
        with pytest.raises(EOFError):
            news.stat(1)  # it waits for an article, and would have taken this for a line of it
    news = ours.NNTP(posted.host, posted.port)
    news.quit()
    with pytest.raises(ValueError, match="is closed"):
        news.group(GROUP)


def test_another_encoding(nntplib: ModuleType) -> None:
    answers = {"GROUP café": "211 1 1 1 café"}
    with prise.listen(scripted(answers, "latin-1"), ":0", framing="chunks") as server:
        with nntplib.NNTP("127.0.0.1", server.address.port, timeout=5) as news:
            news.encoding = "latin-1"
            assert news.group("café")[4] == "café"


def test_commands_that_the_module_does_not_know(news: Any) -> None:
    """Programs used the three private methods for them."""
    assert news._shortcmd(f"GROUP {GROUP}").startswith("211 3 1 3")
    assert news._longcmd("LISTGROUP")[1] == [b"1", b"2", b"3"]
    assert news._longcmdstring("LIST MOTD")[1] == ["Be kind."]


def test_a_cell_of_a_notebook_runs_in_an_event_loop(nntplib: ModuleType, posted: Inn) -> None:
    async def cell() -> str:
        with nntplib.NNTP(posted.host, posted.port) as news:
            return str(news.group(GROUP)[4])

    assert asyncio.run(cell()) == GROUP


def test_the_debug_output_shows_commands_without_the_password(inn: Inn, capsys: pytest.CaptureFixture[str]) -> None:
    with ours.NNTP(inn.host, inn.port) as news:
        news.set_debuglevel(1)
        news.login("u", "pw")
    said = capsys.readouterr().out
    assert "*cmd* 'authinfo user u'" in said
    assert "*resp* '281 " in said
    assert "pass pw" not in said


PROGRAM = """
import prise.compat
prise.compat.install()
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import nntplib
with nntplib.NNTP("{host}", {port}) as news:
    response, count, first, last, name = news.group("{group}")
    response, overviews = news.over((first, last))
    for number, over in overviews:
        print(nntplib.__name__, number, nntplib.decode_header(over["subject"]))
"""


def test_an_old_program_runs_unchanged(posted: Inn) -> None:
    program = PROGRAM.format(host=posted.host, port=posted.port, group=GROUP)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    module = "nntplib" if sys.version_info < (3, 13) else "prise.compat.nntplib"
    assert done.stdout.splitlines() == [f"{module} {number} article {number}" for number in (1, 2, 3)]


def test_install_leaves_python_s_own_modules_alone() -> None:
    before = list(sys.meta_path)
    try:
        assert prise.compat.install() == prise.compat.install()
        assert ("nntplib" in prise.compat.install()) == (sys.version_info >= (3, 13))
    finally:
        sys.meta_path[:] = before
