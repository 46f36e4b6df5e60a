"""docs/reference has every public name once, and what is written there from the code is what the code says."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import prise
from pages.parsing import understood

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs/reference"
PACKAGES = [
    "prise",
    "prise.checks",
    "prise.framing",
    "prise.handover",
    "prise.ipc",
    "prise.observe",
    "prise.relay",
    "prise.testing.faults",
    "prise.transfer",
    "prise.transports",
    *(f"prise.protocols.{name}" for name in ("ftp", "gopher", "http", "imap", "nntp", "smtp", "telnet")),
]
"""Those whose `__all__` is public (docs/supported.md). `prise.locale` is the command's."""


def script(name: str) -> ModuleType:
    """A program of scripts/, as a module."""
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / f"scripts/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def found(path: str) -> Any:
    """What is at this path. A module goes before what a package has imported from it under the same name, as for griffe."""
    parts = path.split(".")
    package, _, name = path.rpartition(".")
    it: Any
    if package in sys.modules and getattr(getattr(sys.modules[package], name, None), "__module__", "") == package:
        return getattr(sys.modules[package], name)
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        try:
            it = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for part in parts[length:]:
            it = getattr(it, part)
        return it
    raise AssertionError(path)


def key(name: str, it: Any) -> tuple[str, str]:
    """Equal for two names of one thing."""
    if isinstance(it, ModuleType):
        return it.__name__, ""
    if hasattr(it, "__qualname__"):
        return it.__module__, it.__qualname__
    return name, repr(it)


def directives() -> list[str]:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in sorted(REFERENCE.glob("*.md")))
    return re.findall(r"^::: (\S+)$", pages, re.MULTILINE)


def test_every_public_name_is_there_once() -> None:
    shown = [key(path.rpartition(".")[2], found(path)) for path in directives()]
    assert {each for each in shown if shown.count(each) > 1} == set()
    public = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in module.__all__:
            public[key(name, getattr(module, name))] = f"{package}.{name}"
    assert {path for each, path in public.items() if each not in shown} == set()


def test_what_is_shown_has_words_of_its_own() -> None:
    for path in directives():
        it, name = found(path), path.rpartition(".")[2]
        if isinstance(it, (ModuleType, type)) or callable(it):
            assert it.__doc__, path
            assert not it.__doc__.startswith(f"{name}("), f"{path} has the docstring that a dataclass makes itself"


def test_the_page_of_the_command_is_what_the_command_says() -> None:
    made = script("reference").page()
    assert made == (REFERENCE / "command.md").read_text(encoding="utf-8"), "python scripts/reference.py writes it anew"


def test_the_examples_of_the_command_are_understood() -> None:
    page = (REFERENCE / "command.md").read_text(encoding="utf-8")
    examples = re.findall(r"^\| example .*\n\|---\|---\|\n((?:\|.*\n)+)", page, re.MULTILINE)
    lines = [
        line.split("` |")[0].removeprefix("| `").replace(r"\|", "|")
        for table in examples
        for line in table.splitlines()
    ]
    assert len(lines) > 80
    for line in lines:
        if not line.startswith("make ") and "'Ada <" not in line and " - " not in line:  # what `understood` cannot read
            understood(line)


def test_the_figures_are_those_of_the_results() -> None:
    figures = script("figures")
    for page, words in figures.PAGES.items():
        assert figures.table(words) in page.read_text(encoding="utf-8"), "python scripts/figures.py writes them anew"


def test_the_pages_are_in_the_index() -> None:
    names = ["index.md", "index.fr.md"]
    indexes = [(REFERENCE / name).read_text(encoding="utf-8") for name in names]
    for page in REFERENCE.glob("*.md"):
        assert page.name in names or all(f"({page.name})" in index for index in indexes)


def test_prise_names_all_that_it_has() -> None:
    for name in prise.__all__:
        assert getattr(prise, name) is not None
