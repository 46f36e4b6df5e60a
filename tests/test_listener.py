"""`Listener`: the bare accept loop."""

from __future__ import annotations

import errno
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import prise
from blocking_support import PATIENCE
from prise import BindError, Fixed, Limits, TooSlow, UsageError


def test_it_gives_one_connection_after_the_other():
    with prise.Listener("127.0.0.1:0") as listener:
        clients = [prise.connect(listener.address).open() for _ in range(3)]
        for client, connection in zip(clients, listener, strict=False):
            with client, connection:
                client.send("hello")
                assert connection.receive(PATIENCE) == "hello"
                assert connection.peer == client.local
                assert connection.local == client.peer


def test_it_listens_on_several_addresses(tmp_path):
    path = tmp_path / "s"
    with prise.Listener(":0", f"unix:{path}", "mem:listener", framing="prefixed:2 | json") as listener:
        assert str(listener.addresses[-2]) == f"unix:{path}"
        assert listener.address == listener.addresses[0]
        for address in listener.addresses:
            with prise.connect(address, framing="prefixed:2 | json") as client, listener.accept(PATIENCE) as connection:
                connection.send({"on": str(address)})
                assert client.receive(PATIENCE) == {"on": str(address)}
    assert not path.exists()


def test_no_address_is_kept_waiting_by_another():
    with prise.Listener("127.0.0.1:0", "127.0.0.1:0") as listener:
        first, second = listener.addresses
        clients = [prise.connect(first).open() for _ in range(4)] + [prise.connect(second).open()]
        accepted = []
        for _ in range(2):
            with listener.accept(PATIENCE) as connection:
                accepted.append(connection.local)
        assert second in accepted
        for client in clients:
            client.close()


@pytest.mark.parametrize("timeout", [0, 0.05])
def test_nobody_comes(timeout):
    with prise.Listener("127.0.0.1:0") as listener:
        with pytest.raises(TooSlow, match="nobody came in") as caught:
            listener.accept(timeout)
        assert (caught.value.operation, caught.value.local) == ("accept", listener.address)
        with prise.connect(listener.address), listener.accept(PATIENCE):
            pass


def test_a_timeout_of_0_takes_who_waits_already():
    with prise.Listener("mem:waits") as listener, prise.connect(listener.address), listener.accept(timeout=0):
        pass


def test_closed_is_closed():
    listener = prise.Listener("127.0.0.1:0")
    with prise.connect(listener.address) as client:
        for connection in listener:
            listener.close()
            listener.close()
            connection.send("this one goes on")
            connection.close()
        assert client.receive(PATIENCE) == "this one goes on"
    with pytest.raises(UsageError, match="the listener is closed"):
        listener.accept()
    with pytest.raises(prise.ConnectError, match="connection refused"):
        prise.connect(listener.address).open()


def test_the_limits_of_a_connection_apply():
    with prise.Listener("127.0.0.1:0", limits=Limits(message_size=10, idle_time=0.1)) as listener:
        with prise.connect(listener.address) as client, listener.accept(PATIENCE) as connection:
            client.send("x" * 11)
            with pytest.raises(prise.MessageTooLarge):
                connection.receive()
        with prise.connect(listener.address), listener.accept(PATIENCE) as connection, pytest.raises(TooSlow):
            connection.receive()


@pytest.mark.parametrize(
    "options",
    [{"framing": "tins"}, {"framing": Fixed(2_000_000)}, {"framing": Fixed(11), "limits": Limits(message_size=10)}],
)
def test_what_cannot_work_is_refused_before_anything_is_bound(options: dict[str, Any], tmp_path):
    with pytest.raises(UsageError):
        prise.Listener(f"unix:{tmp_path / 's'}", **options)
    assert not (tmp_path / "s").exists()


def test_all_addresses_or_none(tmp_path):
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(BindError):
        prise.Listener(f"unix:{path}", f"127.0.0.1:{taken.getsockname()[1]}")
    assert not path.exists()


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EHOSTUNREACH])
def test_a_connection_that_is_gone_before_it_is_accepted_is_passed_over(code, monkeypatch):
    """accept(2) reports network errors of the new connection as its own."""
    with prise.Listener("127.0.0.1:0") as listener, prise.connect(listener.address):
        listening = listener._listeners[0]
        failed: list[Any] = []

        def accept() -> Any:
            if not failed:
                failed.append(code)
                raise OSError(code, "gone")
            return listening.socket.accept()

        monkeypatch.setattr(type(listening), "accept", lambda _: accept())
        with listener.accept(PATIENCE):
            assert failed == [code]


def test_each_connection_in_a_thread_of_ones_own():
    def serve(connection: prise.Connection) -> None:
        with connection:
            for line in connection:
                connection.send(line.upper())

    with prise.Listener("127.0.0.1:0") as listener, ThreadPoolExecutor() as pool:
        ended = threading.Event()

        def accept_all() -> None:
            for connection in listener:
                if ended.is_set():
                    connection.close()
                    return
                pool.submit(serve, connection)

        accepting = pool.submit(accept_all)
        clients = [prise.connect(listener.address).open() for _ in range(5)]
        for number, client in enumerate(clients):
            assert client.ask(f"é{number}", timeout=PATIENCE) == f"É{number}"
        for client in clients:
            client.close()
        ended.set()
        prise.connect(listener.address).open().close()
        accepting.result(PATIENCE)
