"""The targets, by what they speak. To load them all: `load()`."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from fuzz.target import TARGETS, Target


def load() -> dict[str, Target]:
    """Every target by its name."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
    return dict(sorted(TARGETS.items()))
