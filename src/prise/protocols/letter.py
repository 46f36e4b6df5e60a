"""Writes a message: text, HTML and attachments, with the headers that every message has. On the standard library's `email`.

    message = letter.write(
        sender="Ada <ada@example.org>", to="ben@example.org", subject="Figures", text="As promised.", attach=[Path("figures.pdf")]
    )
    post.send(message)

Date and Message-ID (RFC 5322 §3.6) are always there. Text is in UTF-8, names of files and people too (RFC 2231, RFC 2047).
Attachments are in base64, so that they arrive byte by byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid
from mimetypes import guess_type
from os import PathLike
from pathlib import Path
from typing import NamedTuple, TypeAlias

from prise.errors import UsageError
from prise.protocols.smtp.envelope import Addresses, people


class Attachment(NamedTuple):
    """name: the file name that the recipient sees. kind: a MIME type, guessed from the name where it is None."""

    name: str
    data: bytes
    kind: str | None = None


Attachable: TypeAlias = "Attachment | str | PathLike[str]"
"""An attachment, or the path of a file."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_HEADER_NAME = re.compile(r"[!-9;-~]{1,76}")


def write(
    *,
    sender: str,
    to: Addresses = (),
    cc: Addresses = (),
    bcc: Addresses = (),
    subject: str = "",
    text: str | None = None,
    html: str | None = None,
    attach: Iterable[Attachable] = (),
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    date: datetime | None = None,
) -> EmailMessage:
    """A message, ready to be sent.

    sender, to, cc, bcc: addresses, with names or without (`Ada Lovelace <ada@example.org>`); a domain in other letters than ASCII
    is written in its ASCII form. Those in bcc get it, and the header is left out when it is sent. text, html: the body; with
    both, the reader's program shows the one that it can. headers: further ones; Date and Message-ID may be among them.
    date: by default now, in the local time zone. Raises UsageError, and OSError for a file.
    """
    message = EmailMessage(policy=SMTP)
    author = people(sender)
    if len(author) != 1:
        raise UsageError("a message is from one address, not from {count}", count=len(author))
    _set(message, "From", author)
    for name, given in (("To", to), ("Cc", cc), ("Bcc", bcc)):
        if there := people(given):
            _set(message, name, there)
    if subject:
        _set(message, "Subject", subject)
    message["Date"] = date or localtime()
    # Its default domain would be asked of DNS.
    message["Message-ID"] = make_msgid(domain=author[0].domain or "localhost")
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        _add_header(message, name, value)
    if text is not None or html is None:
        message.set_content(_sound(text or ""))
    if html is not None:
        if text is None:
            message.set_content(_sound(html), subtype="html")
        else:
            message.add_alternative(_sound(html), subtype="html")
    for each in attach:
        _attach(message, each if isinstance(each, Attachment) else Attachment(Path(each).name, Path(each).read_bytes()))
    return message


def _add_header(message: EmailMessage, name: str, value: str) -> None:
    if _HEADER_NAME.fullmatch(name) is None:
        raise UsageError(
            "{name!r} is not the name of a header; example: {example}", name=name[:80], example="X-Project: 7"
        )
    if name.lower().startswith("content-") or name.lower() == "mime-version":
        raise UsageError("the header {name} follows from the body and the attachments", name=name)
    if name.lower() in ("from", "to", "cc", "bcc", "subject"):
        raise UsageError("the header {name} is there already: give it in its own way", name=name)
    if name.lower() in ("date", "message-id"):
        del message[name]
    _set(message, name, value)


def _set(message: EmailMessage, name: str, value: str | tuple[Address, ...]) -> None:
    # More characters than CR and LF end a line for the library that writes them, such as U+2028.
    if isinstance(value, str) and (len(value.splitlines()) > 1 or "\0" in value):
        raise UsageError("the header {name} cannot hold line ends or NUL: {value!r}", name=name, value=value[:80])
    try:
        message[name] = value
    except Exception as error:  # the parser of the standard library fails in many ways at what is no address
        raise UsageError("the header {name} cannot be that: {reason}", name=name, reason=str(error)) from None


def _attach(message: EmailMessage, attachment: Attachment) -> None:
    if _CONTROL.search(attachment.name):
        raise UsageError(
            "the name of an attachment has no control characters and is in UTF-8, not {name!r}: give another, by Attachment",
            name=attachment.name[:80],
        )
    kind, encoding = guess_type(attachment.name, strict=False)
    kind = attachment.kind or (kind if encoding is None else None) or "application/octet-stream"
    main, _, sub = kind.partition("/")
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII):
        raise UsageError("{kind!r} is not a MIME type; example: {example}", kind=kind[:80], example="image/png")
    if main in ("message", "multipart"):
        main, sub = (
            "application",
            "octet-stream",
        )  # those are not allowed in base64 (RFC 2045 §6.4), which keeps the bytes
    message.add_attachment(attachment.data, maintype=main, subtype=sub, filename=attachment.name)


def _sound(text: str) -> str:
    """Text that UTF-8 can hold: bytes of no known encoding (surrogates) have no place in it. Raises UsageError."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError("the text of the message is not UTF-8: attach it as a file") from None
    return text
