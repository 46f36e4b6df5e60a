"""Which packages an installation of prise with some extras has, at the versions that are locked.

The way from package to package is read from the metadata of what is installed beside this Python, which is all of
requirements/dev.txt; so the answer is the one for this system and this version of Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def needed(*requirements: str) -> dict[str, Distribution]:
    """What these requirements ("prise[cli]", "hatchling") bring, by canonical name, without prise itself."""
    found: dict[str, Distribution] = {}
    done: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        there = found[name] = distribution(name)
        for extra in ("", *wanted.extras):
            if (name, extra) not in done:
                done.add((name, extra))
                below = [Requirement(text) for text in there.requires or ()]
                waiting += [each for each in below if each.marker is None or each.marker.evaluate({"extra": extra})]
    found.pop("prise", None)
    return found


def locked(names: Iterable[str]) -> str:
    """The entries of these packages in requirements/dev.txt, with their hashes."""
    text = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    entries = re.finditer(r"^([\w.-]+)==.*\n(?: +--hash=.*\n)+", text, re.MULTILINE)
    found: dict[str, str] = {canonicalize_name(match[1]): match[0] for match in entries}
    return "".join(found[name] for name in sorted(names))
