"""`prise web [FOLDER]`: a folder for browsers, in the place of `python -m http.server`."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from typing import Any

import click

import prise
from prise.cli import logs, parameters
from prise.cli.outcome import say
from prise.cli.security import server_tls
from prise.cli.texts import examples
from prise.locale import translate as _

ALLOWED = ("read", "upload", "write")
LOGS = ("common", "combined", "json", "none")


@click.command(
    "web",
    help=_(
        "Serves FOLDER (by default the current one) to browsers: pages, listings, downloads that can be resumed, folders as "
        "zip, and uploads if you allow them. It listens on this machine alone, unless --lan. Ctrl-C, or SIGTERM, lets what "
        "is being sent come to its end; a second one ends it at once."
    ),
    epilog=examples(
        ("prise web", _("the current folder, at http://localhost:8088")),
        ("prise web ~/Music --lan", _("also for the other machines and telephones of the network")),
        ("prise web --on :9000 --open", _("another port, and shows it in the browser")),
        ("prise web course --lan --tls --allow upload", _("encrypted; anybody can add files, nobody can change them")),
        (
            "prise web course --lan --allow write --auth teacher:secret --auth-for-writing",
            _("everybody reads, the teacher changes"),
        ),
        ("prise web dist --spa --header 'Cross-Origin-Opener-Policy: same-origin'", _("for developers of a page")),
    ),
)
@click.argument("folder", type=click.Path(file_okay=False), default=".", metavar=_("[FOLDER]"))
@click.option(
    "--on",
    "addresses",
    type=parameters.ADDRESS,
    multiple=True,
    metavar=_("ADDRESS"),
    help=_("Where to listen; may be given several times. Default: :8088, or the next free port."),
)
@click.option("--lan", is_flag=True, help=_("Listen on every interface: the whole network can come."))
@click.option("--open", "open_browser", is_flag=True, help=_("Show it in the browser."))
@click.option(
    "--allow",
    type=click.Choice(ALLOWED),
    default="read",
    help=_("What visitors may do: read, upload new files as well, or write (replace, delete) too. Default: read."),
)
@click.option(
    "--auth", metavar=_("USER:PASSWORD"), help=_("Let only those in who log in; or a file of user:hash lines.")
)
@click.option("--auth-for-writing", is_flag=True, help=_("Everybody reads; who uploads or changes must log in."))
@click.option("--max-upload", type=parameters.Size(), help=_("The largest file that is taken. Default: any."))
@click.option("--quota", type=parameters.Size(), help=_("How much the folder may hold before uploads are refused."))
@click.option(
    "--index",
    multiple=True,
    default=("index.html",),
    metavar=_("NAME"),
    help=_("The page of a folder; may be given several times. Default: index.html."),
)
@click.option("--spa", is_flag=True, help=_("Unknown paths get the index: for single-page applications."))
@click.option("--no-listing", is_flag=True, help=_("Do not show what is in folders that have no index."))
@click.option("--no-archives", is_flag=True, help=_("Do not offer folders as zip and tar."))
@click.option("--no-compress", is_flag=True, help=_("Send files as they are: neither packed, nor .br, .zst or .gz."))
@click.option("--dot-files", is_flag=True, help=_("Serve files and folders whose names begin with a dot."))
@click.option(
    "--max-age", type=parameters.Duration(), help=_("How long browsers need not ask again. Default: they always ask.")
)
@click.option("--cors", is_flag=True, help=_("Pages of any origin may read (Access-Control-Allow-Origin: *)."))
@click.option("--cors-from", metavar=_("ORIGIN"), help=_("Pages of this origin may read, for example https://a.test."))
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar=_("'NAME: VALUE'"),
    help=_("A header for all answers; may be given several times."),
)
@click.option("--tls", "use_tls", is_flag=True, help=_("Serve HTTPS; without --cert, self-signed."))
@click.option("--cert", metavar=_("FILE"), help=_("The certificate (PEM), with those of its authorities behind it."))
@click.option("--key", metavar=_("FILE"), help=_("Its key, if it is not in the same file."))
@click.option("--workers", type=click.IntRange(1), default=1, metavar="N", help=_("Processes that serve side by side."))
@click.option("--max-connections", type=parameters.Count(), help=_("Connections in all. Default: 2000."))
@click.option("--max-per-peer", type=parameters.Count(), help=_("Connections of one peer. Default: 1000."))
@click.option(
    "--message-time",
    type=parameters.Duration(optional=True),
    help=_("Time for the head of a request, and for each 16 KiB of an upload. Default: 30s."),
)
@click.option("--idle", type=parameters.Duration(optional=True), help=_("Time between two requests. Default: 60s."))
@click.option(
    "--drain",
    type=parameters.Duration(),
    default=10.0,
    help=_("Time for what is being sent when the server stops. Default: 10s."),
)
@click.option(
    "--log",
    "log_format",
    type=click.Choice(LOGS),
    help=_("A line for each answer, in this form; with json, what else is logged too. Default: common."),
)
@click.option("--log-file", metavar=_("FILE"), help=_("Append these lines to a file. Default: to stderr."))
@parameters.handover
@logs.metrics
@click.pass_context
def command(context: click.Context, /, folder: str, **given: Any) -> None:
    from prise.cli.serve import LIMITS as NAMES
    from prise.web.application import Application
    from prise.web.conversation import LIMITS
    from prise.web.server import Setting, run

    logs.log_to_stderr(logging.WARNING, "json" if given["log_format"] == "json" else "text")
    check_folder(folder)
    if (given["cert"] or given["key"]) and not given["use_tls"]:
        raise prise.UsageError("--cert and --key go with --tls")
    if given["auth_for_writing"] and given["auth"] is None:
        raise prise.UsageError("--auth-for-writing goes with --auth, which names the accounts")
    if given["auth_for_writing"] and given["allow"] == "read":
        raise prise.UsageError("--auth-for-writing goes with --allow upload or --allow write: else nobody writes")
    for name, option in (("max_upload", "--max-upload"), ("quota", "--quota")):
        if given[name] is not None and given["allow"] == "read":
            raise prise.UsageError("{option} is about uploads: it goes with --allow upload or write", option=option)
    if given["cors"] and given["cors_from"]:
        raise prise.UsageError("--cors is for all origins and --cors-from for one: give one of the two")
    age = given["max_age"]
    application = Application(
        folder,
        allow=given["allow"],
        auth=given["auth"],
        auth_for_writing=given["auth_for_writing"],
        listing=not given["no_listing"],
        archives=not given["no_archives"],
        largest=given["max_upload"],
        quota=given["quota"],
        index=given["index"],
        dot_files=given["dot_files"],
        spa=given["spa"],
        compress=not given["no_compress"],
        precompressed=not given["no_compress"],
        max_age=int(age) if age is not None else None,
        cors=given["cors_from"] or given["cors"],
        headers=[header(each) for each in given["headers"]],
    )
    own = given["use_tls"] and not given["cert"]
    chosen: dict[str, Any] = {
        NAMES[name]: None if given[name] == parameters.OFF else given[name]
        for name in ("max_connections", "max_per_peer", "message_time", "idle")
        if given[name] is not None
    }
    succession = parameters.succession(given["handover"])
    run(
        Setting(
            application=application,
            addresses=given["addresses"],
            lan=given["lan"],
            tls=server_tls({"cert": given["cert"], "key": given["key"], "client_ca": None, "self_signed": own}),
            workers=given["workers"],
            limits=replace(LIMITS, **chosen),
            drain_time=given["drain"],
            log=access_log(given["log_format"], given["log_file"], application),
            open_browser=given["open_browser"],
            say=say,
            handover=succession,
            metrics=given["metrics"],
        )
    )
    parameters.stay_for_heir(context, succession)


def check_folder(folder: str) -> None:
    """Says what was probably meant by what is no folder: http.server takes its port there. Raises UsageError."""
    if os.path.isdir(folder):
        return
    port = folder.removeprefix(":")
    if port.isascii() and port.isdigit() and int(port) < 65536:
        raise prise.UsageError(
            "there is no folder {folder}; to listen on port {port}: prise web --on :{port}", folder=folder, port=port
        )
    raise prise.UsageError("there is no folder {folder}", folder=folder)


def header(text: str) -> tuple[str, str]:
    """The name and value of --header. Whether they can be sent, the library checks. Raises UsageError."""
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise prise.UsageError("--header is 'NAME: VALUE', not {text!r}", text=text)
    return name.strip(), value.strip()


def access_log(format: str | None, file: str | None, application: Any) -> Any:
    """The log that was asked for: by default on stderr; None for none."""
    if format == "none":
        if file is not None:
            raise prise.UsageError("--log none writes no lines, so leave out --log-file")
        return None
    from prise.web.accesslog import AccessLog

    where = file if file is not None else sys.stderr.buffer
    return AccessLog(where, format or "common", user=application.user)
