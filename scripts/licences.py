"""Writes docs/licences.md: what prise needs at run time, at the locked versions, and under which licences.

    python scripts/licences.py        with the oldest Python that prise supports, which needs the most

The facts are those of the packages' own metadata. What is copyleft stops it: prise is MIT, and so must be what it can be
installed with.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import Distribution, metadata

from dependencies import ROOT, needed
from packaging.utils import canonicalize_name

PAGE = ROOT / "docs" / "licences.md"

CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",  # which of them, the classifier does not tell
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""The trove classifiers that are met, as SPDX names. A new one is a KeyError here, for somebody to look at it."""

COPYLEFT = re.compile(r"GPL|GNU|EUPL|CC-BY-SA|SSPL", re.IGNORECASE)

HEAD = """\
# Licences

prise is under the MIT licence ([LICENSE](../LICENSE)). `import prise` needs nothing but Python. What the extras bring, on
Linux with Python 3.11 (later ones need less), at the versions that are locked in `requirements/`:

| package | version | licence | for the extras |
|---|---|---|---|
"""

TAIL = """
Nothing of it is under the GPL or another copyleft licence; a test says so. The styles, icons and scripts of the pages that
prise serves are its own.

This page is written by `scripts/licences.py` from the packages' own metadata. "BSD" stands where these do not say which of
the BSD licences it is.
"""


def field(package: Distribution, name: str) -> str | None:
    """A line of the metadata."""
    return next(iter(package.metadata.get_all(name) or []), None)


def licence(package: Distribution) -> str:
    """The licence as an SPDX expression, as far as the metadata tell."""
    if expression := field(package, "License-Expression"):
        return expression
    classifiers = package.metadata.get_all("Classifier") or []
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License :: OSI Approved :: ")]
    return " OR ".join(sorted(CLASSIFIED[name] for name in named)) or field(package, "License") or "unknown"


def home(package: Distribution) -> str | None:
    """Where the project lives."""
    pairs = (text.partition(", ")[::2] for text in package.metadata.get_all("Project-URL") or [])
    named = {label.lower(): url for label, url in pairs}
    places = (named.get(label) for label in ("homepage", "source", "source code", "repository", "github"))
    return next(filter(None, places), field(package, "Home-page"))


def rows() -> dict[str, str]:
    """The lines of the table, by the package's name."""
    extras = sorted(canonicalize_name(name) for name in metadata("prise").get_all("Provides-Extra") or [])
    users: dict[str, list[str]] = {}
    packages: dict[str, Distribution] = {}
    for extra in extras:
        if extra != "all":
            for name, package in needed(f"prise[{extra}]").items():
                packages[name] = package
                users.setdefault(name, []).append(extra)
    table = {}
    for name, package in sorted(packages.items()):
        place = home(package)
        link = f"[{name}]({place})" if place else name
        table[name] = f"| {link} | {package.version} | {licence(package)} | {', '.join(users[name])} |"
    return table


def main() -> int:
    table = rows()
    PAGE.write_text(HEAD + "\n".join(table.values()) + "\n" + TAIL, encoding="utf-8")
    forbidden = [row for row in table.values() if COPYLEFT.search(row.split("|")[3])]
    print(*forbidden, sep="\n", end="\n" if forbidden else "", file=sys.stderr)
    return 1 if forbidden else 0


if __name__ == "__main__":
    sys.exit(main())
