"""`exec:COMMAND` and `sh:COMMAND`: a program that is started, and talked to through its standard input and output.

exec   the command is split into words as a POSIX shell does, with its quotes, but no shell runs
sh     /bin/sh runs it: pipes, variables, redirections

The program has one end of a socket pair as its standard input and output, so nothing stands between. When our sending side
ends, so does its input; when it ends, so does ours. What it did not read is then dropped, without a reset.

With the option `pty` it runs on a pseudo terminal instead, as its session's controlling one: for programs that talk
otherwise, or not at all, when they see no terminal. It has the size of ours. The end of our sending is the terminal's
end-of-file character (^D); closing hangs up (SIGHUP). `echo=no`: what is sent does not come back.

Other options: `stderr`: its errors come with its output (else they go where ours go). `cwd`: the folder to start in.

It inherits our environment and no descriptors but these; signals mean to it what they usually do. Nobody waits for it: a
thread collects its exit status, of this one process only, so other code may have children of its own.
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import socket
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from prise.address import Address
from prise.errors import BindError, ConnectError, Unsupported
from prise.transports.base import Deadline, Endpoint, Listening, Steps
from prise.transports.pump import drain, pump

_SIGNALS = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGXFSZ", "SIGCHLD", "SIGTSTP", "SIGTTIN", "SIGTTOU")
"""Set back to what they usually do: Python ignores SIGPIPE, and whoever started us may have ignored others.

Without a terminal of its own, the program goes on ignoring SIGHUP under nohup(1), as it should."""

MOST_DESCRIPTORS = 4096
"""Descriptors that are looked at where nothing lists those that are open."""

_CHANGE_FOLDER = 'cd "$0" && exec "$@"'
"""Run by sh, with the folder and the words: posix_spawn(3) cannot change it, and in Python fork is not safe with threads."""


def looks_up(address: Address) -> bool:
    return False


def resolve(address: Address, passive: bool) -> list[Endpoint]:
    """None: a program is started anew for each connection."""
    return []


def bind(address: Address, backlog: int) -> list[Listening]:
    raise BindError(
        "a program cannot be listened on; listen elsewhere, and give {scheme}: as the address to connect to",
        operation="bind",
        local=address,
        scheme=address.scheme,
    )


def connect(address: Address, endpoints: Sequence[Endpoint], deadline: Deadline) -> Steps:
    yield from ()  # a program starts at once
    command = str(address.path)
    words = ["/bin/sh", "-c", command] if address.scheme == "sh" else shlex.split(command)
    cwd = address.option("cwd")
    if cwd is not None:
        words = _in_folder(address, words, os.path.abspath(cwd))
    try:
        return _on_pty(address, words) if address.setting("pty") else _on_pipe(address, words)
    except OSError as error:
        if isinstance(error, ConnectError):
            raise
        _cannot_start(address, words[0], error)


def _in_folder(address: Address, words: list[str], folder: str) -> list[str]:
    # The shell would find out as well, but tell nobody but its own stderr.
    from shutil import which

    if not os.path.isdir(folder):
        raise ConnectError("the folder {folder} does not exist", operation="connect", peer=address, folder=folder)
    program = words[0]
    if which(os.path.join(folder, program) if "/" in program else program) is None:
        _cannot_start(address, program, OSError(errno.ENOENT, os.strerror(errno.ENOENT)))
    return ["/bin/sh", "-c", _CHANGE_FOLDER, folder, *words]


def _cannot_start(address: Address, program: str, error: OSError) -> NoReturn:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        reason = "there is no program {program} that can be run; check the spelling, and the variable PATH"
    elif error.errno in (errno.EACCES, errno.EPERM):
        reason = "not allowed to run {program}; is it a program, and executable?"
    elif error.errno == errno.ENOEXEC:
        reason = "{program} is no program for this system; a script needs a first line such as #!/bin/sh"
    else:
        reason = "{program} could not be started: {error}"
    raise ConnectError(
        reason, operation="connect", peer=address, program=repr(program), error=error.strerror
    ) from error


def _on_pipe(address: Address, words: list[str]) -> socket.socket:
    ours, theirs = socket.socketpair()
    try:
        targets = (0, 1, 2) if address.setting("stderr") else (0, 1)
        actions = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), target) for target in targets]
        _wait_for(_spawn(words, actions), partial(_end, theirs))
    except BaseException:
        ours.close()
        theirs.close()
        raise
    ours.setblocking(False)
    return ours


def _end(theirs: socket.socket) -> None:
    """The program has ended: so does its input, while what it left running may still have something to say."""
    try:
        theirs.shutdown(socket.SHUT_RD)
    except OSError:
        pass  # our side has closed (macOS)
    drain(theirs)
    theirs.close()


def _on_pty(address: Address, words: list[str]) -> socket.socket:
    import termios

    master, slave = os.openpty()
    try:
        size = _window_size()
        if size is not None:
            termios.tcsetwinsize(slave, size)
        if address.setting("echo", True) is False:
            modes = termios.tcgetattr(slave)
            modes[3] &= ~(termios.ECHO | termios.ECHONL)
            termios.tcsetattr(slave, termios.TCSANOW, modes)
        # A session leader that opens a terminal makes it the controlling one; it opens it after setsid (posix_spawn(3)).
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(slave), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
        os.set_blocking(master, False)
        _wait_for(_spawn(words, actions, setsid=True))
    except NotImplementedError as error:
        os.close(master)
        raise Unsupported(
            "this platform cannot start a program on a terminal of its own (no POSIX_SPAWN_SETSID)", peer=address
        ) from error
    except BaseException:
        os.close(master)
        raise
    finally:
        os.close(slave)
    ours = pump(master, master, name=str(address), farewell=partial(_end_of_file, master))
    ours.setblocking(False)
    return ours


def _window_size() -> tuple[int, int] | None:
    """Lines and columns of our own terminal."""
    import termios

    for descriptor in (0, 1, 2):
        try:
            return termios.tcgetwinsize(descriptor)
        except (OSError, termios.error):
            pass  # this one is not a terminal
    return None


def _end_of_file(terminal: int) -> bytes:
    """The character that ends the input of the program on it: twice, as the first one may only end an unfinished line."""
    import termios

    try:
        modes = termios.tcgetattr(terminal)
    except (OSError, termios.error):
        return b""  # it has ended
    character: bytes = modes[6][termios.VEOF]
    return character * 2 if modes[3] & termios.ICANON else character


def _spawn(words: list[str], actions: list[Any], *, setsid: bool = False) -> int:
    """Starts a program. Raises OSError, and NotImplementedError where there is no `setsid`."""
    usual = {getattr(signal, name) for name in _SIGNALS}
    if not setsid:
        usual.discard(signal.SIGHUP)
    # Those that we were started with; Python's own are closed anyway (PEP 446).
    actions = [*actions, *((os.POSIX_SPAWN_CLOSE, each) for each in _inheritable())]
    return os.posix_spawnp(
        words[0], words, os.environ, file_actions=actions, setsid=setsid, setsigmask=(), setsigdef=usual
    )


def _inheritable() -> list[int]:
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd") if name.isdecimal()]
    except OSError:  # it is missing, as in many a chroot(2): ask for each
        descriptors = list(range(min(os.sysconf("SC_OPEN_MAX"), MOST_DESCRIPTORS)))
    found = []
    for descriptor in descriptors:
        try:
            if descriptor > 2 and os.get_inheritable(descriptor):
                found.append(descriptor)
        except OSError:
            pass  # not open; that with which the folder was read, or one that another thread has closed
    return found


def _wait_for(pid: int, then: Any = None) -> None:
    """Collects the exit status of this child when it comes. Raises OSError when the system has no thread left."""

    def wait() -> None:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            pass  # somebody else has, or SIGCHLD is ignored: then this returned when it had ended
        if then is not None:
            then()

    try:
        threading.Thread(target=wait, name=f"prise: waits for {pid}", daemon=True).start()
    except RuntimeError as error:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise OSError(errno.EAGAIN, str(error)) from error
