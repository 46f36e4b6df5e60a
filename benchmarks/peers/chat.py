"""A chat server that is a program: `PROGRAM OPTION...` becomes that program, listening on a free port that it first prints.

    prise OPTION...      `prise chat` on uvloop, with these options; its store is in benchmarks/build, on a disk: each
                         message is durable before it is shown. Nothing bounds how fast one client speaks
    asyncio OPTION...    the same on asyncio's own loop
    ngircd               with all limits off, and nobody looked up by name (ngircd.conf(5))

As in `relay`, nobody listens for a moment after the port is printed; the load tries again.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

BUILD = Path(__file__).parent.parent / "build"

NGIRCD = """
[Global]
Name = irc.example.org
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = chat
Info = chat
AdminInfo1 = chat
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 16
MaxPenaltyTime = 0
PingTimeout = 3600
PongTimeout = 3600
[Options]
DNS = no
Ident = no
PAM = no
"""


def command(program: str, options: list[str], port: int, folder: Path) -> list[str]:
    if program == "ngircd":
        (folder / "ngircd.conf").write_text(NGIRCD.format(port=port))
        return ["ngircd", "--nodaemon", "--config", str(folder / "ngircd.conf")]
    place = ["--on", f"127.0.0.1:{port}", "--store", f"sqlite:{folder / 'chat.sqlite'}"]
    return [sys.executable, "-m", "prise", "chat", *place, "--rate", "none", "--uploads", "none", *options]


def main() -> None:
    program, *options = sys.argv[1:]
    BUILD.mkdir(exist_ok=True)
    for old in BUILD.glob("chat-*"):  # of servers that are gone
        if not Path(f"/proc/{old.name.split('-')[1]}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"chat-{os.getpid()}-", dir=BUILD))
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    os.environ["LANG"] = os.environ["LC_ALL"] = os.environ["LANGUAGE"] = "C"  # the load reads what it says
    os.environ["PRISE_UVLOOP"] = "0" if program == "asyncio" else "1"
    print(port, flush=True)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    arguments = command(program, options, port, folder)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
