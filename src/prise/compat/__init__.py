"""Modules that Python has dropped, with their old interface on top of prise: `nntplib` and `telnetlib` (gone since 3.13).

import prise.compat.nntplib as nntplib        in a program that you can change

import prise.compat                           in one line before everything else, for one that you cannot
prise.compat.install()
import nntplib
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

NAMES = ("nntplib", "telnetlib")


class _Finder(MetaPathFinder, Loader):
    """Finds the old names, as the last one that is asked: where the real module is there, that is found."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in NAMES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return import_module(f"{__name__}.{spec.name}")

    def exec_module(self, module: ModuleType) -> None:
        """It has run already, under its own name."""


def install() -> list[str]:
    """From here on `import nntplib` and `import telnetlib` find those of prise, where Python's own are gone. Returns the names
    for which that is so. Nothing is imported yet. Twice is harmless."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
    return [name for name in NAMES if _is_ours(name)]


def _is_ours(name: str) -> bool:
    if name in sys.modules:
        return sys.modules[name].__name__.startswith(f"{__name__}.")
    spec = find_spec(name)
    return spec is not None and isinstance(spec.loader, _Finder)
