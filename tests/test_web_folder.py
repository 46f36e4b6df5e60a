"""From a path to an open file: everything inside the folder is found, and nothing outside it by any spelling."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prise import UsageError
from prise.web.folder import Folder
from prise.web.site import Site
from site_support import Served, served, write

SECRET = b"nobody may read this"
INSIDE = b"everybody may read this"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with neighbours that are nobody's business, and all that may lie in one."""
    above = tmp_path_factory.mktemp("folder")
    write(above / "secret.txt", SECRET)
    write(above / "root-too" / "secret.txt", SECRET)  # begins with the root's own name
    root = above / "root"
    write(root / "a.txt", INSIDE)
    write(root / "sub" / "b.txt", INSIDE)
    write(root / "sub" / "deep" / "c.txt", INSIDE)
    write(root / ".env", SECRET)
    write(root / ".git" / "config", SECRET)
    write(root / "sub" / ".htpasswd", SECRET)
    write(root / ".well-known" / "security.txt", INSIDE)
    write(root / "été 日本 🎈.txt", INSIDE)
    write(root / "100% & <b>'\"#?.txt", INSIDE)
    write(root / "back\\slash.txt", SECRET)
    links = {
        "in": "a.txt",
        "in-sub": "sub",
        "sub/up": "../a.txt",
        "in-absolute": str(root / "a.txt"),
        "chain": "in",
        "out": "../secret.txt",
        "out-absolute": str(above / "secret.txt"),
        "out-folder": "..",
        "out-neighbour": "../root-too",
        "out-and-in": "../root/a.txt",
        "system": "/etc",
        "chain-out": "out",
        "loop": "loop",
        "dangling": "missing",
        "to-fifo": "fifo",
        "sub/out-deep": "../../secret.txt",
    }
    for name, target in links.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # the path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    return root


@pytest.fixture(scope="module")
def site(root: Path) -> Iterator[Served]:
    with served(Site(root)) as running:
        yield running


@pytest.mark.parametrize(
    "path",
    [
        "/a.txt",
        "/sub/b.txt",
        "/sub/deep/c.txt",
        "/in",
        "/in-sub/b.txt",
        "/in-sub/deep/c.txt",
        "/sub/up",
        "/in-sub/up",
        "/in-absolute",
        "/chain",
        "/out-and-in",  # it ends inside, whatever its way
        "/.well-known/security.txt",
        "/été 日本 🎈.txt",
        "/100% & <b>'\"#?.txt",
    ],
)
def test_what_is_inside_is_served(site: Served, path: str) -> None:
    found = site.get(quote(path))
    assert (found.status, found.body) == (200, INSIDE)


def test_a_name_may_be_typed_in_utf_8_without_escapes(site: Served) -> None:
    assert site.ask("/été%20日本%20🎈.txt".encode()).body == INSIDE


@pytest.mark.parametrize(
    "path",
    [
        b"/../secret.txt",
        b"/../../../../../../etc/passwd",
        b"/sub/../../secret.txt",
        b"/%2e%2e/secret.txt",
        b"/%2E%2E/secret.txt",
        b"/.%2e/secret.txt",
        b"/..%2fsecret.txt",
        b"/%2e%2e%2fsecret.txt",
        b"/..%5csecret.txt",
        b"/..\\secret.txt",
        b"/sub/..%2f..%2fsecret.txt",
        b"/....//secret.txt",
        b"/..;/secret.txt",
        b"//../secret.txt",
        b"/./../secret.txt",
        b"//etc/passwd",
        b"///etc/passwd",
        b"/%2fetc/passwd",
        b"/%2f%2fetc%2fpasswd",
        b"/%252e%252e/secret.txt",
        b"/%c0%ae%c0%ae/secret.txt",  # "." in more bytes than UTF-8 allows
        b"/%c0%ae%c0%ae%c0%afsecret.txt",
        b"/%e0%80%ae%e0%80%ae/secret.txt",
        b"/%uff0e%uff0e/secret.txt",
        "/．．/secret.txt".encode(),  # full-width dots are no dots
        b"/a.txt/../../secret.txt",
        b"/in-sub/../../secret.txt",
        b"/%00/../secret.txt",
        b"/..%00/secret.txt",
        b"/../root-too/secret.txt",
        b"/out",
        b"/out-absolute",
        b"/out-folder/secret.txt",
        b"/out-neighbour/secret.txt",
        b"/system/passwd",
        b"/chain-out",
        b"/sub/out-deep",
        b"/in-sub/out-deep",
        b"/.env",
        b"/%2eenv",
        b"/.git/config",
        b"/sub/.htpasswd",
        b"/in-sub/.htpasswd",
        b"/sub/.well-known/x",
        b"/back%5cslash.txt",
        b"http://localhost/../secret.txt",
        b"file:///etc/passwd",
        b"*",
    ],
)
def test_nothing_else_is(site: Served, path: bytes) -> None:
    refused = site.ask(path)
    assert refused.status in (400, 404)
    assert SECRET not in refused.body
    assert b"root:" not in refused.body


@pytest.mark.parametrize(
    "path",
    [
        b"/loop",
        b"/dangling",
        b"/fifo",
        b"/to-fifo",
        b"/socket",
        b"/a.txt/",
        b"/a.txt/x",
        b"/in/",
        b"/missing/",
        b"/sub//b.txt",
    ],
)
def test_what_is_no_file_or_folder_is_not_found_and_holds_nobody_up(site: Served, path: bytes) -> None:
    assert site.ask(path).status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/%00", 400),
        (b"/a.txt%00.html", 400),
        (b"/\xff", 400),
        (b"/%ff", 400),
        (b"/%ed%a0%80", 400),  # half a surrogate pair
        (b"/%", 400),
        (b"/%zz", 400),
        (b"/" + b"a" * 256, 404),
        (b"/" + b"a" * 4000, 404),
        (b"/" + b"a/" * 2000, 404),
        (b"/" + b"%C3%A9" * 128, 404),  # 256 bytes
    ],
)
def test_malformed_is_400_and_overlong_is_not_found(site: Served, path: bytes, status: int) -> None:
    assert site.ask(path).status == status


def test_the_writer_of_a_fifo_is_left_alone(root: Path, site: Served) -> None:
    """Opening a FIFO, even for a moment, would let its writer go on, and then break its pipe."""
    writer = threading.Event()

    def write_to_it() -> None:
        with (root / "fifo").open("wb") as fifo:
            writer.set()
            fifo.write(b"x")

    thread = threading.Thread(target=write_to_it)
    thread.start()
    assert site.ask(b"/fifo").status == 404
    assert not writer.is_set()
    with (root / "fifo").open("rb") as fifo:
        assert fifo.read() == b"x"
    thread.join()


def test_dot_files_where_they_are_allowed(root: Path) -> None:
    folder = Folder(root, dot_files=True)
    with folder.open("/.env") as opened:
        assert opened.read(100) == SECRET
    for path in ("/..", "/.", "/../secret.txt", "/./a.txt"):
        with pytest.raises(FileNotFoundError):
            folder.open(path)


def test_what_comes_back_is_open_and_described(root: Path) -> None:
    folder = Folder(root)
    with folder.open("/in-sub/deep/c.txt") as opened:
        assert (opened.name, opened.parts, opened.is_directory) == ("c.txt", ("in-sub", "deep", "c.txt"), False)
        assert opened.stat.st_size == len(INSIDE)
        assert os.read(opened.descriptor, 100) == INSIDE
    with folder.open("/") as top, top.child("sub") as sub, sub.child("up") as linked, sub.child("deep") as deep:
        assert top.is_directory
        assert (sub.parts, deep.parts, linked.parts) == (("sub",), ("sub", "deep"), ("sub", "up"))
        assert linked.read(100) == INSIDE
        assert "a.txt" in os.listdir(top.descriptor)
        for name in ("..", ".", "", ".htpasswd", "out-deep", "b.txt/", "deep/c.txt", "missing", "nul\0"):
            with pytest.raises(FileNotFoundError):
                sub.child(name)


def test_a_root_that_is_no_folder(root: Path) -> None:
    for path in (root / "a.txt", root / "missing"):
        with pytest.raises(UsageError, match="no folder"):
            Folder(path)


def test_a_root_that_is_replaced_is_followed(tmp_path: Path) -> None:
    """As builds do: the old folder is deleted, or a link is switched to the new one."""
    write(tmp_path / "one" / "a.txt", "one")
    write(tmp_path / "two" / "a.txt", "two")
    (tmp_path / "current").symlink_to("one")
    folder = Folder(tmp_path / "current")
    with folder.open("/a.txt") as opened:
        assert opened.read(10) == b"one"
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("two")
    with folder.open("/a.txt") as opened:
        assert opened.read(10) == b"two"


def test_no_descriptor_is_left_open(root: Path) -> None:
    folder = Folder(root)
    before = len(os.listdir("/proc/self/fd"))
    for path in ("/a.txt", "/sub/deep/c.txt", "/in-sub/b.txt", "/out", "/loop", "/fifo", "/sub/x/y", "/a.txt/", "/"):
        try:
            folder.open(path).close()
        except FileNotFoundError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("path", ["/x/f.txt", "/x"], ids=["folder", "file"])
def test_somebody_exchanges_a_part_while_it_is_asked_for(tmp_path: Path, path: str) -> None:
    """The classical race, against a link to the outside and a FIFO: whatever is opened is an inner file, or nothing is."""
    write(tmp_path / f"outside{path[2:]}", SECRET)
    write(tmp_path / f"root/inside{path[2:]}", INSIDE)
    moving, link, fifo, inside = (tmp_path / "root" / name for name in ("x", "link", "fifo", "inside"))
    link.symlink_to("../outside")
    os.mkfifo(fifo)
    over = threading.Event()

    def exchange_folders() -> None:
        while not over.is_set():
            for each in (link, inside, fifo):
                os.rename(each, moving)
                os.rename(moving, each)

    def exchange_files() -> None:
        new = tmp_path / "root" / "new"
        while not over.is_set():  # without a moment in which there is nothing
            for each in (link, inside, fifo):
                os.link(each, new, follow_symlinks=False)
                os.rename(new, moving)

    thread = threading.Thread(target=exchange_files if path == "/x" else exchange_folders)
    thread.start()
    folder = Folder(tmp_path / "root")
    seen = {INSIDE: 0, b"": 0}
    try:
        while seen[INSIDE] < 300 or seen[b""] < 300:
            try:
                with folder.open(path) as opened:
                    seen[opened.read(100)] += 1  # KeyError: SECRET
            except FileNotFoundError:
                seen[b""] += 1
    finally:
        over.set()
        thread.join()


PARTS = st.sampled_from(
    [
        *("..", ".", "", "a.txt", "sub", "b.txt", "in-sub", "out", "out-folder", "system", "secret.txt", "root", "etc"),
        *("passwd", "%2e%2e", "%2f", "\\", "\0", ".env", "up", "loop", "chain", "deep", "in", "fifo", "..%2f..", "é"),
        "\udcff",
    ]
)


@given(st.lists(PARTS | st.text(max_size=5), max_size=8).map("/".join).map("/{}".format))
@example("/in-sub/up")
def test_whatever_is_opened_by_random_paths_is_inside(root: Path, path: str) -> None:
    folder = Folder(root)
    for spelling in (path, unquote(path, errors="surrogateescape")):
        try:
            opened = folder.open(spelling)
        except (FileNotFoundError, ValueError):
            continue
        with opened:
            real = os.readlink(f"/proc/self/fd/{opened.descriptor}")
            assert real == str(root) or real.startswith(f"{root}/")
            assert not any(part.startswith(".") for part in opened.parts if part != ".well-known")
            assert stat.S_ISREG(opened.stat.st_mode) or stat.S_ISDIR(opened.stat.st_mode)
