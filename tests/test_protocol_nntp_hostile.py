"""NNTP with servers that mean ill or err, and its parsers with whatever may come."""

from __future__ import annotations

import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import prise
from prise.errors import FrameError
from prise.protocols.nntp import NNTP, Group, Overview, decoded_header, yenc
from prise.protocols.nntp.compression import InflatingReader
from prise.protocols.nntp.data import read_overviews, wording
from prise.protocols.nntp.posting import dotted, ready_to_post
from prise.protocols.steps import Items
from prise.protocols.talk import Options
from prise.protocols.target import Target
from yenc_support import encoded, parts_of, whole

CAPABILITIES = b"101 c\r\nVERSION 2\r\nREADER\r\nOVER\r\nHDR\r\n.\r\n"
Script = dict[bytes, bytes]


def hostile(script: Script, greeting: bytes) -> Callable[[prise.Connection], None]:
    """A conversation that answers each command by what a table says. <cut> at its end: and cuts the connection."""
    script = {b"CAPABILITIES": CAPABILITIES, b"QUIT": b"205 bye\r\n", **script}

    def conversation(connection: prise.Connection) -> None:
        connection.send(greeting)
        held = b""
        for chunk in connection:
            held += chunk
            while b"\r\n" in held:
                line, _, held = held.partition(b"\r\n")
                answer = script.get(line, script.get(line.split()[0], b"500 what?\r\n"))
                connection.send(answer.removesuffix(b"<cut>"))
                if answer.endswith(b"<cut>"):
                    return

    return conversation


@contextmanager
def facing(
    script: Script, greeting: bytes = b"200 hello\r\n", place: str = "?tls=never", **more: Any
) -> Iterator[NNTP]:
    """A session with such a server."""
    with prise.listen(hostile(script, greeting), ":0", framing="chunks") as server:
        with prise.open(f"nntp://localhost:{server.address.port}/{place}", timeout=0.3, **more) as news:
            yield news


# -- coming in ---------------------------------------------------------------------------------------------------------


def test_an_endless_greeting() -> None:
    with pytest.raises(prise.MessageTooLarge):
        with facing({}, greeting=b"200 " + b"x" * 300_000):
            pass


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH\r\n", b"220 smtp\r\n", b"\r\n", b"20 \r\n", b"200hello\xff\r\n99\r\n"]
)
def test_a_greeting_of_another_protocol(greeting: bytes) -> None:
    with pytest.raises(prise.ProtocolError):
        with facing({}, greeting=greeting):
            pass


def test_a_server_that_lets_nobody_in() -> None:
    with pytest.raises(prise.Refused, match="502 not you"):
        with facing({}, greeting=b"502 not you\r\n"):
            pass
    script = {b"CAPABILITIES": b"101 c\r\nMODE-READER\r\n.\r\n", b"MODE": b"502 no readers here\r\n"}
    with pytest.raises(prise.Refused, match="no readers"):
        with facing(script):
            pass


def test_capabilities_without_end() -> None:
    with pytest.raises(prise.ProtocolError, match="1000 lines"):
        with facing({b"CAPABILITIES": b"101 c\r\n" + b"X\r\n" * 20_000}):
            pass


def test_silence_and_one_byte_now_and_then() -> None:
    with facing({b"DATE": b""}) as news, pytest.raises(prise.TooSlow, match=r"0\.3 s"):
        news.date()

    def slowly(connection: prise.Connection) -> None:
        while True:
            connection.send(b"2")
            try:
                if connection.receive(timeout=0.05) is None:
                    return
            except prise.TooSlow:
                continue

    with prise.listen(slowly, ":0", framing="chunks") as server:
        with pytest.raises(prise.TooSlow):
            prise.open(f"nntp://localhost:{server.address.port}/?tls=never", timeout=0.3).open()


# -- TLS and the login -------------------------------------------------------------------------------------------------


OFFERS_TLS = {b"CAPABILITIES": b"101 c\r\nREADER\r\nSTARTTLS\r\n.\r\n"}


def test_starttls_injection() -> None:
    with pytest.raises(prise.ProtocolError, match="in clear"):
        with facing({**OFFERS_TLS, b"STARTTLS": b"382 go\r\n281 you are in\r\n"}, place=""):
            pass


def test_starttls_that_is_offered_and_refused() -> None:
    with pytest.raises(prise.Refused, match="580"):
        with facing({**OFFERS_TLS, b"STARTTLS": b"580 cannot\r\n"}, place=""):
            pass


def test_a_password_is_not_sent_in_clear() -> None:
    with pytest.raises(prise.TLSError, match="tls=never"):
        with facing({}, place="", user="u", password="pw"):
            pass
    ask = lambda host, user: ("u", "pw")  # noqa: E731
    with facing({b"GROUP": b"480 who are you?\r\n"}, place="", ask=ask) as news:
        with pytest.raises(prise.TLSError, match="tls=never"):
            news.group("misc.test")


def sasl(*answers: bytes) -> Script:
    return {b"CAPABILITIES": b"101 c\r\nREADER\r\nAUTHINFO SASL\r\nSASL PLAIN\r\n.\r\n", b"AUTHINFO": answers[0]}


def test_a_login_by_sasl() -> None:
    said: list[str] = []
    with facing(sasl(b"281 welcome\r\n"), user="u", password="pw", trace=lambda _, line: said.append(line)) as news:
        assert news.group  # it is in
    assert "AUTHINFO SASL PLAIN ********" in said


def test_a_long_token_is_sent_once_the_server_asks_for_it() -> None:
    token = "t" * 600
    answer = b64encode(b"user=u\1auth=Bearer " + token.encode() + b"\1\1")
    script = {
        b"CAPABILITIES": b"101 c\r\nREADER\r\nAUTHINFO SASL\r\nSASL XOAUTH2\r\n.\r\n",
        b"AUTHINFO SASL XOAUTH2": b"383 =\r\n",
        answer: b"281 welcome\r\n",
    }
    with facing(script, user="u", token=token):
        pass


@pytest.mark.parametrize("answer", [b"383 ?not base64?\r\n", b"200 hm\r\n", b"383\r\n<cut>"])
def test_a_login_that_goes_astray(answer: bytes) -> None:
    with pytest.raises((prise.ProtocolError, prise.ConnectionLost)):
        with facing(sasl(answer), user="u", password="pw"):
            pass


def test_a_way_of_logging_in_that_is_not_offered() -> None:
    with pytest.raises(prise.LoginFailed, match="OAuth"):
        with facing({}, user="u", token="t"):
            pass
    with pytest.raises(prise.LoginFailed, match="CRAM-MD5"):
        with facing({}, user="u", password="pw", mechanism="CRAM-MD5"):
            pass


def test_a_server_that_wants_a_login_before_it_says_what_it_can() -> None:
    said: list[str] = []

    def conversation(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        known = False
        for line in connection:
            answers = {b"AUTHINFO USER u\r\n": b"281 ah, you\r\n", b"CAPABILITIES\r\n": CAPABILITIES}
            known = known or line.startswith(b"AUTHINFO")
            connection.send(answers.get(line, b"500 what?\r\n") if known else b"480 who are you?\r\n")

    with prise.listen(conversation, ":0", framing="chunks") as server:
        place = f"nntp://u:pw@localhost:{server.address.port}/?tls=never"
        with prise.open(place, timeout=0.3, trace=lambda _, line: said.append(line)) as news:
            assert "OVER" in news.capabilities
    assert [line for line in said if line in ("CAPABILITIES", "MODE READER")] == [
        "CAPABILITIES",
        "MODE READER",
        "CAPABILITIES",
    ]
    said.clear()
    script = {
        b"MODE": b"480 who?\r\n",
        b"AUTHINFO": b"281 ah, you\r\n",
        b"CAPABILITIES": b"101 c\r\nMODE-READER\r\n.\r\n",
    }
    with facing(script, user="u", password="pw", trace=lambda _, line: said.append(line)):
        assert said.count("MODE READER") == 2


def test_a_server_that_always_wants_a_login() -> None:
    script = {b"GROUP": b"480 who?\r\n", b"AUTHINFO": b"281 ah, you\r\n"}
    with facing(script, user="u", password="pw") as news:
        with pytest.raises(prise.LoginFailed, match="480"):
            news.group("misc.test")


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [b"211 1 1\r\n", b"211 one 1 1 g\r\n", b"211 -1 0 0 g\r\n", b"111 1 1 1 g\r\n", b"nonsense\r\n", b"\xff\r\n"],
)
def test_answers_of_no_protocol(answer: bytes) -> None:
    with facing({b"GROUP": answer}) as news:
        with pytest.raises(prise.ProtocolError):
            news.group("misc.test")
        with pytest.raises(prise.UsageError, match="open another"):
            news.date()


@pytest.mark.parametrize("answer", [b"111 yesterday\r\n", b"111 20261399000000\r\n", b"111\r\n"])
def test_dates_of_no_calendar(answer: bytes) -> None:
    with facing({b"DATE": answer}) as news, pytest.raises(prise.ProtocolError, match="no date"):
        news.date()


LISTS: dict[str, tuple[bytes, Callable[[NNTP], Any]]] = {
    "overviews": (b"OVER", lambda news: list(news.over((1, None)))),
    "entries": (b"OVER", lambda news: list(news.list("misc.test"))),
    "headers": (b"HDR", lambda news: list(news.hdr("Subject", (1, None)))),
    "numbers": (b"LISTGROUP", lambda news: list(news.numbers("misc.test"))),
    "groups": (b"LIST", lambda news: list(news.groups())),
    "counts": (b"LIST", lambda news: list(news.counts())),
    "times": (b"LIST", lambda news: list(news.times())),
    "new groups": (b"NEWGROUPS", lambda news: list(news.new_groups(datetime.now(UTC)))),
}
CODES = {b"OVER": b"224", b"HDR": b"225", b"LISTGROUP": b"211", b"LIST": b"215", b"NEWGROUPS": b"231"}
GROUP_ANSWER = b"211 9 1 9 misc.test\r\n"


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "line", [b"nonsense", b"x\ty", b"group x 1", b"group 99999999999999999999 x", b"group 99999999999999999 x"]
)
def test_lines_of_no_list(name: str, line: bytes) -> None:
    command, use = LISTS[name]
    with facing({b"GROUP": GROUP_ANSWER, command: CODES[command] + b" l\r\n" + line + b"\r\n.\r\n"}) as news:
        with pytest.raises(prise.ProtocolError, match="a line of the list|numbers were"):  # noqa: RUF043
            use(news)
        with pytest.raises(prise.UsageError, match="open another"):
            news.date()


@pytest.mark.parametrize("name", LISTS)
def test_lists_that_break_off_and_lines_without_end(name: str) -> None:
    command, use = LISTS[name]
    with facing({b"GROUP": GROUP_ANSWER, command: CODES[command] + b" l\r\n1<cut>"}) as news:
        with pytest.raises(prise.ConnectionLost):
            use(news)
    with facing({b"GROUP": GROUP_ANSWER, command: CODES[command] + b" l\r\n" + b"1" * 200_000}) as news:
        with pytest.raises(prise.MessageTooLarge):
            use(news)


def test_an_endless_list_is_never_held() -> None:
    """A caller who reads gets it piece by piece; what the library itself would hold has a bound."""
    endless = b"1\tsubject\r\n" * 150_000
    with facing({b"OVER": b"224 o\r\n" + endless}) as news:
        overviews = news.over((1, None))
        assert next(overviews).subject == "subject"
        overviews.close()
        with pytest.raises(prise.UsageError, match="open another"):
            news.date()
    with facing({b"HELP": b"100 h\r\n" + endless}) as news, pytest.raises(prise.ProtocolError, match="100000 lines"):
        news.help()


def test_what_is_held_has_a_bound_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.protocols.nntp.base.MOST_HELD", 1000)
    monkeypatch.setattr("prise.protocols.nntp.verbs.MOST_DESCRIBED", 1000)
    lines = b"group " + b"x" * 990 + b"\r\nand more\r\n.\r\n"
    with facing({b"HELP": b"100 h\r\n" + lines}) as news, pytest.raises(prise.MessageTooLarge, match="1000 bytes"):
        news.help()
    with facing({b"LIST": b"215 l\r\n" + lines}) as news, pytest.raises(prise.MessageTooLarge, match="1000 bytes"):
        news.list("")


def test_dots_that_are_not_doubled() -> None:
    with facing({b"ARTICLE": b"220 1 <a@b>\r\n.hidden\r\n.\r\n"}) as news:
        with pytest.raises(prise.ProtocolError, match="not doubled"):
            news.article(1).read()


def test_an_article_that_breaks_off() -> None:
    for use in (lambda news: news.article(1).read(), lambda news: list(news.articles([1, 2, 3]))):
        with facing({b"ARTICLE": b"220 1 <a@b>\r\nhalf<cut>"}) as news, pytest.raises(prise.ConnectionLost):
            use(news)


def test_a_no_among_many_answers_comes_behind_them() -> None:
    script = {
        b"ARTICLE": b"220 1 <a@b>\r\nx\r\n.\r\n",
        b"ARTICLE 3": b"403 broken\r\n",
        b"DATE": b"111 20260101000000\r\n",
    }
    with facing(script) as news:
        found = []
        with pytest.raises(prise.Refused, match="403 broken"):
            for each in news.articles(range(1, 200)):
                found.append(each)
        assert len(found) < 60, "nothing more was asked for"
        assert news.date().year == 2026


def test_an_answer_of_another_command_among_many_ends_them_at_once() -> None:
    with facing({b"ARTICLE": b"220 1 <a@b>\r\nx\r\n.\r\n", b"ARTICLE 3": b"215 a list\r\n"}) as news:
        with pytest.raises(prise.ProtocolError, match="answer 215"):
            list(news.articles(range(1, 200)))


def test_articles_that_are_left_early_are_not_asked_for_any_more() -> None:
    said: list[str] = []
    script = {b"ARTICLE": b"220 1 <a@b>\r\nx\r\n.\r\n", b"ARTICLE 9": b"430 no\r\n", b"DATE": b"111 20260101000000\r\n"}
    with facing(script, trace=lambda _, line: said.append(line)) as news:
        articles = news.articles(count(1))
        assert [next(articles).number, next(articles).number] == [1, 1]
        articles.close()
        assert news.date().year == 2026
    assert sum(line.startswith("ARTICLE") for line in said) < 40
    script[b"BODY"] = b"222 1 <a@b>\r\n=ybegin size=9 name=x\r\n" + b"x" * 50_000 + b"\r\n.\r\n"
    with facing(script) as news:
        bodies = news.articles(count(1), "body")
        assert len([next(bodies), next(bodies)]) == 2
        bodies.close()
        with pytest.raises(prise.UsageError, match="open another"):
            news.date()  # 1.5 MB were on their way: to cut is quicker than to read


def test_an_article_that_is_too_large_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.protocols.nntp.fetching.MOST_ARTICLE", 1000)
    script = {b"ARTICLE": b"220 1 <a@b>\r\n" + b"x\r\n" * 1000 + b".\r\n"}
    with facing(script) as news, pytest.raises(prise.MessageTooLarge, match="1000 bytes"):
        list(news.articles([1]))
    with facing(script) as news:
        assert len(news.article(1).read()) == 3000, "piece by piece there is no bound"


def test_the_last_none_and_all_since_ever() -> None:
    said: list[str] = []
    script = {b"GROUP": GROUP_ANSWER, b"NEWGROUPS": b"231 n\r\n.\r\n"}
    with facing(script, trace=lambda _, line: said.append(line)) as news:
        assert list(news.list("misc.test", last=0)) == []
        assert list(news.new_groups(datetime.min)) == list(news.new_groups(datetime.min.replace(tzinfo=UTC))) == []
    assert "NEWGROUPS 19700102 000000 GMT" in said


def test_a_file_that_cannot_be_read_is_no_reason_to_leave(tmp_path: Path) -> None:
    with facing({b"DATE": b"111 20260101000000\r\n"}) as news:
        with pytest.raises(FileNotFoundError):
            news.post(tmp_path / "missing")
        assert news.date().year == 2026
        news.close()
        news.close()
        with pytest.raises(prise.UsageError, match="is closed"):
            news.date()


def test_answers_without_number_and_id() -> None:
    with facing({b"ARTICLE": b"220\r\nx\r\n.\r\n", b"STAT": b"223 here\r\n"}) as news:
        (found,) = news.articles([7])
        assert (found.number, found.message_id, found.data) == (0, "", b"x\r\n")
        assert news.stat(7) == (0, "")


def test_the_servers_words_cannot_move_the_cursor() -> None:
    with facing({b"GROUP": b"411 \x1b[2Jgone\r\n"}) as news, pytest.raises(prise.NotFound) as caught:
        news.group("misc.test")
    assert "\x1b" not in str(caught.value)


def test_the_name_of_an_article_leads_nowhere_else() -> None:
    for told, name in (
        (b"0 <..\\..\\x@y>", "x@y.eml"),
        (b"0 <\x1b[2J/../x>", "\N{REPLACEMENT CHARACTER}[2J_.._x.eml"),
        (b"7 <a@b>", "7.eml"),
    ):
        with facing({b"ARTICLE": b"220 " + told + b"\r\nx\r\n.\r\n"}) as news:
            assert news.article("a@b").name == name


def test_names_and_descriptions_that_are_not_utf_8() -> None:
    script = {
        b"LIST NEWSGROUPS caf*": b"215 d\r\ncaf\xe9\tLes caf\xe9s\r\n.\r\n",
        b"LIST ACTIVE caf*": b"215 g\r\ncaf\xe9 2 1 y\r\n.\r\n",
        b"GROUP caf\xe9": b"211 2 1 2 caf\xe9\r\n",
        b"POST": b"340 go\r\n",
        b"Newsgroups: caf\xe9": b"240 posted\r\n",
    }
    with facing(script) as news:
        (entry,) = news.list("caf*")
        assert entry.title == "Les cafés"
        assert news.group(entry.name).articles == 2
        with pytest.raises(prise.UsageError, match="surrogate"):
            news.group("caf\ud800")
        assert news.group(entry.name).name == entry.name


def test_a_line_end_cannot_become_a_command() -> None:
    with facing({}) as news:
        for use in (
            lambda: news.group("a\r\nPOST"),
            lambda: news.group("a b"),
            lambda: news.hdr("Subject\r\nPOST", 1),
            lambda: news.hdr("Subject 1-9", 1),
            lambda: news.hdr("", 1),
            lambda: news.put("misc.test\r\nX: y", b"From: a\nSubject: b\n\n"),
            lambda: news.stat("1\r\nPOST"),
            lambda: news.list_lines("ACTIVE\nPOST"),
            lambda: news.new_news("*\r\nPOST", datetime.now(UTC)),
        ):
            with pytest.raises(prise.UsageError):
                use()
    with facing({}, place="misc.test%0d%0aPOST?tls=never") as news:
        places: list[Any] = [news.list, news.group, news.get, lambda: news.put(None, b"")]
        for use in places:
            with pytest.raises(prise.AddressError, match="line ends"):
                use()


# -- compression -------------------------------------------------------------------------------------------------------


OFFERS_DEFLATE = b"101 c\r\nREADER\r\nCOMPRESS DEFLATE\r\n.\r\n"


def deflated(data: bytes) -> bytes:
    deflate = zlib.compressobj(9, wbits=-15)
    return deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)


@contextmanager
def compressed(answer: bytes) -> Iterator[NNTP]:
    """A session with a server that gives this to the first thing it is asked when compression is on."""

    def conversation(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        assert connection.receive(5) == b"CAPABILITIES\r\n"
        connection.send(OFFERS_DEFLATE)
        assert connection.receive(5) == b"COMPRESS DEFLATE\r\n"
        connection.send(b"206 go\r\n")
        connection.receive(5)
        connection.send(answer)
        connection.receive(5)

    with prise.listen(conversation, ":0", framing="chunks") as server:
        place = f"nntp://localhost:{server.address.port}/?tls=never"
        with prise.open(place, timeout=0.3, compress=True) as news:
            yield news


def test_a_little_that_becomes_a_lot_is_inflated_piece_by_piece() -> None:
    bomb = deflated(b"224 o\r\n" + b"1\t" + b"x" * 5_000_000)
    assert len(bomb) < 10_000
    with compressed(bomb) as news, pytest.raises(prise.MessageTooLarge):
        list(news.over((1, None)))


def test_what_is_held_meanwhile_counts_as_what_it_was_before_it_was_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prise.protocols.contents.MOST_HELD", 100_000)
    with compressed(deflated(b"224 o\r\n" + b"1\tsubject\r\n" * 100_000)) as news:
        overviews = news.over((1, None))
        next(overviews)
        with pytest.raises(prise.UsageError, match="a long answer"):
            news.date()


def test_what_is_not_compressed_after_all() -> None:
    with compressed(b"\xff\xff 224 in clear\r\n") as news, pytest.raises(prise.ProtocolError, match="not compressed"):
        news.group("misc.test")
    script = {b"CAPABILITIES": OFFERS_DEFLATE, b"COMPRESS": b"206 go\r\n224 more\r\n"}
    with pytest.raises(prise.ProtocolError, match="more behind"):
        with facing(script, compress=True):
            pass


def test_compression_that_is_not_offered_or_refused_is_not_missed() -> None:
    script = {b"CAPABILITIES": OFFERS_DEFLATE, b"COMPRESS": b"403 no memory\r\n", b"GROUP": GROUP_ANSWER}
    for each in ({}, script):
        with facing(each, compress=True) as news:
            assert not news.compressed
    with facing(script, compress=True) as news:
        assert news.group("misc.test").articles == 9


@settings(max_examples=50)
@given(st.binary(max_size=5000), st.integers(1, 50))
def test_inflating_in_any_pieces(data: bytes, step: int) -> None:
    reader = InflatingReader()
    packed = deflated(data)
    pieces = iter([packed[at : at + step] for at in range(0, len(packed), step)])
    found = b""
    while len(found) < len(data):
        found += driven(reader.rest(), pieces)
    assert found == data


# -- without a server --------------------------------------------------------------------------------------------------


def driven(steps: Any, pieces: Iterator[bytes]) -> Any:
    """The result of a procedure that receives these pieces; Items are added up."""
    items: list[Any] = []
    answer: Any = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as end:
            return items if items else end.value
        answer = next(pieces, b"") if step is None else None
        if isinstance(step, Items):
            items += step.values


def talk() -> NNTP:
    news = NNTP(Target.parse("nntp://localhost/misc.test"), Options())
    news.capabilities = {"OVER": [], "READER": []}
    return news


def test_a_conversation_byte_by_byte() -> None:
    """The protocol needs no socket: it is a generator, and this test moves its bytes."""
    said = b"211 2 1 2 misc.test\r\n224 o\r\n1\ta\r\n2\tb\r\n.\r\n220 1 <a@b>\r\n..x\r\n.\r\n"
    pieces = iter([bytes([byte]) for byte in said])
    news = talk()
    assert driven(news.group.steps(), pieces) == Group("misc.test", 2, 1, 2)
    overviews = driven(driven(news.over.steps((1, 2)), pieces).steps, pieces)
    assert overviews == [Overview(1, ["a"]), Overview(2, ["b"])]
    assert b"".join(driven(driven(news.article.steps(1), pieces).steps, pieces)) == b".x\r\n"
    assert next(pieces, None) is None


@settings(max_examples=50)
@given(st.lists(st.binary(min_size=1, max_size=60), max_size=8))
def test_whatever_comes_ends_in_a_named_error(pieces: list[bytes]) -> None:
    for begin in (b"", b"224 o\r\n", b"224 o\r\n1\ta\tb\r\n"):
        news = talk()
        came = iter([begin, *pieces, b"\r\n.\r\n"])
        try:
            driven(driven(news.over.steps((1, 2)), came).steps, came)
        except prise.PriseError as error:
            assert str(error)


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_overview_can_be_looked_at(line: bytes) -> None:
    line = line.replace(b"\n", b"")
    (overview,) = read_overviews([b"1\t" + line])
    looked_at = (overview.subject, overview.from_, overview.date, overview.references, overview.bytes, overview.lines)
    assert len(looked_at) == 6
    assert isinstance(overview.other, dict)
    overview.subject.encode()


def test_headers_of_the_wild() -> None:
    assert decoded_header("=?utf-8?b?5pel5pys?= =?iso-8859-1?q?_caf=E9?=") == "日本 café"
    assert decoded_header("caf\udce9") == "café", "Latin-1, unlabelled"
    assert decoded_header("=?utf-7?q?+2AA-?=") == "?", "half of a surrogate pair"
    for text in ("=?\udcff?q?a?=", "=?no-such-charset?q?a?=", "=?utf-8?b?!!!?=", "=?", "=?utf-8?q?=ff?="):
        assert isinstance(decoded_header(text), str)
    assert Overview(1, ["", "", "no date"]).date is None
    assert Overview(1, []).message_id == ""
    assert Overview(1, ["", "", "", "", "", "-1", "x"]).bytes is None


def test_articles_are_named_in_many_ways() -> None:
    names = {None: "", 5: "5", "5": "5", "5-": "5-", "5-9": "5-9", (5, 9): "5-9", (5, None): "5-", range(5, 9): "5-8"}
    names |= {"<a@b>": "<a@b>", "a@b": "<a@b>"}
    assert {which: wording(which) for which in names} == names


@settings(max_examples=50)
@given(st.binary(max_size=500))
def test_dots_are_doubled_and_the_end_is_a_line_of_its_own(body: bytes) -> None:
    article = ready_to_post(b"From: a\nSubject: b\nNewsgroups: c\n\n" + body, None)
    sent = dotted(article)
    assert sent.endswith(b"\r\n.\r\n")
    assert b"\r\n.\r\n" not in sent[:-3]
    reader = talk().reader
    pieces = iter([sent + b"rest"])
    found = b""
    while (piece := driven(reader.dotted(), pieces)) is not None:
        found += piece
    assert found == article
    assert reader.pending == 4


# -- yEnc --------------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.binary(max_size=3000), st.integers(1, 2000), st.integers(1, 500))
def test_yenc_in_any_pieces(data: bytes, part: int, step: int) -> None:
    text = b"".join(b"Subject: x\r\n\r\ntext\r\n" + each for each in parts_of(data, "a file", part)) or whole(
        data, "a file"
    )
    decoder = yenc.Decoder()
    found = b"".join(decoder.feed(text[at : at + step]) for at in range(0, len(text), step))
    decoder.finish()
    assert found == data
    assert (decoder.name, decoder.size) == ("a file", len(data))
    assert yenc.decode(whole(data, "a file")) == data


@settings(max_examples=50)
@given(st.binary(max_size=200), st.data())
def test_yenc_that_was_damaged_is_found_out(data: bytes, draw: st.DataObject) -> None:
    text = bytearray(whole(data + b"end", "x"))
    at = draw.draw(st.integers(0, len(text) - 3))
    text[at] ^= draw.draw(st.integers(1, 255))
    try:
        found = yenc.decode(bytes(text))
    except FrameError as error:
        assert str(error)
    else:
        assert found == data + b"end", "the damage was in the name, or in a line end"


YENC_ERRORS = {
    "no line begins with =ybegin": b"hello\r\n",
    "no number for size": b"=ybegin line=128 name=x\r\n",
    "there is no =yend": b"=ybegin line=128 size=3 name=x\r\nabc\r\n",
    "3 bytes were to come, and 2 came": b"=ybegin line=128 size=3 name=x\r\nab\r\n=yend size=3\r\n",
    "is damaged": b"=ybegin line=128 size=1 name=x\r\na\r\n=yend size=1 crc32=00000000\r\n",
    "with nothing behind it": b"=ybegin line=128 size=1 name=x\r\na=\r\n=yend size=1\r\n",
    "belongs to another file": b"=ybegin size=0 name=x\r\n=yend size=0\r\n=ybegin size=1 name=y\r\n",
    "part missing": b"=ybegin part=2 size=9 name=x\r\n=ypart begin=4 end=9\r\n",
}


@pytest.mark.parametrize("words", YENC_ERRORS)
def test_what_is_wrong_with_yenc_has_a_name(words: str) -> None:
    with pytest.raises(FrameError, match=words):
        yenc.decode(YENC_ERRORS[words])


def test_an_escape_that_is_cut_by_the_end_of_its_line_is_wrong_however_it_arrives() -> None:
    """Read as a whole it used to go on in the next line; read line by line it did not."""
    text = b"=ybegin line=128 size=2 name=x\r\na=\r\nM\r\n=yend size=2\r\n"
    with pytest.raises(FrameError, match="with nothing behind it"):
        yenc.decode(text)
    decoder = yenc.Decoder()
    with pytest.raises(FrameError, match="with nothing behind it"):
        for line in text.splitlines(keepends=True):
            decoder.feed(line)


def test_a_control_line_of_one_long_word_takes_no_time_by_its_square() -> None:
    begin = time.thread_time()
    with pytest.raises(FrameError, match="no number for size"):
        yenc.decode(b"=ybegin " + b"a" * 60_000 + b"\r\n")
    assert time.thread_time() - begin < 2  # each of its letters tried anew: over ten
    with pytest.raises(FrameError, match="more than 65536 bytes"):
        yenc.decode(b"=ybegin " + b"a" * 70_000 + b"\r\n")


def test_a_part_that_ends_before_it_begins() -> None:
    decoder = yenc.Decoder()
    decoder.feed(b"=yend size=1\r\n=ybegin part=1 size=9 name=x\r\n=ypart begin=1 end=5\r\nabcde\r\n=yend size=5\r\n")
    with pytest.raises(FrameError, match="-2 bytes were to come"):
        decoder.feed(b"=ybegin part=2 size=9 name=x\r\n=ypart begin=6 end=3\r\nabcd\r\n=yend size=4\r\n")


def test_a_line_that_is_not_ours_may_be_as_long_as_it_likes_and_others_not() -> None:
    decoder = yenc.Decoder()
    for _ in range(10):
        assert decoder.feed(b"x" * 50_000) == b""
    assert decoder.feed(b"\r\n" + whole(b"data", "x")) == b"data"
    decoder = yenc.Decoder()
    decoder.feed(b"=ybegin size=900000 name=x\r\n")
    with pytest.raises(FrameError, match="a line of yEnc has more"):
        for _ in range(10):
            decoder.feed(b"x" * 50_000)


def test_the_name_of_a_file_leads_nowhere_else() -> None:
    for name, safe in (("../../etc/passwd", "passwd"), ("C:\\x\\y.txt", "y.txt"), ('"a b"', "a b"), ("..", "file")):
        decoder = yenc.Decoder()
        decoder.feed(whole(b"", name))
        assert decoder.name == safe
    decoder.feed(b"")


def test_a_file_that_is_none() -> None:
    with facing({b"BODY": b"222 1 <a@b>\r\njust text\r\n.\r\n"}) as news:
        with pytest.raises(prise.NotFound, match="yEnc"):
            news.file([1, 2])
        with pytest.raises(prise.NotFound, match="yEnc"):
            news.file([])
    script = {
        b"BODY": b"222 1 <a@b>\r\njust text\r\n.\r\n",
        b"BODY 1": b"423 no\r\n",
        b"DATE": b"111 20260101000000\r\n",
    }
    with facing(script) as news:
        with pytest.raises(prise.NotFound, match="yEnc"):
            news.file(range(1, 40))
        assert news.date().year == 2026, "nothing else was on its way"
    lines = encoded(Random(0).randbytes(100)) + b"=yend size=100\r\n"
    dots = lines.replace(b"\r\n.", b"\r\n..")
    body = b"222 1 <a@b>\r\n=ybegin size=100 name=x\r\n" + (b"." if dots.startswith(b".") else b"") + dots + b".\r\n"
    with facing({b"BODY <12@b>": body}) as news:
        assert news.file(["<12@b>"]).read() == news.file("<12@b>").read() == Random(0).randbytes(100)
