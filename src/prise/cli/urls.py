"""What the commands that take a URL share: the options of a session, who logs in, and the lines of the protocol with -v.

A password is not written into a command line, where every user of the machine can read it: it comes from netrc(5), the
keyring, a descriptor (--password-fd) or the terminal. Where one was written into the URL all the same, it is taken out of what
the system shows of this process.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import click

import prise
from prise.cli import parameters
from prise.cli.outcome import say
from prise.cli.security import client_tls, proxies, trust
from prise.cli.texts import visible
from prise.locale import translate as _

Command = TypeVar("Command", bound=Callable[..., Any])

URLS = parameters.Words(
    "https://", "http://", "ftp://", "imaps://", "pop3s://", "nntps://", "gopher://", "smtps://", "news:", "telnet://"
)
"""What a shell offers to complete."""

LONGEST_PASSWORD = 4096  # bytes


def session_options(command: Command) -> Command:
    """The options of a session; the command gets them as `**session`, which `session_arguments` reads."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--user", "-u", metavar=_("USER"), help=_("Who logs in. Default: the URL, ~/.netrc.")),
        click.option(
            "--password-fd", type=int, metavar="N", help=_("Read the password from this file descriptor, one line.")
        ),
        click.option("--no-netrc", is_flag=True, help=_("Leave ~/.netrc and the keyring alone.")),
        click.option(
            "--timeout",
            type=parameters.Duration(optional=True),
            default=30.0,
            help=_("Time for the connection, and for each answer. Default: 30s."),
        ),
        parameters.retry,
        click.option("--verbose", "-v", is_flag=True, help=_("Show the protocol's own lines; passwords are hidden.")),
    )
    command = trust(command)
    for option in reversed(options):
        command = option(command)
    return command


def session_arguments(values: dict[str, Any], urls: tuple[str, ...]) -> dict[str, Any]:
    """What `prise.open` is to be given for these options, which are taken out of `values`."""
    hide_passwords((*urls, *values["via"]))
    descriptor, timeout = values.pop("password_fd"), values.pop("timeout")
    netrc = not values.pop("no_netrc")
    return {
        "user": values.pop("user"),
        "password": None if descriptor is None else read_password(descriptor),
        "ask": Asking(),
        "netrc": netrc,
        "keyring": netrc,
        "timeout": None if isinstance(timeout, str) else timeout,
        "retry": prise.Retry(attempts=values.pop("retry") + 1),
        "trace": show_line if values.pop("verbose") else None,
        "tls": client_tls(values),
        "via": proxies(values),
    }


def show_line(direction: str, line: str) -> None:
    say(f"{direction} {visible(line)}")


class Asking:
    """Asks each question once: fetches that run side by side wait for one answer, and share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str | None], tuple[str, str] | None] = {}

    def __call__(self, host: str, user: str | None) -> tuple[str, str] | None:
        with self._lock:
            if (host, user) not in self._answers:
                self._answers[host, user] = ask(host, user)
            return self._answers[host, user]


def ask(host: str, user: str | None) -> tuple[str, str] | None:
    """Asks at the terminal, also when stdin is a pipe; nobody is asked in a cron job. None for no answer (Ctrl-D)."""
    try:
        terminal = open("/dev/tty", "r+b", buffering=0)  # noqa: SIM115 - closed below
    except OSError:
        return None
    with terminal:
        _keep_settings(terminal.fileno())
        if user is None:
            terminal.write(_("user at {host}").format(host=visible(host)).encode() + b": ")
            user = terminal.readline(LONGEST_PASSWORD).decode(errors="surrogateescape").rstrip("\r\n")
            if not user:
                return None
    from getpass import getpass

    try:
        password = getpass(_("password of {user} at {host}").format(user=visible(user), host=visible(host)) + ": ")
    except EOFError:
        return None
    return user, password


def _keep_settings(terminal: int) -> None:
    """A Ctrl-C while another thread asks ends the process in the middle of that: the terminal is to show again what is typed."""
    import termios

    settings = termios.tcgetattr(terminal)

    def restore() -> None:
        try:
            with open("/dev/tty", "r+b", buffering=0) as again:
                termios.tcsetattr(again, termios.TCSADRAIN, settings)
        except OSError:
            pass

    atexit.register(restore)


def read_password(descriptor: int) -> str:
    """The first line of what a descriptor gives. Raises UsageError."""
    data = b""
    try:
        while b"\n" not in data and len(data) <= LONGEST_PASSWORD:
            piece = os.read(descriptor, LONGEST_PASSWORD)
            if not piece:
                break
            data += piece
    except OSError as error:
        raise prise.UsageError(
            "the password cannot be read from descriptor {descriptor}: {reason}",
            descriptor=descriptor,
            reason=error.strerror,
        ) from None
    return data.partition(b"\n")[0].removesuffix(b"\r").decode(errors="surrogateescape")


def hide_passwords(urls: tuple[str, ...]) -> None:
    """Overwrites the passwords of URLs where the system keeps the command line of this process (Linux: proc(5))."""
    for url in urls:
        login, at, _rest = url.partition("://")[2].partition("/")[0].rpartition("@")
        password = login.partition(":")[2]
        if at and password:
            _overwrite(os.fsencode(f":{password}@"), os.fsencode(f":{'*' * len(os.fsencode(password))}@"))


def _overwrite(secret: bytes, stars: bytes) -> None:
    try:
        with open("/proc/self/stat", "rb") as status:
            fields = status.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start, arg_end: 48th and 49th of all, from 1
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            arguments = memory.read(end - start)
            memory.seek(start)
            memory.write(arguments.replace(secret, stars))
    except (OSError, ValueError, IndexError):
        pass  # not Linux, or not allowed: the system goes on showing what was typed
