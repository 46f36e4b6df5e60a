"""Completion: what prise answers to the scripts of the shells, and the scripts in real shells."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_process import PATIENCE, argv, environment, run

pytest.importorskip("click")

PROGRAM = f"""\
#!/bin/sh
# For completion it is prise; else it shows what it was given.
[ -z "$_PRISE_COMPLETE" ] || exec {sys.executable} -m prise
[ "$1" != completion ] || exec {sys.executable} -m prise "$@"
printf '<%s>' "$@"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program `prise`, and the three completion files, named as in an installation."""
    folder = tmp_path_factory.mktemp("completion")
    program = folder / "prise"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    for shell, name in {"bash": "prise.bash", "zsh": "_prise", "fish": "prise.fish"}.items():
        done = run("completion", shell)
        assert done.returncode == 0
        (folder / name).write_text(done.stdout)
    return folder


def typed(command: list[str], ready: bytes, keys: str, folder: Path, cwd: Path) -> str:
    """What `prise` was given at the end, after these keys were typed in an interactive shell."""
    variables = environment(PATH=f"{folder}:{os.environ['PATH']}", TERM="dumb", PS1="ready> ", HOME=str(cwd))
    terminal, inside = pty.openpty()
    process = subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, env=variables, cwd=cwd, start_new_session=True
    )
    os.close(inside)
    said = b""
    deadline = time.monotonic() + PATIENCE
    try:
        waiting = [(ready, keys.encode() + b"\n"), (rb"(<[^>]*>)+", b"\x15exit\n")]
        for pattern, then in waiting:
            while not re.search(pattern, said):
                assert select.select([terminal], [], [], deadline - time.monotonic())[0], said
                said += os.read(terminal, 4096)
            os.write(terminal, then)
        return b"".join(re.findall(rb"<[^>]*>", said)).decode()
    finally:
        process.terminate()
        os.close(terminal)
        process.wait(PATIENCE)


@pytest.mark.parametrize(
    ("keys", "given"),
    [
        ("prise ser\t ec\t", "<serve><echo>"),
        ("prise connect :5\t --fram\t net\t", "<connect><:50000><--framing><netstring>"),
        ("prise connect localhost:\t", "<connect><localhost:50000>"),
        ("prise connect '*:5\t", "<connect><*:50000>"),
        ("prise serve echo --model=th\t", "<serve><echo><--model=threads>"),
    ],
)
def test_bash_completes_commands_options_and_addresses(scripts, tmp_path, keys, given):
    """bash cuts the line at ":" and "=": what is typed is completed all the same, and nothing is said twice."""
    start = "bind 'set enable-bracketed-paste off'; source prise.bash"
    (tmp_path / ".bashrc").write_text(f"cd {scripts}; {start}; cd {tmp_path}; PS1='ready> '\n")
    command = ["bash", "--noprofile", "--rcfile", str(tmp_path / ".bashrc"), "-i"]
    assert typed(command, b"ready> ", keys, scripts, tmp_path) == given


@pytest.mark.parametrize(
    ("keys", "given"),
    [
        ("prise ser\t ec\t", "<serve><echo>"),
        ("prise connect :5\t --fram\t net\t", "<connect><:50000><--framing><netstring>"),
    ],
)
def test_zsh_completes_with_the_file_in_its_function_path(scripts, tmp_path, keys, given):
    assert shutil.which("zsh"), "zsh is not installed; see tests/debian-packages.txt"
    start = f"fpath=({scripts} $fpath); autoload -U compinit; compinit -u -D; PS1='ready> '"
    # The keys come faster than anybody types; a Tab with more behind it would be a character.
    (tmp_path / ".zshrc").write_text(f"{start}; zstyle ':completion:*' insert-tab false\n")
    assert typed(["zsh", "-d", "-i"], b"ready> ", keys, scripts, tmp_path) == given


@pytest.mark.parametrize(
    ("line", "offered"), [("prise ser", "serve"), ("prise connect :5", ":50000"), ("prise connect --fram", "--framing")]
)
def test_fish_completes(scripts, tmp_path, line, offered):
    assert shutil.which("fish"), "fish is not installed; see tests/debian-packages.txt"
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source {scripts}/prise.fish; complete --do-complete '{line}'"],
        env=environment(PATH=f"{scripts}:{os.environ['PATH']}", HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert [each.partition("\t")[0] for each in done.stdout.splitlines()] == [offered], done.stderr


def test_the_lines_of_install_md_make_the_shells_complete(scripts, tmp_path):
    page = (Path(__file__).resolve().parent.parent / "docs" / "install.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\$ (.*prise completion.*)$", page, re.MULTILINE)
    assert len(lines) == 3
    (tmp_path / ".config" / "fish" / "completions").mkdir(parents=True)
    (tmp_path / ".zshrc").write_text("autoload -U compinit; compinit -u -D\n")
    variables = environment(PATH=f"{scripts}:{os.environ['PATH']}", HOME=str(tmp_path))
    subprocess.run(["bash", "-c", "\n".join(lines)], env=variables, check=True, timeout=PATIENCE)
    for name in (".bashrc", ".zshrc"):
        with (tmp_path / name).open("a") as file:
            file.write("PS1='ready> '\n")
    for shell in (["bash", "--noprofile", "--rcfile", str(tmp_path / ".bashrc"), "-i"], ["zsh", "-d", "-i"]):
        assert typed(shell, b"ready> ", "prise ser\t", scripts, tmp_path) == "<serve>"
    assert "prise" in (tmp_path / ".config" / "fish" / "completions" / "prise.fish").read_text()


def complete(line: str) -> list[str]:
    env = environment(_PRISE_COMPLETE="bash_complete", COMP_LINE=line)
    done = subprocess.run(argv(), env=env, capture_output=True, text=True, check=True, timeout=PATIENCE)
    return [each.partition(",")[2] for each in done.stdout.splitlines() if each]


def test_what_is_offered():
    assert {"serve", "connect", "talk", "chat", "completion"} <= set(complete("prise "))
    assert {"echo", "greet", "upper", "discard", "time"} <= set(complete("prise serve "))
    assert complete("prise serve echo --model th") == ["threads"]
    assert complete("prise serve 'two words' --model th") == ["threads"]
    assert "--version" in complete("prise --")
    assert complete("prise nothing") == []


def test_the_list_of_commands_imports_none_of_them():
    """So that the key Tab does not take longer than the finger."""
    variables = environment(_PRISE_COMPLETE="zsh_complete", COMP_WORDS="prise", COMP_CWORD="1")
    command = [sys.executable, "-X", "importtime", "-m", "prise"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert "serves a conversation" in done.stdout
    assert "prise.cli.completion" in done.stderr
    assert "prise.cli.serve" not in done.stderr
