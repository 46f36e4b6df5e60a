"""A web server that is a program: `PROGRAM FOLDER [WORKERS]` becomes that program, on a free port that it first prints.

The port is found here because few of these programs tell it in a way that a program can read. Nobody listens for a moment after
it is printed; the load tries again. None of them writes an access log.
"""

from __future__ import annotations

import getpass
import os
import socket
import sys
from pathlib import Path

NGINX = """
user {user}; worker_processes {workers}; daemon off; pid {place}.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    client_body_temp_path {place}.body; proxy_temp_path {place}.proxy; fastcgi_temp_path {place}.fastcgi;
    uwsgi_temp_path {place}.uwsgi; scgi_temp_path {place}.scgi;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}; }}
}}
"""


def command(program: str, folder: str, workers: int, port: int) -> list[str]:
    """With what each one's documentation says about serving files fast."""
    if program == "nginx":
        place = f"{folder}.nginx-{port}"
        file = Path(f"{place}.conf")
        file.write_text(
            NGINX.format(user=getpass.getuser(), workers=workers, place=place, folder=folder, port=port),
            encoding="utf-8",
        )
        return ["nginx", "-e", "stderr", "-c", str(file)]
    if program == "caddy":
        return ["caddy", "file-server", "--root", folder, "--listen", f"127.0.0.1:{port}"]
    if program == "darkhttpd":
        return ["darkhttpd", folder, "--addr", "127.0.0.1", "--port", str(port), "--log", "/dev/null"]
    if program == "granian":
        mount = ["--static-path-route", "/static", "--static-path-mount", f"{folder}/static"]
        rest = ["--interface", "asgi", "--loop", "uvloop", "--log-level", "error", "--workers", str(workers)]
        where = ["--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "granian", *where, *rest, *mount, "benchmarks.peers.web_python:nothing"]
    assert program == "prise"
    options = ["--on", f"127.0.0.1:{port}", "--log", "none", "--workers", str(workers)]
    return [sys.executable, "-m", "prise", "web", folder, *options]


def main() -> None:
    program, folder, *more = sys.argv[1:]
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    print(port, flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    arguments = command(program, folder, int(more[0]) if more else 1, port)
    os.environ["PATH"] += ":/usr/sbin"  # where Debian has nginx
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main()
