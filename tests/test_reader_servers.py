"""What the reader fetches: in portions, from servers that hang up, have no end, or mean no good."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

import prise
from prise.reader.pages import ListPage
from prise.reader.places import Place
from prise.reader.plain import show
from prise.reader.servers import Servers, written
from reader_support import POP3, drawn, mailbox, news, reading, saying, select
from real_servers.gophernicus import Gophernicus


def test_a_message_is_the_one_that_was_listed_when_the_numbers_have_shifted() -> None:
    messages = {"one": b"Subject: one\r\n\r\nfirst\r\n", **POP3}
    with mailbox(messages) as url, reading(url) as reader:
        assert [line.split()[-1] for line in drawn(reader)] == ["three", "two", "one"]
        select(reader, "two")
        reader.do("open")
        assert drawn(reader)[-1] == "second"
        reader.do("back")
        del messages["one"]  # by another program; then the server hangs up, and a new session has other numbers
        reader.do("open")
        assert drawn(reader)[-1] == "second"
        reader.do("back")
        del messages["two"]
        reader.do("open")
        assert "no message here has the uid" in reader.message


def test_a_pop3_server_that_knows_little_is_read_all_the_same() -> None:
    with mailbox(POP3, lacks=("UIDL", "TOP")) as url, reading(url) as reader:
        assert [line.split()[0] for line in drawn(reader)] == ["#2", "#1"]
        reader.do("open")
        assert drawn(reader)[-1] == "third"


def test_a_header_without_end_is_not_held() -> None:
    header = b"Subject: long\r\n" + b"X-Long: x\r\n" * 100_000
    with mailbox({"long": header + b"\r\n"}) as url, reading(url) as reader:
        assert drawn(reader)[0].endswith("long")


def test_a_large_group_comes_in_portions_the_newest_first() -> None:
    with news(100_000) as (url, asked), reading(url) as reader:
        assert reader.page.count == 1000
        assert drawn(reader)[0].endswith("number 100000")
        assert reader.page.position == "1/1000+"
        reader.do("end")
        assert (reader.page.count, reader.page.position) == (2000, "1000/2000+")
        assert [each for each in asked if each.startswith("OVER")] == ["OVER 99001-100000", "OVER 98001-99000"]


def test_a_key_that_is_held_down_fetches_a_portion_once() -> None:
    begun = []
    with news(100_000) as (url, _asked), reading(url) as reader:
        reader._run = lambda job, finish: begun.append(job)
        for _press in range(3):
            reader.do("end")
        assert (len(begun), reader.busy) == (1, "fetching more")


def test_where_most_articles_have_expired_the_portions_end_all_the_same() -> None:
    with news(5100) as (url, _asked), reading(url) as reader:
        for _press in range(8):
            reader.do("end")
        assert isinstance(reader.page, ListPage)
        assert (reader.page.more, reader.page.entries[-1].name, reader.page.count) == (None, "1", 150)


def test_a_server_that_has_hung_up_is_opened_again_and_nobody_is_told() -> None:
    with news(3) as (url, asked), reading(url) as reader:
        for _time in range(3):
            reader.do("open")
            assert (drawn(reader)[-1], reader.message) == ("text", "")
            reader.do("back")
        assert len([each for each in asked if each.startswith("ARTICLE")]) == 3


def test_without_a_screen_all_portions_are_printed() -> None:
    said: list[str] = []
    with news(2500) as (url, _asked), reading(url) as reader:
        assert reader.page.place is not None
        show(reader.servers, reader.page.place, said.append)
    assert [line.split()[-1] for line in said] == [str(n) for n in range(2500, 0, -1) if n % 100 == 1]


def test_numbers_without_articles_end_after_some_questions() -> None:
    with news(10**12, there=0) as (url, asked), reading(url) as reader:
        assert (reader.page.count, reader.page.position) == (0, "0+")
        assert len(asked) < 110
        reader.do("end")
        assert len(asked) > 150


def test_overviews_without_end_are_not_held() -> None:
    with news(10**6, there=10**9) as (url, _asked), reading(url) as reader:
        assert reader.page.count == 1001
        assert drawn(reader, lines=2000)[-1] == "[...]"
        reader.do("end")  # in a new session
        assert reader.page.count == 2002


def test_a_text_without_end_is_not_held_but_can_be_saved(gophernicus: Gophernicus, tmp_path: Path) -> None:
    with saying(b"x" * 65535 + b"\n", 80) as url, reading(gophernicus.url()) as reader:
        reader.do("go")
        reader.answer(f"{url}0/long.txt")
        assert reader.question is not None
        assert reader.question.text == "long.txt"
        reader.answer(str(tmp_path))
        assert (tmp_path / "long.txt").stat().st_size == 80 * 65536


def test_what_is_no_menu_is_told(gophernicus: Gophernicus) -> None:
    with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url, reading(gophernicus.url()) as reader:
        reader.do("go")
        reader.answer(url)
        assert "no line of a gopher menu" in reader.message
        select(reader, "A text")


def test_a_file_that_is_cut_short_is_not_kept(gophernicus: Gophernicus, tmp_path: Path) -> None:
    def cut(connection: prise.Connection) -> None:
        connection.send(b"200 hello\r\n")
        for data in connection:
            if data.startswith(b"ARTICLE"):
                connection.send(b"220 1 <1@x>\r\nSubject: it\r\n\r\nhalf of")
                return
            connection.send(b"211 1 1 1 g\r\n" if data.startswith(b"GROUP") else b"500 what?\r\n")

    with (
        prise.listen(cut, "127.0.0.1:0", framing="chunks") as server,
        reading(gophernicus.url()) as reader,
    ):
        place = Place.of(f"nntp://127.0.0.1:{server.address.port}/g/1?tls=never")
        (tmp_path / "1.eml").write_bytes(b"kept")
        with pytest.raises(prise.ConnectionLost):
            reader.servers.save(place, tmp_path / "1.eml")
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("1.eml", b"kept")]


def test_what_is_written_takes_the_place_of_files_alone(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with written(pipe) as file:
        file.write(b"data")
    assert os.read(reader, 100) == b"data"
    os.close(reader)
    (tmp_path / "x.part").write_bytes(b"somebody's own")
    with pytest.raises(FileExistsError), written(tmp_path / "x"):
        pass
    assert (tmp_path / "x.part").read_bytes() == b"somebody's own"


def test_a_job_that_ends_late_leaves_the_session_of_the_next_one_alone() -> None:
    here = threading.Semaphore(0)
    begun, free, over = threading.Event(), threading.Event(), threading.Event()

    def slow(connection: prise.Connection) -> None:
        if connection.receive():
            here.release()
            over.wait(20)

    with prise.listen(slow, "127.0.0.1:0", framing="chunks") as server:
        place = Place.of(f"gopher://127.0.0.1:{server.address.port}/0/x")
        servers = Servers(place.target, {"timeout": 20})

        def late() -> None:
            def wait(session: Any) -> None:
                begun.set()
                free.wait(20)
                session.get()

            with pytest.raises(prise.PriseError):
                servers._do(place, wait, None)

        def following() -> None:
            with pytest.raises(prise.ConnectionLost):
                servers.look(place)

        first = threading.Thread(target=late)
        first.start()
        assert begun.wait(20)
        servers.cancel()
        second = threading.Thread(target=following)
        second.start()
        assert here.acquire(timeout=20)
        used = servers._used
        free.set()
        first.join()
        assert servers._used is used is not None
        servers.close()  # as at the end of the command: what still runs is cut
        second.join(20)
        assert not second.is_alive()
        over.set()


def test_a_password_that_was_typed_is_not_told_to_another_server_of_that_host() -> None:
    asked = []

    def ask(host: str, user: str | None) -> tuple[str, str]:
        asked.append(host)
        return "ada", f"pw{len(asked)}"

    with mailbox(POP3) as one, mailbox(POP3) as two, reading(one.replace(":pw", ""), ask=ask) as reader:
        for url in (two, one, two):
            reader.do("go")
            reader.answer(url.replace(":pw", ""))
            assert reader.page.count == 2, reader.message
    assert len(asked) == 2
