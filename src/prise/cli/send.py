"""`prise send FILE... ADDRESS`: files and folders to whoever runs `prise receive`; and what both commands share."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import click

import prise
from prise import transfer
from prise.cli import parameters
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import amount, examples, visible
from prise.locale import translate as _
from prise.locale import translate_plural

Role = Literal["send", "receive"]

MOST_STRANGERS = 10
"""How many may come whose handshake fails (scanners, wrong codes) before a waiting side gives up."""


def shared_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take. Made when they are imported, so that the help is in the language in use."""
    options = (
        click.option("--code", metavar=_("WORD"), help=_("A word that both sides must give; it is proven, not sent.")),
        click.option("--no-code", is_flag=True, help=_("Wait without a code, whoever may come.")),
        click.option(
            "--timeout",
            type=parameters.Duration(optional=True),
            default=10.0,
            help=_("Time for the connection to be made. Default: 10s."),
        ),
        parameters.retry,
        click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors.")),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(
    "send",
    help=_(
        "Sends each FILE or folder to the other side, which runs `prise receive`. The other side verifies every file, "
        "and a transfer that was cut short continues when it is run again. A file called - is standard input. Where one "
        "waits for the other on more than this machine, it shows a code that the other one must give; the code "
        "keeps strangers away, but for secrets use a tls: address."
    ),
    epilog=examples(
        ("prise send report.pdf server:9000 --code k7mq-3xwp", _("with the code that `prise receive` shows")),
        ("prise send --listen photos '*:9000'", _("waits until the other side fetches the folder")),
        ("tar c . | prise send - /run/in.sock", _("a stream; `prise receive /run/in.sock - | tar x`")),
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(), metavar=_("FILE..."))
@click.argument("address", type=parameters.ADDRESS, metavar=_("ADDRESS"))
@click.option("--listen", is_flag=True, help=_("Wait at ADDRESS for `prise receive --connect`."))
@click.option("--follow", is_flag=True, help=_("Send what symbolic links lead to. Default: they are left out."))
@shared_options
def command(
    files: tuple[str, ...],
    address: str,
    listen: bool,
    follow: bool,
    code: str | None,
    no_code: bool,
    timeout: float | str,
    retry: int,
    quiet: bool,
) -> None:
    if "-" in files and len(files) > 1:
        raise prise.UsageError("standard input (-) is sent alone")
    prise.Address.parse(address)  # a forgotten address is noticed before a long listing
    what = transfer.standard_input() if files == ("-",) else transfer.listing(files, follow=follow)
    if not quiet:
        for path in what.skipped:
            say(_("left out, not a file or folder: {path}").format(path=visible(path)))
    with peer("send", address, listen, code, no_code, timeout, retry, quiet) as connection, Shown(quiet) as shown:
        report = transfer.send(connection, what, shown)
        shown.clear()
        finish(report, quiet, sent=True)


class Shown(transfer.Watcher):
    """A transfer on the terminal."""

    def __init__(self, quiet: bool) -> None:
        self._progress = Progress()
        if quiet:
            self._progress.shown = False
        self.file = lambda name: setattr(self._progress, "what", name)  # type: ignore[method-assign]
        self.moved = self._progress.advance  # type: ignore[method-assign]
        self.kept = self._progress.skip  # type: ignore[method-assign]
        self.clear = self._progress.clear

    def begin(self, files: int, size: int | None) -> None:
        self._progress.total = size

    def __enter__(self) -> Shown:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.clear()


@contextmanager
def peer(
    role: Role,
    address: str,
    listens: bool,
    code: str | None,
    no_code: bool,
    timeout: float | str,
    retry: int,
    quiet: bool,
) -> Iterator[prise.Connection]:
    """The other side, after the handshake."""
    if code is not None and no_code:
        raise prise.UsageError("--code and --no-code exclude each other")
    if code is not None and not code.strip():
        raise prise.UsageError("the code is empty; leave --code away to have one made up")
    with wait(role, address, code, no_code, quiet) if listens else call(role, address, code, timeout, retry) as there:
        yield there


@contextmanager
def call(role: Role, address: str, code: str | None, timeout: float | str, retry: int) -> Iterator[prise.Connection]:
    connector = prise.connect(
        address,
        framing=transfer.FRAMING,
        timeout=None if isinstance(timeout, str) else timeout,
        retry=prise.Retry(attempts=retry + 1),
        limits=transfer.LIMITS,
    )
    with connector as connection:
        transfer.handshake(connection, role=role, listens=False, code=code)
        yield connection


@contextmanager
def wait(role: Role, address: str, code: str | None, no_code: bool, quiet: bool) -> Iterator[prise.Connection]:
    """Waits for the other side. Strangers (scanners, wrong codes) are sent away, up to a bound."""
    with prise.Listener(address, framing=transfer.FRAMING, limits=transfer.LIMITS) as listener:
        if code is None and not no_code and not all(is_local(where) for where in listener.addresses):
            code = transfer.new_code()
            quiet = False  # it must be told
        if not quiet:
            for where in listener.addresses:
                say(invitation(role, where, code))
        for strangers in range(MOST_STRANGERS):
            connection = None
            try:
                connection = listener.accept()
                transfer.handshake(connection, role=role, listens=True, code=code)
                break
            except prise.PeerError as error:
                if connection is not None:
                    connection.close()
                if strangers + 1 == MOST_STRANGERS:
                    raise
                if not quiet:
                    who = _("somebody") if connection is None else connection.peer
                    say(_("{error}; still waiting").format(error=f"{who}: {error.sentence(_)}"))
        assert connection is not None
        listener.close()  # the door is shut behind them
        with connection:
            yield connection


def is_local(address: prise.Address) -> bool:
    """Whether only this machine can come in there; when in doubt, no."""
    if address.scheme in ("unix", "mem") or address.host in (None, "localhost"):
        return address.scheme in ("unix", "mem", "tcp", "tls", "ws", "wss")
    try:
        return ipaddress.ip_address(str(address.host).partition("%")[0]).is_loopback
    except ValueError:
        return False


def invitation(role: Role, where: prise.Address, code: str | None) -> str:
    """The command for the other side."""
    if where.host in ("0.0.0.0", "::"):
        from dataclasses import replace
        from socket import gethostname

        where = replace(where, host=gethostname())
    other = f"prise send {_('FILE')} {where}" if role == "receive" else f"prise receive --connect {where}"
    return _("waiting: {command}").format(command=other if code is None else f"{other} --code {quoted(code)}")


def quoted(word: str) -> str:
    from shlex import quote

    return quote(visible(word))


def finish(report: transfer.Report, quiet: bool, sent: bool) -> None:
    """The last line; an error when not everything has arrived."""
    if not quiet:
        count = translate_plural("{count} file", "{count} files", report.files).format(count=report.files)
        text = _("sent and verified: {files}, {size}") if sent else _("received and verified: {files}, {size}")
        say(text.format(files=count, size=amount(report.size)) + there_already(report.same))
    if report.failed:
        for name in report.failed[:10]:
            say(_("not whole: {name}").format(name=visible(name)))
        raise prise.ConnectionLost(
            "{count} of the files did not arrive whole (they changed meanwhile, or could not be read); run it again",
            count=len(report.failed),
        )


def there_already(count: int) -> str:
    return " " + _("({count} of them were there already)").format(count=count) if count else ""
