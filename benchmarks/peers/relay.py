"""A relay that is a program: `PROGRAM OPTION... TARGET` becomes that program, listening on a free port that it first prints.

The port is found here because none of these programs tells in a way that a program can read. Nobody listens for a moment
after it is printed; the load tries again.
"""

from __future__ import annotations

import os
import socket
import sys


def command(program: str, options: list[str], port: int, target: str) -> list[str]:
    """One that serves many connections, and uses IPv4 and TCP_NODELAY where it can be said."""
    if program == "socat":
        here = f"TCP4-LISTEN:{port},bind=127.0.0.1,backlog=1024,reuseaddr,nodelay,fork"
        return ["socat", *options, here, f"TCP4:127.0.0.1:{target},nodelay"]
    if program == "ncat":
        keep = ["--listen", "--keep-open", "--max-conns", "1000"]
        return ["ncat", "-4", *keep, *options, "127.0.0.1", str(port), "--sh-exec", f"exec ncat 127.0.0.1 {target}"]
    return [sys.executable, "-m", "prise", "relay", "--quiet", *options, f"127.0.0.1:{port}", f"127.0.0.1:{target}"]


def main() -> None:
    program, *options, target = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    print(port, flush=True)
    arguments = command(program, options, port, target)
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
