"""Whole folders by FTP, both ways: ProFTPD, vsftpd, and servers that name what they should not."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

import prise
from ftp_fake import fake
from prise.errors import ProtocolError, Refused, UsageError
from prise.protocols.ftp import Progress
from prise.protocols.ftp.disk import LocalFolder, check_name
from real_servers.proftpd import Proftpd
from real_servers.vsftpd import VsftpdPlain

NAMES = itertools.count()
FILES = {
    "a.txt": b"one\r\n",
    ".hidden": b"",
    "sub/b": b"x" * 3_000_000,
    "sub/sub/c d": Random(1).randbytes(1000),
    "sub/~e": b"~",
    "other/é": b"accent",
}


def plant(folder: Path) -> Path:
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "empty").mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def ftp(proftpd: Proftpd) -> Iterator[Any]:
    with prise.open(f"ftp://u:pw@localhost:{proftpd.port}/?tls=never") as session:
        yield session


@pytest.fixture
def remote(proftpd: Proftpd) -> Path:
    name = f"tree-{next(NAMES)}"
    proftpd.make(f"root/{name}")
    return proftpd.root / name


def test_a_folder_is_fetched(ftp: Any, remote: Path, tmp_path: Path) -> None:
    plant(remote)
    steps = list(ftp.get_tree(remote.name, tmp_path / "here" / "there"))
    assert files(tmp_path / "here" / "there") == FILES
    assert (tmp_path / "here" / "there" / "empty").is_dir()
    assert {step.name for step in steps if step.complete and step.kind == "file"} == set(FILES)
    assert {step.name for step in steps if step.complete and step.kind == "folder"} == {
        "sub",
        "sub/sub",
        "other",
        "empty",
    }
    told = [step.done for step in steps if step.name == "sub/b"]
    assert told[0] == 0
    assert told[-1] == 3_000_000
    assert len(told) >= 4  # every MiB or so
    assert all(step.size == 3_000_000 for step in steps if step.name == "sub/b")


def test_a_folder_is_sent_and_sent_again(ftp: Any, remote: Path, tmp_path: Path) -> None:
    plant(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "sub" / "file-link").symlink_to("b")
    for _ in range(2):
        steps = list(ftp.put_tree(tmp_path, f"{remote.name}/new/folder"))
        assert files(remote / "new" / "folder") == FILES
        assert (remote / "new" / "folder" / "empty").is_dir()
        assert {step.name for step in steps if step.kind == "link"} == {"link", "sub/file-link"}
        assert sum(step.complete for step in steps) == len(FILES) + 4


def test_a_server_without_mlsd(vsftpd_plain: VsftpdPlain, tmp_path: Path) -> None:
    plant(tmp_path / "from")
    here = f"pub/tree {next(NAMES)}"
    with prise.open(f"ftp://localhost:{vsftpd_plain.port}/pub") as ftp:
        list(ftp.put_tree(tmp_path / "from", here))
        list(ftp.get_tree(here, tmp_path / "to"))
    assert files(tmp_path / "to") == FILES


def test_the_same_with_await(vsftpd_plain: VsftpdPlain, tmp_path: Path) -> None:
    plant(tmp_path / "from")

    async def main() -> None:
        here = f"pub/tree-{next(NAMES)}"
        async with prise.open(f"ftp://localhost:{vsftpd_plain.port}/{here}") as ftp:
            assert [step async for step in ftp.put_tree(tmp_path / "from") if step.complete]
            assert [step async for step in ftp.get_tree(None, tmp_path / "to") if step.complete]

    asyncio.run(main())
    assert files(tmp_path / "to") == FILES


def test_what_is_refused_is_told_and_the_rest_comes(ftp: Any, remote: Path, tmp_path: Path) -> None:
    plant(remote)
    for name in ("a.txt", "empty"):
        (remote / name).chmod(0)
        if os.geteuid() == 0:
            os.chown(remote / name, 0, 0)
    steps: list[Progress] = []
    with pytest.raises(Refused, match=r"2 were refused; the first, 'a\.txt': 550") as caught:
        for step in ftp.get_tree(remote.name, tmp_path):
            steps.append(step)
    assert "denied" in str(caught.value)
    refused = [step for step in steps if step.refused is not None]
    assert {(step.name, step.complete) for step in refused} == {("a.txt", False), ("empty", False)}
    assert files(tmp_path) == {name: data for name, data in FILES.items() if name != "a.txt"}
    ftp.noop()


def test_what_cannot_be_put_is_told_and_the_rest_goes(vsftpd_plain: VsftpdPlain, tmp_path: Path) -> None:
    plant(tmp_path)
    with prise.open(f"ftp://localhost:{vsftpd_plain.port}/") as ftp:
        with pytest.raises(Refused, match="6 were refused"):  # three folders, three files: only /pub can be written to
            (tmp_path / "file").write_bytes(b"")
            list(ftp.put_tree(tmp_path))
        ftp.noop()


def test_circles_of_links_end(ftp: Any, remote: Path, tmp_path: Path) -> None:
    (remote / "sub").mkdir()
    (remote / "sub" / "file").write_bytes(b"1")
    (remote / "sub" / "up").symlink_to("..")
    steps = list(ftp.get_tree(remote.name, tmp_path))
    assert len(steps) < 20
    assert (tmp_path / "sub" / "file").read_bytes() == b"1"


def test_left_in_the_middle(ftp: Any, remote: Path, tmp_path: Path) -> None:
    plant(remote)
    (remote / "a.txt").unlink()
    with (remote / "a.txt").open("wb") as file:
        file.truncate(20_000_000)
    with ftp.get_tree(remote.name, tmp_path) as steps:
        assert any(step.name == "a.txt" and step.done for step in steps)
    assert not (tmp_path / "a.txt").exists()  # a part of a file is not left behind under its name
    assert not list(tmp_path.glob(".*.part"))
    ftp.noop()
    with ftp.put_tree(remote, f"{remote.name}-copy") as steps:
        assert any(step.name == "a.txt" and step.done for step in steps)
    ftp.noop()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", "a/b", "a\0b", "a\rb", "", "."])
def test_names_that_lead_out_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError, match="lead out"):
        check_name(name)


@pytest.mark.parametrize("kind", ["file", "dir"])
@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", "sub/x"])
def test_a_server_that_names_what_is_outside(tmp_path: Path, name: str, kind: str) -> None:
    answers = {"MLSD": [f"type={kind};size=1; {name}\r\n".encode()], "RETR": [b"1"]}
    with fake(answers) as url, prise.open(url, timeout=2) as ftp:
        with pytest.raises(ProtocolError, match="lead out"):
            list(ftp.get_tree("", tmp_path / "here"))
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_a_tree_without_end(tmp_path: Path) -> None:
    with fake({"MLSD": [b"type=dir; d\r\n"]}) as url, prise.open(url, timeout=2) as ftp:
        with pytest.raises(ProtocolError, match="64 levels"):
            list(ftp.get_tree("", tmp_path))


def test_a_link_of_this_machine_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "sub").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="leads out"):
        with LocalFolder(tmp_path / "here").writing(("sub", "x")) as file:
            file.write(b"1")
    (tmp_path / "here" / "file").symlink_to(tmp_path / "outside" / "y")
    with LocalFolder(tmp_path / "here").writing(("file",)) as file:
        file.write(b"1")
    assert (tmp_path / "here" / "file").read_bytes() == b"1"  # in the place of the link
    assert not list((tmp_path / "outside").iterdir())
