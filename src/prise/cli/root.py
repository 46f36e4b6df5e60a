"""The root of the command: which commands there are, in which language they speak, how they end.

A command is one file with a click command named `command`; it is imported when it is called, so each pays only for what
it needs. The language is chosen before that, so help texts are plain `help=_("...")` where they stand.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem

from prise import locale
from prise.cli.outcome import outcome
from prise.cli.texts import examples
from prise.locale import translate as _

COMMANDS = {
    "serve": "prise.cli.serve:command",
    "connect": "prise.cli.connect:command",
    "listen": "prise.cli.listen:command",
    "talk": "prise.cli.talk:command",
    "relay": "prise.cli.relay:command",
    "replay": "prise.cli.replay:command",
    "get": "prise.cli.get:command",
    "put": "prise.cli.put:command",
    "ls": "prise.cli.ls:command",
    "read": "prise.cli.read:command",
    "mail": "prise.cli.mail:command",
    "protocols": "prise.cli.protocols:command",
    "send": "prise.cli.send:command",
    "receive": "prise.cli.receive:command",
    "give": "prise.cli.give:command",
    "take": "prise.cli.take:command",
    "check": "prise.cli.check:command",
    "chat": "prise.cli.chat:command",
    "web": "prise.cli.web:command",
    "top": "prise.cli.top:command",
    "restart": "prise.cli.restart:command",
    "completion": "prise.cli.completion:command",
}


def summaries() -> dict[str, str]:
    """One line for each command, for the list of them: kept here so that `prise --help` imports none."""
    return {
        "serve": _("serves a conversation: a built-in one, or your own function"),
        "connect": _("a client for hands and for pipes"),
        "listen": _("waits for somebody, and joins them to the terminal, a pipe or a program"),
        "talk": _("two people converse"),
        "relay": _("joins two addresses, for as many as come"),
        "replay": _("plays one side of a recorded relay"),
        "get": _("fetches what is at a URL: http, ftp, gopher, nntp, pop3, imap"),
        "put": _("sends files to a URL: ftp, http, nntp, imap, smtp"),
        "ls": _("lists what is at a URL"),
        "read": _("reads menus, news and mailboxes, by keys"),
        "mail": _("writes a message and sends it, or sends messages that are there"),
        "protocols": _("the eight protocols, their ports and modules"),
        "send": _("sends files and folders, verified"),
        "receive": _("receives what `prise send` sends"),
        "give": _("hands a live connection to another program"),
        "take": _("takes live connections that other programs give away"),
        "check": _("says what is at an address, and what is wrong"),
        "chat": _("opens a chat room"),
        "web": _("serves a folder to browsers"),
        "top": _("shows how running servers are doing"),
        "restart": _("replaces a running server by a new release of it"),
        "completion": _("prints the completion script of a shell"),
    }


class Commands(click.Group):
    """The commands, each imported when it is wanted."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, _colon, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        speak(command)
        return command

    def shell_complete(self, context: click.Context, incomplete: str) -> list[CompletionItem[str]]:
        """The names of commands with our own list of what they do: click would import every one of them."""
        if not incomplete or incomplete[0].isalnum():
            return [
                CompletionItem(name, help=text) for name, text in summaries().items() if name.startswith(incomplete)
            ]
        return super().shell_complete(context, incomplete)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = arguments[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, COMMANDS, n=1)
            text = _("there is no command {name}; did you mean {near}?") if near else _("there is no command {name}.")
            context.fail(text.format(name=name, near="".join(near)))
        return super().resolve_command(context, arguments)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl(list(summaries().items()))


def speak(command: click.Command) -> None:
    """Gives a command the option --lang, once."""
    if all(parameter.name != "lang" for parameter in command.params):
        command.params.append(language_option())


def language_option() -> click.Option:
    return click.Option(
        ["--lang"], type=click.Choice(locale.LANGUAGES), expose_value=False, help=_("The language to speak.")
    )


def language_of(arguments: list[str]) -> str | None:
    """The language that --lang asks for, found before click reads the arguments: its own texts depend on it."""
    asked = None
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        if argument == "--":
            break
        if argument == "--lang":
            asked = following
        elif argument.startswith("--lang="):
            asked = argument.partition("=")[2]
    return asked if asked in locale.LANGUAGES else None


def show_version(context: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from prise.cli.version import version

        click.echo(version())
        context.exit()


def build() -> Commands:
    """The root command, in the language in use."""
    version = click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show_version,
        help=_("Show the version and exit."),
    )
    return Commands(
        "prise",
        params=[language_option(), version],
        help=_("Conversations over sockets. `prise COMMAND --help` tells more, with examples."),
        epilog=examples(
            ("prise serve echo --on :50000", _("every line comes back")),
            (r"printf 'a\nb\n' | prise connect :50000", _("sends two lines and prints the answers")),
            ("prise talk :50001 --listen", _("waits for somebody to talk with")),
            ("prise chat", _("a chat room for everybody with nc, telnet or prise")),
            ("prise web", _("the current folder, for browsers")),
        ),
    )


def open_standard_streams() -> None:
    """What was started without stdin, stdout or stderr gets /dev/null there: else a socket might take their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            if os.open(os.devnull, os.O_RDWR) != number:
                raise OSError(f"descriptor {number} is in use")
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - for good
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # an accent must not end the program on a terminal without it


def run(arguments: list[str]) -> int:
    """Runs the command line and returns the exit code."""
    open_standard_streams()
    locale.choose(language_of(arguments))
    locale.speak_everywhere()
    return outcome(lambda: invoke(arguments))


def invoke(arguments: list[str]) -> Any:
    """What click's own `main` does, but for its way to end: that is the same for all, in `outcome`."""
    commands = build()
    if asked := os.environ.get("_PRISE_COMPLETE"):
        from prise.cli.completion import answer

        return answer(commands, asked)
    with commands.make_context("prise", list(arguments)) as context:
        return commands.invoke(context)
