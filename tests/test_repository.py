"""What the project promises about itself: light imports, a core without I/O, locked requirements."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import prise

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "prise"
LOCKS = [*sorted((ROOT / "requirements").glob("*.txt")), ROOT / "benchmarks" / "requirements.txt"]

FORBIDDEN_IN_THE_CORE = {"socket", "select", "selectors", "threading", "asyncio", "time"}


def modules_after(statement: str, environment: dict[str, str]) -> set[str]:
    """The modules that a fresh Python, without any installed package, has loaded after this statement."""
    code = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); {statement}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def imports(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, by their first name; not those for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_import_prise_needs_the_standard_library_alone(bare_environment):
    loaded = modules_after("import prise", bare_environment)
    outside = {name for name in loaded if name.partition(".")[0] not in sys.stdlib_module_names | {"prise", "__main__"}}
    assert not outside


def test_import_prise_leaves_the_slow_modules_for_those_who_use_them(bare_environment):
    loaded = modules_after("import prise", bare_environment)
    assert not loaded & {"asyncio", "concurrent", "ssl", "sqlite3", "multiprocessing", "gettext", "click", "uvloop"}


def test_the_version_stands_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    assert importlib.metadata.version("prise") == prise.__version__
    assert project["dependencies"] == []


@pytest.mark.parametrize("part", ["core", "framing", "layers", "codecs.py"])
def test_the_inner_parts_know_no_sockets_threads_or_clocks(part):
    path = SOURCE / part
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    found = {file.relative_to(SOURCE).as_posix(): imports(file) & FORBIDDEN_IN_THE_CORE for file in files}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_locked_requirements_name_versions_and_hashes_but_no_place(lock):
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-|\w:)", text.replace("    --hash=sha256:", ""), re.MULTILINE), "an option or a path"
    assert not re.search(r"(^|\s|=)[.~]?/", text, re.MULTILINE), "a path of some machine"
    # One entry per logical line: name==version [; marker] --hash=... --hash=...
    for entry in re.sub(r"\s*#.*", "", text).replace("\\\n", " ").split("\n"):
        if entry.strip():
            assert re.match(r"[\w.-]+==[\w.]+ ", entry), entry
            assert "--hash=sha256:" in entry, entry


def test_what_runs_is_what_was_tested():
    """The versions of run.txt are those of dev.txt, so that `make run` and `make test` cannot differ."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[\w.]+", (ROOT / "requirements" / name).read_text(), re.MULTILINE))

    assert pins("run.txt") <= pins("dev.txt")
    assert pins("run.txt")
