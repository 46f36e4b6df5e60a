"""`prise receive ADDRESS [FOLDER]`: takes the files that `prise send` sends; `-` for FOLDER writes to stdout."""

from __future__ import annotations

import click

from prise import transfer
from prise.cli import parameters
from prise.cli.link import write_all
from prise.cli.send import Shown, finish, peer, shared_options
from prise.cli.texts import examples
from prise.locale import translate as _


@click.command(
    "receive",
    help=_(
        "Waits at ADDRESS for `prise send`, and puts what it sends into FOLDER (by default the current one; made if it is "
        "not there; - is standard output, for one file). Every file is verified. What exists is not overwritten unless "
        "asked, and nothing is written outside of FOLDER. A file that was cut short stays as NAME.part and continues "
        "when both commands are run again."
    ),
    epilog=examples(
        ("prise receive '*:9000' downloads", _("from other machines too; shows the code that the sender needs")),
        ("prise receive :9000 - | tar x", _("a stream, into another program")),
        ("prise receive --connect server:9000 --code k7mq-3xwp", _("from a sender that waits")),
    ),
)
@click.argument("address", type=parameters.ADDRESS, metavar=_("ADDRESS"))
@click.argument("folder", type=click.Path(), default=".", metavar=_("[FOLDER]"))
@click.option("--connect", is_flag=True, help=_("Connect to ADDRESS, where `prise send --listen` waits."))
@click.option("--overwrite", is_flag=True, help=_("Replace files that exist."))
@click.option("--max-size", type=parameters.Size(), help=_("Bytes in all. Default: what fits on the disk."))
@shared_options
def command(
    address: str,
    folder: str,
    connect: bool,
    overwrite: bool,
    max_size: int | None,
    code: str | None,
    no_code: bool,
    timeout: float | str,
    retry: int,
    quiet: bool,
) -> None:
    with (
        peer("receive", address, not connect, code, no_code, timeout, retry, quiet) as connection,
        Shown(quiet) as shown,
    ):
        if folder == "-":
            report = transfer.receive_into(
                connection, lambda data: write_all(bytes(data)), max_size=max_size, watcher=shown
            )
        else:
            report = transfer.receive(connection, folder, overwrite=overwrite, max_size=max_size, watcher=shown)
        shown.clear()
        finish(report, quiet, sent=False)
