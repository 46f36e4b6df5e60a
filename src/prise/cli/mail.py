"""`prise mail`: writes a message and sends it, or sends messages that are there already (files *.eml, or folders of them)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click

import prise
from prise.cli import parameters
from prise.cli.events import Events
from prise.cli.get import read_headers
from prise.cli.outcome import say
from prise.cli.progress import Progress
from prise.cli.texts import examples, visible
from prise.cli.urls import session_arguments, session_options
from prise.locale import translate as _
from prise.protocols import letter
from prise.protocols.smtp import Delivery, RecipientsRefused
from prise.protocols.smtp.envelope import envelope_of
from prise.protocols.smtp.outgoing import Outgoing, readable
from prise.protocols.target import SCHEMES, Target, decoded

SERVERS = tuple(f"{name}://" for name, scheme in SCHEMES.items() if scheme.protocol == "smtp")
"""How a URL begins, among files."""

SERVER = "PRISE_SMTP"
"""The variable of the environment that names the server."""


class Post(NamedTuple):
    """One message to be sent. name: its file; None: it was written here."""

    message: Any
    name: str | None = None

    def size(self) -> int | None:
        return self.message.stat().st_size if isinstance(self.message, Path) else None


@click.command(
    "mail",
    help=_(
        "Writes a message and sends it: the text comes from standard input, the rest from options. Or sends each FILE, a whole "
        "message with its header (*.eml), as it is, and of a folder all such files. URL is the server: smtps://HOST/, or "
        "smtp://HOST/, which is encrypted too before any password is sent; PRISE_SMTP in the environment may name it."
    ),
    epilog=examples(
        (
            "prise mail --from ada@example.org --to ben@example.org -s Hello smtps://ada@mail.example.org/ < text.txt",
            _("a text; the password is that of ~/.netrc"),
        ),
        (
            "prise mail --from 'Ada <ada@example.org>' --to ben@example.org --attach report.pdf smtp://localhost:25/",
            _("with a file, by a server that asks for no login"),
        ),
        ("prise mail *.eml smtps://ada@mail.example.org/", _("messages that are there already, to whom they name")),
        ("prise mail --dry-run --from ada@example.org --to ben@example.org < text.txt", _("shows it, sends nothing")),
    ),
)
@click.argument("what", nargs=-1, type=parameters.Words(*SERVERS, files=True), metavar=_("[FILE...] [URL]"))
@click.option("--to", multiple=True, metavar=_("ADDRESS"), help=_("Who gets it; with a name or without."))
@click.option("--cc", multiple=True, metavar=_("ADDRESS"), help=_("Who gets a copy."))
@click.option("--bcc", multiple=True, metavar=_("ADDRESS"), help=_("Who gets it without the others knowing."))
@click.option(
    "--from",
    "sender",
    metavar=_("ADDRESS"),
    help=_("Who sends it. Default: the user of the URL, if that is an address."),
)
@click.option("--subject", "-s", metavar=_("TEXT"), help=_("The subject."))
@click.option(
    "--body", metavar=_("FILE"), help=_("The text, from a file. Default: standard input, unless there is --html.")
)
@click.option("--html", metavar=_("FILE"), help=_("The text as HTML, from a file."))
@click.option("--attach", "-a", multiple=True, metavar=_("FILE"), help=_("A file that goes with it."))
@click.option("--header", "-H", "headers", multiple=True, metavar=_("'NAME: VALUE'"), help=_("One more header."))
@click.option(
    "--notify", metavar=_("WHEN"), help=_("Be told about the delivery: never, or some of success,failure,delay.")
)
@click.option("--server", envvar=SERVER, metavar="URL", help=_("The server, where no URL is given."))
@click.option("--dry-run", is_flag=True, help=_("Print the message and send nothing."))
@click.option("--json", "as_json", is_flag=True, help=_("One line of JSON for each recipient, on standard output."))
@click.option("--quiet", "-q", is_flag=True, help=_("Say nothing but errors."))
@session_options
def command(
    what: tuple[str, ...],
    to: tuple[str, ...],
    cc: tuple[str, ...],
    bcc: tuple[str, ...],
    sender: str | None,
    subject: str | None,
    body: str | None,
    html: str | None,
    attach: tuple[str, ...],
    headers: tuple[str, ...],
    notify: str | None,
    server: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **session: Any,
) -> int:
    files, url = sort_out(what, server)
    target = None if url is None else target_of(url)
    if target is None and not dry_run:
        raise prise.UsageError("which server? write its URL, smtps://HOST/, or put it into {variable}", variable=SERVER)
    usual = usual_sender(session["user"], target)
    recipients = (*to, *cc, *bcc)
    if not recipients and target is not None and (place := decoded(target.place)):
        to = recipients = (place,)
    if files:
        if subject is not None or body or html or attach or headers:
            raise prise.UsageError(
                "a FILE is sent as it is: it goes without --subject, --body, --html, --attach and --header"
            )
        posts = list(messages(files))
    else:
        if not recipients:
            raise prise.UsageError("who is to get the message? say --to, --cc or --bcc")
        if (sender := sender or usual) is None:
            raise prise.UsageError("who sends it? say --from {example}", example="ada@example.org")
        for path in filter(None, (body, html, *attach)):  # before somebody writes the text, which would be lost
            if path != "-" and not Path(path).exists():
                raise prise.UsageError("{path} is not there", path=path)
        message = letter.write(
            sender=sender,
            to=to,
            cc=cc,
            bcc=bcc,
            subject=subject or "",
            html=None if html is None else read_text(html),
            text=read_text(body or "-") if body or not html else None,
            attach=attach,
            headers=read_headers(headers),
        )
        posts = [Post(message)]
        recipients = ()  # as its header says
    # For what is there already, they stand for what its header says.
    said: dict[str, Any] = {"sender": sender if files else None, "recipients": recipients or None}
    if dry_run:
        for post in posts:
            show(post, usual=usual, **said)
        return 0
    arguments = session_arguments(session, () if url is None else (url,))
    events = Events(as_json, quiet)
    with prise.open(target or "", **arguments) as opened:
        well = [send(opened, post, events, quiet, notify=notify, **said) for post in posts]
    return 0 if all(well) else 1


def sort_out(what: tuple[str, ...], server: str | None) -> tuple[list[str], str | None]:
    """The files, and the URL of the server."""
    urls = [word for word in what if word.lower().startswith(SERVERS)]
    if len(urls) > 1:
        raise prise.UsageError("one server at a time, not {count}", count=len(urls))
    return [word for word in what if word not in urls], urls[0] if urls else server or None


def target_of(url: str) -> Target:
    target = Target.parse(url)
    if target.protocol != "smtp":
        raise prise.UsageError("mail is sent by smtp:// or smtps://, not by {scheme}://", scheme=target.scheme)
    return target


def usual_sender(user: str | None, target: Target | None) -> str | None:
    user = user or (target.user if target is not None else None)
    return user if user is not None and "@" in user else None


def messages(files: list[str]) -> Iterator[Post]:
    for file in files:
        path = Path(file)
        if path.is_dir():
            found = sorted(path.glob("*.eml"))
            if not found:
                raise prise.UsageError("there is no *.eml in {path}", path=file)
            yield from (Post(each, str(each)) for each in found)
        elif path.is_file():
            yield Post(path, file)
        else:
            raise prise.UsageError("{path} is not there", path=file)


def read_text(file: str) -> str:
    """A text in UTF-8; "-" is standard input."""
    if file != "-":
        data = Path(file).read_bytes()
    else:
        if sys.stdin.isatty():
            say(_("the text, please; Ctrl-D in a line of its own ends it"))
        data = sys.stdin.buffer.read()
    return data.decode(errors="surrogateescape").replace("\r\n", "\n")


def show(post: Post, sender: str | None, recipients: tuple[str, ...] | None, usual: str | None) -> None:
    outgoing = Outgoing(post.message)
    envelope = envelope_of(outgoing.fields, sender, recipients, usual)
    if post.name is not None:
        say(visible(post.name))
    say(_("from: {address}").format(address=visible(envelope.sender)))
    say(_("to: {addresses}").format(addresses=visible(", ".join(envelope.recipients))))
    for piece in outgoing.pieces():
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()


def send(session: Any, post: Post, events: Events, quiet: bool, **said: Any) -> bool:
    """Sends one message and tells what became of it; True when all were accepted."""
    bar = Progress(post.name or "", post.size())
    bar.shown = bar.shown and not quiet
    try:
        if isinstance(post.message, Path):
            readable(post.message)
        with bar:
            delivery: Delivery = session.send(post.message, progress=bar.advance, **said)
    except RecipientsRefused as error:
        delivery = Delivery("", (), error.refused)
    except (prise.Refused, prise.UsageError) as error:
        if post.name is None:
            raise
        say(f"prise: {visible(post.name)}: {error.sentence(_)}")
        events.event("failed", file=post.name, error=error.sentence())
        return False
    name = "" if post.name is None else f"{visible(post.name)}: "
    for address in delivery.accepted:
        events.event("accepted", file=post.name, recipient=address, code=delivery.code, words=delivery.words)
    for address, no in delivery.refused.items():
        events.event("refused", file=post.name, recipient=address, code=no.code, words=no.words)
        text = _("refused: {address}: {code} {words}")
        say(name + text.format(address=visible(address), code=no.code, words=visible(no.words)))
    if delivery.accepted:
        text = _("sent to {addresses} ({words})")
        events.say(name + text.format(addresses=visible(", ".join(delivery.accepted)), words=visible(delivery.words)))
    return not delivery.refused
