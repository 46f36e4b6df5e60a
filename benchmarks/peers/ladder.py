"""The way from bare system calls to prise, one thing at a time: `--rung N`. Each rung does what the one below it does, and more.

    0 calls          poll, recv, send: whatever comes is sent back
    1 connections    an object for each connection: errors, the end, what the kernel did not take
    2 text           the lines of a read, as str, and back
    3 framing        prise's own: a line may come in pieces, has a limit, may end in CR
    4 times, counts  when something last came, since when the rest of a line is awaited; bytes and messages
    5 outbox         what is said is collected and written once; above a mark nothing more is read
    6 conversation   a generator, stepped for each line in its own context variables

The peers of `budget.py`: what prise costs above the last rung is its states, its layers' seam and its endings. `--prise` is
prise itself with lines of bytes: what is saved where nobody needs text.
"""

from __future__ import annotations

import argparse
import select
import socket
import time
from collections.abc import Generator
from contextvars import copy_context
from typing import Any

READ_SIZE = 64 * 1024
LIMIT = 1024 * 1024
MARK = 256 * 1024


class Loop:
    """The poller and its table; `now` and the counts are those of rung 4."""

    def __init__(self) -> None:
        self.poller = select.epoll()
        self.peers: dict[int, Connection] = {}
        self.now = 0.0
        self.bytes_received = self.bytes_sent = self.messages_received = self.messages_sent = 0

    def watch(self, number: int, writing: bool) -> None:
        self.poller.modify(number, select.EPOLLOUT if writing else select.EPOLLIN)

    def drop(self, peer: Connection) -> None:
        number = peer.socket.fileno()
        self.poller.unregister(number)
        del self.peers[number]
        peer.socket.close()


class Connection:
    """Rung 1. The others say what is sent back for what was read."""

    def __init__(self, accepted: socket.socket, loop: Loop) -> None:
        self.socket = accepted
        self.recv = accepted.recv
        self.loop = loop
        self.unsent = b""

    def on_readable(self) -> None:
        try:
            data = self.recv(READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self.loop.drop(self)
            return
        if not data:
            self.loop.drop(self)
            return
        self.take(data)

    def take(self, data: bytes) -> None:
        self.send(data)

    def send(self, data: bytes) -> None:
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.loop.drop(self)
            return
        if sent < len(data):
            self.unsent = data[sent:]
            self.loop.watch(self.socket.fileno(), True)

    def on_writable(self) -> None:
        data, self.unsent = self.unsent, b""
        self.loop.watch(self.socket.fileno(), False)
        self.send(data)


class Text(Connection):
    """Rung 2: no limit, and the rest of a line is added to the next read."""

    rest = b""

    def take(self, data: bytes) -> None:
        lines = (self.rest + data).split(b"\n")
        self.rest = lines.pop()
        texts = [line.decode() for line in lines]
        self.send(b"".join([(text + "\n").encode() for text in texts]))


class Framed(Connection):
    """Rung 3."""

    def __init__(self, accepted: socket.socket, loop: Loop) -> None:
        from prise.codecs import text
        from prise.framing import Lines

        super().__init__(accepted, loop)
        framing = Lines() | text()
        self.decoder = framing.decoder(LIMIT)
        self.feed = self.decoder.feed
        self.encode = framing.encode

    def take(self, data: bytes) -> None:
        encode = self.encode
        answers = [encode(message) for message in self.feed(data)]
        if answers:
            self.send(answers[0] if len(answers) == 1 else b"".join(answers))


class Timed(Framed):
    """Rung 4. The times are looked at by nobody here, as in prise by nobody before they are due."""

    active = partial_since = 0.0

    def take(self, data: bytes) -> None:
        loop = self.loop
        self.active = loop.now
        loop.bytes_received += len(data)
        messages = self.feed(data)
        if not self.decoder.pending:
            self.partial_since = 0.0
        elif messages or not self.partial_since:
            self.partial_since = self.active
        if messages:
            loop.messages_received += len(messages)
            self.answer(messages)

    def answer(self, messages: list[Any]) -> None:
        encode = self.encode
        answers = [encode(message) for message in messages]
        self.loop.messages_sent += len(answers)
        self.send(answers[0] if len(answers) == 1 else b"".join(answers))

    def send(self, data: bytes) -> None:
        super().send(data)
        self.loop.bytes_sent += len(data) - len(self.unsent)


class Outbox(Timed):
    """Rung 5."""

    def __init__(self, accepted: socket.socket, loop: Loop) -> None:
        super().__init__(accepted, loop)
        self.out: list[bytes] = []
        self.out_size = 0
        self.blocked = self.in_turn = False

    def answer(self, messages: list[Any]) -> None:
        self.in_turn = True
        try:
            self.deliver(messages)
        finally:
            self.in_turn = False
        if self.out and not self.blocked:
            self.flush()

    def deliver(self, messages: list[Any]) -> None:
        out, encode = self.out, self.encode
        said = 0
        try:
            for message in messages:
                data = encode(message)
                said += 1
                out.append(data)
                size = self.out_size = self.out_size + len(data)
                if size > MARK and not self.blocked:
                    self.flush()
        finally:
            self.loop.messages_sent += said

    def flush(self) -> None:
        out = self.out
        data = out[0] if len(out) == 1 else b"".join(out)
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.loop.drop(self)
            return
        self.loop.bytes_sent += sent
        out.clear()
        if sent == len(data):
            self.out_size = 0
            return
        out.append(data[sent:])
        self.out_size = len(data) - sent
        self.blocked = True
        self.loop.watch(self.socket.fileno(), True)

    def on_writable(self) -> None:
        self.blocked = False
        self.loop.watch(self.socket.fileno(), False)
        self.flush()


def echo() -> Generator[Any, Any, None]:
    reply = None
    while True:
        reply = yield reply


class Conversing(Outbox):
    """Rung 6."""

    def __init__(self, accepted: socket.socket, loop: Loop) -> None:
        super().__init__(accepted, loop)
        conversation = echo()
        conversation.send(None)
        self.step = conversation.send
        self.run = copy_context().run

    def answer(self, messages: list[Any]) -> None:
        self.in_turn = True
        try:
            self.run(self.deliver, messages)
        finally:
            self.in_turn = False
        if self.out and not self.blocked:
            self.flush()

    def deliver(self, messages: list[Any]) -> None:
        out, step, encode = self.out, self.step, self.encode
        said = 0
        try:
            for message in messages:
                reply = step(message)
                if reply is not None:
                    data = encode(reply)
                    said += 1
                    out.append(data)
                    size = self.out_size = self.out_size + len(data)
                    if size > MARK and not self.blocked:
                        self.flush()
        finally:
            self.loop.messages_sent += said


KINDS = (Connection, Text, Framed, Timed, Outbox, Conversing)


def listen() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    return listener


def welcome(listener: socket.socket) -> socket.socket:
    accepted, _ = listener.accept()
    accepted.setblocking(False)
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return accepted


def serve_calls() -> None:
    """Rung 0: nothing but the calls. Only fit for a peer that reads what it is sent."""
    listener, poller = listen(), select.epoll()
    poller.register(listener, select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    while True:
        for number, _events in poller.poll():
            peer = peers.get(number)
            if peer is None:
                accepted = welcome(listener)
                peers[accepted.fileno()] = accepted
                poller.register(accepted, select.EPOLLIN)
            elif data := peer.recv(READ_SIZE):
                peer.send(data)
            else:
                poller.unregister(number)
                peers.pop(number).close()


def serve(kind: type[Connection], timed: bool) -> None:
    listener, loop = listen(), Loop()
    peers, poller = loop.peers, loop.poller
    poller.register(listener, select.EPOLLIN)
    while True:
        ready = poller.poll()
        if timed:
            loop.now = time.monotonic()
        for number, events in ready:
            peer = peers.get(number)
            if peer is None:
                accepted = welcome(listener)
                peers[accepted.fileno()] = kind(accepted, loop)
                poller.register(accepted, select.EPOLLIN)
            elif events & select.EPOLLOUT:
                peer.on_writable()
            else:
                peer.on_readable()


def serve_prise() -> None:
    import prise
    from benchmarks.prise_servers import announce, echo_generator

    limits = prise.Limits(connections=20_000, connections_per_peer=20_000)
    prise.serve(echo_generator, "127.0.0.1:0", framing="lines | bytes", model="select", limits=limits, ready=announce)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--rung", type=int, choices=range(len(KINDS) + 1))
    which.add_argument("--prise", action="store_true")
    options = parser.parse_args()
    rung = options.rung
    if options.prise:
        serve_prise()
    elif rung == 0:
        serve_calls()
    else:
        serve(KINDS[rung - 1], rung >= 4)
