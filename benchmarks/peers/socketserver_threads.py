"""The standard library's `socketserver`: a thread for each connection, or with `--fork` a process."""

from __future__ import annotations

import socketserver
import sys


class Echo(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True


class ForkingServer(socketserver.ForkingTCPServer):
    request_queue_size = 1024
    max_children = 1000  # 40 otherwise, and whoever comes then waits until one of them has ended


if __name__ == "__main__":
    with (ForkingServer if "--fork" in sys.argv else Server)(("127.0.0.1", 0), Echo) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
