"""The pool of workers: real processes, in Python here; tests/test_cli_php.py has PHP ones."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import prise
from prise import HandoverError, UsageError
from prise.handover.pool import Pool
from prise.handover.poolworker import work
from tls_support import client_tls, server_tls

PATIENCE = 20.0

WORKER = """
    import os, sys
    from prise.handover.poolworker import work

    def talk(connection):
        for line in connection:
            if line == "pid":
                connection.send(str(os.getpid()))
            elif line == "fail":
                raise ValueError("as it was told")
            elif line == "die":
                print("last words", flush=True)
                os._exit(3)
            elif line == "leave":
                os._exit(0)
            elif line == "bye":
                connection.send("bye")
                return
            else:
                connection.send(line.upper())
        connection.send("end")

    work(talk)
"""


def worker(text: str = WORKER) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(text)]


class Peer:
    """A client."""

    def __init__(self, address: prise.Address, **options: Any) -> None:
        self._connector = prise.connect(address, **options)

    async def __aenter__(self) -> Peer:
        self.connection = await self._connector
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.connection.close()

    async def ask(self, message: str) -> Any:
        """None when no answer comes, but the end."""
        await self.connection.send(message)
        return await self.hear()

    async def hear(self) -> Any:
        """None at the end."""
        return await self.connection.receive(PATIENCE)

    async def end(self) -> Any:
        await self.connection.send_eof()
        return await self.hear()


async def until(condition: Callable[[], bool]) -> None:
    """There is no event for what the pool counts."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def served(test: Callable[[Pool], Any], *addresses: str, argv: Sequence[str] | None = None, **options: Any) -> Pool:
    """Runs a test inside a pool; returns the pool, which has ended."""

    async def run() -> Pool:
        async with asyncio.timeout(PATIENCE * 2):
            async with Pool(argv or worker(), *(addresses or ("127.0.0.1:0",)), **options) as pool:
                await test(pool)
        return pool

    return asyncio.run(run())


def test_a_worker_serves_one_connection_after_the_other():
    async def test(pool: Pool) -> None:
        pids = set()
        for _ in range(3):
            async with Peer(pool.addresses[0]) as peer:
                assert await peer.ask("déjà vu") == "DÉJÀ VU"
                pids.add(await peer.ask("pid"))
                assert await peer.end() == "end"
                assert await peer.hear() is None
        assert len(pids) == 1

    stats = served(test, workers=1).stats()
    assert (stats.total, stats.open, stats.restarts) == (3, 0, 0)


def test_more_clients_than_workers_wait_for_their_turn():
    async def client(pool: Pool, number: int) -> str | None:
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask(f"it is {number}") == f"IT IS {number}"
            pid = await peer.ask("pid")
            assert await peer.ask("bye") == "bye"
            assert await peer.hear() is None
            return pid

    async def test(pool: Pool) -> None:
        pids = await asyncio.gather(*(client(pool, number) for number in range(20)))
        assert len(set(pids)) == 2

    assert served(test, workers=2).stats().total == 20


def test_a_slow_client_holds_up_its_own_worker_only():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as slow:
            assert await slow.ask("first") == "FIRST"
            for _ in range(5):
                async with Peer(pool.addresses[0]) as quick:
                    assert await quick.ask("bye") == "bye"
            assert await slow.ask("bye") == "bye"

    served(test, workers=2)


def test_when_too_many_wait_the_next_ones_are_closed_and_counted():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as talks:
            assert await talks.ask("first") == "FIRST"
            async with Peer(pool.addresses[0]) as waits:
                await until(lambda: pool.stats().waiting == 1)
                async with Peer(pool.addresses[0]) as refused:
                    assert await refused.hear() is None
                assert pool.stats().refused["queue"] == 1
                assert await talks.ask("bye") == "bye"
                assert await waits.ask("bye") == "bye"

    served(test, workers=1, queue=1)


def test_nobody_waits_for_ever():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as talks:
            assert await talks.ask("first") == "FIRST"
            async with Peer(pool.addresses[0]) as waits:
                assert await waits.hear() is None
            assert pool.stats().refused["queue"] == 1

    served(test, workers=1, wait=0.05)


def test_a_conversation_that_fails_is_logged_and_counted_and_its_worker_goes_on(caplog):
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            pid = await peer.ask("pid")
            assert await peer.ask("fail") is None
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask("pid") == pid

    stats = served(test, workers=1).stats()
    assert stats.errors["conversation"] == 1
    assert stats.restarts == 0
    assert "the conversation failed: ValueError: as it was told" in caplog.text


def test_a_worker_that_dies_takes_its_connection_along_and_is_started_anew(caplog):
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as other, Peer(pool.addresses[0]) as peer:
            assert await other.ask("still") == "STILL"
            pid = await peer.ask("pid")
            assert await peer.ask("die") is None
            assert await other.ask("here") == "HERE"
            async with Peer(pool.addresses[0]) as next_one:  # waits until the new one is there
                assert await next_one.ask("pid") != pid

    stats = served(test, workers=2).stats()
    assert stats.errors["worker"] == stats.restarts == 1
    assert "worker 1 has died (exit code 3: last words), and with it" in caplog.text.replace("worker 2", "worker 1")


def test_an_idle_worker_that_is_killed_is_replaced():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            pid = await peer.ask("pid")
            assert pid is not None
            assert await peer.ask("bye") == "bye"
        await until(lambda: pool.stats().open == 0)
        os.kill(int(pid), signal.SIGKILL)
        await until(lambda: pool.stats().restarts == 1)
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask("pid") != pid

    stats = served(test, workers=1).stats()
    assert stats.errors["worker"] == 0


def test_exit_in_a_conversation_ends_that_and_is_no_error():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask("leave") is None
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask("bye") == "bye"

    stats = served(test, workers=1).stats()
    assert stats.restarts == stats.errors["worker"] == 0


def test_a_drain_ends_the_input_and_lets_the_answers_through():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as talks, Peer(pool.addresses[0]) as waits:
            assert await talks.ask("first") == "FIRST"
            await waits.connection.send("bye")  # has come before the drain, so it is answered
            await until(lambda: pool.stats().waiting == 1)
            pool.drain()
            assert await talks.hear() == "end"
            assert await talks.hear() is None
            assert await waits.hear() == "bye"

    served(test, workers=1)


def test_what_does_not_end_in_time_is_cut():
    stubborn = """
        import signal, threading
        from prise.handover.poolworker import work

        def talk(connection):
            connection.send("hello")
            threading.Event().wait()

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        work(talk)
    """

    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.hear() == "hello"
            pool.drain(0.05)
            assert await peer.hear() is None

    served(test, workers=1, argv=worker(stubborn))


def test_reload_replaces_each_worker_after_its_conversation(tmp_path: Path):
    version = tmp_path / "version"
    version.write_text("one")
    text = f"""
        from prise.handover.poolworker import work

        version = open({str(version)!r}).read()
        if version == "broken":
            raise SystemExit("it is broken")

        def talk(connection):
            for line in connection:
                connection.send(version)

        work(talk)
    """

    async def version_now(pool: Pool) -> str | None:
        async with Peer(pool.addresses[0]) as peer:
            return await peer.ask("which?")

    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as old:
            assert await old.ask("which?") == "one"
            version.write_text("two")
            pool.reload()
            async with asyncio.timeout(PATIENCE):
                while await version_now(pool) != "two":
                    pass
            assert await old.ask("which?") == "one"

    served(test, workers=2, argv=worker(text))


def test_a_new_release_that_does_not_start_changes_nothing(tmp_path: Path, caplog):
    flag = tmp_path / "broken"
    text = f"""
        import os
        if os.path.exists({str(flag)!r}):
            raise SystemExit("it is broken")
    """

    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            pid = await peer.ask("pid")
        flag.touch()
        pool.reload()
        await until(lambda: "the workers stay as they are" in caplog.text)
        assert "it is broken" in caplog.text
        async with Peer(pool.addresses[0]) as peer:
            assert await peer.ask("pid") == pid

    served(test, workers=1, argv=worker(textwrap.dedent(text) + textwrap.dedent(WORKER)))


def test_the_last_answer_arrives_though_the_peer_still_talks():
    """Without reading that away, closing would send a reset, which can destroy it."""

    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0]) as peer:
            await peer.connection.send("bye")
            for _ in range(200):
                await peer.connection.send("more " * 100)
            assert await peer.hear() == "bye"
            assert await peer.hear() is None
            assert peer.connection.lost is None

    served(test, workers=1)


def test_tls_is_passed_on_in_clear():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0], tls=client_tls()) as peer:
            assert await peer.ask("sécret") == "SÉCRET"
            assert await peer.end() == "end"
            assert await peer.hear() is None
            assert peer.connection.lost is None
        with socket.create_connection(("127.0.0.1", pool.addresses[0].port or 0), PATIENCE) as sock:
            sock.sendall(b"no TLS at all\n")
            await asyncio.to_thread(sock.recv, 1000)
        await until(lambda: pool.stats().errors["handshake"] == 1)

    served(test, "tls:127.0.0.1:0", workers=1, tls=server_tls())


def test_a_drain_ends_tls_conversations_as_well():
    async def test(pool: Pool) -> None:
        async with Peer(pool.addresses[0], tls=client_tls()) as peer:
            assert await peer.ask("first") == "FIRST"
            pool.drain()
            assert await peer.hear() == "end"
            assert await peer.hear() is None

    served(test, "tls:127.0.0.1:0", workers=1, tls=server_tls())


def test_the_worker_hears_who_a_proxy_speaks_for():
    text = """
        from prise.handover.channel import Channel
        from prise.handover import poolworker
        import os

        channel = Channel.inherited(int(os.environ["PRISE_CHANNEL"]))
        poolworker._ready(channel, ok=True)
        while (received := channel.receive()) is not None:
            with received.connection() as connection:
                connection.send(f"{received.peer} {connection.receive()}")
            poolworker._ready(channel, ok=True)
    """

    async def test(pool: Pool) -> None:
        with socket.create_connection(("127.0.0.1", pool.addresses[0].port or 0), PATIENCE) as sock:
            sock.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\nhello\n")
            assert await asyncio.to_thread(sock.recv, 1000) == b"192.0.2.7:4711 hello\n"

    served(test, "tcp,proxy-from=127.0.0.1:127.0.0.1:0", argv=worker(text), workers=1)


def test_unix_sockets_and_several_addresses(tmp_path: Path):
    async def test(pool: Pool) -> None:
        for address in pool.addresses:
            async with Peer(address) as peer:
                assert await peer.ask("bye") == "bye"

    served(test, f"unix:{tmp_path}/a.sock", "127.0.0.1:0", workers=1)
    assert not (tmp_path / "a.sock").exists()


@pytest.mark.parametrize("address", ["udp:127.0.0.1:0", "ws://127.0.0.1:0"])
def test_messages_are_no_stream(address: str):
    async def never(pool: Pool) -> None:
        raise AssertionError

    with pytest.raises(UsageError, match="stream"):
        served(never, address, workers=1)


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["there-is-no-such-program"], "there is no program there-is-no-such-program"),
        (worker("raise SystemExit('out of order')"), "out of order"),
        (worker("pass"), "exit code 0"),
    ],
    ids=["missing", "failing", "ending"],
)
def test_a_worker_that_does_not_start_is_said_before_anything_is_served(argv: list[str], why: str):
    async def never(pool: Pool) -> None:
        raise AssertionError

    with pytest.raises(HandoverError, match=why):
        served(never, argv=argv, workers=2)


@pytest.mark.parametrize("options", [{"workers": 0}, {"queue": -1}])
def test_options_that_cannot_be(options: dict[str, Any]):
    with pytest.raises(UsageError, match="at least"):
        Pool(["true"], **options)


def test_a_command_line_is_no_list_of_words():
    with pytest.raises(UsageError, match="list of words"):
        Pool("php worker.php")


def test_a_worker_without_a_pool_says_so(monkeypatch):
    monkeypatch.delenv("PRISE_CHANNEL", raising=False)
    with pytest.raises(HandoverError, match="PRISE_CHANNEL"):
        work(lambda connection: None)


@contextmanager
def killed_pool() -> Iterator[int]:
    """The pid of a worker whose pool was killed."""
    program = f"""
        import asyncio, sys
        from prise.handover.pool import Pool

        async def main():
            async with Pool({worker()!r}, "127.0.0.1:0", workers=1) as pool:
                print(pool.addresses[0].port, flush=True)
                await pool.over.wait()

        asyncio.run(main())
    """
    process = subprocess.Popen(worker(program), stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        port = int(process.stdout.readline())
        with prise.connect(f"127.0.0.1:{port}").open() as connection:
            pid = int(connection.ask("pid", timeout=PATIENCE))
            process.kill()
            process.wait(PATIENCE)
    yield pid


def test_workers_do_not_survive_their_pool():
    with killed_pool() as pid:

        async def test() -> None:
            await until(
                lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
            )

        asyncio.run(test())


def test_no_descriptor_is_left():
    async def test(pool: Pool) -> None:
        async def one() -> None:
            async with Peer(pool.addresses[0]) as peer:
                assert await peer.ask("bye") == "bye"
                assert await peer.hear() is None

        await one()
        await until(lambda: pool.stats().open == 0)
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(50):
            await one()
        await until(lambda: pool.stats().open == 0)
        assert len(os.listdir("/proc/self/fd")) == before

    served(test, workers=2)
