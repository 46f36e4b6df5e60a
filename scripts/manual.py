"""Writes the manual pages of the command, prise(1) and one for each of its commands:

    python scripts/manual.py LANGUAGE FOLDER        LANGUAGE: en or fr; the pages go to FOLDER/man1 or FOLDER/fr/man1

What a page says is what `--help` says, asked of click: usage, options, examples. Only the parts that no help has are
written here, in both languages. The language is one for the process, because help texts are translated when a command
is imported. The pages are in the roff of man(7), with UTF-8. The date is that of SOURCE_DATE_EPOCH, or none.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

import click  # noqa: E402 - prise is that of this folder

from prise import __version__, locale  # noqa: E402
from prise.cli.root import build, summaries  # noqa: E402

HEADINGS = {
    "en": ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXAMPLES", "SEE ALSO"),
    "fr": ("NOM", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDES", "EXEMPLES", "VOIR AUSSI"),
}

SUMMARY = {"en": "conversations over sockets", "fr": "des conversations par sockets"}

# Sections of prise(1) that are lists: a heading, then what and what it means.
LISTS: dict[str, dict[str, dict[str, str]]] = {
    "en": {
        "ADDRESSES": {
            "localhost:50000, [::1]:50000": "TCP, to a host and port.",
            ":50000": "TCP on this machine alone; *:50000 listens on every interface.",
            "unix:/run/x.sock": "A Unix socket; a path that begins with / or . means the same.",
            "udp::50000": "Datagrams.",
            "tls:host:443, tls,ca=ca.pem:host:443": "TLS, with options between commas.",
            "ws://host/path, wss://host/path": "WebSocket.",
            "stdio:, fd:3, exec:command, systemd:name": "What is open already, a program, sockets that systemd has opened.",
        },
        "EXIT STATUS": {
            "0": "All is done.",
            "1": "The other side said no.",
            "2": "The command line, or a setting, is wrong.",
            "3": "No address has that name.",
            "4": "Refused, or nobody can be reached there; to listen there is not possible.",
            "5": "Too slow: a deadline passed.",
            "6": "TLS: certificate, name, version.",
            "7": "The login failed.",
            "8": "The connection was cut short.",
            "130": "Ended by Ctrl-C.",
        },
        "ENVIRONMENT": {
            "LANGUAGE, LC_ALL, LC_MESSAGES, LANG": "The language to speak: English or French. --lang wins.",
            "ALL_PROXY": "The proxy to connect through. --via and --no-proxy win.",
            "NO_COLOR": "When it is set, nothing is coloured.",
            "PRISE_CHAT_PASSWORD, PRISE_CHAT_PASSPHRASE": "What `prise chat join` would ask for.",
        },
    },
    "fr": {
        "ADRESSES": {
            "localhost:50000, [::1]:50000": "TCP, vers un hôte et un port.",
            ":50000": "TCP sur cette machine seulement\u00a0; *:50000 écoute sur toutes les interfaces.",
            "unix:/run/x.sock": "Une socket Unix\u00a0; un chemin qui commence par / ou . veut dire la même chose.",
            "udp::50000": "Des datagrammes.",
            "tls:host:443, tls,ca=ca.pem:host:443": "TLS, avec des options entre virgules.",
            "ws://host/path, wss://host/path": "WebSocket.",
            "stdio:, fd:3, exec:command, systemd:name": "Ce qui est déjà ouvert, un programme, des sockets ouvertes par systemd.",
        },
        "CODE DE RETOUR": {
            "0": "Tout est fait.",
            "1": "L’autre côté a dit non.",
            "2": "La ligne de commande, ou un réglage, est faux.",
            "3": "Aucune adresse ne porte ce nom.",
            "4": "Refusé, ou personne n’est joignable là\u00a0; impossible d’y écouter.",
            "5": "Trop lent\u00a0: un délai est passé.",
            "6": "TLS\u00a0: certificat, nom, version.",
            "7": "L’identification a échoué.",
            "8": "La connexion a été coupée.",
            "130": "Terminé par Ctrl-C.",
        },
        "ENVIRONNEMENT": {
            "LANGUAGE, LC_ALL, LC_MESSAGES, LANG": "La langue à parler\u00a0: anglais ou français. --lang l’emporte.",
            "ALL_PROXY": "Le proxy par lequel se connecter. --via et --no-proxy l’emportent.",
            "NO_COLOR": "S’il est mis, rien n’est en couleur.",
            "PRISE_CHAT_PASSWORD, PRISE_CHAT_PASSPHRASE": "Ce que `prise chat join` demanderait.",
        },
    },
}

SPECIAL = str.maketrans(
    {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", "\u00a0": r"\~", "\u202f": r"\|"}
)


def escape(text: str) -> str:
    """Text as roff prints it letter by letter (groff_char(7)). A line must not begin with a dot."""
    text = text.translate(SPECIAL)
    return r"\&" + text if text.startswith(".") else text


def prose(text: str) -> str:
    """A help text: `words` between backticks are bold."""
    words = re.split(r"`([^`]+)`", " ".join(text.split()))
    return "".join(f"\\fB{escape(word)}\\fR" if i % 2 else escape(word) for i, word in enumerate(words))


def option(left: str) -> str:
    """What is typed is bold, what it stands for is italic: "-o, --output FILE"."""
    words = re.split(r"(--?[\w-]+)", left, flags=re.ASCII)
    parts = (
        f"\\fB{escape(word)}\\fR" if i % 2 else re.sub(r"[^\s,/].*", lambda match: f"\\fI{escape(match[0])}\\fR", word)
        for i, word in enumerate(words)
    )
    return "".join(parts)


def items(rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> Iterator[str]:
    """A list: what, in roff already, and the text about it."""
    for what, text in rows:
        yield from (".TP", what, prose(text))


def examples(epilog: str) -> Iterator[str]:
    """The command lines of `texts.examples`, each with what it does."""
    for command, does in re.findall(r"^  (\S.*)\n {6}(\S.*)$", epilog, re.MULTILINE):
        yield from (".TP", f"\\fB{escape(command)}\\fR", prose(does))


def page(context: click.Context, summary: str, language: str) -> str:
    """One page, whole."""
    command = context.command
    name = context.command_path.replace(" ", "-")
    title, synopsis, description, options, commands, example, see = HEADINGS[language]
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    date = datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%d") if epoch else ""
    usage = escape(" ".join(command.collect_usage_pieces(context)))
    lines = [
        f'.TH {escape(name.upper())} 1 "{date}" "prise {__version__}" "prise"',
        ".SH " + title,
        f"{escape(name)} \\- {prose(summary)}",
        ".SH " + synopsis,
        f"\\fB{context.command_path}\\fR {usage}",
        ".SH " + description,
        prose(command.help or ""),
        ".SH " + options,
    ]
    records = [each.get_help_record(context) for each in command.get_params(context) if isinstance(each, click.Option)]
    lines += items([(option(left), right) for left, right in filter(None, records)])
    below = [f"{name}-{each}" for each in command.list_commands(context)] if isinstance(command, click.Group) else []
    if context.parent is None:
        lines.append(".SH " + commands)
        lines += items([(f"\\fBprise {each}\\fR", text) for each, text in summaries().items()])
        for heading, rows in LISTS[language].items():
            lines.append(".SH " + heading)
            lines += items([(f"\\fB{escape(what)}\\fR", text) for what, text in rows.items()])
    lines.append(".SH " + example)
    lines += examples(command.epilog or "")
    lines.append(".SH " + see)
    above = [context.parent.command_path.replace(" ", "-")] if context.parent else []
    lines.append(",\n".join(f"\\fB{escape(each)}\\fR(1)" for each in above + below))
    return "\n".join(lines) + "\n"


def pages(
    command: click.Command, parent: click.Context | None, summary: str, language: str
) -> Iterator[tuple[str, str]]:
    """The names and texts of the page of a command and of those below it."""
    context = click.Context(command, parent=parent, info_name=command.name)
    yield context.command_path.replace(" ", "-"), page(context, summary, language)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None, name
            known = summaries().get(name) if parent is None else None
            yield from pages(below, context, known or below.get_short_help_str(limit=200).rstrip("."), language)


def main() -> None:
    language, folder = sys.argv[1:]
    locale.choose(language)
    locale.speak_everywhere()
    target = Path(folder, *(() if language == "en" else (language,)), "man1")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in pages(build(), None, SUMMARY[language], language):
        (target / f"{name}.1").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
