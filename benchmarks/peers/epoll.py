"""Bare `select.epoll` in Python, the reference: no framework, no limits, no deadlines.

`--batch` answers all the lines of one read with one write; without it, each line has its own write, as most programs do.
`--workers N`: so many processes, among whose listeners the kernel divides the connections.
"""

from __future__ import annotations

import select
import socket
import sys

from benchmarks.peers import shared


class Peer:
    """One connection: the unfinished line it has sent, and the answers that the kernel has not taken yet."""

    __slots__ = ("socket", "rest", "unsent")

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.rest = b""
        self.unsent = b""


def serve(batch: bool) -> None:
    listener = shared.listener()
    listener.setblocking(False)
    poller = select.epoll()
    poller.register(listener, select.EPOLLIN)
    peers: dict[int, Peer] = {}
    shared.announce(listener)

    def send(number: int, peer: Peer, data: bytes) -> None:
        if peer.unsent:
            peer.unsent += data
            return
        try:
            sent = peer.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            peer.unsent = data[sent:]
            poller.modify(number, select.EPOLLOUT)  # and nothing more is read until it has gone

    def drop(number: int) -> None:
        poller.unregister(number)
        peers.pop(number).socket.close()

    while True:
        for number, _ in poller.poll():
            if number == listener.fileno():
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[accepted.fileno()] = Peer(accepted)
                poller.register(accepted, select.EPOLLIN)
                continue
            peer = peers[number]
            try:
                if peer.unsent:
                    peer.unsent = peer.unsent[peer.socket.send(peer.unsent) :]
                    if not peer.unsent:
                        poller.modify(number, select.EPOLLIN)
                    continue
                data = peer.socket.recv(65536)
                if not data:
                    drop(number)
                    continue
                data = peer.rest + data
                if batch:
                    end = data.rfind(b"\n") + 1
                    if end:
                        send(number, peer, data[:end])
                    peer.rest = data[end:]
                else:
                    *lines, peer.rest = data.split(b"\n")
                    for line in lines:
                        send(number, peer, line + b"\n")
            except OSError:
                drop(number)


if __name__ == "__main__":
    serve(batch="--batch" in sys.argv)
