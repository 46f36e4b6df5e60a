"""Texts in the headers of mail and news: encoded words (RFC 2047), and the names of files. Anybody may have written them."""

from __future__ import annotations

import re

from prise.protocols.talk import cleaned

MOST_DECODING = 4_000_000
"""Characters of a text, times the encoded words in it, up to which it is decoded (about 20 ms). The decoder takes time with
their product: a subject of 140 KB, which anybody can mail, would cost it 15 seconds."""


def decoded_words(text: str) -> str:
    """A header's text as it was meant; what cannot be decoded stays as it is."""
    if not 0 < text.count("=?") * len(text) <= MOST_DECODING:
        return text
    from email.errors import MessageError
    from email.header import decode_header, make_header

    try:
        # Some character sets (UTF-7) can name half of a surrogate pair, which nobody could print.
        return str(make_header(decode_header(text))).encode(errors="replace").decode()
    except (MessageError, LookupError, ValueError):
        return text


def file_name(text: str) -> str:
    """A name that a server or an author told, for a file: without folders, since one that leads out of the folder it is saved in
    is an attack, and at most 100 characters."""
    return re.split(r"[/\\]", cleaned(text))[-1].strip(". \t\n")[-100:] or "file"
