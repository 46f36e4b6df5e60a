"""Names of files that come from the network: relative, below the folder, and harmless to show.

A name is text with `/` between its parts; bytes that are not UTF-8 are carried as Python's surrogate escapes (PEP 383).
"""

from __future__ import annotations

import os
import re

LONGEST_NAME = 4095
"""Bytes of a whole name (PATH_MAX of Linux, without its NUL)."""
LONGEST_PART = 255 - len(".part")
"""Bytes between two slashes (NAME_MAX), with room for the end of a file that is not complete."""

DEEPEST = 200

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def is_name(name: str) -> bool:
    """Whether a name may be written to: neither absolute nor with `..`, no control characters, not too long."""
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return False
    parts = name.split("/")
    return (
        0 < size <= LONGEST_NAME
        and len(parts) <= DEEPEST
        and not _CONTROL.search(name)
        and all(part not in ("", ".", "..") and len(os.fsencode(part)) <= LONGEST_PART for part in parts)
    )
