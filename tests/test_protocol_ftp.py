"""FTP against ProFTPD, which has all its extensions, and vsftpd, which has no MLSD."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

import prise
from peers import Peer, free_port
from prise.errors import ConnectionLost, LoginFailed, NotFound, Refused, TLSError, UsageError
from real_servers.proftpd import Proftpd
from real_servers.vsftpd import VsftpdPlain, VsftpdTls

NAMES = itertools.count()
TIMEOUT = 10.0


def url(server: Proftpd, place: str = "", tls: bool = False) -> str:
    return f"ftp{'s' if tls else ''}://u:pw@localhost:{server.tls_port if tls else server.port}/{place}"


def anonymous(server: VsftpdPlain, place: str = "") -> str:
    return f"ftp://localhost:{server.port}/{place}"


@pytest.fixture(scope="module")
def trust(proftpd: Proftpd) -> prise.TLS:
    return prise.TLS(ca=proftpd.ca)


@pytest.fixture(scope="module")
def opened(trust: prise.TLS) -> Iterator[Callable[..., Any]]:
    """Opens a session, which lasts until the last test: ProFTPD takes nobody in for 0.4 s after somebody has left."""
    with ExitStack() as stack:
        yield lambda address, **more: stack.enter_context(prise.open(address, tls=trust, timeout=TIMEOUT, **more))


@pytest.fixture(scope="module")
def session(proftpd: Proftpd, opened: Callable[..., Any]) -> Any:
    return opened(url(proftpd, "?tls=never"))


@pytest.fixture
def ftp(session: Any) -> Any:
    """A session in clear, in the folder of the login."""
    home = session.pwd()
    yield session
    session.cwd(home)


@pytest.fixture
def folder(proftpd: Proftpd) -> Path:
    """A folder of the server that is this test's own."""
    name = f"folder-{next(NAMES)}"
    proftpd.make(f"root/{name}")
    return proftpd.root / name


def test_a_folder_is_listed_and_a_file_fetched_sent_and_changed(ftp: Any, folder: Path) -> None:
    here = folder.name
    ftp.put(f"{here}/a.txt", b"one\r\n")
    (entry,) = ftp.list(here)
    assert (entry.name, entry.kind, entry.size) == ("a.txt", "file", 5)
    assert abs((entry.modified - datetime.now(UTC)).total_seconds()) < 60
    content = ftp.get(f"{here}/a.txt")
    assert (content.size, content.name) == (5, "a.txt")
    assert content.read() == b"one\r\n" == (folder / "a.txt").read_bytes()

    moment = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    ftp.set_modified(f"{here}/a.txt", moment)
    assert ftp.modified(f"{here}/a.txt") == moment
    assert ftp.size(f"{here}/a.txt") == 5
    ftp.rename(f"{here}/a.txt", f"{here}/b.txt")
    assert not ftp.exists(f"{here}/a.txt")
    entry = ftp.stat(f"{here}/b.txt")
    assert (entry.name, entry.kind, entry.size, entry.modified) == (f"{here}/b.txt", "file", 5, moment)
    ftp.site(f"CHMOD 600 {here}/b.txt")
    assert ftp.stat(f"{here}/b.txt").facts["unix.mode"] == "0600"
    ftp.remove(f"{here}/b.txt")
    assert list(ftp.list(here)) == []
    ftp.noop()


def test_folders(ftp: Any, folder: Path) -> None:
    here = folder.name
    ftp.make_folder(f"{here}/one")
    with pytest.raises(Refused, match="exists"):
        ftp.make_folder(f"{here}/one")
    ftp.make_folder(f"{here}/one/two/three", parents=True)
    ftp.make_folder(f"{here}/one/two/three", parents=True)
    ftp.put(f"{here}/file", b"")
    with pytest.raises(Refused):
        ftp.make_folder(f"{here}/file/four", parents=True)
    assert ftp.stat(f"{here}/one").kind == "folder"
    with pytest.raises(Refused) as caught:
        ftp.remove_folder(f"{here}/one")  # it is not empty
    assert not isinstance(caught.value, NotFound)
    ftp.cwd(f"{here}/one")
    assert ftp.pwd() == str(folder / "one")
    assert [entry.name for entry in ftp.list("")] == ["two"]
    ftp.cwd("..")
    ftp.remove_folder("one/two/three")
    assert [entry.name for entry in ftp.list("one")] == ["two"]
    ftp.make_folder('say "hi"')
    ftp.cwd('say "hi"')
    assert ftp.pwd() == f'{folder}/say "hi"'


@pytest.mark.parametrize("tls", [False, True], ids=["AUTH TLS", "implicit"])
@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_all_is_encrypted(proftpd: Proftpd, opened: Callable[..., Any], folder: Path, tls: bool, active: bool) -> None:
    lines: list[str] = []
    ftp = opened(url(proftpd, tls=tls), active=active, trace=lambda _, line: lines.append(line))
    assert ftp.connection.tls.version == "TLSv1.3"
    ftp.put(f"{folder.name}/x", b"encrypted" * 10000)
    assert ftp.get(f"{folder.name}/x").read() == b"encrypted" * 10000
    assert "PROT P" in lines
    assert "PASS ********" in lines
    assert not any("pw" in line for line in lines)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_data_connections_go_on_with_the_tls_session(
    proftpd: Proftpd, vsftpd_tls: VsftpdTls, version: ssl.TLSVersion, folder: Path
) -> None:
    """Both servers refuse those that do not."""
    context = ssl.create_default_context(cafile=str(proftpd.ca))
    context.minimum_version = context.maximum_version = version
    for address, place in ((url(proftpd), f"{folder.name}/x"), (anonymous(vsftpd_tls), f"pub/v{next(NAMES)}")):
        with prise.open(address, tls=prise.TLS(context=context), timeout=TIMEOUT) as ftp:
            assert ftp.connection.tls.version == {771: "TLSv1.2", 772: "TLSv1.3"}[version]
            for size in (0, 1, 100_000):
                ftp.put(place, b"x" * size)
                assert ftp.get(place).read() == b"x" * size


@pytest.mark.parametrize("active", [False, True], ids=["passive", "active"])
def test_the_same_with_await(proftpd: Proftpd, vsftpd_tls: VsftpdTls, trust: prise.TLS, active: bool) -> None:
    async def use(address: str, here: str) -> None:
        async with prise.open(address, tls=trust, timeout=TIMEOUT, active=active) as ftp:
            await ftp.make_folder(here)
            await ftp.put(f"{here}/x", [b"one", b"", b"two"])
            assert [entry.name async for entry in ftp.list(here)] == ["x"]
            content = await ftp.get(f"{here}/x", offset=3)
            assert content.size == 3
            assert await content.read() == b"two"
            assert (await ftp.stat(f"{here}/x")).size == 6
            with pytest.raises(NotFound):
                await ftp.get("missing")
            assert await ftp.exists(here)

    async def main() -> None:
        await use(url(proftpd), f"await-{next(NAMES)}")
        await use(anonymous(vsftpd_tls), f"pub/await-{next(NAMES)}")

    asyncio.run(main())


def test_vsftpd_which_has_only_list(vsftpd_plain: VsftpdPlain) -> None:
    here = f"pub/folder {next(NAMES)}"
    with prise.open(anonymous(vsftpd_plain, "pub"), timeout=TIMEOUT) as ftp:
        home = ftp.pwd()
        ftp.make_folder(f"{here}/inner", parents=True)
        ftp.put(f"{here}/.a b", b"123")
        ftp.put(f"{here}/-l*", b"1")
        entries = {entry.name: entry for entry in ftp.list(here)}
        assert set(entries) == {"inner", ".a b", "-l*"}
        assert (entries[".a b"].kind, entries[".a b"].size) == ("file", 3)
        assert abs((entries[".a b"].modified - datetime.now(UTC)).total_seconds()) < 120
        assert entries["inner"].kind == "folder"
        assert ftp.pwd() == home  # it has gone there for the list, and come back
        assert ftp.stat(f"{here}/.a b").size == 3
        assert ftp.stat("/").kind == "folder"
        assert ftp.stat(f"{home}/pub").kind == "folder"
        assert ftp.exists(f"{here}/inner")
        assert not ftp.exists(f"{here}/outer")
        assert "there.txt" in {entry.name for entry in ftp.list()}  # the folder of the URL
        with pytest.raises(NotFound):
            ftp.list("pub/nowhere")
        with pytest.raises(Refused, match="553"):
            ftp.put("not-here", b"")
        ftp.get("hello.txt").read()


def test_one_liners(vsftpd_tls: VsftpdTls, trust: prise.TLS, tmp_path: Path) -> None:
    name = f"one-liners-{next(NAMES)}"
    place = anonymous(vsftpd_tls, f"pub/{name}%20b;type=i")
    prise.put(place, Path(__file__), tls=trust)
    assert prise.get(place, tls=trust).save(tmp_path / "copy") == Path(__file__).stat().st_size
    assert prise.get(place, tls=trust, offset=3).read() == Path(__file__).read_bytes()[3:]
    assert f"{name} b" in [entry.name for entry in prise.ls(anonymous(vsftpd_tls, "pub/;type=d"), tls=trust)]

    async def main() -> None:
        await prise.put(place, "é", tls=trust)
        assert await prise.get(place, tls=trust).read() == "é".encode()
        assert f"{name} b" in [entry.name async for entry in prise.ls(anonymous(vsftpd_tls, "pub"), tls=trust)]

    asyncio.run(main())


def test_places_of_a_url_lead_on_from_the_login_folder(
    proftpd: Proftpd, opened: Callable[..., Any], folder: Path
) -> None:
    (folder / "x").write_bytes(b"x")
    for place in (f"{folder.name}/x", f"%2F{str(folder)[1:]}/x", f"/{str(folder)[1:]}/x"):
        ftp = opened(url(proftpd, f"{place}?tls=never"))
        assert ftp.get().read() == b"x"
        ftp.cwd("/")
        assert ftp.get().read() == b"x"
    ftp = opened(url(proftpd, "hello.txt;type=a?tls=never"))
    with pytest.raises(UsageError, match="type=a"):
        ftp.get()
    ftp = opened(url(proftpd, "?tls=never"))
    with pytest.raises(UsageError, match="which file"):
        ftp.get()


def test_resumed(ftp: Any, folder: Path, tmp_path: Path) -> None:
    data = Random(1).randbytes(100_000)
    name = f"{folder.name}/x"
    ftp.put(name, data[:40_000])
    ftp.put(name, data, offset=ftp.size(name))
    assert (folder / "x").read_bytes() == data
    (tmp_path / "x").write_bytes(data[:70_000])
    content = ftp.get(name, offset=70_000)
    assert content.size == 30_000
    content.save(tmp_path / "x", append=True)
    assert (tmp_path / "x").read_bytes() == data
    ftp.put(name, b"more", append=True)
    assert (folder / "x").read_bytes() == data + b"more"
    assert ftp.get(name, offset=100_004).read() == b""
    with pytest.raises(Refused):
        ftp.get(name, offset=200_000)
    with pytest.raises(UsageError):
        ftp.get(name, offset=-1)
    with pytest.raises(UsageError):
        ftp.put(name, b"", offset=1, append=True)
    ftp.noop()


def name_of(random: Random) -> str:
    letters = "abcXYZ-._ #%&'\"()[]{}*?!$;:,=+@^`|<>\\éß中😀\t"  # no ~: the server would take it for a home
    name = "".join(random.choice(letters) for _ in range(random.randint(1, 20))).strip(" ")
    return name if name.strip(".") else f"{name}x"


def data_of(random: Random) -> bytes:
    kind = random.randrange(4)
    if kind == 0:
        return random.randbytes(random.randint(0, 200_000))
    words = [b".", b"..", b"\r\n", b"\n", b"\r", b"\0", b"\xff", "é".encode(), b"x" * 2000, b"226 done\r\n"]
    return b"".join(random.choice(words) for _ in range(random.randint(0, 200)))


@pytest.mark.parametrize("tls", [False, True])
def test_random_files_come_back_byte_for_byte(
    proftpd: Proftpd, opened: Callable[..., Any], folder: Path, tls: bool
) -> None:
    random = Random(f"ftp{tls}")
    kept: dict[str, bytes] = {}
    ftp = opened(url(proftpd, "" if tls else "?tls=never"))
    ftp.cwd(folder.name)
    while len(kept) < (20 if tls else 80):
        name, data = name_of(random), data_of(random)
        if name not in kept:
            kept[name] = data
            ftp.put(name, data)
            assert ftp.get(name).read() == data
    assert {entry.name: entry.size for entry in ftp.list("")} == {name: len(data) for name, data in kept.items()}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == kept


def test_names_that_are_not_utf8_go_back_as_they_came(ftp: Any, folder: Path) -> None:
    raw = b"caf\xe9\xff"
    (folder / raw.decode(errors="surrogateescape")).write_bytes(b"1")
    (entry,) = ftp.list(folder.name)
    assert entry.name.encode(errors="surrogateescape") == raw
    assert ftp.get(f"{folder.name}/{entry.name}").read() == b"1"


@pytest.mark.parametrize("bad", ["a\r\nDELE b", "a\nb", "a\0b"])
def test_names_with_line_ends_are_refused_before_anything_is_said(ftp: Any, bad: str) -> None:
    for use in (ftp.get, ftp.list, ftp.size, ftp.cwd, ftp.remove, ftp.stat, ftp.make_folder, ftp.site):
        with pytest.raises(UsageError, match="line ends"):
            use(bad)
    with pytest.raises(UsageError):
        ftp.put(bad, b"")
    with pytest.raises(UsageError):
        ftp.rename("hello.txt", bad)
    ftp.noop()


def test_missing(ftp: Any) -> None:
    for use in (ftp.size, ftp.modified, ftp.remove, ftp.remove_folder, ftp.cwd, ftp.list, ftp.stat):
        with pytest.raises(NotFound) as caught:
            use("missing")
        assert caught.value.code == "550"
    with pytest.raises(NotFound, match="No such file"):
        ftp.get("missing")
    with pytest.raises(NotFound):
        ftp.rename("missing", "other")
    with pytest.raises(Refused):
        ftp.put("missing/x", b"")
    ftp.noop()


def test_logins(proftpd: Proftpd, vsftpd_plain: VsftpdPlain, trust: prise.TLS) -> None:
    lines: list[str] = []
    with pytest.raises(LoginFailed, match="530") as caught:
        prise.open(
            f"ftp://u:wrong-secret@localhost:{proftpd.port}/", tls=trust, trace=lambda _, line: lines.append(line)
        ).open()
    assert "wrong-secret" not in f"{caught.value} {lines}"
    with pytest.raises(LoginFailed):
        prise.open(f"ftp://localhost:{proftpd.port}/", tls=trust).open()  # it lets nobody in who has no name
    with pytest.raises(LoginFailed, match="OAuth"):
        prise.open(f"ftp://u@localhost:{proftpd.port}/", token="t", tls=trust).open()
    with pytest.raises(UsageError, match="wants the password of"):
        prise.open(f"ftp://u@localhost:{proftpd.port}/", tls=trust, netrc=False, keyring=False).open()
    with pytest.raises(TLSError, match="tls=never"):  # it has no TLS
        prise.open(f"ftp://u:pw@localhost:{vsftpd_plain.port}/").open()
    with pytest.raises(UsageError, match="no option colour"):
        prise.open(url(proftpd), colour=1)


def test_netrc(proftpd: Proftpd, trust: prise.TLS, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine localhost login u password pw\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert prise.get(f"ftp://localhost:{proftpd.port}/hello.txt", tls=trust).read() == b"hello ftp\n"


def test_a_certificate_that_is_not_trusted(proftpd: Proftpd) -> None:
    for tls in (False, True):
        with pytest.raises(TLSError):
            prise.open(url(proftpd, tls=tls)).open()


def test_the_natural_loop(ftp: Any, folder: Path) -> None:
    for name in ("a", "b"):
        (folder / name).write_bytes(name.encode())
    assert {ftp.get(f"{folder.name}/{entry.name}").read() for entry in ftp.list(folder.name)} == {b"a", b"b"}


def test_through_a_proxy(proftpd: Proftpd, opened: Callable[..., Any]) -> None:
    port = free_port()
    with Peer("microsocks", "-i", "127.0.0.1", "-p", str(port), port=port):
        for rest in ("", "?tls=never"):
            ftp = opened(url(proftpd, rest), via=f"socks5://127.0.0.1:{port}")
            assert ftp.get("hello.txt").read() == b"hello ftp\n"
        ftp = opened(url(proftpd), via=f"socks5://127.0.0.1:{port}", active=True)
        with pytest.raises(UsageError, match="through a proxy"):
            ftp.get("hello.txt")


def test_left_in_the_middle_the_session_goes_on(ftp: Any, folder: Path) -> None:
    with (folder / "big").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    for name in ("big", "hello.txt"):
        (folder / "hello.txt").write_bytes(b"hello")
        content = ftp.get(f"{folder.name}/{name}")
        assert next(content)
        content.close()
        ftp.noop()
    for index in range(3):
        (folder / f"x{index}").touch()
    with ftp.list(folder.name) as entries:
        next(entries)
    assert ftp.size("hello.txt") == 10


def test_left_in_the_middle_with_await(proftpd: Proftpd, trust: prise.TLS, folder: Path) -> None:
    with (folder / "big").open("wb") as file:
        file.truncate(64 * 1024 * 1024)

    async def main() -> None:
        async with prise.open(url(proftpd, "?tls=never"), tls=trust, timeout=TIMEOUT) as ftp:
            async with ftp.get(f"{folder.name}/big") as content:
                assert await anext(content)
            await ftp.noop()

    asyncio.run(main())


@pytest.mark.parametrize("rest", ["", "?tls=never"], ids=["TLS", "clear"])
def test_a_server_that_is_killed_in_the_middle(rest: str) -> None:
    with Proftpd() as server:
        with server.place("big", b"").open("wb") as file:
            file.truncate(64 * 1024 * 1024)
        with prise.open(url(server, rest), tls=prise.TLS(ca=server.ca), timeout=TIMEOUT) as ftp:
            content = ftp.get("big")
            next(content)
            server.kill()
            with pytest.raises(ConnectionLost):
                content.read()
            with pytest.raises(UsageError, match="broke off"):
                ftp.noop()


def test_a_server_that_is_killed_while_it_is_sent_to() -> None:
    with Proftpd() as server:

        def pieces() -> Iterator[bytes]:
            yield b"x" * 100_000
            server.kill()
            while True:
                yield b"x" * 100_000

        with pytest.raises(ConnectionLost):
            prise.put(url(server, "up?tls=never"), pieces(), timeout=TIMEOUT)


def test_a_source_that_fails(vsftpd_plain: VsftpdPlain) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"x"
        raise ZeroDivisionError

    with prise.open(anonymous(vsftpd_plain), timeout=TIMEOUT) as ftp:
        with pytest.raises(ZeroDivisionError):
            ftp.put(f"pub/fails-{next(NAMES)}", pieces())
        with pytest.raises(UsageError, match="broke off"):
            ftp.noop()
