"""A whole systemd, as a user has one, starts our servers: socket activation, Type=notify, the watchdog, and its descriptor store.

It runs in a mount namespace with a /run of its own, where it believes that the system was booted by systemd. Where a namespace
or its control groups are not allowed (most containers of other people) these tests are skipped; test_handover_systemd.py has
the same protocols with a manager of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import prise
from cli_process import PATIENCE, SOURCE, Lines
from peers import free_port, need

START = 'mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec "$0" "$@"'
SYSTEMD = "/lib/systemd/systemd"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "systemd"


class Systemd:
    """A service manager with units of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.units = folder / "units"
        runtime = folder / "run"
        for each in (self.units, runtime):
            each.mkdir(mode=0o700)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(runtime),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "SYSTEMD_UNIT_PATH": f"{self.units}:",
            "NOTIFY_SOCKET": str(folder / "notify"),  # it is a service itself, of the one above
        }
        self.notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notified.bind(str(folder / "notify"))
        self.notified.settimeout(0.1)
        (self.units / "test.target").write_text("[Unit]\nDescription=nothing\n")
        self.process = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", START, SYSTEMD, "--user", "--log-target=console", "--unit=test.target"],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        self.log = Lines(self.process.stderr)

    def runs(self) -> bool:
        """Waits until it does, or has ended."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            try:
                if b"READY=1" in self.notified.recv(4096).split():
                    return True
            except TimeoutError:
                pass  # look whether it has ended
        return False

    def unit(self, name: str, text: str) -> None:
        environment = f'Environment="PYTHONPATH={SOURCE}" LC_ALL=C.UTF-8\n' if name.endswith(".service") else ""
        (self.units / name).write_text(f"{text}{environment}")

    def control(self, *arguments: str) -> str:
        done = subprocess.run(
            ["systemctl", "--user", *arguments], env=self.environment, capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == 0, (arguments, done.stderr, self.log.seen[-10:])
        return done.stdout.decode()

    def value(self, unit: str, name: str) -> str:
        return self.control("show", "-P", name, unit).strip()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()
            self.notified.close()
            self.log.rest()
            assert self.process.stderr is not None
            self.process.stderr.close()


@pytest.fixture(scope="module")
def systemd() -> Iterator[Systemd]:
    need("systemctl", "unshare")
    folder = Path(tempfile.mkdtemp(prefix="prise-sd-"))  # a short path: there will be sockets in it
    manager = Systemd(folder)
    try:
        if not manager.runs():
            pytest.skip(f"a systemd cannot run here: {manager.log.seen[-1:]}")
        yield manager
    finally:
        manager.stop()
        shutil.rmtree(folder, ignore_errors=True)


PRISE = f"{sys.executable} -m prise"


def echoed(where: str | tuple[str, int], line: str) -> str | None:
    with prise.connect(where) as connection:
        connection.send(line)
        answer = connection.receive(PATIENCE)
        return answer if answer is None else str(answer)


def test_a_socket_unit_starts_our_server_with_the_first_connection(systemd: Systemd) -> None:
    path = systemd.folder / "echo.sock"
    systemd.unit("echo.socket", f"[Socket]\nListenStream={path}\nFileDescriptorName=web\n")
    systemd.unit("echo.service", f"[Service]\nType=notify\nExecStart={PRISE} serve upper --on systemd:web\n")
    systemd.control("start", "echo.socket")
    assert systemd.value("echo.service", "ActiveState") == "inactive"
    assert echoed(f"unix:{path}", "first") == "FIRST"
    assert systemd.value("echo.service", "ActiveState") == "active"
    assert systemd.value("echo.service", "StatusText") == f"listening on unix:{path}"
    systemd.control("stop", "echo.service", "echo.socket")
    assert systemd.value("echo.service", "Result") == "success"


def test_start_waits_until_it_is_ready_and_a_reload_until_it_is_done(systemd: Systemd) -> None:
    port = free_port()
    systemd.unit(
        "ready.service",
        "[Service]\nType=notify\nWatchdogSec=1\nExecReload=kill -HUP $MAINPID\n"
        f"ExecStart={PRISE} serve upper --workers 2 --on 127.0.0.1:{port}\n",
    )
    systemd.control("start", "ready.service")
    assert echoed(("127.0.0.1", port), "at once") == "AT ONCE"
    before = systemd.value("ready.service", "WatchdogTimestampMonotonic")
    systemd.control("reload", "ready.service")
    while systemd.value("ready.service", "WatchdogTimestampMonotonic") == before:
        pass  # the next sign of life; it comes twice a second
    assert systemd.value("ready.service", "NRestarts") == "0"
    systemd.control("stop", "ready.service")
    assert systemd.value("ready.service", "Result") == "success"


def test_connections_outlive_restarts(systemd: Systemd) -> None:
    """examples/systemd/counter_prise.py"""
    path = systemd.folder / "counter.sock"
    systemd.unit("counter.socket", f"[Socket]\nListenStream={path}\n")
    systemd.unit(
        "counter.service",
        f"[Service]\nType=notify\nFileDescriptorStoreMax=100\nExecStart={sys.executable} {EXAMPLES / 'counter_prise.py'}\n",
    )
    systemd.control("start", "counter.socket")
    with ExitStack() as stack:
        connections = [stack.enter_context(prise.connect(f"unix:{path}")) for _ in range(20)]
        count = 0
        for restart in range(3):
            for connection in connections:
                connection.send("before")
            count += 1
            for connection in connections:
                assert connection.receive(PATIENCE) == f"{count} before"
                if restart == 1:
                    connection.send("in between")  # which the old or the new process reads
            before = systemd.value("counter.service", "MainPID")
            systemd.control("restart", "counter.service")
            assert systemd.value("counter.service", "MainPID") != before
            assert systemd.value("counter.service", "StatusText") == "20 connections were kept"
            assert (
                systemd.value("counter.service", "NFileDescriptorStore") == "0"
            )  # given back, and told to forget them
            if restart == 1:
                count += 1
                for connection in connections:
                    assert connection.receive(PATIENCE) == f"{count} in between"
    systemd.control("stop", "counter.socket", "counter.service")


@pytest.mark.parametrize("command", ["serve", "chat"])
def test_a_reload_that_is_a_new_release_keeps_the_service_and_its_clients(systemd: Systemd, command: str) -> None:
    """examples/systemd/prise-chat.service: the main process changes, and systemd neither stops nor restarts anything."""
    port, take = free_port(), systemd.folder / f"{command}-take"
    what = {
        "serve": f"serve {EXAMPLES.parent / 'restart' / 'counter_prise.py'}:count",
        "chat": f"chat --store sqlite:{systemd.folder}/chat.sqlite --rate none",
    }[command]
    systemd.unit(
        f"{command}.service",
        f"[Service]\nType=notify\nWatchdogSec=2\nExecReload={PRISE} restart {take}\n"
        f"ExecStart={PRISE} {what} --on 127.0.0.1:{port} --handover {take}\n",
    )
    systemd.control("start", f"{command}.service")
    with prise.connect(f"127.0.0.1:{port}") as client:
        client.send("40")  # to the chat, a nickname
        pids = {systemd.value(f"{command}.service", "MainPID")}
        for _ in range(2):
            systemd.control("reload", f"{command}.service")
            pids.add(systemd.value(f"{command}.service", "MainPID"))
        client.send("2")
        while (heard := client.receive(PATIENCE)) is not None and not heard.endswith(("42", "<40> 2")):
            pass
        assert heard is not None
    assert len(pids) == 3
    before = systemd.value(f"{command}.service", "WatchdogTimestampMonotonic")
    while systemd.value(f"{command}.service", "WatchdogTimestampMonotonic") == before:
        pass  # the newest process is alive, and is believed
    assert systemd.value(f"{command}.service", "NRestarts") == "0"
    # How it ends is not looked at: without control groups of its own this systemd kills at once whom it has not started itself.
    systemd.control("stop", f"{command}.service")


def test_the_notify_socket_is_not_needed_to_listen(systemd: Systemd) -> None:
    """The plainest unit there is."""
    port = free_port()
    systemd.unit("plain.service", f"[Service]\nType=exec\nExecStart={PRISE} serve upper --on 127.0.0.1:{port}\n")
    systemd.control("start", "plain.service")
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
            break
        except ConnectionRefusedError:
            assert systemd.value("plain.service", "ActiveState") == "active"
    assert echoed(("127.0.0.1", port), "x") == "X"
    systemd.control("stop", "plain.service")
    assert systemd.value("plain.service", "Result") == "success"
