"""The reader without its screen, for its tests; and servers of a few lines that do what real ones do not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import prise
from prise.protocols.entry import Entry
from prise.reader.model import Finish, Reader
from prise.reader.pages import ListPage, page_of
from prise.reader.places import Place
from prise.reader.servers import Servers


def at_once(job: Callable[[], Any], finish: Finish) -> None:
    """Does what a thread would do."""
    try:
        result = job()
    except Exception as error:
        finish(None, error)
    else:
        finish(result, None)


@contextmanager
def reading(url: str, **arguments: Any) -> Iterator[Reader]:
    place = Place.of(url)
    servers = Servers(place.target, {"netrc": False, "keyring": False, "timeout": 5, **arguments})
    try:
        page = page_of(place, servers.look(place))
        assert page is not None
        yield Reader(servers, page, at_once)
    finally:
        servers.close()


def drawn(reader: Reader, columns: int = 80, lines: int = 20) -> list[str]:
    return [row.text.rstrip() for row in reader.page.draw(columns, lines)]


def select(reader: Reader, words: str) -> None:
    drawn(reader)
    assert reader.page.find(words), drawn(reader, lines=100)


def selected(reader: Reader) -> Entry:
    assert isinstance(reader.page, ListPage)
    assert reader.page.entry is not None
    return reader.page.entry


POP3 = {"two": b"Subject: two\r\n\r\nsecond\r\n", "three": b"Subject: three\r\n\r\nthird\r\n"}


@contextmanager
def mailbox(messages: dict[str, bytes], lacks: tuple[str, ...] = ()) -> Iterator[str]:
    """A POP3 server that hangs up after each message; its URL. messages: uid -> text. lacks: commands that it does not know."""

    def conversation(connection: prise.Connection) -> None:
        connection.send(b"+OK\r\n")
        for data in connection:
            word, *arguments = data.decode().split()
            uids = list(messages)
            answer = b"+OK\r\n"
            if word in lacks or word == "CAPA":
                answer = b"-ERR\r\n"
            elif word in ("LIST", "UIDL"):
                listed = (uid if word == "UIDL" else str(len(messages[uid])) for uid in uids)
                answer += "".join(f"{number} {what}\r\n" for number, what in enumerate(listed, 1)).encode() + b".\r\n"
                if arguments:
                    answer = f"+OK {arguments[0]} 20\r\n".encode()
            elif word in ("TOP", "RETR"):
                answer += messages[uids[int(arguments[0]) - 1]] + b".\r\n"
            connection.send(answer)
            if word == "RETR":
                return

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        yield f"pop3://ada:pw@127.0.0.1:{server.address.port}/?tls=never"


def batched(numbers: Any) -> Iterator[list[int]]:
    numbers = iter(numbers)
    while some := list(itertools.islice(numbers, 1000)):
        yield some


@contextmanager
def news(articles: int, there: int | None = None) -> Iterator[tuple[str, list[str]]]:
    """A news server that hangs up after each article; its URL, and what it was asked. there: how many lines it has for any
    question, by default those of articles above 5000, and of some below."""
    asked: list[str] = []

    def conversation(connection: prise.Connection) -> None:
        def say(*lines: str) -> None:
            connection.send("".join(f"{line}\r\n" for line in lines).encode())

        say("200 hello")
        rest = b""
        for data in connection:
            *lines, rest = (rest + data).split(b"\r\n")
            for line in lines:
                asked.append(line.decode())
                word, *arguments = line.decode().split()
                match word:
                    case "CAPABILITIES":
                        say("101 these", "VERSION 2", "READER", "OVER", ".")
                    case "GROUP":
                        say(f"211 {articles} 1 {articles} {arguments[0]}")
                    case "OVER":
                        first, last = map(int, arguments[0].split("-"))
                        numbers: Any = (n for n in range(first, last + 1) if n > 5000 or n % 100 == 1)
                        say("224 these")
                        for some in batched(numbers if there is None else range(there)):
                            say(*(f"{n}\tnumber {n}\ta@example.org\t\t<{n}@x>\t\t9\t1" for n in some))
                        say(".")
                    case "ARTICLE":
                        say(f"220 {arguments[0]} <{arguments[0]}@x>", "Subject: it", "", "text", ".")
                        return
                    case _:
                        say("500 what?")

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        yield f"nntp://127.0.0.1:{server.address.port}/g?tls=never", asked


@contextmanager
def saying(data: bytes, times: int = 1) -> Iterator[str]:
    """A server that says this, so often, to whatever it is asked, and hangs up."""

    def conversation(connection: prise.Connection) -> None:
        connection.receive()
        for _time in range(times):
            connection.send(data)

    with prise.listen(conversation, "127.0.0.1:0", framing="chunks") as server:
        yield f"gopher://127.0.0.1:{server.address.port}/"
