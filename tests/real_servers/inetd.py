"""Servers that expect an inetd: a program for each connection, with the socket as its input and output. socat is that inetd."""

from __future__ import annotations

from collections.abc import Mapping

from real_servers.base import RealServer


class InetdServer(RealServer):
    programs = ("socat",)

    def listen(self, command: str, *, as_root: bool = False, env: Mapping[str, str] | None = None) -> None:
        """Runs `command` for each connection to `port`. Words are parted by spaces, and ":" and "," need a backslash."""
        listener = f"TCP-LISTEN:{self.port},bind={self.host},reuseaddr,fork,backlog=64"
        self.run(["socat", listener, f"EXEC:{command},nofork"], self.port, as_root=as_root, env=env)

    def listen_tls(self, command: str, *, env: Mapping[str, str] | None = None) -> None:
        """The same for `tls_port`, where socat does the TLS and the program has a pipe."""
        certificate = f"cert={self.cert()},key={self.key()},verify=0"
        listener = f"OPENSSL-LISTEN:{self.tls_port},bind={self.host},reuseaddr,fork,backlog=64,{certificate}"
        self.run(["socat", listener, f"EXEC:{command}"], self.tls_port, env=env)
