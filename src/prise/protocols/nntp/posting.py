"""Articles on their way out: their header looked at, their lines ended by CR LF, their dots doubled."""

from __future__ import annotations

import re

from prise.errors import UsageError

_LINE_END = re.compile(rb"\r?\n")
_FIELD = re.compile(rb"^([!-9;-~]+):[ \t]*(.*)$", re.MULTILINE)


def with_line_ends(article: bytes) -> bytes:
    r"""The same with \r\n behind each line, the last one too."""
    article = _LINE_END.sub(b"\r\n", article)
    return article if article.endswith(b"\r\n") else article + b"\r\n"


def dotted(article: bytes) -> bytes:
    """As it is sent: dots at the beginning of a line doubled, a dot alone behind the end (RFC 3977 §3.1.1)."""
    dots = (b"\r\n" + article).replace(b"\r\n.", b"\r\n..")
    return dots[2:] + b".\r\n"


def header_of(article: bytes) -> dict[str, str]:
    """The fields of an article's header (lines end in CR LF) by their name in lower case; of several lines, the first."""
    header = article.partition(b"\r\n\r\n")[0].replace(b"\r\n", b"\n")
    return {name.decode().lower(): value.decode(errors="replace").strip() for name, value in _FIELD.findall(header)}


def ready_to_post(article: bytes, group: str | None) -> bytes:
    """An article with what a server insists on. group: for Newsgroups, where the article itself names none. Raises UsageError
    where From, Subject, Newsgroups or the empty line behind the header is missing, or the article is for other groups only."""
    article = with_line_ends(article)
    fields = header_of(article)
    if not fields.get("newsgroups") and group:
        article = f"Newsgroups: {group}\r\n".encode(errors="surrogateescape") + article
        fields["newsgroups"] = group
    elif group and group not in re.split(r"[,\s]+", fields["newsgroups"]):
        raise UsageError(
            "the article says Newsgroups: {named}, and the URL {group}: it would go where the article says; change one of them",
            named=fields["newsgroups"][:200],
            group=group,
        )
    missing = [name for name in ("From", "Subject", "Newsgroups") if not fields.get(name.lower())]
    if missing:
        raise UsageError(
            "an article needs {missing} in its header; it begins like this: {example}",
            missing=", ".join(missing),
            example="From: ada@example.org (new line) Subject: Hello (new line) Newsgroups: misc.test (empty line, text)",
        )
    if b"\r\n\r\n" not in article:
        raise UsageError("an article has a header, an empty line, and a body: the empty line is missing")
    return article
