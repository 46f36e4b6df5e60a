"""`prise.ipc` pairs: one end here, the other in a child, whichever way the child was made."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy
import pytest

import prise
from prise import ipc
from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, UsageError
from prise.transports.pipe import VARIABLE

PATIENCE = 20.0
METHODS: list[Literal["fork", "forkserver", "spawn"]] = ["fork", "forkserver", "spawn"]
SOURCE = str(Path(prise.__file__).parent.parent)
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
ENVIRONMENT |= {"PYTHONPATH": SOURCE}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No descriptor, but for those that the fork server keeps, which is started once."""
    gc.freeze()  # what was there before need not be searched: a third of a second, each time
    before = sockets()
    yield
    deadline = time.monotonic() + PATIENCE
    while sockets() != before and time.monotonic() < deadline:
        time.sleep(0.002)  # the thread behind `exec:` closes its end a moment after the connection
    after = sockets()
    gc.unfreeze()
    assert after == before


def sockets() -> set[str]:
    gc.collect()
    found = set()
    for each in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:
            pass  # that with which the folder was read
    return {each for each in found if each.startswith(("socket:", "/memfd:prise"))}


# What the children do; `spawn` finds it in this module by its name.


def double(far: ipc.End[Any, Any]) -> None:
    with far as connection:
        for message in connection:
            connection.send(numpy.asarray(message) * 2)


def shout(far: ipc.End[Any, Any], end: str) -> None:
    with far as connection:
        for line in connection:
            connection.send(line.upper() + end)


async def _echo(far: ipc.End[Any, Any]) -> None:
    async with far as connection:
        async for message in connection:
            await connection.send(message)


def echo_async(far: ipc.End[Any, Any]) -> None:
    asyncio.run(_echo(far))


def go_at_once(far: ipc.End[Any, Any]) -> None:
    far.open()
    os._exit(3)


def ended(process: Any) -> int | None:
    process.join(PATIENCE)
    code: int | None = process.exitcode
    process.close()
    return code


@pytest.mark.parametrize("method", METHODS)
def test_arrays_to_a_process_and_back(method: Literal["fork", "forkserver", "spawn"]) -> None:
    process, near = ipc.start(double, method=method)
    with near as connection:
        for size in (10, 200_000):
            numbers = numpy.arange(float(size))
            assert (numpy.asarray(connection.ask(numbers, timeout=PATIENCE)) == numbers * 2).all()
    assert ended(process) == 0


@pytest.mark.parametrize("method", METHODS)
def test_with_a_framing_it_is_the_usual_connection(method: Literal["fork", "forkserver", "spawn"]) -> None:
    process, near = ipc.start(shout, "!", framing="lines", method=method)
    with near as connection:
        assert isinstance(connection, prise.Connection)
        assert connection.ask("salut", timeout=PATIENCE) == "SALUT!"
    assert ended(process) == 0


@pytest.mark.parametrize("framing", [None, "prefixed"])
def test_either_side_can_be_asynchronous(framing: str | None) -> None:
    async def main(near: ipc.End[Any, Any]) -> None:
        async with near as connection:
            for size in (5, 500_000):
                assert len(await connection.ask(bytes(size), timeout=PATIENCE)) == size

    process, near = ipc.start(echo_async, framing=framing, method="fork")
    asyncio.run(main(near))
    assert ended(process) == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_end_as_an_argument_of_a_process(method: str) -> None:
    near, far = ipc.pair()
    process = multiprocessing.get_context(method).Process(target=double, args=(far,))  # type: ignore[attr-defined]
    process.start()
    far.close()
    with near as connection:
        assert numpy.asarray(connection.ask(numpy.ones(3), timeout=PATIENCE)).tolist() == [2.0, 2.0, 2.0]
    assert ended(process) == 0


def test_a_child_that_dies_is_heard() -> None:
    process, near = ipc.start(go_at_once, method="fork")
    with near as connection:
        assert connection.receive(PATIENCE) is None
    assert ended(process) == 3


def test_a_forked_child_hears_that_its_parent_is_gone() -> None:
    """It has a copy of the parent's end, too; it closes that when it opens its own."""
    near, far = ipc.pair("lines")
    reader, writer = os.pipe()
    connection = near.open()
    child = os.fork()
    if not child:
        with far as mine:
            os.write(writer, b"opened")
            for _ in mine:
                pass
        os._exit(7)
    far.close()
    assert os.read(reader, 10) == b"opened"
    connection._sock.close()  # as when this process dies: no farewell
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    os.close(reader)
    os.close(writer)


def test_an_end_is_opened_once() -> None:
    near, far = ipc.pair()
    assert near.fileno() >= 0
    with near as connection:
        assert near.fileno() == -1
        near.close()  # is the connection's affair now
        assert not connection.closed
        for again in (near.open, near.inheritance, lambda: pickle.dumps(near)):
            with pytest.raises(UsageError, match="opened or closed already"):
                again()
    far.close()
    far.close()
    with pytest.raises(UsageError, match="opened or closed already"):
        far.open()


def test_a_blocking_end_inside_a_loop_is_refused() -> None:
    async def main() -> None:
        for make in (near.open, ipc.connect("/nowhere").open):
            with pytest.raises(UsageError, match="await it"):
                make()

    near, far = ipc.pair()
    asyncio.run(main())
    near.close()
    far.close()


def test_a_framing_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(UsageError):
        ipc.pair("no such framing")


# -- Programs ----------------------------------------------------------------------------------------------------------


def python(code: str) -> list[str]:
    return [sys.executable, "-W", "error", "-c", code]


def test_a_program_connects_to_pipe() -> None:
    code = "from prise import ipc\nwith ipc.connect('pipe:') as c:\n for m in c: c.send(bytes(m)[::-1])"
    process, near = ipc.spawn(python(code), env=ENVIRONMENT)
    with process, near as connection:
        assert bytes(connection.ask(b"abc", timeout=PATIENCE)) == b"cba"
        data = os.urandom(500_000)
        assert bytes(connection.ask(data, timeout=PATIENCE)) == data[::-1]
    assert process.returncode == 0


def test_a_program_serves_on_pipe() -> None:
    code = "import prise\nprise.serve(lambda c: [c.send(l + '!') for l in c], 'pipe:')"
    process, near = ipc.spawn(python(code), framing="lines", env=ENVIRONMENT, stderr=subprocess.PIPE)
    with process, near as connection:
        assert connection.ask("salut", timeout=PATIENCE) == "salut!"
    assert process.returncode == 0


def test_the_command_connects_to_pipe() -> None:
    command = [sys.executable, "-m", "prise", "connect", "pipe:"]
    process, near = ipc.spawn(
        command, framing="lines", env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    with process:
        with near as connection:
            connection.send("bonjour")
        assert process.communicate(timeout=PATIENCE)[0] == b"bonjour\n"
    assert process.returncode == 0


def test_a_program_may_have_its_end_as_a_number() -> None:
    near, far = ipc.pair("lines")
    code = f"import prise\nwith prise.connect('fd:{far.fileno()}') as c: c.send('here')"
    process = subprocess.Popen(python(code), env=ENVIRONMENT, pass_fds=(far.fileno(),))
    far.close()
    with process, near as connection:
        assert connection.receive(PATIENCE) == "here"


def test_a_program_that_talks_on_its_standard_input() -> None:
    code = "from prise import ipc\nwith ipc.connect('stdio:') as c:\n for m in c: c.send(m)"
    words = shlex.join(["env", f"PYTHONPATH={SOURCE}", *python(code)])
    with ipc.connect(f"exec:{words}") as left:
        assert len(left.ask(bytes(500_000), timeout=PATIENCE)) == 500_000


def test_a_program_that_is_not_there_leaves_nothing() -> None:
    with pytest.raises(FileNotFoundError):
        ipc.spawn(["/no/such/program"])
    with pytest.raises(TypeError):
        ipc.start(double, no_such_option=1)


def test_pipe_is_taken_once_and_not_by_grandchildren(monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = ipc.pair()
    given = os.dup(far.fileno())
    monkeypatch.setenv(VARIABLE, f"{given}:{os.fstat(given).st_ino}")
    with prise.connect("pipe:") as connection:
        assert connection.fileno() == given
        assert not os.get_inheritable(given)
        assert VARIABLE not in os.environ
        with pytest.raises(ConnectError, match="has given it no connection"), prise.connect("pipe:"):
            pass
        with pytest.raises(BindError, match=VARIABLE):
            prise.Listener("pipe:")
    near.close()
    far.close()


@pytest.mark.parametrize("said", ["", "x", "99999", "-1", "0:1", "{}:1", "{}:x", "1" * 30, "{}:"])
def test_a_variable_that_names_another_descriptor_is_none(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    one, other = socket.socketpair()
    with one, other:
        monkeypatch.setenv(VARIABLE, said.format(one.fileno()))
        with pytest.raises(ConnectError, match="has given it no connection"), prise.connect("pipe:"):
            pass
    with open("/etc/passwd", "rb") as file:
        monkeypatch.setenv(VARIABLE, str(file.fileno()))
        with pytest.raises(ConnectError), prise.connect("pipe:"):
            pass


def test_the_address_pipe_has_nothing_behind_it() -> None:
    assert str(Address.parse("pipe:")) == "pipe:"
    with pytest.raises(AddressError, match="nothing comes after pipe:"):
        Address.parse("pipe:5")
