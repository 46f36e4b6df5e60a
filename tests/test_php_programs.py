"""PHP's own tests, its style, its examples, and programs of both languages that start each other with a connection."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from handover_support import tcp_pair
from peers import need
from php_support import ENVIRONMENT, ROOT, SOURCE
from prise import handover
from prise.handover.spawn import spawn

EXAMPLES = ROOT / "examples" / "php"
SECONDS = 10.0


def test_phpunit():
    need("phpunit")
    done = subprocess.run(
        ["phpunit", "-c", SOURCE / "phpunit.xml"],
        env=ENVIRONMENT | {"PRISE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-10_000:]
    assert "skipped" not in done.stdout.lower() or os.geteuid() != 0, done.stdout


@pytest.mark.parametrize("what", [[], [EXAMPLES]], ids=["the package", "the examples"])
def test_php_is_written_as_psr_12_wants_it(what):
    need("phpcs")
    command = ["phpcs", "-q", f"--standard={SOURCE}/phpcs.xml", *what]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_package_says_what_it_needs_and_where_its_classes_are():
    package = json.loads((SOURCE / "composer.json").read_text())
    assert package["name"] == "prise/prise"
    assert package["require"] == {"php": ">=8.1", "ext-json": "*", "ext-sockets": "*"}
    for path in sorted((SOURCE / package["autoload"]["psr-4"]["Prise\\"]).rglob("*.php")):
        text = path.read_text()
        names = path.relative_to(SOURCE / "src").with_suffix("").parts
        assert "\ndeclare(strict_types=1);\n" in text, path
        namespace = "\\".join(("Prise", *names[:-1]))
        assert f"\nnamespace {namespace};\n" in text, path
        assert re.search(rf"^(final )?class {names[-1]}\b", text, re.MULTILINE), path
        assert len(text.splitlines()) <= 350, path


# -- started by the other ------------------------------------------------------------------------------------------------


def php(code: str, **popen: Any) -> subprocess.Popen[bytes]:
    """php-cli on a piece of code, with the package loaded."""
    need("php")
    code = f"require '{SOURCE}/autoload.php'; {code}"
    given: Any = {"stdin": subprocess.DEVNULL} | popen
    process: Any = subprocess.Popen(["php", "-d", "display_errors=stderr", "-r", code], **given)
    return process


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection: what changes hands, and the peer."""
    with tcp_pair() as (far, near):
        yield near, far


def heard(far: socket.socket) -> bytes:
    with far.makefile("rb") as lines:
        return lines.read()


def test_python_starts_php_with_the_connection_as_descriptor_0_and_php_can_really_close_it(pair):
    near, far = pair
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wait = f'fgets(fopen("php://fd/{theirs.fileno()}", "r+"));'
        program = php(
            f"fwrite(STDIN, strtoupper(fgets(STDIN))); fclose(STDIN); {wait}", stdin=near, pass_fds=[theirs.fileno()]
        )
        near.close()
        far.sendall(b"loud\n")
        assert heard(far) == b"LOUD\n", "and the end, although PHP goes on"
        assert program.poll() is None
        ours.sendall(b"\n")
        assert program.wait(SECONDS) == 0


def test_python_starts_php_with_the_connection_as_descriptor_n(pair):
    near, far = pair
    number = near.fileno()
    program = php(
        f'$stream = fopen("php://fd/{number}", "r+"); fwrite($stream, strrev(trim(fgets($stream)))); fclose($stream);',
        pass_fds=[number],
    )
    near.close()
    far.sendall(b"drawer\n")
    assert heard(far) == b"reward", "and the end, since PHP has ended"
    program.wait(SECONDS)


@pytest.mark.parametrize("timeout", [0.0, 5.0, None])
def test_spawn_gives_php_the_connection_at_the_number_it_expects(pair, timeout):
    near, far = pair
    near.settimeout(timeout)
    code = '$stream = fopen("php://fd/3", "r+"); fwrite($stream, strrev(trim(fgets($stream))));'
    with spawn(["php", "-r", code], near, fd=3) as program:
        far.sendall(b"drawer\n")
        assert heard(far) == b"reward"
    assert program.returncode == 0


@pytest.mark.parametrize("number", [0, 3])
def test_python_starts_php_with_a_channel_over_which_connections_come_with_what_was_read(pair, number):
    near, far = pair
    connection = handover.adopt(near)
    near.close()
    far.sendall(b"one\ntwo\n")
    assert connection.receive() == "one"
    ours, theirs = handover.Channel.pair()
    code = (
        f"$received = Prise\\Channel::inherited({number})->receive(5);"
        "$received->write($received->state . $received->readLine());"
    )
    if number:
        with socket.socket(fileno=os.dup(theirs.fileno())) as sock:
            program: Any = spawn(["php", "-r", f"require '{SOURCE}/autoload.php'; {code}"], sock, fd=number)
    else:
        program = php(code, stdin=theirs.fileno())
    theirs.close()
    with ours:
        ours.send(connection, state="heard ")
    assert heard(far) == b"heard two\n"
    assert program.wait(SECONDS) == 0


def started_by_php(before: str, python: str, given: str, then: str = "") -> str:
    """PHP starts Python with `given` as descriptor 3. What Python prints."""
    code = (
        f"{before} $p = proc_open([{sys.executable!r}, '-W', 'error', '-c', $argv[1]], "
        f"[0 => ['file', '/dev/null', 'r'], 1 => ['pipe', 'w'], 2 => STDERR, 3 => {given}], $pipes); {then}"
        "echo stream_get_contents($pipes[1]); fclose($pipes[1]); proc_close($p);"
    )
    done = subprocess.run(
        ["php", "-d", "display_errors=stderr", "-r", f"require '{SOURCE}/autoload.php'; {code}", "--", python],
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


PAIR = '[$near, $far] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0); fwrite($far, "drawer\\n");'
REVERSE = "from prise.handover import adopt\nwith adopt(3) as c: print(c.receive()[::-1])"


@pytest.mark.parametrize("mode", ["true", "false"], ids=["blocking", "non-blocking"])
def test_php_starts_python_with_the_connection_as_descriptor_3(mode):
    assert started_by_php(f"{PAIR} stream_set_blocking($near, {mode});", REVERSE, "$near") == "reward\n"


def test_a_socket_object_becomes_a_stream_for_it():
    code = f"{PAIR} $socket = socket_import_stream($near); unset($near);"
    assert started_by_php(code, REVERSE, "socket_export_stream($socket)") == "reward\n"


def test_php_starts_python_with_a_channel_over_which_connections_come_with_what_was_read():
    code = f'{PAIR} fwrite($far, "two\\nthree\\n"); fgets($near); [$ours, $theirs] = Prise\\Channel::pair();'
    python = (
        "from prise.handover import Channel\n"
        "with Channel.inherited(3) as channel:\n"
        "    received = channel.receive(5)\n"
        "with received.connection() as c: print(received.state, c.receive(), c.receive())"
    )
    then = "$theirs->close(); $ours->send($near, 'état');"
    assert started_by_php(code, python, "$theirs->stream()", then) == "état two three\n"


# -- the examples --------------------------------------------------------------------------------------------------------


class Peer:
    """Whom the examples talk to. Answers each line with its length; remembers them."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(SECONDS)
        self.port = str(self.server.getsockname()[1])

    def accept(self) -> tuple[socket.socket, Any]:
        sock, _ = self.server.accept()
        sock.settimeout(SECONDS)
        return sock, sock.makefile("rb")


@pytest.fixture
def peer() -> Iterator[Peer]:
    it = Peer()
    yield it
    it.server.close()


@pytest.fixture
def place() -> Iterator[str]:
    """A short path for a socket: those of pytest may be too long."""
    with tempfile.TemporaryDirectory(prefix="prise-") as folder:
        yield f"{folder}/take"


class Example:
    """One example at work, in a `with` statement; it must end well."""

    def __init__(self, name: str, *arguments: str, **popen: Any) -> None:
        interpreter = (
            ["php", "-d", "display_errors=stderr"] if name.endswith(".php") else [sys.executable, "-W", "error"]
        )
        prepend = ["-d", "ffi.enable=1", "-d", f"auto_prepend_file={SOURCE}/tests/PyCore.php"] if "phpy" in name else []
        self.process = subprocess.Popen(
            [*interpreter, *prepend, EXAMPLES / name, *arguments],
            env=ENVIRONMENT | {"PRISE_PYTHON": sys.executable},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> Example:
        return self

    def __exit__(self, *exception: object) -> None:
        with self.process:
            self.process.kill()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def screen(self, expected_errors: str = "") -> str:
        screen, errors = self.process.communicate(timeout=SECONDS)
        assert (self.process.returncode, errors) == (0, expected_errors)
        return screen


def test_the_pages_first_program(peer):
    with Example("phpy_python_to_php.php", "127.0.0.1", peer.port) as example:
        sock, lines = peer.accept()
        with sock, lines:
            assert lines.readline() == b"bonjour de PHP\n"
            sock.sendall(b"to PHP\n")
            assert lines.readline() == b"et de Python\n"
            sock.sendall(b"to Python\n")
            assert lines.read() == b""
        assert example.screen() == "to PHP\nto Python\n"


def test_the_pages_second_program(peer):
    with Example("phpy_php_to_python.php", "127.0.0.1", peer.port) as example:
        sock, lines = peer.accept()
        with sock, lines:
            assert lines.readline() == b"bonjour de Python\n"
            sock.sendall(b"to Python\n")
            assert lines.read() == b""
        assert example.screen() == "to Python\n"


def test_php_gives_and_python_takes(peer, place):
    with Example("take_prise.py", place) as taking:
        assert taking.line() == "prêt\n"
        with Example("give.php", "127.0.0.1", peer.port, place) as giving:
            sock, lines = peer.accept()
            with sock, lines:
                assert lines.readline() == b"bonjour de PHP\n"
                sock.sendall(b"un\ndeux\ntr")
                assert giving.screen() == "PHP : un\n"
                assert lines.readline() == b"et de Python\n"
                sock.sendall(b"ois\n")
                sock.shutdown(socket.SHUT_WR)
                assert lines.read() == b""
        assert taking.screen() == (
            "Python reçoit : {'langue': 'français', 'lignes': 1}\nPython : deux\nPython : trois\n"
        )


def test_python_gives_and_php_takes(peer, place):
    with Example("take.php", place) as taking:
        assert taking.line() == "prêt\n"
        with Example("give_prise.py", f"127.0.0.1:{peer.port}", place) as giving:
            sock, lines = peer.accept()
            with sock, lines:
                assert lines.readline() == b"bonjour de Python\n"
                sock.sendall(b"un\ndeux\ntr")
                assert giving.screen() == "Python : un\n"
                assert lines.readline() == b"et de PHP\n"
                sock.sendall(b"ois\n")
                sock.shutdown(socket.SHUT_WR)
                assert lines.read() == b""
        assert taking.screen() == 'PHP reçoit : {"langue":"français","lignes":1}\nPHP : deux\nPHP : trois\n'


def test_python_starts_php(peer):
    with Example("start_php_prise.py", f"127.0.0.1:{peer.port}") as example:
        sock, lines = peer.accept()
        with sock, lines:
            assert lines.readline() == b"bonjour de Python\n"
            sock.sendall(b"un\n")
            assert lines.readline() == "bonjour de PHP, à 127.0.0.1\n".encode()
            sock.sendall(b"deux\n")
            sock.shutdown(socket.SHUT_WR)
            assert lines.read() == b""
        assert example.screen("PHP : deux\n") == "Python : un\n"


def test_php_starts_python(peer):
    with Example("start_python.php", "127.0.0.1", peer.port, sys.executable) as example:
        sock, lines = peer.accept()
        with sock, lines:
            assert lines.readline() == b"bonjour de PHP\n"
            assert lines.readline() == b"et de Python\n"
            sock.sendall(b"un\n")
            sock.shutdown(socket.SHUT_WR)
            assert lines.read() == b""
        assert example.screen() == "Python : un\n"


def test_a_python_server_accepts_and_php_answers(place):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have had us ignore Ctrl-C
    with ExitStack() as stack:
        stack.callback(signal.signal, signal.SIGINT, before)
        server = stack.enter_context(Example("answer_server_prise.py", "0", place))
        assert server.line() == "PHP peut venir\n"
        worker = stack.enter_context(Example("answer.php", place))
        port = int(server.line().split()[-1])
        for name in ("Ada", "Zoë"):
            with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as sock, sock.makefile("rb") as lines:
                assert lines.readline() == b"Votre nom ?\n"
                sock.sendall(f"{name}\nété\nFI".encode())
                assert lines.readline().decode().startswith(f"Bonjour {name}, ici PHP 8")
                assert lines.readline().decode() == "été\n"[::-1].strip() + "\n"
                sock.sendall(b"N\n")
                assert lines.read() == b"Au revoir\n"
        server.process.send_signal(signal.SIGINT)
        server.screen()
        assert worker.screen() == ""
