"""The command as a whole: help, languages, mistakes and their exit codes, completion, start-up."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

from cli_process import PATIENCE, SOURCE, Running, argv, environment, run, run_here, without
from prise.cli import parameters
from prise.core.conversation import MODELS
from prise.framing.names import FRAMINGS

pytest.importorskip("click")

COMMANDS = ("serve", "connect", "talk", "completion")


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.endswith("\n")
    return text


# Help and language


@pytest.mark.parametrize(("language", "usage"), [("en_US.UTF-8", "Usage:"), ("fr_FR.UTF-8", "Usage\u00a0:")])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command, language, usage):
    done = run(command, "--help", language=language)
    assert done.returncode == 0
    assert done.stdout.startswith(usage)
    assert re.search(r"(Examples|Exemples)\s*:\n +\S*.*prise", done.stdout)
    assert "--lang" in done.stdout
    assert done.stderr == ""


def test_the_list_of_commands():
    done = run("--help")
    for command in (*COMMANDS, "chat"):
        assert re.search(rf"^  {command} +\w", done.stdout, re.MULTILINE)
    assert done.returncode == 0


def test_without_a_command_the_help_is_an_error():
    done = run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage:" in done.stderr


def test_the_version():
    """One line with all that a report of a fault should tell."""
    done = run("--version")
    assert re.fullmatch(r"prise \d+\.\d+\.\d+, CPython 3\.\S+, Linux \S+ \w+\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [["--lang", "fr", "serve", "echo", "--idle", "x"], ["serve", "--lang=fr", "echo", "--idle", "x"]],
    ids=["before the command", "after it"],
)
def test_lang_goes_before_the_environment(arguments):
    """Before the command or behind it, and click's own words follow."""
    assert "Valeur" in run(*arguments, language="en_US.UTF-8").stderr
    assert "Invalid value" in run(*(word.replace("fr", "en") for word in arguments), language="fr_FR.UTF-8").stderr


def test_a_language_that_prise_does_not_speak():
    done = run("serve", "--lang", "tlh", "echo")
    assert done.returncode == 2
    assert "tlh" in one_line(done.stderr)


# Mistakes: one line that says what is wrong, and an exit code


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["sreve"], 2, "did you mean serve?"),
        (["serve"], 2, "CONVERSATION"),
        (["serve", "echo", "--nosuch"], 2, "--nosuch"),
        (["serve", "ecko"], 2, "did you mean echo?"),
        (["serve", "no_such_module:f"], 2, "no module no_such_module"),
        (["serve", "os.no_such:f"], 2, "no module os.no_such"),
        (["serve", "..x:f"], 2, "not the name of a module"),
        (["serve", "no_such.py:f"], 2, "no file no_such.py"),
        (["serve", "os:no_such_function"], 2, "no function no_such_function"),
        (["serve", "os:sep"], 2, "a conversation is a function"),
        (["serve", "os.path:commonprefix_", "--model", "threads"], 2, "no function"),
        (["serve", "os:link"], 2, "must take one argument"),
        (["serve", "echo", "--model", "fibres"], 2, "fibres"),
        (["serve", "os.path:basename", "--model", "select"], 2, "a plain function blocks"),
        (["serve", "echo", "--framing", "linez"], 2, "is 'lines' meant?"),
        (["serve", "echo", "--on", "htp://localhost:80"], 2, "unknown scheme htp"),
        (["serve", "echo", "--on", "exec:cat"], 4, "cannot be listened on"),
        (["serve", "echo", "--idle", "soon"], 2, "500ms"),
        (["serve", "echo", "--max-message", "big"], 2, "64K"),
        (["serve", "echo", "--max-message", "0"], 2, "above 0"),
        (["serve", "echo", "--max-connections", "0"], 2, "--max-connections"),
        (["serve", "echo", "--reload"], 2, "your own code"),
        (["connect"], 2, "ADDRESS"),
        (["connect", "nonsense"], 2, "the port is missing"),
        (["connect", "host.invalid:1"], 3, "no host is called host.invalid"),
        (["connect", ":1", "--crlf", "--framing", "lines"], 2, "--crlf"),
        (["connect", "https://localhost/"], 2, "prise get"),
        (["talk", "::::"], 2, "::::"),
        (["completion", "csh"], 2, "csh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gives_one_line_and_its_exit_code(arguments, code, says):
    done = run_here(*arguments)
    assert says in one_line(done.stderr)
    assert done.stderr.startswith("prise")
    assert done.returncode == code
    assert done.stdout == ""


def test_mistakes_are_told_in_french_too():
    done = run("serve", "ecko", language="fr_FR.UTF-8")
    assert done.returncode == 2
    assert "echo" in one_line(done.stderr)
    assert "did you mean" not in done.stderr


def test_nobody_answers_is_4():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = run("connect", f"127.0.0.1:{port}")
    assert "refused" in one_line(done.stderr)
    assert done.returncode == 4


def test_a_busy_port_is_4():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("serve", "echo", "--on", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.returncode == 4
    one_line(done.stderr)


def test_too_slow_is_5(tmp_path):
    """A listener whose queue is full: the kernel lets nobody else in."""
    path = str(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as full:
        full.bind(path)
        full.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(path)
            done = run("connect", "--timeout", "200ms", path)
    one_line(done.stderr)
    assert done.returncode == 5


@pytest.mark.parametrize("command", ["prise.cli:main", "prise"])
def test_without_click_the_cure_is_named(tmp_path, command):
    start = (
        ["-m", "prise"] if command == "prise" else ["-c", "import sys; from prise.cli import main; sys.exit(main())"]
    )
    env = environment() | {"PYTHONPATH": without("click", tmp_path)}
    done = subprocess.run(
        [argv()[0], *start, "serve", "echo"], env=env, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr == (
        "prise: the command needs a package that is not installed; install it with: pip install 'prise[cli]'\n"
    )
    assert done.returncode == 2
    said = subprocess.check_output([argv()[0], *start, "--version"], env=env, text=True, timeout=PATIENCE)
    assert said.startswith("prise ")


def test_when_nobody_reads_stdout_the_end_is_quiet():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        argv("serve", "--help"), stdout=write, stderr=subprocess.PIPE, env=environment(), check=False, timeout=PATIENCE
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_without_standard_streams_it_works_all_the_same():
    """As from a daemon that has closed them all: what is opened must not become "stdout"."""
    with Running("serve", "greet", "--on", "127.0.0.1:0") as server:
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv("connect", f"127.0.0.1:{server.port()}")]
        done = subprocess.run(command, env=environment(), check=False, timeout=PATIENCE)
        assert done.returncode == 0
        server.signal()
        assert server.wait() == 0
        assert "connections: 1;" in server.err.rest()[-1]


# Completion (in shells: test_cli_completion.py)


def test_what_a_shell_offers_is_what_the_library_has():
    assert set(parameters.MODELS) == set(MODELS)
    assert set(parameters.FRAMINGS) == set(FRAMINGS)


# Start-up


def test_a_pipe_needs_no_asyncio(bare_environment):
    """`prise connect` starts in a fraction of the time that asyncio alone takes to import."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [argv()[0], "-X", "importtime", "-m", "prise", "connect", f"127.0.0.1:{server.getsockname()[1]}"]
        env = bare_environment | {"PYTHONPATH": SOURCE}
        with subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            connection, _ = server.accept()
            connection.close()
            assert process.stderr is not None
            imported = {line.rpartition(b"|")[2].strip().decode() for line in process.stderr}
    assert process.returncode == 0
    assert {"click", "prise.cli.link"} <= imported
    assert not {"asyncio", "ssl", "prompt_toolkit", "http", "prise.cli.serve"} & imported


def test_the_files_of_the_command_import_no_other_part_of_prise_than_the_public_one():
    folder = Path(SOURCE) / "prise" / "cli"
    services = (
        "prise.cli",
        "prise.chat",
        "prise.checks",
        "prise.handover",
        "prise.observe",
        "prise.protocols",
        "prise.reader",
        "prise.relay",
        "prise.transfer",
        "prise.web",
    )
    for path in folder.glob("*.py"):
        for module in re.findall(r"^\s*(?:from|import) (prise[\w.]*)", path.read_text(), re.MULTILINE):
            assert module in ("prise", "prise.locale") or module.startswith(services), path
