"""`send_file`: files as raw bytes, in order with what is said before and after, in every model and on every stream."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import until
from prise import ConnectionLost, Limits, TooSlow, UsageError
from prise.connection import files
from tls_support import authority, server_tls

PATIENCE = 10.0
SIZES = {"nothing": 0, "byte": 1, "one packet": 1000, "one piece": 65536, "a bit more": 65537, "300k": 300 * 1024}
BIG = 12_000_000  # more than what the two buffers of a connection grow to: it does not go at once
RESET = struct.pack("ii", 1, 0)
MODELS = ("threads", "select", "asyncio", "uvloop")
SCHEMES = ("tcp", "unix", "tls")


class Way:
    """A model and a transport, and how to serve and reach a conversation there."""

    def __init__(self, model: str, scheme: str, folder: Path) -> None:
        self.model, self.scheme, self.folder = model, scheme, folder
        self.errors: list[BaseException] = []

    def serve(self, conversation: Callable[[Any], Any], **limits: Any) -> prise.Server:
        async def noting(connection: Any) -> None:
            try:
                await conversation(connection)
            except Exception as error:
                self.errors.append(error)
                raise

        return prise.listen(
            noting,
            f"unix:{self.folder}/socket" if self.scheme == "unix" else f"{self.scheme}:127.0.0.1:0",
            model="asyncio" if self.model == "uvloop" else self.model,
            tls=server_tls() if self.scheme == "tls" else None,
            limits=Limits(linger_time=0.2, **limits),
        )

    @contextmanager
    def reach(self, server: prise.Server, receive_buffer: int = 0) -> Iterator[socket.socket]:
        """A client that is no work of ours."""
        family = socket.AF_UNIX if self.scheme == "unix" else socket.AF_INET
        with socket.socket(family) as client:
            client.settimeout(PATIENCE)
            if receive_buffer:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            where = server.address
            client.connect(str(where.path) if self.scheme == "unix" else (where.host, where.port))
            if self.scheme != "tls":
                yield client
                return
            context = ssl.create_default_context(cafile=authority().cert)
            with context.wrap_socket(client, server_hostname="localhost") as wrapped:
                yield wrapped

    def error(self) -> BaseException:
        """What the conversation ended with."""
        until(lambda: bool(self.errors), "the conversation has ended")
        return self.errors[0]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("PRISE_UVLOOP", "1" if request.param == "uvloop" else "0")
    return str(request.param)


@pytest.fixture(params=SCHEMES)
def way(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Way:
    return Way(model, request.param, tmp_path)


@functools.cache
def random_bytes(size: int, name: str) -> bytes:
    return os.urandom(size)


def file_of(folder: Path, size: int, name: str = "file") -> tuple[Path, bytes]:
    data = random_bytes(size, name)  # made once for all tests: it takes longer than to send it
    path = folder / name
    path.write_bytes(data)
    return path, data


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 20), b""))


def same(one: bytes | bytearray, other: bytes | bytearray) -> bool:
    """Whether they are equal. Not an `assert` on the bytes themselves, which would print megabytes when it fails."""
    return one == other


def test_files_arrive_whole_and_in_order(way: Way, tmp_path: Path) -> None:
    made = [file_of(tmp_path, size, name) for name, size in SIZES.items()]
    sent: list[int] = []

    async def conversation(connection: Any) -> None:
        async for _ in connection:
            for path, _ in made:
                await connection.send(f"before {path.name}")
                with path.open("rb") as file:
                    sent.append(await connection.send_file(file))
                    assert file.tell() == 0
                await connection.send(f"after {path.name}")

    expected = b"".join(b"before %s\n%safter %s\n" % (p.name.encode(), data, p.name.encode()) for p, data in made)
    with way.serve(conversation) as server, way.reach(server) as client:
        client.sendall(b"go\ngo\n")
        if way.scheme != "tls":
            client.shutdown(socket.SHUT_WR)
            assert same(read_all(client), expected * 2)
        else:
            got = b""
            while len(got) < 2 * len(expected):
                got += client.recv(1 << 20)
            assert same(got, expected * 2)
    assert sent == list(SIZES.values()) * 2
    assert not way.errors
    if way.scheme != "tls":
        assert server.stats().bytes_sent == 2 * len(expected)


def test_a_big_file(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)

    async def conversation(connection: Any) -> None:
        await connection.send("head")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert await connection.send_file(descriptor) == BIG
        finally:
            os.close(descriptor)
        await connection.send("tail")

    with way.serve(conversation) as server, way.reach(server) as client:
        assert same(read_all(client), b"head\n" + data + b"tail\n")
    assert not way.errors


def test_a_part_of_a_file(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, 300_000)
    parts = [(0, 10), (299_999, 1), (300_000, 0), (300_000, None), (100, 200_000), (250_000, None), (1_000_000, None)]

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            file.seek(77)
            for offset, count in parts:
                await connection.send_file(file, offset, count)
            assert file.tell() == 77

    with way.serve(conversation) as server, way.reach(server) as client:
        assert read_all(client) == b"".join(
            data[offset:] if count is None else data[offset : offset + count] for offset, count in parts
        )
    assert not way.errors


def test_what_is_posted_meanwhile_follows_the_file(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)
    talking: list[Any] = []

    async def conversation(connection: Any) -> None:
        talking.append(connection)
        await connection.send("head")
        with path.open("rb") as file:
            await connection.send_file(file)
        await connection.send("tail")

    with way.serve(conversation) as server, way.reach(server, 65536) as client:
        got = b""
        while len(got) < 100:  # the head, and some of the file
            got += client.recv(100)
        for number in range(100):
            assert talking[0].post(f"post {number}")
        posts = b"".join(b"post %d\n" % number for number in range(100))
        got += read_all(client)
    assert same(got[: BIG + 5], b"head\n" + data)
    assert got[BIG + 5 :] == posts + b"tail\n"


def test_a_peer_that_reads_slowly_gets_it_all(way: Way, tmp_path: Path) -> None:
    """It takes longer than `write_time` in all, but never stands still for so long."""
    path, data = file_of(tmp_path, 3_000_000)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation, write_time=0.4) as server, way.reach(server, 65536) as client:
        got = bytearray()
        pause = threading.Event()
        rest = 100_000
        while part := client.recv(rest):
            got += part
            rest -= len(part)
            if not rest:
                pause.wait(0.02)
                rest = 100_000
    assert same(got, data)
    assert not way.errors


def test_a_peer_that_takes_nothing_is_too_slow(way: Way, tmp_path: Path) -> None:
    path, _ = file_of(tmp_path, BIG)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation, write_time=0.1) as server, way.reach(server, 65536) as client:
        client.recv(1)
        assert isinstance(way.error(), TooSlow)
        until(lambda: server.stats().open == 0, "it is let go")
        until(lambda: server.stats().errors["too_slow"] == 1, "it is counted")  # when its conversation is over


def test_a_peer_that_goes_away_in_the_middle_is_lost(way: Way, tmp_path: Path) -> None:
    path, _ = file_of(tmp_path, BIG)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation) as server:
        with way.reach(server) as client:
            client.recv(1)
            if way.scheme != "unix":
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        assert isinstance(way.error(), ConnectionLost)
        until(lambda: server.stats().open == 0, "it is closed")
        assert server.stats().errors["lost"] == 1


def test_a_file_that_becomes_shorter_is_told_and_the_connection_cut(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation) as server, way.reach(server, 65536) as client:
        got = client.recv(100)
        os.truncate(path, BIG // 2)
        try:
            while part := client.recv(1 << 20):
                got += part
        except ConnectionError:
            pass
        assert data.startswith(got)
        error = way.error()
        assert isinstance(error, UsageError)
        assert error.details["count"] == BIG
        assert len(got) <= error.details["sent"] <= BIG - 1


def test_cut_in_the_middle(way: Way, tmp_path: Path) -> None:
    """By another thread."""
    path, _ = file_of(tmp_path, BIG)
    talking: list[Any] = []

    async def conversation(connection: Any) -> None:
        talking.append(connection)
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation) as server, way.reach(server) as client:
        client.recv(1)
        talking[0].abort()
        assert isinstance(way.error(), ConnectionLost)
        until(lambda: server.stats().open == 0, "it is closed")


def test_a_drain_waits_for_the_file(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    server = way.serve(conversation).start()
    with way.reach(server, 65536) as client:
        got = client.recv(1)
        closing = threading.Thread(target=server.drain)
        closing.start()
        got += read_all(client)
        closing.join(PATIENCE)
        assert not closing.is_alive()
    assert same(got, data)


def test_two_at_once_and_small_talk_beside_them(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)
    finished: list[str] = []

    async def conversation(connection: Any) -> None:
        async for line in connection:
            if line == "file":
                with path.open("rb") as file:
                    await connection.send_file(file)
                finished.append("file")
            else:
                await connection.send(line)
                finished.append("line")

    with way.serve(conversation) as server:
        with way.reach(server) as one, way.reach(server) as two, way.reach(server) as three:
            results: list[bool] = []

            def download(client: socket.socket) -> None:
                got = bytearray()
                while len(got) < BIG:
                    got += client.recv(1 << 20)
                results.append(same(got, data))

            one.sendall(b"file\n")
            two.sendall(b"file\n")
            assert one.recv(1)
            assert two.recv(1)  # neither waits for the other's end: nobody has read on
            three.sendall(b"hello\n")
            assert three.recv(100) == b"hello\n"
            until(lambda: finished == ["line"], "the line is answered, and no file is sent")
            one_thread = threading.Thread(target=download, args=(Rest(one, data[:1]),))
            two_thread = threading.Thread(target=download, args=(Rest(two, data[:1]),))
            for thread in (one_thread, two_thread):
                thread.start()
            for thread in (one_thread, two_thread):
                thread.join(PATIENCE)
            assert results == [True, True]


class Rest:
    """A socket of which something has been read already."""

    def __init__(self, sock: socket.socket, read: bytes) -> None:
        self._sock, self._read = sock, read

    def recv(self, most: int) -> bytes:
        read, self._read = self._read, b""
        return read or self._sock.recv(most)


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_what_is_no_file_of_that_size_is_refused_and_nothing_is_sent(way: Way, tmp_path: Path) -> None:
    path, data = file_of(tmp_path, 1000)
    refused: list[str] = []

    async def conversation(connection: Any) -> None:
        read, write = os.pipe()
        with path.open("rb") as file:
            for what in ((read,), ("name",), (file, 0, 1001), (file, 1001, 1), (file, -1), (file, 0, -1), (-1,)):
                try:
                    await connection.send_file(*what)
                except UsageError as error:
                    refused.append(str(error))
            os.close(read)
            os.close(write)
            await connection.send_file(file)
        await connection.send_eof()
        try:
            await connection.send_file(write)
        except UsageError as error:
            refused.append(str(error))

    with way.serve(conversation) as server, way.reach(server) as client:
        assert read_all(client) == data
        until(lambda: len(refused) == 8, "eight refusals")
    assert not way.errors


@pytest.mark.parametrize("address", ["udp:127.0.0.1:0", "ws://127.0.0.1:0"])
@pytest.mark.parametrize("model", ["threads", "select", "asyncio"])
def test_no_files_where_messages_keep_their_boundaries(model: str, address: str, tmp_path: Path) -> None:
    path, _ = file_of(tmp_path, 1000)

    async def conversation(connection: Any) -> None:
        async for _ in connection:
            try:
                with path.open("rb") as file:
                    await connection.send_file(file)
            except UsageError as error:
                await connection.send(str(error))

    with prise.listen(conversation, address, model=model, limits=Limits(linger_time=0.2)) as server:
        with prise.connect(server.address) as client:
            assert "which carries messages" in client.ask("file", timeout=PATIENCE)


# -- details of one side -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["tcp", "unix"])
def test_where_the_kernel_cannot_do_it_the_file_is_read(
    model: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems without sendfile."""
    path, data = file_of(tmp_path, 5_000_000)
    monkeypatch.delattr(os, "sendfile")
    way = Way(model, scheme, tmp_path)

    async def conversation(connection: Any) -> None:
        with path.open("rb") as file:
            await connection.send_file(file)

    with way.serve(conversation) as server, way.reach(server) as client:
        assert same(read_all(client), data)
    assert not way.errors


def test_a_client_sends_files_too(tmp_path: Path) -> None:
    path, data = file_of(tmp_path, 3_000_000)

    async def conversation(connection: Any) -> None:
        size, check = 0, hashlib.sha256()
        async for part in connection:
            size += len(part)
            check.update(part)
        await connection.send(f"{size} {check.hexdigest()}".encode())

    expected = f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode()
    with prise.listen(conversation, "127.0.0.1:0", model="select", framing="chunks") as server:
        with path.open("rb") as file, prise.connect(server.address, framing="chunks") as client:
            assert client.send_file(file) == len(data)
            client.send_eof()
            assert b"".join(client) == expected

        async def talk() -> None:
            async with prise.connect(server.address, framing="chunks") as client:
                with path.open("rb") as file:
                    assert await client.send_file(file) == len(data)
                await client.send_eof()
                assert b"".join([part async for part in client]) == expected

        asyncio.run(talk())


def test_a_cancelled_file_cuts_the_connection(tmp_path: Path) -> None:
    path, _ = file_of(tmp_path, BIG)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = await prise.connect(listener.getsockname())
            with listener.accept()[0] as peer, path.open("rb") as file:
                peer.settimeout(PATIENCE)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await client.send_file(file)
                assert client.lost is None
                assert not client.post("more")
                await client.close()
                with pytest.raises(ConnectionError):
                    while peer.recv(1 << 20):
                        pass

    asyncio.run(main())


def test_two_tasks_send_files_one_after_the_other(tmp_path: Path) -> None:
    one, data = file_of(tmp_path, 5_000_000, "one")
    two, more = file_of(tmp_path, 5_000_000, "two")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = await prise.connect(listener.getsockname())
            with listener.accept()[0] as peer, one.open("rb") as first, two.open("rb") as second:
                peer.settimeout(PATIENCE)
                reading = asyncio.create_task(asyncio.to_thread(read_all, peer))
                await asyncio.gather(client.send_file(first), client.send_file(second), client.send_eof())
                assert same(await reading, data + more)
                await client.close()

    asyncio.run(main())


def test_close_by_another_task_sends_the_file_first(tmp_path: Path) -> None:
    path, data = file_of(tmp_path, BIG)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = await prise.connect(listener.getsockname())
            with listener.accept()[0] as peer, path.open("rb") as file:
                peer.settimeout(PATIENCE)
                sending = asyncio.create_task(client.send_file(file))
                await asyncio.sleep(0)
                closing = asyncio.create_task(client.close())
                await asyncio.sleep(0)
                assert same(await asyncio.to_thread(read_all, peer), data)
                assert await sending == BIG
                await closing

    asyncio.run(main())


def test_head_and_small_file_go_in_one_piece(tmp_path: Path) -> None:
    """One packet, as far as the peer can see: what is said just before waits for the file."""
    path, data = file_of(tmp_path, 500)

    async def conversation(connection: Any) -> None:
        async for _ in connection:
            await connection.send("head")
            with path.open("rb") as file:
                await connection.send_file(file)

    for model in ("select", "asyncio"):
        with prise.listen(conversation, "127.0.0.1:0", model=model) as server:
            with socket.create_connection((server.address.host, server.address.port), timeout=PATIENCE) as client:
                client.sendall(b"go\n")
                assert client.recv(10_000) == b"head\n" + data


def test_the_pace_that_is_asked_for_is_documented() -> None:
    assert files.PIECE == 64 * 1024
    assert "64 KiB" in str(prise.Connection.send_file.__doc__)
    assert "64 KiB" in str(prise.AsyncConnection.send_file.__doc__)
