"""What is published: the contents of the wheel and of the source archive, manual pages, licences, the image for containers.

That two builds give the same bytes, and that what is built works where nothing else is installed, is shown by
`make test-dist` (scripts/test_dist.py), since it takes a minute.
"""

from __future__ import annotations

import email
import importlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import click
import pytest

from cli_process import PATIENCE, run
from prise.cli.root import COMMANDS, build

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "prise"
DOCKER = ROOT / "packaging" / "docker"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where `make dist` puts what it builds."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [ROOT / "scripts" / "build", sys.executable, folder], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> dict[str, bytes]:
    """The files of the wheel; those under share/ without the name of the folder that wheels keep them in."""
    (path,) = dist.glob("*.whl")
    with zipfile.ZipFile(path) as packed:
        return {re.sub(r"^prise-[\d.]+\.data/data/", "", name): packed.read(name) for name in packed.namelist()}


@pytest.fixture(scope="module")
def pages(wheel: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual pages of the wheel, as they would be installed: FOLDER/man1, FOLDER/fr/man1."""
    folder = tmp_path_factory.mktemp("man")
    for name, content in wheel.items():
        if name.startswith("share/man/"):
            path = folder / name.removeprefix("share/man/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def licences() -> Any:
    """scripts/licences.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        return importlib.import_module("licences")


# The wheel


def test_the_wheel_has_all_of_the_package_and_nothing_else(wheel):
    packed = {name.removeprefix("prise/") for name in wheel if name.startswith("prise/") and "/php/" not in name}
    there = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    assert packed == {name for name in there if "__pycache__" not in name and not name.endswith(".po")}
    assert {"py.typed", "chat/page/index.html", "web/assets/listing.css", "locale/fr/LC_MESSAGES/prise.mo"} <= packed
    assert {name.split("/")[0] for name in wheel if not name.startswith("prise-")} == {"prise", "share"}


def test_the_wheel_has_what_php_needs(wheel):
    packed = {name.removeprefix("prise/php/") for name in wheel if name.startswith("prise/php/")}
    there = {path.relative_to(ROOT / "php").as_posix() for path in (ROOT / "php" / "src").rglob("*.php")}
    assert packed == there | {"autoload.php"}


def test_the_wheel_says_what_it_is(wheel):
    (metadata,) = (content for name, content in wheel.items() if name.endswith("METADATA"))
    facts = email.message_from_bytes(metadata)
    assert facts["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    assert all("extra ==" in text for text in facts.get_all("Requires-Dist", []))


def test_the_wheel_has_the_completion_files(wheel):
    places = {
        "bash": "share/bash-completion/completions/prise",
        "zsh": "share/zsh/site-functions/_prise",
        "fish": "share/fish/vendor_completions.d/prise.fish",
    }
    for shell, place in places.items():
        assert wheel[place].decode() == run("completion", shell).stdout


# The source archive


def test_the_source_archive_has_what_is_needed_to_build_and_test(dist):
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as packed:
        names = {member.name.partition("/")[2] for member in packed if member.isfile()}
        assert {member.mtime for member in packed} == {next(iter(packed)).mtime}
    assert {"pyproject.toml", "packaging/build_hook.py", "scripts/manual.py", "tests/conftest.py", "LICENSE"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", ".git/", "dist/"))]


def test_the_checksums_are_those_of_the_files(dist):
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, stdout=subprocess.DEVNULL)


# Manual pages


def test_every_command_has_a_manual_page_in_both_languages(pages):
    expected = {"prise.1", "prise-chat-join.1", *(f"prise-{name}.1" for name in COMMANDS)}
    assert {path.name for path in (pages / "man1").iterdir()} == expected
    assert {path.name for path in (pages / "fr" / "man1").iterdir()} == expected


def test_the_manual_pages_are_good_roff(pages):
    """Two strict readers: mandoc for all pages, and groff, behind man, for one in each language."""
    assert shutil.which("mandoc"), "mandoc is not installed; see tests/debian-packages.txt"
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *map(str, sorted(pages.rglob("*.1")))],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert shutil.which("man"), "man is not installed; see tests/debian-packages.txt"
    for page, heading in (("man1/prise-serve.1", "OPTIONS"), ("fr/man1/prise-get.1", "EXEMPLES")):
        done = subprocess.run(
            ["man", "--warnings", "-E", "UTF-8", "-l", pages / page],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(f"^{heading}$", done.stdout, re.MULTILINE)


def test_a_manual_page_has_what_help_has(pages):
    page = (pages / "man1" / "prise-serve.1").read_text(encoding="utf-8").replace("\\-", "-")
    options = re.findall(r"^  .*?(--[\w-]+)", run("serve", "--help").stdout, re.MULTILINE)
    assert len(options) > 10
    assert [name for name in options if f"\\fB{name}\\fR" not in page and name not in page] == []
    assert r".TP" "\n" r"\fBprise serve echo\fR" "\n" in page


# Licences and versions


def test_the_list_of_licences_is_current(licences):
    """Later Pythons need less than the page lists."""
    listed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    missing = [row for row in licences.rows().values() if row.partition(" for ")[0] not in listed]
    assert not missing, "run scripts/licences.py with Python 3.11"
    lock = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    for name, version in re.findall(r"^\| \[?([\w-]+)\]?\S* \| ([\d.]+) \|", listed, re.MULTILINE):
        assert re.search(rf"^{name}=={version} ", lock.replace("_", "-"), re.MULTILINE), name


def test_nothing_that_prise_uses_is_copyleft(licences):
    rows = licences.rows()
    assert len(rows) > 20
    assert [row for row in rows.values() if licences.COPYLEFT.search(row.split("|")[3])] == []
    assert licences.COPYLEFT.search("GPL-3.0-or-later")
    assert licences.COPYLEFT.search("GNU Lesser General Public License v2 (LGPLv2)")


def test_the_supported_versions_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    classified = [text.rpartition(" ")[2] for text in project["classifiers"] if "Python :: 3." in text]
    stated = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| CPython (\S+) ", stated, re.MULTILINE) == classified
    assert project["requires-python"] == f">={classified[0]}"


# Installing (docs/install.md)


def test_the_page_about_installing_knows_every_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    assert set(rows) == set(extras)
    named = {name: set(re.findall(r"[a-z][\w-]+", text)) for name, text in rows.items() if name != "all"}
    assert named == {name: {re.split(r"[^\w-]", text)[0] for text in extras[name]} for name in named}
    asked = {name for text in re.findall(r"prise\[([\w,]+)\]", page) for name in text.split(",")}
    assert asked <= set(extras)


# The image for containers (docs/docker.md)


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile: instruction and arguments, with continued lines joined and comments left out."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def test_the_image_is_built_in_stages_by_hashes_and_runs_as_nobody_special():
    known = {
        "FROM",
        "ARG",
        "ENV",
        "WORKDIR",
        "COPY",
        "RUN",
        "USER",
        "VOLUME",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    lines = instructions()
    assert {word for word, _ in lines} <= known
    stages = [index for index, (word, _) in enumerate(lines) if word == "FROM"]
    assert len(stages) == 2
    assert all(re.match(r"python:3\.\d+-slim\b", lines[index][1]) for index in stages)
    final = dict(lines[stages[-1] :])
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", final["USER"]), "a number, so that it can be checked not to be root"
    assert "prise" in final["HEALTHCHECK"]
    assert "check" in final["HEALTHCHECK"]
    for name in ("ENTRYPOINT", "CMD", "VOLUME"):
        assert final[name].startswith("["), "the form without a shell, so that SIGTERM arrives"
    installs = [text for word, text in lines if word == "RUN" and "pip install" in text]
    assert any("--require-hashes" in text for text in installs)
    assert all("--require-hashes" in text or "--no-index" in text for text in installs)


def test_the_image_copies_only_what_is_there():
    for word, text in instructions():
        if word == "COPY" and "--from" not in text:
            *sources, _target = shlex.split(text)
            assert [name for name in sources if not (ROOT / name).exists()] == []


def understood(command: list[str]) -> None:
    """Raises what click raises for a command line that is wrong; nothing is run."""
    commands = build()
    root = click.Context(commands, info_name="prise")
    command_of = commands.get_command(root, command[0])
    assert command_of is not None, command
    command_of.make_context(command[0], command[1:], parent=root)


def test_the_commands_of_the_image_are_those_of_prise():
    final = dict(instructions())
    assert json.loads(final["ENTRYPOINT"]) == ["prise"]
    understood(json.loads(final["CMD"]))
    understood(json.loads(final["HEALTHCHECK"].partition("CMD ")[2])[1:])
    page = (ROOT / "docs" / "docker.md").read_text(encoding="utf-8")
    commands = [shlex.split(line) for line in re.findall(r"docker run .* prise (\w.*)$", page, re.MULTILINE)]
    assert len(commands) == 3
    for command in commands:
        understood(command)


def engine() -> str:
    """The container engine that runs here, or why there is none."""
    program = next(filter(None, map(shutil.which, ("docker", "podman"))), None)
    if program is None:
        return ""
    done = subprocess.run([program, "version"], capture_output=True, timeout=PATIENCE)
    return program if done.returncode == 0 else ""


@pytest.mark.timeout(600)
def test_the_image_is_built_and_healthy():
    program = engine()
    if not program:
        pytest.skip("no container engine runs here: the Dockerfile was read, and the image not built")
    build = [program, "build", "--quiet", "--file", str(DOCKER / "Dockerfile"), str(ROOT)]
    image = subprocess.run(build, check=True, capture_output=True, text=True, timeout=500).stdout.strip()
    said = subprocess.run(
        [program, "run", "--rm", image, "--version"], check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    assert said.stdout.startswith("prise ")
