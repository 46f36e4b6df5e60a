"""The transfer of files: what arrives is whole and verified, and nothing that a peer says reaches beyond the folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import socket
import stat
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from prise import transfer
from prise.transfer.code import is_proof, key_of, proof_of
from prise.transfer.names import is_name
from prise.transfer.talk import CHUNK

PATIENCE = 20.0


class Peer:
    """The other side, played by hand on a raw socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)

    def message(self, raw: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have refused what came before
            self.sock.sendall(struct.pack(">I", len(raw)) + raw)

    def say(self, kind: str, **fields: Any) -> None:
        self.message(json.dumps({"type": kind, **fields}).encode())

    def data(self, data: bytes) -> None:
        self.message(b"\0" + data)

    def hear(self) -> Any:
        """The next message as a dict, data as bytes; None at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        raw = self._exactly(*struct.unpack(">I", head))
        assert raw is not None
        return raw[1:] if raw[:1] == b"\0" else json.loads(raw)

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                piece = self.sock.recv(size - len(data))
            except ConnectionResetError:
                return None
            if not piece:
                return None
            data += piece
        return data

    def entry(self, name: str, size: int | None = 0, folder: bool = False, **more: Any) -> None:
        self.say("entry", **{"name": name, "folder": folder, "size": size, "mode": 0o644, "mtime": 0, **more})

    def file(self, index: int, data: bytes, start: int = 0, whole: bool = True, digest: str | None = None) -> None:
        self.say("file", index=index, start=start)
        if data[start:]:
            self.data(data[start:])
        self.say("end", sha256=digest or hashlib.sha256(data).hexdigest(), whole=whole)


@contextmanager
def played(folder: Path, run: Callable[[prise.Connection], Any]) -> Iterator[tuple[Peer, Future[Any]]]:
    """A peer by hand, and what comes of `run` on the connection with it."""
    path = folder / "socket"

    def serve(listener: prise.Listener) -> Any:
        with listener.accept(PATIENCE) as connection:
            return run(connection)

    with (
        prise.Listener(f"unix:{path}", framing=transfer.FRAMING, limits=transfer.LIMITS) as listener,
        ThreadPoolExecutor(1) as pool,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        sock.connect(str(path))
        future = pool.submit(serve, listener)
        yield Peer(sock), future
        sock.close()
        future.exception(PATIENCE)


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


@contextmanager
def receiving(tmp_path: Path, into: Path, **options: Any) -> Iterator[tuple[Peer, Future[transfer.Report]]]:
    with played(tmp_path, lambda connection: transfer.receive(connection, str(into), **options)) as both:
        yield both


def move(
    tmp_path: Path, what: transfer.Listing, into: Path, **options: Any
) -> tuple[transfer.Report | BaseException, transfer.Report | BaseException]:
    """Sends and receives; what both sides report or raise."""
    address = f"unix:{tmp_path / 'both'}"
    with (
        prise.Listener(address, framing=transfer.FRAMING, limits=transfer.LIMITS) as listener,
        ThreadPoolExecutor(1) as pool,
    ):

        def receive() -> transfer.Report:
            with listener.accept(PATIENCE) as connection:
                return transfer.receive(connection, str(into), **options)

        received = pool.submit(receive)
        sent: transfer.Report | BaseException
        with prise.connect(address, framing=transfer.FRAMING, limits=transfer.LIMITS) as connection:
            try:
                sent = transfer.send(connection, what)
            except prise.PriseError as error:
                sent = error
        return sent, received.exception(PATIENCE) or received.result()


def tree(folder: Path) -> dict[str, Any]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


# What arrives


def test_files_and_folders_arrive_with_their_modes_and_times(tmp_path, into):
    source = tmp_path / "photos"
    (source / "2026" / "empty").mkdir(parents=True)
    (source / "sea.jpg").write_bytes(os.urandom(3 * CHUNK + 5))
    (source / "2026" / "été \udcff.txt").write_bytes(b"")
    (source / "run").write_bytes(b"#!/bin/sh\n")
    os.chmod(source / "run", 0o755)
    os.utime(source / "run", ns=(1, 1_600_000_000_123_456_789))
    os.utime(source / "2026", ns=(1, 1_500_000_000_000_000_000))
    sent, received = move(tmp_path, transfer.listing([str(source)]), into)
    assert sent == received == transfer.Report(files=3, size=3 * CHUNK + 5 + 10)
    assert tree(into / "photos") == tree(source)
    status = os.stat(into / "photos" / "run")
    assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o755, 1_600_000_000_123_456_789)
    assert os.stat(into / "photos" / "2026").st_mtime_ns == 1_500_000_000_000_000_000


def test_links_are_left_out_unless_they_are_followed(tmp_path, into):
    source = tmp_path / "source"
    source.mkdir()
    (tmp_path / "outside").write_text("outside")
    (source / "link").symlink_to(tmp_path / "outside")
    (source / "up").symlink_to(source)
    (source / "dangling").symlink_to("nowhere")
    os.mkfifo(source / "pipe")
    left_out = transfer.listing([str(source)])
    assert [entry.name for entry in left_out.entries] == ["source"]
    assert [os.path.basename(path) for path in left_out.skipped] == ["dangling", "link", "pipe", "up"]
    followed = transfer.listing([str(source)], follow=True)
    assert [os.path.basename(path) for path in followed.skipped] == ["dangling", "pipe", "up"]
    move(tmp_path, followed, into)
    assert tree(into) == {"source": None, "source/link": b"outside"}


def test_two_things_of_one_name_are_not_sent_together(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").touch()
    with pytest.raises(prise.UsageError, match="two of these are called 'x'"):
        transfer.listing([str(tmp_path / "a" / "x"), str(tmp_path / "b" / "x")])


def test_a_file_that_changes_while_it_is_sent_is_noticed_and_the_others_arrive(tmp_path, into):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    what = transfer.listing([str(tmp_path / "a"), str(tmp_path / "b")])
    (tmp_path / "a").write_text("longer")
    sent, received = move(tmp_path, what, into)
    assert isinstance(sent, transfer.Report)
    assert isinstance(received, transfer.Report)
    assert sent.failed == received.failed == ["a"]
    assert tree(into) == {"b": b"b"}


def test_a_file_and_another_called_like_its_part(tmp_path, into):
    for name in ("x", "x.part"):
        (tmp_path / name).write_text(name)
    sent, _ = move(tmp_path, transfer.listing([str(tmp_path / "x.part"), str(tmp_path / "x")]), into)
    assert isinstance(sent, transfer.Report)
    assert tree(into) == {"x": b"x", "x.part": b"x.part"}


# What is there already


def test_what_exists_is_not_overwritten_and_nothing_else_is_written_either(tmp_path, into):
    for name in ("a", "b"):
        (tmp_path / name).write_text("new")
    (into / "b").write_text("old")  # as long as the new one: only its hash tells
    sent, received = move(tmp_path, transfer.listing([str(tmp_path / "a"), str(tmp_path / "b")]), into)
    assert str(sent) == "'b' exists there already; --overwrite on that side replaces it"
    assert str(received) == "'b' is here already; --overwrite replaces it"
    assert tree(into) == {"b": b"old"}


@pytest.mark.parametrize("old", ["old", "another length"])
def test_overwriting(tmp_path, into, old):
    (tmp_path / "a").write_text("new")
    (into / "a").write_text(old)
    move(tmp_path, transfer.listing([str(tmp_path / "a")]), into, overwrite=True)
    assert tree(into) == {"a": b"new"}


def test_what_is_there_already_is_not_sent_again(tmp_path, into):
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    (into / "a").write_text("a")
    sent, received = move(tmp_path, transfer.listing([str(tmp_path / "a"), str(tmp_path / "b")]), into)
    assert sent == received == transfer.Report(files=2, size=2, same=1)


class Counting(transfer.Watcher):
    def __init__(self) -> None:
        self.kept_bytes = self.moved_bytes = 0

    def kept(self, count: int) -> None:
        self.kept_bytes += count

    def moved(self, count: int) -> None:
        self.moved_bytes += count


def test_a_part_that_is_the_beginning_is_continued(tmp_path, into):
    data = os.urandom(5 * CHUNK)
    (tmp_path / "a").write_bytes(data)
    (into / "a.part").write_bytes(data[: 2 * CHUNK + 1])
    watcher = Counting()
    move(tmp_path, transfer.listing([str(tmp_path / "a")]), into, watcher=watcher)
    assert (watcher.kept_bytes, watcher.moved_bytes) == (2 * CHUNK + 1, 3 * CHUNK - 1)
    assert tree(into) == {"a": data}


@pytest.mark.parametrize("part", [b"something else", b"longer than the file that is to come"])
def test_a_part_that_is_something_else_is_left_alone(tmp_path, into, part):
    """It may be a file of the user's own that happens to be called like this."""
    (tmp_path / "a").write_text("the file to come")
    (into / "a.part").write_bytes(part)
    what = transfer.listing([str(tmp_path / "a")])
    sent, received = move(tmp_path, what, into)
    assert "not the beginning of it" in str(sent)
    assert "not the beginning of it" in str(received)
    assert tree(into) == {"a.part": part}
    move(tmp_path, what, into, overwrite=True)
    assert tree(into) == {"a": b"the file to come"}


def test_more_than_allowed_is_refused_before_it_comes(tmp_path, into):
    (tmp_path / "a").write_bytes(bytes(1001))
    sent, received = move(tmp_path, transfer.listing([str(tmp_path / "a")]), into, max_size=1000)
    assert str(received) == "this is more than --max-size allows"
    assert str(sent) == "this is more than the other side accepts (its --max-size)"
    assert tree(into) == {}


def test_more_than_the_disk_holds_is_refused(tmp_path, into):
    (tmp_path / "a").touch()
    what = transfer.listing([str(tmp_path / "a")])
    what.entries = [transfer.Entry("a", size=2**60)]
    _sent, received = move(tmp_path, what, into)
    assert str(received) == "there is not enough room on the disk"


# Names


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", "a/.", "a\0b", "a\nb", "\x1b[2J", "x\x9b", "a" * 251,
     "a/" * 200 + "a", "x/" * 2100 + "x", "\ud800"],
)  # fmt: skip
def test_names_that_are_refused(tmp_path, into, name):
    assert not is_name(name)
    with receiving(tmp_path, into) as (peer, received):
        peer.entry(name)
        assert peer.hear()["reason"] == "name"
        peer.sock.close()
        with pytest.raises(prise.PeerError, match="not a plain name below the folder"):
            received.result(PATIENCE)
    assert tree(tmp_path).keys() == {"into"}


@pytest.mark.parametrize("name", ["a", "a/b", ".hidden", "a b", "é", "\udcff", "...", "a\\b", "a" * 250])
def test_names_that_are_accepted(name):
    assert is_name(name)


@given(st.text(st.characters()))
def test_any_name_stays_below_the_folder(name):
    if is_name(name):
        where = os.path.normpath(os.path.join("/folder", name))
        assert where == f"/folder/{name}"


@pytest.mark.parametrize("names", [["a", "a"], ["a", "a/b"], ["a/b", "a"]])
def test_names_that_exclude_each_other(tmp_path, into, names):
    with receiving(tmp_path, into) as (peer, received):
        for name in names:
            peer.entry(name)
        assert peer.hear() == {"type": "no", "reason": "twice", "index": 1}
        peer.sock.close()
        with pytest.raises(prise.PeerError, match="twice"):
            received.result(PATIENCE)


@pytest.mark.parametrize("name", ["link/x", "link", "file/x"])
def test_links_in_the_folder_are_not_followed(tmp_path, into, name):
    (tmp_path / "outside").mkdir()
    (into / "link").symlink_to(tmp_path / "outside")
    (into / "file").touch()
    with receiving(tmp_path, into, overwrite=True) as (peer, received):
        peer.entry(name, 1)
        peer.say("listed", count=1)
        assert peer.hear()["reason"] == "kind"
        peer.sock.close()
        assert isinstance(received.exception(PATIENCE), prise.PeerError)
    assert tree(tmp_path / "outside") == {}


def test_a_link_that_appears_meanwhile_is_not_followed(tmp_path, into):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    with receiving(tmp_path, into, overwrite=True) as (peer, received):
        peer.entry("a", 3)
        peer.say("listed", count=1)
        assert peer.hear()["type"] == "go"
        (into / "a.part").symlink_to(outside)
        peer.file(0, b"new")
        assert peer.hear()["reason"] == "write"
        peer.sock.close()
        assert "cannot be written" in str(received.exception(PATIENCE))
    assert outside.read_text() == "precious"


def test_modes_that_give_rights_away_are_not_kept(tmp_path, into):
    umask = os.umask(0o022)
    try:
        with receiving(tmp_path, into) as (peer, received):
            peer.entry("a", 1, mode=0o6777)
            peer.say("listed", count=1)
            peer.hear()
            peer.file(0, b"x")
            peer.say("over")
            assert peer.hear() == {"type": "done", "files": 1, "failed": []}
            peer.sock.close()
            received.result(PATIENCE)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(into / "a").st_mode) == 0o755


# A sender that breaks the rules


@pytest.mark.parametrize(
    "send",
    [
        lambda peer: peer.message(b"\0data"),
        lambda peer: peer.message(b""),
        lambda peer: peer.message(b"[" * 60_000),
        lambda peer: peer.message(b"{" + b" " * 100_000 + b"}"),
        lambda peer: peer.message(b'{"type": 1}'),
        lambda peer: peer.message(b'{"type": "entry", "size": ' + b"9" * 5000 + b"}"),
        lambda peer: peer.message(b"\xff\xfe"),
        lambda peer: peer.sock.sendall(b"\xff\xff\xff\xff"),
        lambda peer: peer.say("go"),
        lambda peer: peer.say("listed", count=0),
        lambda peer: peer.say("listed", count=1),
        lambda peer: peer.entry("a", -1),
        lambda peer: peer.entry("a", 1.5),
        lambda peer: peer.entry("a", True),
        lambda peer: peer.entry("a", 2**63),
        lambda peer: peer.entry("a", 1, mode="rwx"),
        lambda peer: peer.entry("a", 1, folder=1),
        lambda peer: peer.entry("a", 1, mtime=2**64),
    ],
)
def test_a_list_against_the_rules(tmp_path, into, send):
    with receiving(tmp_path, into) as (peer, received):
        send(peer)
        with pytest.raises(prise.FrameError):
            received.result(PATIENCE)
    assert tree(into) == {}


@pytest.mark.parametrize(
    "send",
    [
        lambda peer: peer.say("file", index=2, start=0),
        lambda peer: peer.say("file", index=-1, start=0),
        lambda peer: peer.say("file", index=0, start=1),
        lambda peer: peer.say("file", index=1, start=0),
        lambda peer: peer.say("same", index=0),
        lambda peer: peer.say("over"),
        lambda peer: peer.file(0, b"too long"),
        lambda peer: (peer.say("file", index=0, start=0), peer.say("over")),
        lambda peer: (peer.say("file", index=0, start=0), peer.say("end", sha256="zz", whole=True)),
        lambda peer: (peer.file(0, b"four"), peer.file(0, b"four")),
    ],
)
def test_files_against_the_rules(tmp_path, into, send):
    with receiving(tmp_path, into) as (peer, received):
        peer.entry("a", 4)
        peer.entry("d", 0, folder=True)
        peer.say("listed", count=2)
        assert peer.hear() == {"type": "go"}
        send(peer)
        with pytest.raises(prise.FrameError):
            received.result(PATIENCE)
    assert set(tree(into)) <= {"d", "a.part", "a"}


def test_a_part_cannot_be_thrown_away_by_the_sender(tmp_path, into):
    (into / "a.part").write_bytes(b"mine")
    with receiving(tmp_path, into) as (peer, received):
        peer.entry("a", 10)
        peer.say("listed", count=1)
        have = peer.hear()
        assert (have["size"], have["sha256"]) == (4, hashlib.sha256(b"mine").hexdigest())
        peer.say("file", index=0, start=0)
        with pytest.raises(prise.FrameError):
            received.result(PATIENCE)
    assert tree(into) == {"a.part": b"mine"}


@pytest.mark.parametrize(
    ("data", "end"),
    [(b"four", {"digest": "0" * 64}), (b"fou", {}), (b"four", {"whole": False})],
    ids=["wrong hash", "too short", "changed"],
)
def test_what_is_not_whole_is_not_kept(tmp_path, into, data, end):
    with receiving(tmp_path, into) as (peer, received):
        peer.entry("a", 4)
        peer.say("listed", count=1)
        peer.hear()
        peer.file(0, data, **end)
        peer.say("over")
        assert peer.hear() == {"type": "done", "files": 0, "failed": [0]}
        peer.sock.close()
        assert received.result(PATIENCE).failed == ["a"]
    assert tree(into) == {}


def test_a_part_that_another_receiver_writes_is_not_touched(tmp_path, into):
    (into / "a.part").touch()
    with open(into / "a.part", "ab") as other, receiving(tmp_path, into) as (peer, received):
        fcntl.flock(other, fcntl.LOCK_EX)
        peer.entry("a", 4)
        peer.say("listed", count=1)
        peer.hear()
        other.write(b"part")
        other.flush()
        peer.file(0, b"four")
        assert peer.hear()["reason"] == "write"
        peer.sock.close()
        assert isinstance(received.exception(PATIENCE), prise.PeerError)
    assert tree(into) == {"a.part": b"part"}


def test_names_that_would_fill_the_memory(tmp_path, into):
    """Each brings 125 folders of its own, which must be remembered."""
    with receiving(tmp_path, into) as (peer, received):
        try:
            for number in range(2000):
                peer.entry(f"{number}/" + "/".join(["x" * 30] * 125))
        except OSError:
            pass  # it hears no more
        assert peer.hear()["reason"] == "many"
        peer.sock.close()
        assert "too many files" in str(received.exception(PATIENCE))


def test_an_early_end_keeps_what_has_arrived(tmp_path, into):
    with receiving(tmp_path, into) as (peer, received):
        peer.entry("a", 10)
        peer.say("listed", count=1)
        peer.hear()
        peer.say("file", index=0, start=0)
        peer.data(b"begin")
        peer.sock.close()
        with pytest.raises(prise.ConnectionLost, match="running the same again continues"):
            received.result(PATIENCE)
    assert tree(into) == {"a.part": b"begin"}


def test_a_stream_that_was_cut_is_not_kept(tmp_path, into):
    with receiving(tmp_path, into, max_size=100) as (peer, received):
        peer.entry("stdin", None)
        peer.say("listed", count=1)
        peer.hear()
        peer.say("file", index=0, start=0)
        peer.data(bytes(101))
        assert peer.hear()["reason"] == "size"
        peer.sock.close()
        assert "max-size" in str(received.exception(PATIENCE))
    assert tree(into) == {}


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_anything_at_all_is_an_error_and_nothing_else(tmp_path_factory, messages):
    folder = tmp_path_factory.mktemp("any")
    with receiving(folder, folder / "into") as (peer, received):
        try:
            for message in messages:
                peer.message(message)
            peer.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has gone already
        assert isinstance(received.exception(PATIENCE), (prise.FrameError, prise.ConnectionLost))


@pytest.mark.parametrize("entries", [[("d", True)], [("a", False), ("b", False)]])
def test_a_pipe_takes_one_file(tmp_path, entries):
    got = bytearray()
    with played(tmp_path, lambda connection: transfer.receive_into(connection, got.extend)) as (peer, received):
        for name, folder in entries:
            peer.entry(name, 0, folder)
        peer.say("listed", count=len(entries))
        assert peer.hear()["reason"] == "one"
        peer.sock.close()
        assert "only one file" in str(received.exception(PATIENCE))
    assert not got


def test_a_pipe_learns_after_the_bytes_that_they_were_wrong(tmp_path):
    got = bytearray()
    with played(tmp_path, lambda connection: transfer.receive_into(connection, got.extend)) as (peer, received):
        peer.entry("a", 4)
        peer.say("listed", count=1)
        peer.hear()
        peer.file(0, b"four", digest="0" * 64)
        peer.say("over")
        assert peer.hear() == {"type": "done", "files": 0, "failed": [0]}
        peer.sock.close()
        assert received.result(PATIENCE).failed == ["a"]


# A receiver that breaks the rules


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "have", "index": 1, "size": 1, "sha256": "0" * 64, "whole": False, "keep": False},
        {"type": "have", "index": 0, "size": 5, "sha256": "0" * 64, "whole": False, "keep": False},
        {"type": "have", "index": 0, "size": 1, "sha256": "0", "whole": False, "keep": False},
        {"type": "done", "files": 1, "failed": []},
    ],
)
def test_a_receiver_against_the_rules(tmp_path, answer):
    (tmp_path / "a").write_text("four")
    what = transfer.listing([str(tmp_path / "a")])
    with played(tmp_path, lambda connection: transfer.send(connection, what)) as (peer, sent):
        while peer.hear()["type"] != "listed":
            pass
        peer.message(json.dumps(answer).encode())
        peer.say("go")
        with pytest.raises(prise.FrameError):
            sent.result(PATIENCE)


@pytest.mark.parametrize("done", [{"files": 2, "failed": []}, {"files": 0, "failed": [7]}, {"files": 0, "failed": "x"}])
def test_a_receiver_that_counts_wrongly(tmp_path, done):
    (tmp_path / "a").write_text("four")
    what = transfer.listing([str(tmp_path / "a")])
    with played(tmp_path, lambda connection: transfer.send(connection, what)) as (peer, sent):
        peer.say("go")
        while (message := peer.hear()) is not None and (isinstance(message, bytes) or message["type"] != "over"):
            pass
        peer.say("done", **done)
        with pytest.raises(prise.FrameError):
            sent.result(PATIENCE)


# The handshake and its code


def shake(tmp_path: Path, ours: str | None, listens: bool = True) -> Any:
    return played(
        tmp_path, lambda connection: transfer.handshake(connection, role="receive", listens=listens, code=ours)
    )


HELLO: dict[str, Any] = {"protocol": "prise-transfer", "version": 1, "role": "send", "nonce": "ab" * 32, "code": True}


def test_both_sides_prove_the_code(tmp_path):
    with shake(tmp_path, "K7MQ-3xwp ") as (peer, done):
        theirs = peer.hear()
        peer.say("hello", **HELLO)
        key = key_of("k7mq-3xwp", bytes.fromhex(theirs["nonce"]), bytes.fromhex(HELLO["nonce"]))
        peer.say("proof", proof=proof_of(key, "connect", "send"))
        assert is_proof(peer.hear()["proof"], key, "listen", "receive")
        done.result(PATIENCE)


def test_who_listens_shows_no_proof_to_who_has_none(tmp_path):
    with shake(tmp_path, "right") as (peer, done):
        peer.hear()
        peer.say("hello", **HELLO)
        peer.say("proof", proof="0" * 64)
        assert peer.hear() == {"type": "no", "reason": "code", "index": -1}
        peer.sock.close()
        with pytest.raises(prise.HandshakeError, match="code is not the one"):
            done.result(PATIENCE)


def test_a_proof_is_of_no_use_a_second_time(tmp_path):
    nonces = []
    for _time in range(2):
        with shake(tmp_path, "right") as (peer, done):
            nonces.append(peer.hear()["nonce"])
            peer.say("hello", **HELLO)
            key = key_of("right", bytes.fromhex(nonces[0]), bytes.fromhex(HELLO["nonce"]))
            peer.say("proof", proof=proof_of(key, "connect", "send"))
            answer = peer.hear()["type"]
            peer.sock.close()
            assert (done.exception(PATIENCE) is None, answer) == (
                (True, "proof") if len(nonces) == 1 else (False, "no")
            )


def test_a_proof_cannot_be_sent_back(tmp_path):
    """A listener without the code echoes what the caller shows."""
    with shake(tmp_path, "right", listens=False) as (peer, done):
        peer.hear()
        peer.say("hello", **HELLO)
        peer.say("proof", proof=peer.hear()["proof"])
        with pytest.raises(prise.HandshakeError, match="code is not the one"):
            done.result(PATIENCE)


@pytest.mark.parametrize(
    ("hello", "says"),
    [
        ({"code": False}, "the other side gives no code"),
        ({"version": 2}, "speaks version 2"),
        ({"role": "receive"}, "both sides want to receive"),
        ({"role": "x"}, "is it one of them"),
        ({"nonce": "ab"}, "is it one of them"),
        ({"protocol": "other"}, "is it one of them"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, hello, says):
    with shake(tmp_path, "right") as (peer, done):
        peer.say("hello", **HELLO | hello)
        with pytest.raises(prise.HandshakeError, match=says):
            done.result(PATIENCE)


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\0\0\0\x02hi", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_else_is_recognised(tmp_path, said):
    with shake(tmp_path, None) as (peer, done):
        peer.sock.sendall(said)
        with pytest.raises(prise.HandshakeError, match="is it one of them"):
            done.result(PATIENCE)


def test_new_codes_differ():
    codes = {transfer.new_code() for _time in range(100)}
    assert len(codes) == 100
    assert all(len(code) == 9 and code[4] == "-" for code in codes)


# One stream


def test_a_stream_of_unknown_length(tmp_path):
    data = os.urandom(CHUNK + 1)
    got = bytearray()
    read, write = os.pipe()

    def fill() -> None:
        with os.fdopen(write, "wb") as pipe:
            pipe.write(data)

    filler = threading.Thread(target=fill)
    filler.start()

    def send() -> transfer.Report:
        with listener.accept(PATIENCE) as connection:
            return transfer.send(connection, what)

    with (
        os.fdopen(read, "rb") as source,
        prise.Listener(f"unix:{tmp_path / 's'}", framing=transfer.FRAMING, limits=transfer.LIMITS) as listener,
        ThreadPoolExecutor(1) as pool,
    ):
        what = transfer.Listing([transfer.Entry("stdin", size=None)], [source])
        sent = pool.submit(send)
        with prise.connect(listener.address, framing=transfer.FRAMING, limits=transfer.LIMITS) as connection:
            report = transfer.receive_into(connection, got.extend)
        assert report == sent.result(PATIENCE) == transfer.Report(1, CHUNK + 1)
    filler.join(PATIENCE)
    assert bytes(got) == data
