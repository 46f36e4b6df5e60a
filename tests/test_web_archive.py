"""A folder as zip, tar and tar.gz while it is sent: what is in it, what is not, and what happens when files change meanwhile."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from application_support import folder
from peers import need
from prise.web import archive
from prise.web.folder import Folder
from site_support import write

MAKERS = {"zip": archive.zip_of, "tar": archive.tar_of, "tar.gz": archive.tar_gz_of}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write(root / "a.txt", "alpha\n" * 1000)
    write(root / "été" / "b.bin", os.urandom(700_000))
    write(root / "été" / "empty", "")
    (root / "hollow").mkdir()
    write(root / ".secret" / "key", "no")
    write(root / "été" / ".hidden", "no")
    write(root / ".prise-0123.part", "no")
    write(tmp_path / "outside" / "passwd", "no")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "file-out").symlink_to(tmp_path / "outside" / "passwd")
    (root / "again").symlink_to("été")
    (root / "été" / "upwards").symlink_to("..")
    (root / "link.txt").symlink_to("a.txt")
    os.mkfifo(root / "pipe")
    program = write(root / "run.sh", "#!/bin/sh\n")
    program.chmod(0o755)
    return root


def contents(kind: str, data: bytes) -> dict[str, bytes | None]:
    """Name -> content, None for a directory."""
    if kind == "zip":
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            assert opened.testzip() is None
            return {each.filename: None if each.is_dir() else opened.read(each) for each in opened.infolist()}
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz" if kind == "tar.gz" else "r:") as tar:
        found: dict[str, bytes | None] = {}
        for member in tar:
            file = tar.extractfile(member)
            found[member.name + ("/" if member.isdir() else "")] = file.read() if file is not None else None
        return found


def made(kind: str, root: Path) -> Generator[bytes]:
    return MAKERS[kind](Folder(root).open("/"), "root")


@pytest.mark.parametrize("kind", archive.KINDS)
def test_an_archive_holds_what_is_served_and_nothing_else(root: Path, kind: str) -> None:
    with folder(root) as served:
        answer = served.ask(f"/?download={kind}")
        assert answer.status == 200
        assert answer.headers["content-type"] == archive.KINDS[kind]
        assert (
            answer.headers["content-disposition"]
            == f"attachment; filename=\"root.{kind}\"; filename*=UTF-8''root.{kind}"
        )
        assert "content-encoding" not in answer.headers
        found = contents(kind, answer.body)
        binary = (root / "été" / "b.bin").read_bytes()
        assert found == {
            "root/": None,
            "root/a.txt": b"alpha\n" * 1000,
            "root/again/": None,
            "root/again/b.bin": binary,
            "root/again/empty": b"",
            "root/hollow/": None,
            "root/link.txt": b"alpha\n" * 1000,
            "root/run.sh": b"#!/bin/sh\n",
            "root/été/": None,
            "root/été/b.bin": binary,
            "root/été/empty": b"",
        }
        head = served.ask(f"/?download={kind}", "HEAD")
        assert (head.status, head.body) == (200, b"")
        part = served.ask(f"/%C3%A9t%C3%A9/?download={kind}")
        assert "filename*=UTF-8''%C3%A9t%C3%A9." in part.headers["content-disposition"]
        assert contents(kind, part.body)["été/b.bin"] == binary
        assert served.ask("/?download=rar").status == 404
        assert served.ask("/.secret/?download=zip").status == 404


def test_unzip_and_tar_find_nothing_wrong(root: Path, tmp_path: Path) -> None:
    need("unzip", "tar")
    (tmp_path / "x.zip").write_bytes(b"".join(made("zip", root)))
    (tmp_path / "x.tgz").write_bytes(b"".join(made("tar.gz", root)))
    subprocess.run(["unzip", "-tq", str(tmp_path / "x.zip")], check=True, capture_output=True, timeout=20)
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xzf", str(tmp_path / "x.tgz"), "-C", str(tmp_path / "out")], check=True, timeout=20)
    assert (tmp_path / "out" / "root" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "out" / "root" / "été" / "b.bin").read_bytes() == (root / "été" / "b.bin").read_bytes()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_not_utf8_and_times_before_zip_was_made(tmp_path: Path, kind: str) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff"))
    write(odd, "content")
    os.utime(odd, (0, 0))
    long = write(tmp_path / ("n" * 250), "long")
    os.utime(long, (5_000_000_000, 5_000_000_000))
    found = contents(kind, b"".join(made(kind, tmp_path)))
    assert found[f"root/{'bad' + chr(0xFFFD) if kind == 'zip' else odd.name}"] == b"content"
    assert found["root/" + "n" * 250] == b"long"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_file_that_shrinks_while_it_is_sent_is_told_of(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "big.bin", os.urandom(3_000_000))
    write(tmp_path / "z.txt", "last")
    pieces = made(kind, tmp_path)
    data = next(pieces)
    os.truncate(tmp_path / "big.bin", 1_000_000)
    (tmp_path / "z.txt").unlink()
    found = contents(kind, data + b"".join(pieces))
    problems = found["root/PROBLEMS.txt"]
    assert problems is not None
    assert b"root/big.bin" in problems
    assert b"became shorter" in problems
    assert "root/z.txt" not in found
    big = found["root/big.bin"]
    assert big is not None
    if kind == "tar":  # its size was announced
        assert len(big) == 3_000_000
    else:
        assert len(big) < 3_000_000


@pytest.mark.parametrize("kind", archive.KINDS)
def test_nothing_is_collected_and_what_is_not_finished_leaves_nothing_open(tmp_path: Path, kind: str) -> None:
    for number in range(8):
        write(tmp_path / str(number) / "random.bin", os.urandom(2**20))
    before = len(os.listdir("/proc/self/fd"))
    pieces = made(kind, tmp_path)
    assert all(len(next(pieces)) <= archive.PIECE + 65_536 for _ in range(10))
    pieces.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_client_that_goes_away_stops_the_archive(tmp_path: Path) -> None:
    with open(tmp_path / "sparse.bin", "wb") as file:
        file.truncate(2**33)
    with folder(tmp_path) as served:
        with closing(socket.create_connection(("127.0.0.1", served.port), timeout=10)) as client:
            client.sendall(b"GET /?download=tar HTTP/1.1\r\nHost: h\r\n\r\n")
            received = 0
            while received < 1_000_000:
                received += len(client.recv(65536))
        assert served.ask("/").status == 200
        # It is read by one of this process's threads, until the conversation sees that nobody takes it any more.
        deadline = time.monotonic() + 10
        while "sparse.bin" in " ".join(open_files()):
            assert time.monotonic() < deadline
            os.sched_yield()


def open_files() -> list[str]:
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        except OSError:
            continue
    return found
