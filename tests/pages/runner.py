"""Runs the code blocks of one page, as its reader would: `python -m pages.runner PAGE`, in an empty folder.

test_documentation.py starts it in a network of its own, so that what a page says is run to the letter: port 50000 is free there,
and `example.org` is this machine. It has processes of its own as well, which end with it. A page that needs more (a mail server,
a `connection` from nowhere) has a module here with its name, `docs/protocols/imap.md` in `protocols_imap.py`: `prepare(page)`, a
context manager that may give names to the page's Python.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import fcntl
import importlib
import inspect
import io
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import types
from pathlib import Path
from typing import Any

import prise
from pages.blocks import Block, alike, blocks, commands

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0  # seconds, for a command and for a server to listen
NAMES = (
    "localhost example.org www.example.org mail.example.org news.example.org ftp.example.org gopher.example.org "
    "router.example.org chat.example.org example.net host db server gopher.floodgap.com"
)


class Wrong(Exception):
    """The page says something that is not so."""


class Page:
    """A page that is being run. folder: where. names: of its Python."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = Path.cwd()
        self.names: dict[str, Any] = {"__name__": "__main__"}
        self.servers = contextlib.ExitStack()
        self.processes: list[tuple[str, subprocess.Popen[bytes], bool]] = []
        self.printed: list[str] = []
        self.environment = {
            **os.environ,
            "HOME": str(self.folder),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.environment["LANGUAGE"] = "fr" if path.name.endswith(".fr.md") else "en"
        self.environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those of our own tests, a second to import

    def run(self) -> None:
        prise.serve = self.serve  # type: ignore[assignment]
        with self.servers:
            for block in blocks(self.path):
                try:
                    self.run_block(block)
                except Exception as error:
                    raise Wrong(f"{self.path.relative_to(ROOT)}:{block.line}: {told(error)}") from error
            self.end()

    def run_block(self, block: Block) -> None:
        if block.title:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        if "by" in block.words or block.title:
            return
        if block.language == "python":
            self.run_python(block)
        elif block.language == "console":
            for command, expected in commands(block.text):
                self.run_command(command, expected, block.words)
        elif block.language == "sh":
            self.run_command(f"set -e\n{block.text}", [], block.words)
        elif block.output:
            if not alike(block.text.splitlines(), self.printed):
                raise Wrong("it printed:\n" + "\n".join(self.printed))
        elif block.language not in ("text", "json"):
            raise Wrong(f"what is to be done with a block in {block.language}? Give it a title, or say who runs it")

    def run_python(self, block: Block) -> None:
        # The line numbers of the page, so that a traceback points into it.
        code = compile("\n" * block.line + block.text, str(self.path), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        said = io.StringIO()
        failed = False
        with contextlib.redirect_stdout(said):
            try:
                if (
                    code.co_flags & inspect.CO_COROUTINE
                ):  # as in a notebook: `async with` and `await` outside of a function
                    asyncio.run(types.FunctionType(code, self.names)())
                else:
                    exec(code, self.names)
            except Exception as error:
                if "fails" not in block.words:
                    raise
                failed = True
                print(f"{type(error).__name__}: {error}")
        if failed != ("fails" in block.words):
            raise Wrong("it was to fail, and did not")
        self.printed = said.getvalue().splitlines()

    def serve(self, *arguments: Any, ready: Any = None, **more: Any) -> None:
        """`prise.serve` of a page: in the background until the page ends."""
        server = self.servers.enter_context(prise.listen(*arguments, **more))
        if ready is not None:
            ready(server.addresses)

    def run_command(self, command: str, expected: list[str], words: dict[str, str]) -> None:
        if "parse" in words:
            from pages.parsing import understood

            understood(command)
            return
        if "instead" in words:
            self.end()
        if "background" in words:
            self.start(command, "fails" in words)
            return
        typed = words["types"].split(" | ") if "types" in words else []
        done = subprocess.run(
            ["bash", "-c", command],
            input="".join(f"{line}\n" for line in typed),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=PATIENCE,
        )
        said = done.stdout
        if (done.returncode != 0) != ("fails" in words):
            raise Wrong(f"`{command}` ended with exit code {done.returncode} and said:\n{said}")
        shown = list(expected)
        for line in typed:  # a terminal shows what is typed; a pipe does not
            if line not in shown:
                raise Wrong(f"{line!r} is typed, and not in the block")
            shown.remove(line)
        if shown and not alike(shown, said.splitlines()):
            raise Wrong(f"`{command}` said:\n{said}")

    def start(self, command: str, fails: bool) -> None:
        """Starts what goes on, and waits until it listens somewhere. fails: something later on the page is to make it fail."""
        before = listening()
        log = open(self.folder / f".background-{len(self.processes)}", "w+b")  # noqa: SIM115 - read when it fails
        self.servers.callback(log.close)
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command.lstrip()}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self.folder,
            env=self.environment,
        )
        self.processes.append((command, process, fails))
        self.servers.callback(process.wait)
        self.servers.callback(process.kill)
        deadline = time.monotonic() + PATIENCE
        while not listening() - before:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)
                raise Wrong(f"`{command}` does not listen:\n{log.read().decode()}")
            time.sleep(0.01)

    def end(self) -> None:
        """Ends what runs in the background, the last one first."""
        while self.processes:
            command, process, fails = self.processes.pop()
            if process.poll() is None and not fails:
                process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
            ours = command.startswith(("prise", "python"))  # what others say by their exit code is theirs
            if (code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM)) != fails and (ours or fails):
                raise Wrong(f"`{command}` ended with exit code {process.returncode}")


def told(error: Exception) -> str:
    return str(error) if isinstance(error, Wrong) else "".join(traceback.format_exception(error))


def listening() -> set[str]:
    """All sockets here that wait for connections or datagrams (proc(5))."""
    found = set()
    for name, wanted in (("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == wanted:
                found.add(f"{name} {fields[1]} {fields[9]}")
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "00010000":  # __SO_ACCEPTCON
            found.add(f"unix {fields[6]}")
    return found


def own_network() -> None:
    """Switches the loopback interface of this network on (netdevice(7)), opens the low ports, and names the hosts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
        fcntl.ioctl(any_socket, 0x8914, request)  # SIOCSIFFLAGS
    Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
    hosts = Path.cwd() / ".hosts"
    hosts.write_text(f"127.0.0.1 {NAMES}\n::1 localhost\n")
    subprocess.run(["mount", "--bind", str(hosts), "/etc/hosts"], check=True)


def main() -> int:
    path = Path(sys.argv[1])
    own_network()
    page = Page(path)
    name = "_".join(path.relative_to(ROOT).with_suffix("").parts[path.is_relative_to(ROOT / "docs") :])
    name = name.removesuffix(".fr").replace("-", "_").lower()
    try:
        companion = importlib.import_module(f"pages.{name}") if (ROOT / "tests/pages" / f"{name}.py").exists() else None
        with companion.prepare(page) if companion else contextlib.nullcontext({}) as names:
            page.names.update(names or {})
            page.run()
    except Wrong as wrong:
        print(wrong, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
