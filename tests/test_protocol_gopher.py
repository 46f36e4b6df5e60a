"""Gopher against Gophernicus."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from random import Random

import pytest

import prise
from real_servers.gophernicus import Gophernicus


@pytest.fixture
def where(gophernicus: Gophernicus) -> str:
    return f"gopher://localhost:{gophernicus.port}/"


@pytest.fixture
def trust(gophernicus: Gophernicus) -> prise.TLS:
    return prise.TLS(ca=gophernicus.ca)


def test_a_menu(where: str) -> None:
    with prise.open(where) as session:
        entries = list(session.list())
    assert [(entry.kind, entry.name, entry.title, entry.url) for entry in entries[:-2]] == [
        ("info", "", "Welcome to the tests", None),
        ("info", "", "Information", None),
        ("text", "0/hello.txt", "A text", None),
        ("menu", "1/folder", "A folder", None),
        ("search", "7/cgi-bin/search", "A search", None),
        ("file", "9/data.bin", "A binary file", None),
        ("file", "5/data.zip", "An archive", None),
        ("file", "4/data.hqx", "BinHex", None),
        ("file", "6/data.uu", "UUencoded", None),
        ("image", "g/picture.gif", "A picture", None),
        ("image", "I/picture.png", "An image", None),
        ("sound", "s/sound.wav", "A sound", None),
        ("page", "http://example.org/", "A page", "http://example.org/"),
        ("telnet", "telnet://login@localhost:23/", "A terminal", "telnet://login@localhost:23/"),
        ("telnet", "tn3270://login@localhost:23/", "A mainframe", "tn3270://login@localhost:23/"),
        ("phonebook", "cso://localhost:105/", "A phone book", "cso://localhost:105/"),
        ("mirror", "gopher://localhost/2/hello.txt", "Another server", "gopher://localhost/2/hello.txt"),
        ("error", "", "An error", None),
        ("text", "gopher://gopher.example.org/0/far.txt", "Elsewhere", "gopher://gopher.example.org/0/far.txt"),
    ]
    assert [entry.title for entry in entries if entry.opens] == ["A folder"]


def test_one_session_for_many_requests(where: str) -> None:
    """Each has a connection of its own, which the server closes."""
    with prise.open(where) as session:
        assert session.get("0/hello.txt").read() == b"hello gopher\r\n"
        folder = [entry for entry in session.list("1/folder") if entry.kind != "info"]
        assert [(entry.kind, entry.name) for entry in folder] == [
            ("menu", "1/"),
            ("text", "0/folder/one.txt"),
            ("file", "9/folder/two.bin"),
        ]
        assert session.get(folder[-1].name).read() == b"\0\1\2"


def test_the_same_with_await_and_tls(gophernicus: Gophernicus, trust: prise.TLS) -> None:
    async def main() -> None:
        where = f"gophers://localhost:{gophernicus.tls_port}/"
        async with prise.open(where, tls=trust) as session:
            assert session.connection.tls.version.startswith("TLS")
            kinds = {entry.title: entry.kind async for entry in session.list()}
            assert kinds["A text"] == "text"
            content = await session.get("0/hello.txt")
            assert (content.size, content.name, content.kind) == (None, "hello.txt", "text/plain")
            assert b"".join([piece async for piece in content]) == b"hello gopher\r\n"
            assert [entry.title async for entry in session.search("7/cgi-bin/search", "tls")] == ["Found tls"]
        assert await prise.get(f"{where}0/hello.txt", tls=trust).read() == b"hello gopher\r\n"
        with pytest.raises(prise.TLSError):
            await prise.open(where)

    asyncio.run(main())


def test_what_the_url_names(where: str, gophernicus: Gophernicus, tmp_path: Path) -> None:
    assert prise.get(f"{where}9/data.bin").save(tmp_path / "data.bin") == 4096
    assert (tmp_path / "data.bin").read_bytes() == bytes(range(256)) * 16
    assert [entry.title for entry in prise.ls(f"{where}7/cgi-bin/search%09two%20words")] == ["Found two words"]
    assert [entry.name for entry in prise.ls(f"{where}1/folder")][-1] == ""
    gophernicus.place("a b+&.txt", b"named\n")
    assert prise.get(f"{where}0/a%20b+&.txt").read() == b"named\r\n"


def test_a_search(where: str) -> None:
    with prise.open(f"{where}7/cgi-bin/search") as session:
        (found,) = session.search(None, "ünïcode")
        assert (found.title, found.name) == ("Found ünïcode", "0/hello.txt")
        with pytest.raises(prise.UsageError, match="a search wants words"):
            session.list()
        with pytest.raises(prise.UsageError, match="tab"):
            session.search(None, "one\ttwo")


def test_dots_are_left_alone(where: str) -> None:
    """This server doubles none, and adds no end."""
    assert prise.get(f"{where}0/dots.txt").read() == b".\r\n..\r\n.dot\r\nend\r\n"
    with prise.open(f"{where}0/hello.txt", dots=True) as session, pytest.raises(prise.ConnectionLost):
        session.get().read()


def test_what_is_not_there(where: str) -> None:
    with prise.open(where) as session:
        for name in ("1/missing/", "1/missing"):
            with pytest.raises(prise.NotFound, match="not found"):
                session.list(name)
        # Of a file, this server says so in a text; nobody can know.
        assert session.get("0/missing.txt").read().startswith(b"Error: File or directory not found!")
        assert session.get("0/hello.txt").read() == b"hello gopher\r\n"


def test_what_is_elsewhere_is_not_followed_unasked(where: str) -> None:
    with prise.open(where) as session:
        for entry in session.list():
            if entry.url is not None:
                with pytest.raises(prise.UsageError, match=re.escape(f"open {entry.url} instead")):
                    session.get(entry.name)
        assert session.get(f"{where}0/hello.txt").read() == b"hello gopher\r\n"


def test_a_hundred_random_files_byte_for_byte(where: str, gophernicus: Gophernicus) -> None:
    random = Random(6)
    parts = [
        b"\r\n",
        b"\n",
        b".\r\n",
        b"\n.\n",
        b"..",
        b"3Error\t\t\t1\r\n",
        b"\0",
        "é".encode(),
        b"\xff",
        b"x" * 10_000,
    ]
    files = {}
    for number in range(100):
        data = b"".join(random.choice(parts) for _ in range(random.randrange(1, 20))) + random.randbytes(10)
        gophernicus.place(f"random/{number}.bin", data)
        files[f"/random/{number}.bin"] = data
    with prise.open(where) as session:
        for name, data in files.items():
            assert session.get(name).read() == data


def test_a_server_that_is_gone() -> None:
    with Gophernicus() as own, prise.open(f"gopher://localhost:{own.port}/") as session:
        assert session.get("0/hello.txt").read()
        own.kill()
        with pytest.raises(prise.ConnectError):
            session.get("0/hello.txt")


def test_a_server_that_dies_in_the_middle_of_a_file() -> None:
    """With TLS it shows; without, the end of the connection is the end of the file."""
    with Gophernicus() as own:
        own.place("big.bin", bytes(20_000_000))
        with prise.open(f"gophers://localhost:{own.tls_port}/", tls=prise.TLS(ca=own.ca)) as session:
            content = session.get("9/big.bin")
            assert next(content)
            own.kill()
            with pytest.raises(prise.ConnectionLost):
                content.read()


def test_what_gopher_cannot(where: str) -> None:
    with prise.open(where) as session:
        with pytest.raises(prise.Unsupported):
            session.put("0/new.txt", b"new")
        with pytest.raises(prise.UsageError, match=r"get it instead"):
            session.list("0/hello.txt")
        for name in ("iInformation", "3An error", "8login"):
            with pytest.raises(prise.UsageError):
                session.get(name)
    with prise.open(where) as session, pytest.raises(prise.ProtocolError, match=r"no answer of Gopher\+"):
        session.attributes("0/hello.txt")


def test_a_trace(where: str) -> None:
    heard: list[tuple[str, str]] = []
    with prise.open(where, trace=lambda *line: heard.append(line)) as session:
        list(session.search("7/cgi-bin/search", "words"))
        assert heard[0] == (">", "/cgi-bin/search\twords")
        assert heard[1][0] == "<"
        assert heard[1][1].startswith("0Found words\t/hello.txt")
