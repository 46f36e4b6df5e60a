"""Files that arrive: by PUT, by a browser's form, in several goes; what is refused; and that nobody ever sees half of one."""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application_support import Folder, folder
from peers import need
from prise.web import unfinished
from prise.web.arriving import PIECE, check_name
from prise.web.folder import Folder as Root
from prise.web.request import HttpError
from prise.web.unfinished import Busy, Unfinished
from site_support import PATIENCE, write

BROWSER = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}


def names(root: Path) -> list[str]:
    """Everything in a directory, hidden or not."""
    return sorted(os.listdir(root))


def eventually(root: Path, wanted: list[str]) -> None:
    """A server notices a moment later that its client has gone."""
    deadline = time.monotonic() + PATIENCE
    while names(root) != wanted:
        assert time.monotonic() < deadline, names(root)
        time.sleep(0.005)


@contextmanager
def sending(served: Folder, head: str, body: bytes) -> Iterator[socket.socket]:
    """A client that has sent so much, and no more."""
    with closing(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE)) as client:
        client.sendall(f"{head}\r\nHost: h\r\n".encode() + b"\r\n" + body)
        yield client


# Whole files --------------------------------------------------------------------------------------------------------------


def test_put_stores_a_file(tmp_path: Path) -> None:
    data = os.urandom(3 * PIECE + 5)
    with folder(tmp_path, allow="write", durable=True) as served:
        stored = served.ask("/new%20file.bin", "PUT", data)
        assert stored.status == 201
        assert stored.headers["location"] == "./new%20file.bin"
        assert (tmp_path / "new file.bin").read_bytes() == data
        there = served.ask("/new%20file.bin")
        assert there.body == data
        assert there.headers["etag"] == stored.headers["etag"]
        assert served.ask("/new%20file.bin", "PUT", b"").status == 204
        assert (tmp_path / "new file.bin").read_bytes() == b""
        assert names(tmp_path) == ["new file.bin"]


def test_curl_uploads_chunked_and_with_expect(tmp_path: Path) -> None:
    need("curl")
    source = write(tmp_path / "source", os.urandom(2_000_000))
    root = tmp_path / "root"
    root.mkdir()
    with folder(root, allow="upload") as served:
        url = f"{served.url}/"
        for number, options in enumerate(
            (["-T", str(source)], ["-T", str(source), "-H", "Transfer-Encoding: chunked"])
        ):
            command = ["curl", "-qsS", "-f", "-H", "Expect: 100-continue", *options, f"{url}{number}.bin"]
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
            assert (root / f"{number}.bin").read_bytes() == source.read_bytes()
        # What will be refused is refused before it is sent.
        command = ["curl", "-qsS", "-o", os.devnull, "-w", "%{http_code} %{size_upload}", "-H", "Expect: 100-continue"]
        done = subprocess.run(
            [*command, "-T", str(source), f"{url}0.bin"], capture_output=True, timeout=PATIENCE, check=True
        )
        assert done.stdout == b"409 0"


def test_conditions_are_kept(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "old")
    with folder(tmp_path, allow="write") as served:
        tag = served.ask("/a.txt").headers["etag"]
        assert served.ask("/a.txt", "PUT", "new", {"If-None-Match": "*"}).status == 412
        assert served.ask("/a.txt", "PUT", "new", {"If-Match": '"other"'}).status == 412
        assert served.ask("/a.txt", "PUT", "new", {"If-Match": tag}).status == 204
        assert served.ask("/a.txt", "PUT", "newer", {"If-Match": tag}).status == 412
        assert served.ask("/b.txt", "PUT", "new", {"If-Match": "*"}).status == 412
        assert served.ask("/a.txt", "DELETE", headers={"If-Match": tag}).status == 412
        assert (tmp_path / "a.txt").read_text() == "new"


def test_what_put_does_not_do(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with folder(tmp_path, allow="write") as served:
        assert served.ask("/a", "PUT", "x", {"Content-Range": "bytes 0-0/5"}).status == 400
        assert served.ask("/a", "PUT", "x", {"Content-Encoding": "gzip"}).status == 415
        assert served.ask("/a", "PUT", "x", {"Upload-Length": "2"}).status == 400
        assert served.ask("/folder", "PUT", "x").status == 409
        assert served.ask("/folder/", "PUT", "x").status == 405
        assert served.ask("/missing/a", "PUT", "x").status == 404
        assert served.ask("/a", "PATCH", "x").status == 400
        assert names(tmp_path) == ["folder"]


def test_an_upload_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload") as served:
        with sending(served, "PUT /a.bin HTTP/1.1\r\nContent-Length: 2000000", b"x" * 1_000_000):
            deadline = time.monotonic() + PATIENCE
            while not (found := names(tmp_path)):
                assert time.monotonic() < deadline
                time.sleep(0.005)
            assert "a.bin" not in found
            assert all(name.startswith(".prise-") for name in found)
            assert json.loads(served.ask("/?format=json").body) == []
        eventually(tmp_path, [])


def test_two_uploads_of_one_name(tmp_path: Path) -> None:
    half = b"1" * 700_000
    head = "PUT /a.bin HTTP/1.1\r\nContent-Length: 1400000\r\nConnection: close"
    with folder(tmp_path, allow="upload") as served:
        with sending(served, head, half) as first, sending(served, head, half) as second:
            for client in (first, second):
                client.sendall(half)
            statuses = sorted(int(client.recv(65536).split()[1]) for client in (first, second))
            assert statuses == [201, 409]
        assert (tmp_path / "a.bin").read_bytes() == half * 2
        eventually(tmp_path, ["a.bin"])


# In several goes ----------------------------------------------------------------------------------------------------------


def test_an_upload_goes_on_where_it_broke(tmp_path: Path) -> None:
    data = os.urandom(2_000_000)
    with folder(tmp_path, allow="upload") as served:
        where = "/big.bin?upload=id-1"
        start = served.ask(where, "HEAD")
        assert (start.status, start.headers["upload-offset"]) == (204, "0")
        with sending(served, f"PUT {where} HTTP/1.1\r\nContent-Length: {len(data)}", data[:1_500_000]):
            pass
        deadline = time.monotonic() + PATIENCE
        while (here := int(served.ask(where, "HEAD").headers["upload-offset"])) < 1_400_000:
            assert time.monotonic() < deadline, here
        assert served.ask("/big.bin").status == 404
        assert served.ask("/big.bin?upload=other", "HEAD").headers["upload-offset"] == "0"
        answer = served.ask(where, "PATCH", b"x", {"Upload-Offset": "5"})
        assert answer.status == 409
        while answer.status == 409:  # the rest of what came before the break may still be on its way to the disk
            here = int(answer.headers["upload-offset"])
            fields = {"Upload-Offset": str(here), "Upload-Length": str(len(data))}
            answer = served.ask(where, "PATCH", data[here:], fields)
        assert (answer.status, here <= 1_500_000) == (201, True)
        assert (tmp_path / "big.bin").read_bytes() == data
        assert names(tmp_path) == ["big.bin"]
        assert served.ask(where, "PATCH", b"x", {"Upload-Offset": "0"}).status in (404, 409)


def test_an_upload_in_parts(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload") as served:
        where = "/parts.txt?upload=1"
        first = served.ask(where, "PUT", b"one ", {"Upload-Complete": "?0"})
        assert (first.status, first.headers["upload-offset"]) == (204, "4")
        second = served.ask(where, "PATCH", b"two ", {"Upload-Offset": "4", "Upload-Complete": "?0"})
        assert second.headers["upload-offset"] == "8"
        short = served.ask(where, "PATCH", b"th", {"Upload-Offset": "8", "Upload-Length": "13"})
        assert (short.status, short.headers["upload-offset"]) == (409, "10")
        assert served.ask(where, "PATCH", b"ree", {"Upload-Offset": "10", "Upload-Length": "13"}).status == 201
        assert (tmp_path / "parts.txt").read_text() == "one two three"
        # Beginning anew, and giving up.
        served.ask("/b?upload=2", "PUT", b"long ago", {"Upload-Complete": "?0"})
        served.ask("/b?upload=2", "PUT", b"now", {"Upload-Complete": "?0"})
        assert served.ask("/b?upload=2", "HEAD").headers["upload-offset"] == "3"
        assert served.ask("/b?upload=2", "DELETE").status == 204
        assert served.ask("/b?upload=2", "DELETE").status == 404
        assert served.ask("/b?upload=2", "PATCH", b"x", {"Upload-Offset": "3"}).status == 404
        assert served.ask("/b?upload=../../x", "PUT", b"x").status == 400
        assert names(tmp_path) == ["parts.txt"]


def test_the_same_upload_from_two_sides_is_locked(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload") as served:
        where = "/a.bin?upload=same"
        with sending(served, f"PUT {where} HTTP/1.1\r\nContent-Length: 1000000", b"x" * 600_000):
            deadline = time.monotonic() + PATIENCE
            while served.ask(where, "HEAD").headers["upload-offset"] == "0":
                assert time.monotonic() < deadline
            assert served.ask(where, "PUT", b"y").status == 423
            assert served.ask(where, "PATCH", b"y", {"Upload-Offset": "5"}).status == 423
        deadline = time.monotonic() + PATIENCE
        while served.ask(where, "PUT", b"y").status == 423:
            assert time.monotonic() < deadline
        assert (tmp_path / "a.bin").read_bytes() == b"y"


def test_what_nobody_finishes_is_removed_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "_swept", {})
    old = write(tmp_path / ".prise-old.part", "x")
    new = write(tmp_path / ".prise-new.part", "x")
    write(tmp_path / ".hidden", "x")
    os.utime(old, (time.time() - unfinished.STALE - 1,) * 2)
    with folder(tmp_path, allow="upload") as served:
        assert served.ask("/a", "PUT", b"x").status == 201
    assert names(tmp_path) == [".hidden", new.name, "a"]


# Forms --------------------------------------------------------------------------------------------------------------------


def form(*parts: tuple[str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A form with these files: the raw file name as it stands between the quotes, and the content."""
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\nContent-Type: x/y\r\n\r\n%b\r\n'
        % (name.encode(), content)
        for name, content in parts
    )
    return body + b"--XX--\r\n", {"Content-Type": "multipart/form-data; boundary=XX"}


def test_a_browsers_form_and_curls(tmp_path: Path) -> None:
    need("curl")
    data = os.urandom(1_500_000)
    source = write(tmp_path / "source.bin", data)
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    with folder(root, allow="upload") as served:
        body, kind = form(
            ("été.txt", b"summer"),
            ("C:\\docs\\win.txt", b"w"),
            ("", b""),
            ("cafe\u0301.txt", b"nfc"),
            ("q%22.txt", b"q"),
        )
        back = served.ask("/in/", "POST", body, BROWSER | kind)
        assert (back.status, back.headers["location"]) == (303, "./")
        assert names(root / "in") == ["café.txt", 'q".txt', "win.txt", "été.txt"]
        assert (root / "in" / "été.txt").read_bytes() == b"summer"
        command = ["curl", "-qsSf", "-F", f"file=@{source}", "-F", "note=hello", f"{served.url}/"]
        done = subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
        assert json.loads(done.stdout) == [{"name": "source.bin", "size": len(data), "url": "./source.bin"}]
        assert (root / "source.bin").read_bytes() == data


def test_a_form_that_is_wrong_leaves_no_half_file(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload", largest=1000) as served:
        body, kind = form(("a.txt", b"x" * 100))
        for broken in (body[:-20], body.replace(b"--XX\r\n", b"--YY\r\n", 1), b"", b"--XX--\r\n"):
            assert served.ask("/", "POST", broken, kind).status == 400, broken
        assert served.ask("/", "POST", body, {"Content-Type": "multipart/form-data"}).status == 400
        assert served.ask("/", "POST", form(("b.txt", b"1"), (".hidden", b"2"))[0], kind).status == 400
        assert served.ask("/", "POST", form(("b.txt", b"1"))[0], kind).status == 409
        assert served.ask("/", "POST", form(("big", b"x" * 1001))[0], kind).status == 413
        assert served.ask("/", "POST", form(*(("", b"") for _ in range(1001)))[0], kind).status == 413
        assert names(tmp_path) in (["b.txt"], ["a.txt", "b.txt"])


def test_a_form_in_any_pieces(tmp_path: Path) -> None:
    body, kind = form(("a.txt", b"\r\n--X\r\n--XXnot\r\n"), ("b.txt", b""))
    head = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {kind['Content-Type']}\r\nTransfer-Encoding: chunked\r\n"
    with folder(tmp_path, allow="upload") as served:
        with closing(socket.create_connection(("127.0.0.1", served.port), timeout=PATIENCE)) as client:
            chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
            client.sendall(head.encode() + b"Connection: close\r\n\r\n" + chunks)
            assert b" 201 " in client.recv(65536)
        assert (tmp_path / "a.txt").read_bytes() == b"\r\n--X\r\n--XXnot\r\n"
        assert (tmp_path / "b.txt").read_bytes() == b""


def test_post_of_anything_else_needs_a_name(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload") as served:
        refused = served.ask("/", "POST", b"x")
        assert refused.status == 415
        assert "PUT" in refused.text
        assert served.ask("/?name=a.txt", "POST", b"x").status == 201
        assert served.ask("/a.txt", "POST", b"x").status == 405
        assert names(tmp_path) == ["a.txt"]


# Names --------------------------------------------------------------------------------------------------------------------

BAD_NAMES = [".hidden", "..", ".prise-x.part", "a\\b", "a\nb", "a\x7fb", "a\u202eb", " a", "a ", "é" * 128, "a\x00b"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    with folder(root, allow="write") as served:
        assert served.ask(f"/{quote(name, safe='')}", "PUT", b"x").status == 400
        assert served.ask(f"/?name={quote(name, safe='')}", "POST", b"x").status == 400
        assert served.ask(f"/?mkdir={quote(name, safe='')}", "POST").status == 400
    assert names(tmp_path) == ["root"]
    assert names(root) == []


def test_nothing_outside_is_written(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "link.txt").symlink_to(tmp_path / "outside" / "target.txt")
    (root / ".well-known").mkdir()
    with folder(root, allow="write") as served:
        for path in ("/out/a", "/../a", "/in/%2e%2e/%2e%2e/a", "/in/..%2f..%2fa", "//etc/a", "/.well-known/a", "/%ff"):
            assert served.ask(path, "PUT", b"x").status in (400, 404, 409), path
        assert served.ask("/?name=../a", "POST", b"x").status == 400
        assert served.ask("/link.txt", "PUT", b"x").status in (201, 204)  # the link itself is replaced
        assert not (root / "link.txt").is_symlink()
    assert names(tmp_path / "outside") == []
    assert names(tmp_path) == ["outside", "root"]
    assert names(root / ".well-known") == []


@given(st.text())
def test_a_name_that_is_taken_is_one_part_of_a_path(name: str) -> None:
    try:
        check_name(name, dot_files=False)
    except HttpError:
        return
    assert os.path.basename(name) == name
    assert not name.startswith(".")
    assert name.encode().decode() == name
    assert name.isprintable() or "\n" not in name


# Folders and deleting -----------------------------------------------------------------------------------------------------


def test_folders_are_made_and_removed(tmp_path: Path) -> None:
    with folder(tmp_path, allow="write") as served:
        assert served.ask("/one", "MKCOL").status == 201
        assert served.ask("/one/", "MKCOL").status == 409
        assert served.ask("/one/?mkdir=two", "POST").status == 201
        encoded = {"Content-Type": "application/x-www-form-urlencoded"}
        assert served.ask("/one/?mkdir", "POST", "name=three+four", BROWSER | encoded).status == 303
        assert names(tmp_path / "one") == ["three four", "two"]
        assert served.ask("/one/", "DELETE").status == 409
        assert served.ask("/one/two/", "DELETE").status == 204
        assert served.ask("/one/three%20four", "DELETE").status == 204
        assert served.ask("/one", "DELETE").status == 204
        assert served.ask("/one", "DELETE").status == 404
        assert served.ask("/", "DELETE").status == 403
        assert names(tmp_path) == []


def test_of_a_link_only_the_link_is_deleted(tmp_path: Path) -> None:
    write(tmp_path / "folder" / "a.txt", "a")
    (tmp_path / "to-file").symlink_to("folder/a.txt")
    (tmp_path / "to-folder").symlink_to("folder")
    with folder(tmp_path, allow="write") as served:
        assert served.ask("/to-file/", "DELETE").status == 404
        assert served.ask("/to-file", "DELETE").status == 204
        assert served.ask("/to-folder", "DELETE").status == 204
    assert (tmp_path / "folder" / "a.txt").exists()
    assert names(tmp_path) == ["folder"]


# No room ------------------------------------------------------------------------------------------------------------------


def test_files_that_are_too_large(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload", largest=1000) as served:
        assert served.ask("/a", "PUT", b"x" * 1000).status == 201
        assert served.ask("/b", "PUT", b"x" * 1001).status == 413
        assert (
            served.ask("/b", "PUT", iter([b"x" * 600, b"x" * 600])).status == 413
        )  # chunked: known only when it is here
        assert served.ask("/b?upload=1", "PUT", b"x" * 600, {"Upload-Complete": "?0"}).status == 204
        assert served.ask("/b?upload=1", "PATCH", b"x" * 600, {"Upload-Offset": "600"}).status == 413
        assert names(tmp_path) == ["a"]


def test_a_quota_for_the_whole_folder(tmp_path: Path) -> None:
    write(tmp_path / "in" / "there", "x" * 5000)
    with folder(tmp_path, allow="upload", quota=6000) as served:
        assert served.ask("/a", "PUT", b"x" * 900).status == 201
        refused = served.ask("/b", "PUT", b"x" * 900)
        assert refused.status == 507
        assert "6000" in refused.text
        assert served.ask("/b", "PUT", iter([b"x" * 900])).status == 507
        assert names(tmp_path) == ["a", "in"]


def test_some_of_the_disk_stays_free(tmp_path: Path) -> None:
    with folder(tmp_path, allow="upload", keep_free=2**60) as served:
        assert served.ask("/a", "PUT", b"x").status == 507
    assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small file system")
@pytest.mark.parametrize("where", ["/a", "/a?upload=1"])
def test_a_full_disk(tmp_path: Path, where: str) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, timeout=10, check=False
    )
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with folder(tmp_path, allow="upload") as served:
            refused = served.ask(where, "PUT", b"x" * 3_000_000)
            assert refused.status == 507
            assert "disk is full" in refused.text
            assert names(tmp_path) == []
            assert shutil.disk_usage(tmp_path).free > 900_000
            assert served.ask(where, "PUT", b"x" * 1000).status == 201
    finally:
        subprocess.run(["umount", "-l", str(tmp_path)], check=True, timeout=10)


def test_a_file_system_with_a_limit(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with folder(tmp_path, allow="upload") as served:
            assert served.ask("/a", "PUT", b"x" * 2_000_000).status == 413
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


# On the disk --------------------------------------------------------------------------------------------------------------


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    with folder(tmp_path, allow="upload") as served:
        assert served.ask("/a", "PUT", b"1").status == 201
        assert served.ask("/a", "PUT", b"2").status == 409
    assert names(tmp_path) == ["a"]


def test_writing_and_ending_at_once_is_safe(tmp_path: Path) -> None:
    with Root(tmp_path).open("/") as directory:
        part = Unfinished.begin(directory, "a", "id")
        with pytest.raises(Busy):
            Unfinished.begin(directory, "a", "id")
        threads = [threading.Thread(target=part.write, args=(b"x" * 100_000,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        part.discard()
        for thread in threads:
            thread.join()
        part.write(b"too late")
        part.keep()
        part.discard()
    assert names(tmp_path) == []
