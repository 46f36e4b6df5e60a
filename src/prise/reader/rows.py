"""What is shown, as rows of a terminal: an entry is one row, a text is wrapped between words.

All of it goes through `visible`: what came from the network shows its control characters and moves no cursor.
"""

from __future__ import annotations

from datetime import datetime
from email.utils import parseaddr

from prise.cli.columns import Row, columns_of, fitted, flat
from prise.cli.texts import amount, visible
from prise.locale import N_
from prise.locale import translate as _
from prise.protocols.entry import Entry
from prise.reader.mail import Letter
from prise.reader.places import LETTERS

MARKS = {"menu": "/", "folder": "/", "mailbox": "/", "search": "?", "link": "@"}
"""What stands behind a name, as `ls -F` has it."""

SORTS = {
    "file": N_("file"),
    "image": N_("image"),
    "sound": N_("sound"),
    "video": N_("video"),
    "document": N_("document"),
    "page": N_("page"),
    "telnet": N_("telnet"),
    "phonebook": N_("phone book"),
    "mirror": N_("mirror"),
}
"""Kinds that a menu tells in words."""

FROM = 22
"""Columns of who wrote a message."""
LONGEST_AUTHOR = 200
"""Characters of it that are looked at: comments in comments cost the parser a call each, and Python has a limit."""


def row(entry: Entry, protocol: str) -> Row:
    """An entry, in one line. protocol: whose list it is in."""
    if entry.kind in ("info", "error"):
        return Row(flat(entry.title), "error" if entry.kind == "error" else "dim")
    if entry.kind in LETTERS:
        return _letter_row(entry)
    title = entry.title or entry.name
    text = title if title.endswith("/") else f"{title}{MARKS.get(entry.kind, '')}"
    if protocol == "gopher":
        sort = f" [{_(SORTS[entry.kind])}]" if entry.kind in SORTS else ""
        return Row(flat(f"{text}{sort}{_where(entry)}"))
    if entry.kind == "group":
        count = "" if entry.size is None else str(entry.size)
        about = f"  {entry.title}" if entry.title else ""
        return Row(flat(f"{count:>8}  {entry.name}{about}"))
    if entry.kind == "mailbox" or (entry.size is None and entry.modified is None):
        return Row(flat(f"{text}{_where(entry)}"))
    size = "" if entry.size is None else amount(entry.size)
    return Row(flat(f"{size:>8}  {date(entry.modified):16}  {text}{_where(entry)}"))


def _letter_row(entry: Entry) -> Row:
    flags = entry.facts.get("flags")
    unread = flags is not None and "\\seen" not in (flag.lower() for flag in flags)
    marks = "".join(mark for flag, mark in (("\\Flagged", "!"), ("\\Answered", "r")) if flags and flag in flags)
    who = fitted(flat(author(str(entry.facts.get("from") or ""))), FROM)
    # Without a date it is known by its number.
    number = str(entry.facts.get("number", entry.name))
    when = date(entry.modified) or (f"#{number}" if number.isdecimal() else "")
    size = "" if entry.title or entry.size is None else amount(entry.size)
    return Row(
        flat(f"{'N' if unread else ' '}{marks:1} {when:16}  {who}  {entry.title or size}"), "bold" if unread else ""
    )


def _where(entry: Entry) -> str:
    return f" -> {entry.url}" if entry.url else ""


def author(text: str) -> str:
    """The name of who wrote; the address where there is no name."""
    text = text[:LONGEST_AUTHOR]
    name, address = parseaddr(text.partition(",")[0] if "<" in text.partition(",")[0] else text)
    return name or address or text


def date(moment: datetime | None) -> str:
    """In local time, to the minute."""
    if moment is None:
        return ""
    try:
        return moment.astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return ""  # a year that no calendar of the system has


def letter_rows(letter: Letter, full: bool) -> list[Row]:
    """A message, not wrapped yet. full: with all of its header."""
    names = {"From": _("From"), "To": _("To"), "Cc": _("Cc"), "Date": _("Date"), "Subject": _("Subject")}
    rows = [
        Row(f"{name if full else names.get(name, name)}: {flat(value)}", "bold" if name == "Subject" else "dim")
        for name, value in (letter.full if full else letter.header)
    ]
    if rows:
        rows.append(Row(""))
    rows += text_rows(letter.text)
    if letter.attachments:
        rows.append(Row(""))
        rows.append(Row(_("Attachments (a lists them):"), "bold"))
        for number, each in enumerate(letter.attachments, 1):
            rows.append(Row(f"{number}. {flat(each.name or '-')} ({flat(each.kind)}, {amount(len(each.data))})", "dim"))
    return rows


def text_rows(text: str) -> list[Row]:
    """A text, not wrapped yet; quoted lines are dim."""
    return [Row(line, "dim" if line.startswith(">") else "") for line in shown(text).split("\n")]


def shown(text: str) -> str:
    """A text of several lines, fit for a terminal."""
    return visible(text).expandtabs(8).rstrip("\n")


def wrapped(rows: list[Row], columns: int) -> list[Row]:
    """Rows of at most so many columns, broken between words where that is possible."""
    found: list[Row] = []
    for each in rows:
        if len(each.text) <= columns and each.text.isascii():
            found.append(each)
        else:
            found += [Row(line, each.style) for line in _broken(each.text, max(columns, 2))]
    return found


def _broken(text: str, columns: int) -> list[str]:
    lines = []
    begin = used = 0
    space = -1  # the last one in this line
    place = 0
    while place < len(text):
        character = text[place]
        used += columns_of(character)
        if used > columns:
            end = space if space > begin else place
            lines.append(text[begin:end])
            begin = place = end + (1 if end == space else 0)
            used, space = 0, -1
            continue
        if character == " ":
            space = place
        place += 1
    lines.append(text[begin:])
    return lines
