"""Forking: what the workers, the children of the model processes, and a server in the background have in common.

A forked process knows that another one has ended by the end of a pipe. That only works if nobody else has a copy of that pipe's
other end, so every such end is noted in `private`, and every forked child closes its copies first of all.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn

private: set[int] = set()
"""Pipe ends of this process that no child may keep, be it forked by us or by others (multiprocessing, say)."""


def close_private(descriptor: int) -> None:
    private.discard(descriptor)
    os.close(descriptor)


def _close_copies() -> None:
    while private:
        os.close(private.pop())


os.register_at_fork(after_in_child=_close_copies)


def fork(body: Callable[[], object]) -> int:
    """Runs `body` in a new process that then ends, without the parent's clean-up. Returns its pid in the parent.

    SIGTERM is held back in the child until `on_sigterm` says what it means there: a drain that comes at once is not lost.
    """
    _flush_output()  # else what is buffered would be written by the child as well
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns when other threads run, whose locks the child may find held for ever. It runs our code and the
            # conversation only, and the locks that these meet (import, logging, the flusher's) are made new after a fork.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _child(body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def on_sigterm(react: Callable[[], object]) -> None:
    """In a forked child: what SIGTERM does here. One that came earlier takes effect now."""
    signal.signal(signal.SIGTERM, lambda *_: react())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def reap(pid: int) -> int:
    """The status (waitpid(2)) of a child that has ended or is about to; 0 when somebody else has taken it."""
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0


def how_ended(status: int) -> str:
    """For log lines."""
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"exit code {os.WEXITSTATUS(status)}"


def kill(pid: int, number: int) -> None:
    """Sends a signal to a child that we have not reaped, so the number cannot be another's."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # reaped by somebody else


def on_orphaned(lifeline: int, parent: int, react: Callable[[], object]) -> None:
    """In a forked child: what happens when the parent is gone, with the other end of our pipe. The kernel says it by SIGIO."""
    signal.signal(signal.SIGIO, lambda *_: react())
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | fcntl.FASYNC)
    if os.getppid() != parent:
        react()  # it was gone before that


def _child(body: Callable[[], object]) -> NoReturn:
    status = 1
    try:
        # Ctrl-C reaches the whole group: the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.set_wakeup_fd(-1)
        body()
        status = 0
    except BaseException:
        logging.getLogger("prise").exception("a server process failed")
    finally:
        try:
            _flush_output()
        finally:
            os._exit(status)


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass  # closed, or nobody reads it: no reason not to serve
