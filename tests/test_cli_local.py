"""The local transports through the command: Unix sockets, programs, files, descriptors, serial lines, virtual machines."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cli_process import PATIENCE, Running, argv, environment, run, run_here
from peers import Peer

pytest.importorskip("click")

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="as Linux has it")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def until(true: Callable[[], Any]) -> None:
    """Waits for what another program does by itself."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def said(*arguments: str, given: bytes = b"", **more: Any) -> str:
    """What `prise connect` prints; it must succeed and have nothing to complain about."""
    done = run("connect", *arguments, given=given, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(code: int, *arguments: str, **more: Any) -> str:
    """The one line with which the command fails."""
    return one_line(code, run(*arguments, **more))


def refused_here(code: int, *arguments: str, cwd: Path | None = None) -> str:
    """The same without a process of its own, where nothing depends on that."""
    return one_line(code, run_here(*arguments, cwd=cwd))


def one_line(code: int, done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done.stderr
    assert done.stderr.startswith("prise: ")
    return done.stderr


def without_privileges(*arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[str]:
    """The command as a user whom the modes of files concern: root without its capabilities."""
    less = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if not os.geteuid() else []
    return subprocess.run(
        [*less, *argv(*arguments)],
        input=given.decode(),
        capture_output=True,
        env=environment(),
        timeout=PATIENCE,
        text=True,
    )


# -- Unix sockets ------------------------------------------------------------------------------------------------------


@linux_only
@pytest.mark.parametrize("name", ["./x.sock", "@"])
@pytest.mark.parametrize(
    ("options", "more"), [("", ()), (",type=seqpacket", ("--wait", "0.5")), (",type=dgram", ("--wait", "0.5"))]
)
def test_every_type_of_unix_socket(tmp_path: Path, name: str, options: str, more: tuple[str, ...]) -> None:
    if name == "@":
        name = f"@prise-test-{os.getpid()}"  # these tests may run side by side
    address = f"unix{options}:{name}"
    with Running("serve", "upper", "--on", address, cwd=tmp_path) as server:
        server.err.expect("is listening on unix")
        assert said(*more, address, given=b"un\n", cwd=tmp_path) == "UN\n"
        assert said(*more, address, given=b"deux\n", cwd=tmp_path) == "DEUX\n"
        server.signal()
        assert server.wait() == 0
        server.err.expect("connections: 2; messages: 2 in, 2 out")
    assert not (tmp_path / "x.sock").exists()


def test_the_type_must_be_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with Running("serve", "upper", "--on", f"unix:{path}") as server:
        server.err.expect("is listening on")
        assert "of another type than dgram" in refused_here(4, "connect", f"unix,type=dgram:{path}")
        assert "something already listens here" in refused_here(4, "serve", "upper", "--on", f"unix:{path}")
    assert "there is no such socket; is the server running?" in refused_here(4, "connect", f"unix:{path}")


@pytest.mark.parametrize("kind", ["stream", "seqpacket", "dgram"])
def test_the_mode_can_be_seen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.sock"
    with Running("serve", "upper", "--on", f"unix,type={kind},mode=640:{path}") as server:
        server.err.expect("is listening on")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


@as_root
def test_the_owner_can_be_seen(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with Running("serve", "upper", "--on", f"unix,owner=daemon,group=12345,mode=660:{path}") as server:
        server.err.expect("is listening on")
        found = path.stat()
        assert (path.owner(), found.st_gid, stat.S_IMODE(found.st_mode)) == ("daemon", 12345, 0o660)


def test_a_mode_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    with Running("serve", "upper", "--on", f"unix,mode=000:{path}") as server:
        server.err.expect("is listening on")
        done = without_privileges("connect", str(path))
        assert (done.returncode, done.stderr.count("\n")) == (4, 1)
        assert "not allowed: the mode of the socket" in done.stderr


@pytest.mark.parametrize(
    ("code", "address", "reason"),
    [
        (4, "unix,owner=nosuchuser:x", "no user is called nosuchuser"),
        (4, "unix:/nowhere/x", "the folder /nowhere does not exist"),
        (2, "unix,mode=660:@name", "an abstract name has no mode"),
        (2, "unix,mode=abc:x", "the option mode cannot be 'abc'"),
        (2, f"unix:{'x' * 200}", "the path is too long"),
    ],
)
def test_unix_sockets_that_cannot_be(tmp_path: Path, code: int, address: str, reason: str) -> None:
    assert reason in refused_here(code, "serve", "echo", "--on", address, cwd=tmp_path)
    assert not list(tmp_path.iterdir())


# -- Programs ----------------------------------------------------------------------------------------------------------


def test_a_program_answers_after_the_end_of_its_input() -> None:
    assert said("exec:sort -r", given=b"a\nc\nb\n") == "c\nb\na\n"
    assert said("sh:cat > /dev/null; echo late; echo later", given=b"x\n") == "late\nlater\n"


def test_a_shell_reads_its_command() -> None:
    assert said("sh:sort | tr a-z A-Z; echo $((1 + 1))", given=b"b\na\n") == "A\nB\n2\n"
    assert said("exec:printf '%s|' 'a b' $HOME") == "a b|$HOME|"


def test_the_program_starts_in_a_folder(tmp_path: Path) -> None:
    assert said(f"exec,cwd={tmp_path}:pwd") == f"{tmp_path}\n"


def test_errors_of_the_program_go_where_ours_go() -> None:
    done = run("connect", "sh:echo out; echo err >&2")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert said("sh,stderr:echo out; echo err >&2") == "out\nerr\n"


def test_much_input_and_output() -> None:
    data = b"0123456789abcde\n" * 100_000
    done = run("connect", "exec:cat", given=data)
    assert done.stdout.encode() == data


def test_a_program_on_a_terminal() -> None:
    assert re.fullmatch(r"/dev/pts/\d+\r?\n", said("exec,pty:tty"))
    assert said("exec,pty,echo=no:cat", given=b"un\ndeux\n").splitlines() == ["un", "deux"]
    assert said("exec,pty:head -n 1", given=b"un\n").splitlines() == ["un", "un"]
    assert said("sh,pty,echo=no:cat > /dev/null; echo late", given=b"x").splitlines() == ["late"]


@pytest.mark.parametrize(
    ("code", "address", "reason"),
    [
        (4, "exec:nosuchprogram -x", "there is no program 'nosuchprogram' that can be run"),
        (4, "exec,pty:nosuchprogram", "there is no program 'nosuchprogram'"),
        (4, "exec:./text", "not allowed to run './text'"),
        (4, "exec,cwd=/nowhere:pwd", "the folder /nowhere does not exist"),
        (2, "exec:", "the command is missing"),
        (2, "exec:echo 'open", "is not closed"),
        (2, "exec,env=x:cat", "exec has no option 'env'"),
    ],
)
def test_programs_that_cannot_be(tmp_path: Path, code: int, address: str, reason: str) -> None:
    (tmp_path / "text").write_text("no program")
    assert reason in refused_here(code, "connect", address, cwd=tmp_path)


def test_nothing_but_sockets_and_descriptors_is_listened_on() -> None:
    for address in ("exec:cat", "sh:cat", "file:/etc/hosts", "serial:/dev/null"):
        assert "cannot be listened on; listen elsewhere" in refused_here(4, "serve", "echo", "--on", address)


# -- Files -------------------------------------------------------------------------------------------------------------


def test_a_file_is_read(tmp_path: Path) -> None:
    text = "".join(f"{number}\n" for number in range(100_000))
    (tmp_path / "a,b:c").write_text(text)
    assert said("file:a,b:c", cwd=tmp_path) == text


def test_a_file_is_made_replaced_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert "to make it, add the option create" in refused(4, "connect", f"file,write:{path}", given=b"x")
    assert said(f"file,create:{path}", given=b"one\n") == ""
    assert path.read_text() == "one\n"
    assert "exists already; to replace its content" in refused(4, "connect", f"file,create:{path}", given=b"x")
    said(f"file,append:{path}", given=b"two\n")
    assert path.read_text() == "one\ntwo\n"
    said(f"file,write:{path}", given=b"three\n")
    assert path.read_text() == "three\n"
    said(f"file,write,create:{tmp_path}/new", given=b"x" * 1_000_000)
    assert (tmp_path / "new").stat().st_size == 1_000_000


def test_modes_of_files_are_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("secret")
    path.chmod(0o400)
    done = without_privileges("connect", f"file,write:{path}", given=b"x")
    assert (done.returncode, done.stderr) == (4, f"prise: connect file:{path}: not allowed to write this file\n")
    path.chmod(0o200)
    done = without_privileges("connect", f"file:{path}")
    assert (done.returncode, done.stderr) == (4, f"prise: connect file:{path}: not allowed to read this file\n")
    path.chmod(0o400)
    assert path.read_text() == "secret"


def test_a_full_disk_is_no_success() -> None:
    done = run("connect", "file,write:/dev/full", given=b"x\n")
    assert done.returncode == 8
    assert "cannot be written: No space left on device" in done.stderr
    done = run("connect", "file,write:/dev/full", given=bytes(3_000_000))
    assert done.returncode == 8


@linux_only
def test_a_file_that_breaks_off_is_no_success() -> None:
    done = run("connect", "file:/proc/self/mem")
    assert done.returncode == 8
    assert "cannot be read: Input/output error" in done.stderr


@pytest.mark.parametrize(
    ("code", "address", "reason"),
    [
        (4, "file:nosuch", "there is no such file"),
        (4, "file:.", "this is a folder"),
        (4, "file,write:.", "this is a folder"),
        (4, "file,create:nosuch/file", "whether the folder exists"),
        (2, "file:", "the path is missing"),
        (2, "file,write,append:x", "give one of them"),
    ],
)
def test_files_that_cannot_be(tmp_path: Path, code: int, address: str, reason: str) -> None:
    assert reason in refused_here(code, "connect", address, cwd=tmp_path)


def test_a_file_that_is_read_takes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content\n")
    done = run("connect", "file:file", given=b"x\n", cwd=tmp_path)
    assert done.returncode == 8
    assert "content" not in done.stderr
    assert (tmp_path / "file").read_text() == "content\n"


def test_a_named_pipe_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    assert "nobody has opened this FIFO" in refused(5, "connect", "--timeout", "0.1", f"file,write:{path}")
    with Running("connect", f"file:{path}") as reader:
        assert said(f"file,write:{path}", given=b"through\n") == ""  # it waits for the reader
        assert reader.out.rest() == ["through"]
        assert reader.wait() == 0
    # With the programs of others at the other end.
    with Running("connect", f"file:{path}") as reader:
        path.write_bytes(b"from elsewhere\n")
        assert reader.out.rest() == ["from elsewhere"]
    with Running("connect", f"file,append:{path}") as writer:
        writer.write("to elsewhere\n")
        writer.end_input()
        assert path.read_bytes() == b"to elsewhere\n"
        assert writer.wait() == 0


# -- Descriptors -------------------------------------------------------------------------------------------------------


def test_an_inherited_pipe() -> None:
    read, write = os.pipe()
    try:
        os.write(write, b"from the pipe\n")
        said(f"fd:{write}", given=b"from the command\n", pass_fds=(write,))
        os.close(write)
        write = -1
        assert said(f"fd:{read}", pass_fds=(read,)) == "from the pipe\nfrom the command\n"
    finally:
        os.close(read)
        if write >= 0:
            os.close(write)


def test_an_inherited_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"answer\n")
        ours.shutdown(socket.SHUT_WR)
        assert said(f"fd:{theirs.fileno()}", given=b"question\n", pass_fds=(theirs.fileno(),)) == "answer\n"
        assert ours.recv(100) == b"question\n"
        done = run("connect", f"fd:{theirs.fileno()}", pass_fds=(theirs.fileno(),))
        assert done.returncode == 0


def test_an_inherited_connection_is_served() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"un\ndeux\n")
        ours.shutdown(socket.SHUT_WR)
        done = run("serve", "upper", "--on", f"fd:{theirs.fileno()}", pass_fds=(theirs.fileno(),))
        assert done.returncode == 0  # the only one is over
        assert "connections: 1; messages: 2 in, 2 out" in done.stderr
        assert ours.recv(100) == b"UN\nDEUX\n"


def test_standard_input_is_served() -> None:
    done = run("serve", "upper", "--on", "stdio:", given=b"un\ndeux\n")
    assert (done.returncode, done.stdout) == (0, "UN\nDEUX\n")


def test_a_socket_that_listens_is_not_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = sock.fileno()
        assert "this socket listens" in refused(4, "connect", f"fd:{number}", pass_fds=(number,))
    with closing(socket.socket()) as sock:
        number = sock.fileno()
        reason = refused(4, "serve", "echo", "--on", f"fd:{number}", pass_fds=(number,))
        assert "neither listens nor is connected" in reason


def test_descriptors_that_are_not_open() -> None:
    for arguments in ("connect", "fd:987"), ("serve", "echo", "--on", "fd:987"):
        assert "the descriptor 987 is not open; open are: 0, 1, 2" in refused(4, *arguments)
    for text in ("x", "-1", "", "1.0", "99999999999999999999"):
        assert "is not the number of a descriptor; example: fd:3" in refused_here(2, "connect", f"fd:{text}")


@linux_only
def test_where_nothing_lists_the_open_descriptors() -> None:
    """A chroot without /dev/fd."""

    def there(*arguments: str) -> subprocess.CompletedProcess[str]:
        script = 'mount -t tmpfs none /dev || exit 99; exec "$@"'
        return subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", *argv(*arguments)],
            input="b\na\n",
            capture_output=True,
            env=environment(),
            timeout=PATIENCE,
            text=True,
        )

    done = there("connect", "fd:987")
    if done.returncode in (1, 99):
        pytest.skip("not allowed to make a mount namespace")
    assert (done.returncode, done.stderr) == (4, "prise: connect fd:987: the descriptor 987 is not open\n")
    done = there("serve", "echo", "--on", "fd:987")
    assert (done.returncode, done.stderr) == (4, "prise: bind fd:987: the descriptor 987 is not open\n")
    done = there("connect", "exec:sort")
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\nb\n", "")


# -- Serial lines ------------------------------------------------------------------------------------------------------


def test_a_serial_line(tmp_path: Path) -> None:
    """socat's pair of pseudo terminals is the cable."""
    one, two = tmp_path / "one", tmp_path / "two"
    with Peer("socat", f"pty,rawer,link={one}", f"pty,rawer,link={two}") as cable:
        until(lambda: one.exists() and two.exists())
        with open(two, "r+b", buffering=0) as far, Running("connect", f"serial,speed=115200:{one}") as near:
            near.write("hello\n")  # it goes first: what came before it had opened the line is dropped
            assert far.read(100) == b"hello\n"
            far.write(b"good day\n")
            assert near.out.line() == "good day"
            cable.end()  # it is pulled out
            near.end_input()
            assert near.wait() == 0
            assert near.err.rest() == []


@pytest.mark.parametrize(
    ("code", "address", "reason"),
    [
        (4, "serial:/dev/nosuch", "there is no such device; is it plugged in?"),
        (4, "serial:/dev/null", "this is no serial line"),
        (2, "serial:", "the device is missing"),
        (2, "serial,parity=mark:/dev/null", "parity cannot be 'mark'"),
    ],
)
def test_serial_lines_that_cannot_be(code: int, address: str, reason: str) -> None:
    assert reason in refused_here(code, "connect", address)


# -- Virtual machines --------------------------------------------------------------------------------------------------


def test_vsock_says_in_one_line_what_is_missing() -> None:
    done = run("connect", "--timeout", "0.3", "vsock:local:1")  # nobody listens there, whatever this machine has
    assert done.returncode in (2, 4, 5)
    assert re.fullmatch(r"prise: (connect )?vsock:local:1: .*\n", done.stderr)
    with Running("serve", "upper", "--on", "vsock:local:0") as server:
        line = server.err.line()
        assert line is not None
        found = re.search(r"listening on (vsock:local:\d+)", line)
        if found is None:
            assert re.fullmatch(r"prise: (bind )?vsock:local:0: .*vsock.*", line)
            assert server.wait() in (2, 4)
            assert server.err.rest() == []
        else:
            assert said(found[1], given=b"un\n") == "UN\n"


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("vsock:x:1", "the first is host, local, hypervisor"),
        ("vsock:host", "not a context id and a port"),
        ("vsock:host:http", "'http' is not a number"),
    ],
)
def test_what_is_no_vsock_address(address: str, reason: str) -> None:
    assert reason in refused_here(2, "connect", address)
