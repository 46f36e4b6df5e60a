"""Programs, standard input, files, descriptors, serial lines and virtual machines: whatever carries bytes is a socket here."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prise
from blocking_support import children
from peers import need
from prise.address import Address
from prise.errors import AddressError, BindError, ConnectError, TooSlow, Unsupported, UsageError
from prise.transports import Listening, bind, describe, dial, dial_async
from prise.transports.base import OnceListening
from prise.transports.pump import BUFFER, pump

PATIENCE = 10.0


def until(true: Callable[[], Any]) -> None:
    """Waits for what the kernel or another process does by itself."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def everything(sock: socket.socket) -> bytes:
    """All until the end; a reset would be an error."""
    sock.settimeout(PATIENCE)
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


def read_until(sock: socket.socket, end: bytes) -> bytes:
    sock.settimeout(PATIENCE)
    received = b""
    while end not in received:
        data = sock.recv(65536)
        assert data, received
        received += data
    return received


def ask(address: str, question: bytes = b"") -> bytes:
    """Sends the question, ends our side, and takes the whole answer."""
    with dial(address) as sock:
        if question:
            sock.sendall(question)
        sock.shutdown(socket.SHUT_WR)
        return everything(sock)


def resources() -> tuple[set[str], set[str]]:
    return set(os.listdir("/dev/fd")), {each.name for each in threading.enumerate() if each.name.startswith("prise")}


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """No descriptor, no thread, no zombie."""
    (descriptors, threads), before = resources(), children()
    yield
    until(lambda: resources()[1] <= threads)
    assert len(resources()[0]) <= len(descriptors)
    assert children() <= before


# -- Addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("exec:cat -n", "cat -n"),
        ("exec,pty,cwd=/srv:python3 -i", "python3 -i"),
        ("exec:echo 'a:b,c' //x", "echo 'a:b,c' //x"),
        ("sh:ls | sort > /tmp/x; echo //", "ls | sort > /tmp/x; echo //"),
        ("stdio:", ""),
        ("file,write,create:/tmp/a,b:c", "/tmp/a,b:c"),
        ("fd:3", "3"),
        ("fd://03", "3"),
        ("systemd:", ""),
        ("systemd:web", "web"),
        ("serial,speed=115200,parity=even:/dev/ttyUSB0", "/dev/ttyUSB0"),
    ],
)
def test_addresses(text: str, path: str) -> None:
    address = Address.parse(text)
    assert (address.scheme, address.path) == (text.partition(":")[0].partition(",")[0], path)
    assert Address.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "host", "port", "printed"),
    [
        ("vsock://host:1024", "host", 1024, "vsock:host:1024"),
        ("vsock:3:0", "3", 0, "vsock:3:0"),
        ("vsock:*:5", "*", 5, "vsock:*:5"),
        ("vsock::5", None, 5, "vsock::5"),
        ("vsock:Local:4294967294", "local", 4294967294, "vsock:local:4294967294"),
    ],
)
def test_vsock_addresses(text: str, host: str | None, port: int, printed: str) -> None:
    assert Address.parse(text) == Address("vsock", host, port)
    assert str(Address.parse(text)) == printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("exec:", "the command is missing"),
        ("exec:''", "the command is missing"),
        ("exec:echo 'open", "is not closed"),
        ("exec:a\0b", "NUL"),
        ("exec,env=A:x", "exec has no option 'env'; it has: cwd, echo, pty, stderr"),
        ("sh: ", "the command is missing"),
        ("stdio:x", "nothing comes after stdio:"),
        ("file:", "the path is missing"),
        ("fd:x", "'x' is not the number of a descriptor"),
        ("fd:-1", "not the number of a descriptor"),
        ("vsock:host", "'host' is not a context id and a port"),
        ("vsock:nobody:1", "the first is host, local, hypervisor"),
        ("vsock:host:http", "'http' is not a number from 0"),
        ("vsock:4294967295:1", "not a context id"),
        ("serial:", "the device is missing"),
        ("serial,parity=mark:/dev/x", "parity cannot be 'mark'; write for example parity=even"),
        ("unix,type=raw:/x", "type cannot be 'raw'"),
    ],
)
def test_what_is_no_address_is_said(text: str, said: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert said in str(caught.value)


@given(st.sampled_from(["exec", "sh", "stdio", "file", "fd", "systemd", "vsock", "serial"]), st.text())
def test_any_text_is_an_address_or_an_address_error(scheme: str, text: str) -> None:
    try:
        address = Address.parse(f"{scheme}:{text}")
    except AddressError:
        pass
    else:
        assert Address.parse(str(address)) == address


# -- exec and sh -------------------------------------------------------------------------------------------------------


def test_a_program_is_talked_to() -> None:
    with dial("exec:cat") as sock:
        sock.sendall(b"question")
        assert read_until(sock, b"question") == b"question"
        sock.shutdown(socket.SHUT_WR)  # its input ends; what it still says arrives
        assert everything(sock) == b""


def test_words_are_split_and_no_shell_sees_them() -> None:
    assert ask("exec:printf '%s|' 'a b' \"c'd\" $HOME e\\ f *") == b"a b|c'd|$HOME|e f|*|"


def test_a_shell_reads_its_command_itself() -> None:
    assert ask('sh:sort | tr a-z A-Z; echo "done: $((1 + 1)), a:b"', b"b\na\n") == b"A\nB\ndone: 2, a:b\n"


def test_a_late_answer_arrives_after_our_end() -> None:
    assert ask("sh:cat > /dev/null; echo late", b"x") == b"late\n"


def test_what_a_program_did_not_read_makes_no_reset() -> None:
    with dial("sh:read line; echo answer") as sock:
        with suppress(BrokenPipeError):  # it may be gone before all is sent
            sock.sendall(b"question\n" + bytes(50_000))
        assert everything(sock) == b"answer\n"
        until(lambda: _send_fails(sock))


def _send_fails(sock: socket.socket) -> bool:
    try:
        sock.send(b"x")
    except BrokenPipeError:
        return True
    return False


def test_more_than_any_buffer_goes_through() -> None:
    data = os.urandom(1_000_000)
    with dial("exec:cat") as sock:

        def send() -> None:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert everything(sock) == data
        sender.join()


def test_errors_come_along_only_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert ask("sh:echo out; echo err >&2") == b"out\n"
    assert capfd.readouterr().err == "err\n"
    assert ask("sh,stderr:echo out; echo err >&2") == b"out\nerr\n"


def test_the_folder_to_start_in(tmp_path: Path) -> None:
    assert ask(f"exec,cwd={tmp_path}:pwd") == f"{tmp_path}\n".encode()
    (tmp_path / "here").write_text("#!/bin/sh\necho 'run' $1\n")
    (tmp_path / "here").chmod(0o700)
    assert ask(f"exec,cwd={tmp_path}:./here 'a b'") == b"run a b\n"
    with pytest.raises(ConnectError, match="the folder /nowhere does not exist"):
        dial("exec,cwd=/nowhere:pwd")
    with pytest.raises(ConnectError, match="there is no program 'nosuchprogram'"):
        dial("exec,cwd=/:nosuchprogram")


def test_a_program_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConnectError, match="there is no program 'nosuchprogram' that can be run") as caught:
        dial("exec:nosuchprogram -x")
    assert caught.value.exit_code == 4
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ConnectError, match="not allowed to run"):
        dial(f"exec:{tmp_path}/text")
    (tmp_path / "text").chmod(0o700)
    with pytest.raises(ConnectError, match="a script needs a first line"):
        dial(f"exec:{tmp_path}/text")
    with pytest.raises(ConnectError, match="there is no program 'nosuchprogram'"):
        dial("exec,pty:nosuchprogram")


def test_a_program_inherits_none_of_our_descriptors() -> None:
    inherited = os.open("/dev/null", os.O_RDONLY)
    try:
        os.set_inheritable(inherited, True)
        assert ask(f"sh:test -e /dev/fd/{inherited} && echo there; echo end") == b"end\n"
        assert ask(f"sh,pty:test -e /dev/fd/{inherited} && echo there; echo end").endswith(b"end\r\n")
    finally:
        os.close(inherited)


@pytest.mark.parametrize("options", ["", ",pty"])
def test_signals_mean_to_it_what_they_usually_do(options: str) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        status = ask(f"sh{options}:grep -E '^Sig(Blk|Ign)' /proc/self/status").split()
    finally:
        signal.signal(signal.SIGINT, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    blocked, ignored = int(status[1], 16), int(status[3], 16)
    assert blocked == 0
    assert not ignored & sum(1 << (each - 1) for each in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM))


def test_a_program_whose_output_nobody_takes_is_ended_by_a_signal(tmp_path: Path) -> None:
    with dial(f"sh:trap 'echo gone > {tmp_path}/said' EXIT; yes") as sock:
        assert sock.recv(2) == b"y\n"
    until((tmp_path / "said").exists)


def test_children_of_others_are_not_taken() -> None:
    with subprocess.Popen(["sh", "-c", "read x; exit 7"], stdin=subprocess.PIPE) as other:
        assert ask("exec:true") == b""
        other.communicate(b"\n")
        assert other.returncode == 7


def test_what_a_program_leaves_running_may_finish_what_it_says() -> None:
    assert ask("sh:(sleep 0.1; echo later) & echo now") == b"now\nlater\n"


# -- exec on a terminal ------------------------------------------------------------------------------------------------


def test_on_a_pseudo_terminal() -> None:
    said = ask("sh,pty:test -t 0 && test -t 1 && test -t 2 && echo terminal; tty; echo > /dev/tty && echo controlling")
    assert b"terminal\r\n/dev/pts/" in said
    assert b"controlling" in said


def test_what_is_sent_comes_back_unless_echo_is_off() -> None:
    assert ask("exec,pty:head -n 1", b"hello\n") == b"hello\r\nhello\r\n"
    assert ask("exec,pty,echo=no:head -n 1", b"hello\n") == b"hello\r\n"


@pytest.mark.parametrize("text", [b"line\n", b"unfinished"])
def test_the_end_of_input_on_a_terminal(text: bytes) -> None:
    assert ask("exec,pty,echo=no:cat", text) == text.replace(b"\n", b"\r\n")
    assert ask("sh,pty,echo=no:cat > /dev/null; echo late", text) == b"late\r\n"


def test_closing_hangs_up(tmp_path: Path) -> None:
    trap = f"trap 'echo hup > {tmp_path}/said; exit' HUP"
    with dial(f"sh,pty:{trap}; echo ready; while :; do sleep 0.05; done") as sock:
        read_until(sock, b"ready")
    until((tmp_path / "said").exists)


def test_control_c_interrupts() -> None:
    with dial("sh,pty,echo=no:trap 'echo interrupted; exit' INT; echo ready; while :; do sleep 0.05; done") as sock:
        read_until(sock, b"ready")
        sock.sendall(b"\x03")
        assert b"interrupted" in everything(sock)


def test_it_has_the_size_of_our_own_terminal() -> None:
    script = (
        "from prise.transports import dial\nsock = dial('sh,pty:stty size')\nprint(sock.recv(100).decode().strip())"
    )
    master, slave = os.openpty()
    try:
        termios.tcsetwinsize(slave, (33, 111))
        done = subprocess.run([sys.executable, "-c", script], stdin=slave, capture_output=True, timeout=PATIENCE)
        assert done.stdout.strip() == b"33 111", done.stderr
    finally:
        os.close(master)
        os.close(slave)


def test_much_output_of_a_terminal_is_complete() -> None:
    assert ask("exec,pty:seq 100000") == b"".join(b"%d\r\n" % each for each in range(1, 100001))


def test_a_program_is_dialled_not_listened_on() -> None:
    for address in ("exec:cat", "sh:cat", "file:/etc/hosts", "serial:/dev/null"):
        with pytest.raises(BindError, match="cannot be listened on; listen elsewhere"):
            bind(address)


async def _late_answer(address: str) -> bytes:
    import asyncio

    sock = await dial_async(address)
    with sock:
        assert not sock.getblocking()
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"x")
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while data := await loop.sock_recv(sock, 100):
            received += data
        return received


def test_in_an_event_loop() -> None:
    import asyncio

    assert asyncio.run(_late_answer("exec:cat")) == b"x"
    assert asyncio.run(_late_answer("exec,pty,echo=no:cat")) == b"x"


def test_with_connections() -> None:
    with prise.connect("exec:tr a-z A-Z") as connection:
        connection.send("bonjour")
        connection.send_eof()
        assert list(connection) == ["BONJOUR"]


# -- The pump ----------------------------------------------------------------------------------------------------------


def test_a_pump_is_bounded_both_ways() -> None:
    read, into = os.pipe()
    out_of, write = os.pipe()
    os.set_blocking(write, False)
    with pump(read, write, name="test") as sock:
        sock.setblocking(False)
        os.set_blocking(into, False)
        given, taken = _fill(lambda data: os.write(into, data)), _fill(sock.send)
        assert given < 20 * BUFFER
        assert taken < 20 * BUFFER
        os.close(into)
        sock.setblocking(True)
        sock.shutdown(socket.SHUT_WR)
        with open(out_of, "rb") as pipe:
            assert len(pipe.read()) == taken
        assert len(everything(sock)) == given


def _fill(write: Callable[[bytes], int]) -> int:
    """Writes until nothing has been taken for a while."""
    total, full_since = 0, 0.0
    while not full_since or time.monotonic() - full_since < 0.2:
        try:
            total += write(bytes(10_000))
            full_since = 0.0
        except BlockingIOError:
            full_since = full_since or time.monotonic()
            select.select([], [], [], 0.01)
    return total


def test_each_direction_ends_by_itself() -> None:
    read, into = os.pipe()
    out_of, write = os.pipe()
    with pump(read, write, name="test") as sock:
        os.write(into, b"last")
        os.close(into)
        assert everything(sock) == b"last"
        sock.sendall(b"still heard")
        sock.shutdown(socket.SHUT_WR)
        with open(out_of, "rb") as pipe:
            assert pipe.read() == b"still heard"


def test_what_was_sent_before_closing_is_written() -> None:
    out_of, write = os.pipe()
    data = os.urandom(300_000)
    with pump(None, write, name="test") as sock, open(out_of, "rb") as pipe:
        reader = threading.Thread(target=lambda: received.append(pipe.read()))
        received: list[bytes] = []
        reader.start()
        sock.sendall(data)
        sock.close()
        reader.join()
        assert received == [data]


def test_a_reader_that_goes_away_is_noticed_at_once() -> None:
    out_of, write = os.pipe()
    with pump(None, write, name="test") as sock:
        os.close(out_of)
        assert everything(sock) == b""
        until(lambda: _send_fails(sock))


def test_a_stuck_writer_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("prise.transports.pump.STUCK_TIME", 0.1)
    out_of, write = os.pipe()
    try:
        with pump(None, write, name="the test") as sock:
            sock.setblocking(False)
            _fill(sock.send)
        until(lambda: "the test: cannot be written: nobody took" in caplog.text)
    finally:
        os.close(out_of)


def test_a_pump_that_has_nothing_to_do_does_nothing() -> None:
    """Both sides have hung up, which poll reports again and again, but what is left cannot be moved yet."""
    read, into = os.pipe()
    out_of, write = os.pipe()
    os.set_blocking(into, False)
    with pump(read, write, name="test") as sock:
        sock.setblocking(False)
        given = _fill(lambda data: os.write(into, data))
        _fill(sock.send)
        os.close(into)
        sock.shutdown(socket.SHUT_WR)
        before = time.process_time()
        select.select([], [], [], 0.3)
        assert time.process_time() - before < 0.15
        os.close(out_of)
        assert len(everything(sock)) == given


@pytest.mark.parametrize("program", ["sock.close()", ""])
def test_a_program_that_ends_has_written_what_it_sent(tmp_path: Path, program: str) -> None:
    path = tmp_path / "out"
    script = f"from prise.transports import dial\nsock = dial('file,create:{path}')\nsock.sendall(bytes(200_000))\n"
    script += program or "import socket; sock.shutdown(socket.SHUT_WR); sock.recv(1)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=PATIENCE)
    assert path.stat().st_size == 200_000


# -- file --------------------------------------------------------------------------------------------------------------


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    data = os.urandom(500_000)
    (tmp_path / "a,b:c").write_bytes(data)
    with dial(f"file:{tmp_path}/a,b:c") as sock:
        with pytest.raises(BrokenPipeError):
            sock.send(b"x")
        assert everything(sock) == data


def test_a_file_is_written(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(ConnectError, match="no such file; to make it, add the option create"):
        dial(f"file,write:{path}")
    assert ask(f"file,create:{path}", b"one\n") == b""
    assert path.read_bytes() == b"one\n"  # the end that came back says so
    with pytest.raises(ConnectError, match="exists already; to replace its content add the option write"):
        dial(f"file,create:{path}")
    ask(f"file,append:{path}", b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    ask(f"file,write,create:{path}", b"three\n")
    assert path.read_bytes() == b"three\n"
    ask(f"file,append,create:{tmp_path}/new", b"four\n")
    assert (tmp_path / "new").read_bytes() == b"four\n"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("file:/nowhere", "there is no such file"),
        ("file:/", "a folder"),
        ("file,write:/", "a folder"),
        ("file:/etc/hosts/x", "no such file"),
    ],
)
def test_what_cannot_be_opened(address: str, said: str) -> None:
    with pytest.raises(ConnectError, match=said):
        dial(address)


def test_other_mistakes_with_files(tmp_path: Path) -> None:
    with pytest.raises(AddressError, match="give one of them"):
        dial(f"file,write,append:{tmp_path}/x")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/socket")
        with pytest.raises(ConnectError, match="write unix: instead of file:"):
            dial(f"file:{tmp_path}/socket")


def test_a_full_disk_is_logged_and_no_clean_end(caplog: pytest.LogCaptureFixture) -> None:
    with dial("file,write:/dev/full") as sock:
        sock.sendall(b"x")
        with pytest.raises(ConnectionResetError):
            everything(sock)
    assert "file,write=yes:/dev/full: cannot be written: No space left on device" in caplog.text


def test_what_cannot_be_read_has_no_clean_end(caplog: pytest.LogCaptureFixture) -> None:
    with dial("file:/proc/self/mem") as sock, pytest.raises(ConnectionResetError):  # nothing is at its beginning
        everything(sock)
    assert "file:/proc/self/mem: cannot be read: Input/output error" in caplog.text


def test_a_forked_child_does_not_keep_the_reset_from_us() -> None:
    held, hold = os.pipe()
    with dial("file,write:/dev/full") as sock:
        pid = os.fork()
        if not pid:
            os.close(hold)
            os.read(held, 1)
            os._exit(0)
        try:
            sock.sendall(b"x")
            with pytest.raises(ConnectionResetError):
                everything(sock)
        finally:
            os.close(hold)
            os.close(held)
            os.waitpid(pid, 0)


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(TooSlow, match="nobody has opened this FIFO for reading"):
        dial(f"file,write:{path}", timeout=0.1)
    with dial(f"file:{path}") as reader:  # nobody writes yet: that is no end
        reader.setblocking(False)
        with pytest.raises(BlockingIOError):
            reader.recv(1)
        with dial(f"file,write:{path}") as writer:
            writer.sendall(b"through")
        reader.setblocking(True)
        assert everything(reader) == b"through"


# -- fd and stdio ------------------------------------------------------------------------------------------------------


@contextmanager
def listening(address: str) -> Iterator[Listening]:
    (listener,) = bind(address)
    with listener:
        yield listener


def is_readable(listener: Listening) -> bool:
    return bool(select.select([listener], [], [], 0)[0])


def test_a_descriptor_that_is_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, dial(f"fd:{theirs.fileno()}") as sock:
        sock.sendall(b"x")
        assert ours.recv(10) == b"x"
        assert sock.fileno() != theirs.fileno()
        assert not sock.get_inheritable()


def test_a_descriptor_that_is_a_pipe() -> None:
    read, write = os.pipe()
    try:
        with dial(f"fd:{read}") as reader, dial(f"fd:{write}") as writer:
            writer.sendall(b"through")
            assert read_until(reader, b"through") == b"through"
            with pytest.raises(BrokenPipeError):
                reader.send(b"x")
    finally:
        os.close(read)
        os.close(write)


def test_descriptors_that_are_not_open() -> None:
    with pytest.raises(ConnectError, match=r"the descriptor 987 is not open; open are: 0, 1, 2"):
        dial("fd:987")
    with pytest.raises(BindError, match=r"the descriptor 987 is not open; open are: 0, 1, 2"):
        bind("fd:987")


def test_listening_on_an_inherited_listener(tmp_path: Path) -> None:
    path = f"{tmp_path}/x.sock"
    with socket.socket(socket.AF_UNIX) as theirs:
        theirs.bind(path)
        theirs.listen()
        with pytest.raises(ConnectError, match="this socket listens"):
            dial(f"fd:{theirs.fileno()}")
        with listening(f"fd:{theirs.fileno()}") as listener:
            assert str(listener.address) == f"unix:{path}"
            assert not listener.exhausted
            with pytest.raises(BlockingIOError):
                listener.accept()
            with dial(path):
                listener.accept()[0].close()
    assert os.path.exists(path)  # it is not ours to remove


def test_listening_on_an_inherited_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as theirs, listening(f"fd:{theirs.fileno()}") as listener:
        assert listener.address == Address.parse(theirs.getsockname())


def test_inherited_datagram_sockets_serve_datagrams(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(f"{tmp_path}/x.sock")
        with listening(f"fd:{theirs.fileno()}") as listener:
            assert str(listener.address) == f"unix,type=dgram:{tmp_path}/x.sock"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as theirs:
        theirs.bind(("127.0.0.1", 0))
        with listening(f"fd:{theirs.fileno()}") as listener:
            assert listener.address == Address("udp", *theirs.getsockname())


def test_a_socket_that_is_nothing_yet() -> None:
    with socket.socket() as sock, pytest.raises(BindError, match="neither listens nor is connected"):
        bind(f"fd:{sock.fileno()}")


def test_an_inherited_connection_is_given_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, listening(f"fd:{theirs.fileno()}") as listener:
        assert isinstance(listener, OnceListening)
        assert is_readable(listener)
        assert not listener.exhausted
        sock, sockaddr = listener.accept()
        with sock:
            assert sock.getblocking()
            assert sockaddr == ""
            sock.sendall(b"x")
            assert ours.recv(10) == b"x"
            assert listener.exhausted
            assert not is_readable(listener)
            with pytest.raises(BlockingIOError):
                listener.accept()
    assert listener.exhausted


def test_of_several_processes_one_gets_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, listening(f"fd:{theirs.fileno()}") as listener:
        pid = os.fork()
        if not pid:
            listener.accept()[0].sendall(b"child")
            os._exit(0)
        os.waitpid(pid, 0)
        assert ours.recv(10) == b"child"
        assert listener.exhausted
        assert not is_readable(listener)


ECHO = """
import sys, prise

def echo(connection):
    for line in connection:
        connection.send(line.upper())

for connection in prise.Listener(sys.argv[1]):
    with connection:
        echo(connection)
    break
"""


def test_standard_input_and_output_as_pipes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ECHO, "stdio:"], input=b"one\ntwo\n", capture_output=True, timeout=PATIENCE
    )
    assert done.stdout == b"ONE\nTWO\n", done.stderr
    much = b"x" * 1000 + b"\n"
    done = subprocess.run(
        [sys.executable, "-c", ECHO, "stdio:"], input=much * 2000, capture_output=True, timeout=PATIENCE
    )
    assert done.stdout == much.upper() * 2000, done.stderr


def test_standard_input_as_one_socket_as_under_inetd() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            program = subprocess.Popen(
                [sys.executable, "-c", ECHO, "stdio:"], stdin=theirs.fileno(), stdout=theirs.fileno()
            )
        ours.sendall(b"one\n")
        assert read_until(ours, b"\n") == b"ONE\n"
        ours.shutdown(socket.SHUT_WR)
        assert everything(ours) == b""
        assert program.wait(PATIENCE) == 0


def test_standard_input_is_dialled_too() -> None:
    script = "from prise.transports import dial\nsock = dial('stdio:')\nsock.sendall(sock.recv(100))\nsock.close()"
    done = subprocess.run([sys.executable, "-c", script], input=b"x", capture_output=True, timeout=PATIENCE)
    assert done.stdout == b"x", done.stderr
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "{script}" <&-', sys.executable], capture_output=True, timeout=PATIENCE
    )
    assert b"the descriptor 0 is not open; open are: 1, 2" in done.stderr


# -- systemd -----------------------------------------------------------------------------------------------------------

SERVER = """
import prise, sys
try:
    server = prise.Listener(*sys.argv[1:])
except prise.PriseError as error:
    sys.exit(str(error))
connection = server.accept(10)
connection.send(" ".join(str(each) for each in server.addresses))
connection.close()
server.close()
"""


@contextmanager
def activated(arguments: list[str], *addresses: str) -> Iterator[subprocess.Popen[bytes]]:
    need("systemd-socket-activate")
    command = ["systemd-socket-activate", *arguments, sys.executable, "-c", SERVER, *addresses]
    environment = [f"--setenv={name}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
    command[1:1] = environment
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def reach(path: str) -> socket.socket:
    until(lambda: os.path.exists(path))
    sock = socket.socket(socket.AF_UNIX)
    while True:
        try:
            sock.connect(path)
            return sock
        except ConnectionRefusedError:  # bound, but it does not listen yet
            time.sleep(0.01)


def test_sockets_of_systemd(tmp_path: Path) -> None:
    path = f"{tmp_path}/x.sock"
    with activated([f"--listen={path}"], "systemd:"), reach(path) as sock:
        assert everything(sock) == f"unix:{path}\n".encode()


def test_sockets_of_systemd_by_name(tmp_path: Path) -> None:
    web, admin = f"{tmp_path}/web", f"{tmp_path}/admin"
    options = [f"--listen={web}", f"--listen={admin}", "--fdname=web:admin"]
    with activated(options, "systemd:admin"), reach(admin) as sock:
        assert everything(sock) == f"unix:{admin}\n".encode()
    for path in (web, admin):
        os.unlink(path)
    with activated(options, "systemd:admin", "systemd:web"), reach(web) as sock:  # several addresses may refer to them
        assert everything(sock) == f"unix:{admin} unix:{web}\n".encode()
    for path in (web, admin):
        os.unlink(path)
    with activated(options, "systemd:other") as process, reach(web):
        assert process.wait(PATIENCE) == 1
        assert process.stderr is not None
        assert b"no socket called 'other'; their names are: web, admin" in process.stderr.read()


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for pid in ("", "1", "x"):
        monkeypatch.setenv("LISTEN_PID", pid)
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(BindError, match="systemd has passed no sockets to this process"):
            bind("systemd:")
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "900")
    with pytest.raises(BindError, match="is not open"):
        bind("systemd:")
    with pytest.raises(UsageError, match="nothing to connect to"):
        dial("systemd:web")


# -- serial ------------------------------------------------------------------------------------------------------------


@contextmanager
def line() -> Iterator[tuple[int, str]]:
    """A pseudo terminal stands for the cable: its other side, and the device."""
    master, slave = pty.openpty()
    try:
        yield master, os.ttyname(slave)
    finally:
        os.close(master)
        os.close(slave)


def test_a_serial_line_carries_every_byte_as_it_is() -> None:
    every = bytes(range(256))
    with line() as (cable, device), dial(f"serial,speed=115200:{device}") as sock:
        sock.sendall(every)
        received = b""
        while len(received) < 256:
            received += os.read(cable, 1000)
        assert received == every
        os.write(cable, every)
        assert read_until(sock, b"\xff") == every


def test_the_settings_of_a_line() -> None:
    with line() as (cable, device), dial(f"serial,speed=19200,stop=2,flow=software:{device}"):
        modes = termios.tcgetattr(cable)
        assert modes[4] == modes[5] == termios.B19200
        assert modes[0] & termios.IXON
        assert modes[2] & termios.CSTOPB  # a pseudo terminal is never without 8 bits and has no parity
        assert not modes[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
        probe = os.open(device, os.O_RDWR | os.O_NOCTTY) if not os.geteuid() else -1
        try:
            if probe >= 0 and hasattr(termios, "TIOCGEXCL"):
                assert struct.unpack("i", fcntl.ioctl(probe, termios.TIOCGEXCL, bytes(4))) == (1,)
        finally:
            if probe >= 0:
                os.close(probe)


def test_a_line_that_is_taken_away() -> None:
    master, slave = pty.openpty()
    with dial(f"serial:{os.ttyname(slave)}") as sock:
        os.close(slave)
        os.close(master)
        assert everything(sock) == b""


@pytest.mark.parametrize(
    ("address", "said"),
    [("serial:/dev/nosuch", "there is no such device"), ("serial:/dev/null", "this is no serial line")],
)
def test_what_is_no_serial_line(address: str, said: str) -> None:
    with pytest.raises(ConnectError, match=said):
        dial(address)


def test_a_speed_that_there_is_not() -> None:
    with line() as (_, device), pytest.raises(Unsupported, match=r"no speed 12345 here; there are: 50, .*9600"):
        dial(f"serial,speed=12345:{device}")


# -- vsock -------------------------------------------------------------------------------------------------------------


def test_vsock_where_the_kernel_has_it() -> None:
    try:
        listeners = bind("vsock:local:0")
    except Unsupported as error:
        assert "no vsock sockets" in str(error)
        return
    except BindError as error:
        assert "vsock_loopback" in str(error)
        with listening("vsock:*:0") as listener:
            assert listener.address.host == "*"
            assert listener.address.port
        return
    with listeners[0] as listener:
        try:
            sock = dial(listener.address, timeout=3)
        except (TooSlow, ConnectError) as error:
            assert str(listener.address) in str(error)
            return
        with sock:
            select.select([listener], [], [], PATIENCE)
            server, sockaddr = listener.accept()
            with server:
                assert describe(server.family, sockaddr).host == "local"
                sock.sendall(b"x")
                assert server.recv(10) == b"x"


def test_vsock_to_nobody() -> None:
    with pytest.raises((Unsupported, ConnectError, TooSlow)) as caught:
        dial("vsock:host:1", timeout=0.2)
    assert "\n" not in str(caught.value)
    with pytest.raises((Unsupported, AddressError)):
        dial("vsock:*:1")


def test_vsock_where_python_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_VSOCK", raising=False)
    functions: list[Callable[[str], object]] = [bind, dial]
    for function in functions:
        with pytest.raises(Unsupported, match="this system has no vsock sockets"):
            function("vsock:host:1")
