"""Twisted's `LineOnlyReceiver`, the faster of its two line protocols, on its default reactor (epoll).

`--longest BYTES`: of a line; its default is 16 KiB.
"""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import protocol
from twisted.internet import reactor as installed_reactor
from twisted.protocols.basic import LineOnlyReceiver

reactor: Any = installed_reactor  # Twisted's types do not say which reactor this is


class Echo(LineOnlyReceiver):
    delimiter = b"\n"
    MAX_LENGTH = int(sys.argv[sys.argv.index("--longest") + 1]) if "--longest" in sys.argv else 16384
    transport: Any

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(line)


if __name__ == "__main__":
    port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), backlog=1024, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()
