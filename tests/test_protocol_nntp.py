"""NNTP against INN, and against sn, a server from before RFC 3977."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

import prise
from prise.protocols.nntp import NNTP, Group, Overview
from real_servers.inn import Inn
from real_servers.sn import Sn
from yenc_support import parts_of

GROUP = "local.t1"  # of three articles
NUMBERS = itertools.count()

ARTICLE = (
    "From: =?utf-8?q?Ren=C3=A9?= <rene@example.org>\r\nNewsgroups: {group}\r\nSubject: {subject}\r\n"
    "Message-ID: <{id}@example.org>\r\nReferences: <a@example.org> <b@example.org>\r\n"
    "Date: Sat, 21 Nov 2026 12:00:00 +0100\r\n\r\n.dot\r\n..\r\nhéllo\r\n"
)
BODY = ".dot\r\n..\r\nhéllo\r\n".encode()


def article(group: str, id: str, subject: str = "hello") -> bytes:
    return ARTICLE.format(group=group, id=id, subject=subject).encode()


def new_id() -> str:
    return f"nntp.{next(NUMBERS)}"


@pytest.fixture
def trust(inn: Inn) -> prise.TLS:
    return prise.TLS(ca=inn.ca)


def url(inn: Inn, place: str = "", user: str = "", port: int | None = None) -> str:
    return f"nntp://{user}{'@' if user else ''}localhost:{port or inn.port}/{place}?tls=never"


@pytest.fixture(scope="module")
def posted(inn: Inn) -> Inn:
    with prise.open(url(inn)) as news:
        for number in (1, 2, 3):
            news.post(article(GROUP, f"t1.{number}", f"=?utf-8?q?caf=C3=A9_{number}?="))
    return inn


@pytest.fixture
def news(posted: Inn) -> Iterator[NNTP]:
    with prise.open(url(posted, GROUP), timeout=10) as news:
        yield news


# -- the three verbs ---------------------------------------------------------------------------------------------------


def test_groups_are_listed_with_their_description(news: NNTP) -> None:
    groups = {entry.name: entry for entry in news.list("")}
    assert (groups[GROUP].kind, groups[GROUP].size, groups[GROUP].opens) == ("group", 3, True)
    assert groups["local.test"].title == "A group for tests, où l’on écrit"
    assert (groups["local.empty"].size, groups["local.readonly"].facts["status"]) == (0, "n")
    assert {entry.name for entry in news.list("local.t1*,!local.t1?")} == {GROUP}


def test_the_articles_of_a_group_are_listed_and_read(news: NNTP) -> None:
    entries = list(news.list())
    assert [entry.name for entry in entries] == ["1", "2", "3"]
    assert [entry.name for entry in news.list(last=2)] == ["2", "3"]
    first = entries[0]
    assert (first.kind, first.title) == ("article", "café 1")
    assert first.modified == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert first.facts["from"] == "René <rene@example.org>"
    assert first.facts["references"] == ["<a@example.org>", "<b@example.org>"]
    content = news.get(first.name)
    assert (content.name, content.kind) == ("1.eml", "message/rfc822")
    data = content.read()
    assert data.endswith(b"\r\n\r\n" + BODY)
    assert news.get("<t1.1@example.org>").read() == news.get("t1.1@example.org").read()
    assert news.get(f"{GROUP}/2").read() != data


def test_one_line_each(posted: Inn) -> None:
    assert len(list(prise.ls(url(posted, GROUP)))) == 3
    assert prise.get(url(posted, f"{GROUP}/1")).read().endswith(BODY)
    assert prise.get(url(posted, "t1.2@example.org")).read().endswith(BODY)
    assert [entry.name for entry in prise.ls(url(posted, "local.em*"))] == ["local.empty"]
    given = prise.put(url(posted, "local.t2"), b"From: a@example.org\nSubject: no group in it\n\nhello\n")
    assert b"\r\nNewsgroups: local.t2\r\n" in prise.get(url(posted, given.strip("<>"))).read()


def test_news_urls_ask_the_server_that_the_environment_names(posted: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNTPSERVER", f"localhost:{posted.port}")
    assert [entry.name for entry in prise.ls(f"news:{GROUP}?tls=never")] == ["1", "2", "3"]
    assert prise.get("news:t1.3@example.org?tls=never").read().endswith(BODY)
    monkeypatch.delenv("NNTPSERVER")
    with pytest.raises(prise.AddressError, match="NNTPSERVER"):
        prise.ls(f"news:{GROUP}")


def test_the_same_with_await(posted: Inn, trust: prise.TLS) -> None:
    async def main() -> None:
        async with prise.open(f"nntp://localhost:{posted.port}/{GROUP}", tls=trust) as news:
            assert news.connection.tls.version.startswith("TLS")
            assert await news.group() == Group(GROUP, 3, 1, 3)
            assert [each.subject async for each in news.over((2, None))] == ["café 2", "café 3"]
            assert [entry.name async for entry in news.list()] == ["1", "2", "3"]
            assert (await news.body(1).read()) == BODY
            assert [each.number async for each in news.articles([1, 4711, 3])] == [1, 3]
            given = await news.post(article("local.t3", new_id()))
            assert (await news.stat(given)).message_id == given
            with pytest.raises(prise.NotFound):
                await news.group("no.such")
        assert (await prise.get(url(posted, f"{GROUP}/1")).read()).endswith(BODY)

    asyncio.run(main())


# -- groups ------------------------------------------------------------------------------------------------------------


def test_a_group_and_the_numbers_in_it(news: NNTP) -> None:
    group = news.group()
    assert (group.name, group.articles, group.numbers) == (GROUP, 3, range(1, 4))
    assert (list(news.numbers()), list(news.numbers(GROUP, 2)), list(news.numbers(last=2))) == (
        [1, 2, 3],
        [2, 3],
        [1, 2],
    )
    with pytest.raises(prise.NotFound, match="411"):
        news.group("no.such.group")
    assert news.selected == GROUP


def test_an_empty_group(news: NNTP) -> None:
    group = news.group("local.empty")
    assert not group.numbers
    assert (list(news.over(group.numbers)), list(news.over((1, None))), list(news.list("local.empty"))) == ([], [], [])
    assert list(news.articles(group.numbers)) == []
    with pytest.raises(prise.NotFound):
        news.article()


def test_what_the_server_tells_about_itself(news: NNTP) -> None:
    assert "READER" in news.capabilities
    assert news.posting
    assert abs(news.date() - datetime.now(UTC)) < timedelta(minutes=1)
    assert "ARTICLE" in news.help()
    assert news.overview_format()[:4] == ["Subject:", "From:", "Date:", "Message-ID:"]
    assert news.subscriptions() == ["local.test", "local.empty"]
    assert news.distributions() == {"local": "This site"}
    assert news.moderators() == {"local.moderated.*": "%s@example.org"}
    assert news.message_of_the_day() == "Be kind."
    assert ":" in news.list_lines("HEADERS")
    assert dict(news.descriptions("local.empty")) == {"local.empty": "Nothing here"}
    (count,) = news.counts(GROUP)
    assert (count.articles, count.first, count.last, count.status) == (3, 1, 3, "y")
    assert [line.name for line in news.groups(GROUP)] == [GROUP]
    assert list(news.times()) == []


def test_what_is_new(news: NNTP) -> None:
    since = datetime.now(UTC) - timedelta(hours=1)
    assert {f"<t1.{number}@example.org>" for number in (1, 2, 3)} <= set(news.new_news("local.*", since))
    assert list(news.new_news("local.*", since + timedelta(days=2))) == []
    assert list(news.new_groups(since)) == []


# -- articles ----------------------------------------------------------------------------------------------------------


def test_overviews_decode_what_is_looked_at(news: NNTP) -> None:
    news.group()
    (overview,) = news.over(1)
    assert overview.fields[0] == "=?utf-8?q?caf=C3=A9_1?="
    assert (overview.subject, overview.from_) == ("café 1", "René <rene@example.org>")
    assert overview.date == datetime(2026, 11, 21, 11, tzinfo=UTC)
    assert overview.message_id == "<t1.1@example.org>"
    assert overview.references == ["<a@example.org>", "<b@example.org>"]
    assert overview.lines == 3
    assert overview.bytes is not None
    assert overview.bytes > 100
    assert overview.other == {"Xref": f"news.localhost {GROUP}:1"}
    assert [each.number for each in news.over(range(2, 4))] == [each.number for each in news.over("2-3")] == [2, 3]


def test_what_is_no_number_is_refused_before_it_is_asked(news: NNTP) -> None:
    wrong: list[Any] = ["1 2", "one", "", (1, 2, 3), -1, range(1, 9, 2), "<a b@c>"]
    for which in wrong:
        with pytest.raises(prise.UsageError, match="names no article"):
            news.over(which)
    assert news.group().articles == 3


def test_single_header_fields(news: NNTP) -> None:
    news.group()
    assert [line.number for line in news.hdr("Message-ID", (1, None))] == [1, 2, 3]
    assert [tuple(line) for line in news.hdr("Message-ID", 2)] == [(2, "<t1.2@example.org>")]
    assert [line.value for line in news.hdr(":lines", 1)] == ["3"]
    assert [tuple(line) for line in news.hdr("Date", "<t1.3@example.org>")] == [(0, "Sat, 21 Nov 2026 12:00:00 +0100")]


def test_the_current_article(news: NNTP) -> None:
    news.group()
    assert news.stat(1) == (1, "<t1.1@example.org>")
    assert news.next() == (2, "<t1.2@example.org>")
    assert news.stat() == news.stat(2)
    assert news.last().number == 1
    with pytest.raises(prise.NotFound):
        news.last()
    for which in (4711, "<no@example.org>"):
        with pytest.raises(prise.NotFound):
            news.stat(which)
    assert news.body().read() == BODY
    assert news.head().read() + b"\r\n" + BODY == news.article().read()


def test_many_articles_are_asked_for_ahead(news: NNTP) -> None:
    news.group()
    wanted: list[int | str] = [1, "<t1.2@example.org>", 4711, "no@example.org", 3] * 30
    found = list(news.articles(wanted, "body"))
    assert [each.message_id for each in found] == [f"<t1.{number}@example.org>" for number in (1, 2, 3)] * 30
    assert {each.data for each in found} == {BODY}
    with pytest.raises(prise.UsageError, match="names no article"):
        list(news.articles([1, 2, "what"]))
    assert news.stat(1).number == 1, "what was asked for before was read"


def test_an_answer_that_is_left_in_the_middle(news: NNTP) -> None:
    assert [each.number for each in news.articles(each.number for each in news.over(news.group().numbers))] == [1, 2, 3]
    with news.over((1, None)) as overviews:
        next(overviews)
    overviews = news.over((1, None))
    next(overviews)
    assert news.body(1).read() == BODY, "the rest is held meanwhile"
    assert len(list(overviews)) == 2


# -- posting -----------------------------------------------------------------------------------------------------------


def test_an_article_that_lacks_something_is_not_posted(news: NNTP) -> None:
    with pytest.raises(prise.UsageError, match="From, Subject"):
        news.put(None, b"X: y\n\nhello\n")
    with pytest.raises(prise.UsageError, match="Newsgroups"):
        news.post(b"From: a@example.org\nSubject: x\n\nhello\n")
    with pytest.raises(prise.UsageError, match="empty line"):
        news.put(None, b"From: a@example.org\nSubject: x\n")
    with pytest.raises(prise.UsageError, match="says Newsgroups: local"):
        news.put("local.t5", b"From: a@example.org\nSubject: x\nNewsgroups: local.t1, local.t2\n\nhello\n")
    with pytest.raises(prise.Refused, match="441"):
        news.put("no.such.group", b"From: a@example.org\nSubject: x\n\nhello\n")
    with pytest.raises(prise.Refused, match="441"):
        news.put("local.readonly", b"From: a@example.org\nSubject: x\n\nhello\n")


def test_an_article_is_offered_as_servers_do(inn: Inn) -> None:
    name = f"<{new_id()}@example.org>"
    data = b"Path: x\r\nMessage-ID: %s\r\n" % name.encode() + article("local.t4", "x").replace(
        b"Message-ID: ", b"X-Id: "
    )
    with prise.open(url(inn, port=inn.feed_port), reader=False) as feed:
        assert "IHAVE" in feed.capabilities
        feed.ihave(name, data.replace(b"12:00:00 +0100", datetime.now(UTC).strftime("%H:%M:%S +0000").encode()))
        with pytest.raises(prise.Refused, match="435"):
            feed.ihave(name, data)


def test_a_hundred_random_articles_come_back_byte_for_byte(inn: Inn) -> None:
    random = Random(3977)
    signs = [".", "..", "é", "日本", "=", " ", "\t", "a", "word " * 20, "\x7f", "\x01"]
    bodies: dict[str, bytes] = {}
    with prise.open(url(inn)) as news:
        for _ in range(100):
            lines = ["".join(random.choices(signs, k=random.randrange(20))) for _ in range(random.randrange(1, 30))]
            body = "".join(f"{line[:900].encode()[:990].decode(errors='ignore')}\r\n" for line in lines).encode()
            head = f"From: a@example.org\r\nSubject: x\r\nMessage-ID: <{new_id()}@example.org>\r\n\r\n"
            given = news.put("local.t5", head.encode() + body)
            bodies[given] = body
        assert {each.message_id: each.data for each in news.articles(bodies, "body")} == bodies


def test_a_file_in_yenc(inn: Inn, tmp_path: Path) -> None:
    data = Random(1).randbytes(300_000) + bytes(range(256)) * 4
    ids = []
    with prise.open(url(inn, "local.t6")) as news:
        for number, part in enumerate(parts_of(data, "all bytes.bin", 100_000), 1):
            head = f"From: a@example.org\r\nSubject: all bytes.bin ({number})\r\n\r\n".encode()
            ids.append(news.put(None, head + b"not of the file\r\n" + part))
        content = news.file(ids)
        assert (content.size, content.name) == (len(data), "all bytes.bin")
        assert content.save(tmp_path / "file") == len(data)
        assert (tmp_path / "file").read_bytes() == data
    with prise.open(url(inn, "local.t6")) as news:
        with pytest.raises(prise.errors.FrameError, match="part missing"):
            news.file([ids[0], ids[2]]).read()
    with prise.open(url(inn, "local.t6")) as news:
        with pytest.raises(prise.errors.FrameError, match="parts of it are missing"):
            news.file([*ids[:3], "no@example.org"]).read()


# -- TLS, logins, compression ------------------------------------------------------------------------------------------


def test_tls_from_the_first_byte_and_starttls(inn: Inn, trust: prise.TLS) -> None:
    for place in (f"nntps://localhost:{inn.tls_port}/", f"nntp://localhost:{inn.port}/?tls=required"):
        with prise.open(place, tls=trust) as news:
            assert news.encrypted
            assert news.connection.tls.version.startswith("TLS")
            assert "STARTTLS" not in news.capabilities
    with pytest.raises(prise.TLSError):
        prise.open(f"nntps://localhost:{inn.tls_port}/").open()
    with pytest.raises(prise.TLSError):
        prise.open(f"nntp://localhost:{inn.port}/").open()


def test_a_server_for_servers_becomes_one_for_readers_first(inn: Inn, trust: prise.TLS) -> None:
    with prise.open(f"nntp://localhost:{inn.feed_port}/", tls=trust) as news:
        assert news.encrypted
        assert news.group("local.test").name == "local.test"


@pytest.mark.parametrize("tls", ["", "?tls=never"])
def test_the_login(inn: Inn, trust: prise.TLS, tls: str) -> None:
    lines: list[str] = []
    with prise.open(
        f"nntp://u:pw@localhost:{inn.login_port}/{tls}", tls=trust, trace=lambda _, line: lines.append(line)
    ) as news:
        assert news.group("local.members").name == "local.members"
        assert news.posting
    assert "AUTHINFO PASS ********" in lines
    assert not any("pw" in line.split() for line in lines)


def test_a_login_that_the_server_asks_for_later(inn: Inn) -> None:
    def ask(host: str, user: str | None) -> tuple[str, str]:
        asked.append(host)
        return "u", "pw"

    asked: list[str] = []
    with prise.open(url(inn, port=inn.login_port), ask=ask) as news:
        assert not asked
        assert news.group("local.members").name == "local.members"
        assert asked == ["localhost"]
    with prise.open(url(inn, port=inn.login_port), ask=ask) as news:
        assert list(news.articles(["no@example.org", "neither@example.org"])) == []
        assert asked == ["localhost", "localhost"]


def test_a_wrong_password_and_none(inn: Inn) -> None:
    with pytest.raises(prise.LoginFailed, match="481") as caught:
        prise.open(url(inn, user="u:secret", port=inn.login_port)).open()
    assert (caught.value.exit_code, caught.value.code) == (7, "481")
    assert "secret" not in str(caught.value)
    with prise.open(url(inn, port=inn.login_port)) as news:
        with pytest.raises(prise.LoginFailed, match="480"):
            news.group("local.test")
        with pytest.raises(prise.LoginFailed, match="480"):
            news.articles([1, 2, 3])


@pytest.mark.parametrize("mechanism", ["PLAIN", "CRAM-MD5", "LOGIN"])
def test_sasl_is_spoken_where_it_is_wanted(inn: Inn, trust: prise.TLS, mechanism: str) -> None:
    """INN's own passwords are not those of its SASL library, so it says no; but only once it has understood all."""
    lines: list[str] = []
    with pytest.raises(prise.LoginFailed, match="481"):
        prise.open(
            f"nntp://u:pw@localhost:{inn.login_port}/",
            tls=trust,
            mechanism=mechanism,
            trace=lambda _, line: lines.append(line),
        ).open()
    assert any(line.startswith(f"AUTHINFO SASL {mechanism}") for line in lines)
    with pytest.raises(prise.UsageError, match="is one of"):
        prise.open(f"nntp://u:pw@localhost:{inn.login_port}/", tls=trust, mechanism="NONE").open()


def test_all_can_be_compressed(posted: Inn) -> None:
    with prise.open(url(posted, GROUP), compress=True) as news:
        assert news.compressed
        assert [each.number for each in news.over(news.group().numbers)] == [1, 2, 3]
        given = news.post(article("local.t7", new_id()))
        assert news.body(given).read() == BODY
        assert len(list(news.articles([1, 2, 3] * 40))) == 120


# -- accidents ---------------------------------------------------------------------------------------------------------


def test_a_server_that_dies_in_the_middle() -> None:
    with Inn() as server:
        with prise.open(url(server, "local.test")) as news:
            big = b"From: a@example.org\r\nSubject: x\r\n\r\n" + b"a line of text\r\n" * 500_000
            given = news.put(None, big)
            content = news.article(given)
            next(content)
            server.kill()
            with pytest.raises(prise.ConnectionLost):
                content.read()
            with pytest.raises(prise.UsageError, match="open another"):
                news.date()


# -- an old server -----------------------------------------------------------------------------------------------------


def test_a_server_from_before_rfc_3977(sn: Sn) -> None:
    with prise.open(sn.url("local.test")) as news:
        assert news.capabilities == {}
        assert news.posting
        groups = {entry.name: entry.size for entry in news.list("")}
        assert (groups["local.test"], groups["local.empty"]) == (3, 0)
        assert [(entry.name, entry.title) for entry in news.list()] == [
            (str(number + 9), f"article {number}") for number in (1, 2, 3)
        ]
        assert news.group() == Group("local.test", 3, 10, 12)
        assert list(news.numbers()) == list(news.numbers("local.test")) == [10, 11, 12]
        assert list(news.numbers(first=11)) == [11, 12], "it does not know ranges"
        assert [line.value for line in news.hdr("subject", (10, 11))] == ["article 1", "article 2"]
        assert [each.message_id for each in news.articles([10, 11, 4711, 12])] == [
            f"<{number}@example.org>" for number in (1, 2, 3)
        ]
        assert news.body(10).read() == b"body\r\n.dot\r\n"
        assert not news.group("local.empty").numbers
        assert list(news.list("local.empty")) == []
        assert len(list(news.new_groups(datetime(2020, 1, 1, tzinfo=UTC)))) >= 6
        with pytest.raises(prise.Refused, match="500"):
            news.date()
        with pytest.raises(prise.NotFound):
            news.get("local.test/4711").read()


def test_posting_to_an_old_server(sn: Sn) -> None:
    with prise.open(sn.url("local.t1")) as news:
        assert news.put(None, b"From: a@example.org\nSubject: x\n\n.one\n..two\n") is None
        assert news.body(news.group().last).read() == b".one\r\n..two\r\n"


def test_an_overview_of_an_old_server(sn: Sn) -> None:
    with prise.open(sn.url("local.test")) as news:
        news.group()
        (overview,) = news.over(10)
    assert isinstance(overview, Overview)
    assert (overview.subject, overview.lines, overview.references) == ("article 1", 2, [])
