"""Twisted's `LineOnlyReceiver`, the faster of its two line protocols, on its default reactor (epoll)."""

from __future__ import annotations

from twisted.internet import protocol, reactor
from twisted.protocols.basic import LineOnlyReceiver


class Echo(LineOnlyReceiver):
    delimiter = b"\n"

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        self.sendLine(line)


if __name__ == "__main__":
    port = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), backlog=1024, interface="127.0.0.1")
    print(port.getHost().port, flush=True)
    reactor.run()
