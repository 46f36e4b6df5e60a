"""A news server that knows all its answers beforehand, so that it costs next to nothing: for measuring clients.

python -m benchmarks.peers.news_server OVERVIEWS ARTICLES      one group, bench.test; prints its port
"""

from __future__ import annotations

import socket
import sys
import threading

GROUP = b"bench.test"


def answers(overviews: int, articles: int) -> dict[bytes, bytes]:
    """Command -> answer; of articles, one text for all."""
    line = (
        b"%d\tSubject number %d, as long as subjects are\tSomebody <somebody@example.org>\tSat, 21 Nov 2026 12:00:00 +0000\t"
        b"<%d.bench@example.org>\t<parent.%d@example.org>\t3000\t40\tXref: bench bench.test:%d\r\n"
    )
    over = b"224 overview follows\r\n" + b"".join(line % ((n,) * 5) for n in range(1, overviews + 1)) + b".\r\n"
    head = b"From: a@example.org\r\nNewsgroups: bench.test\r\nSubject: x\r\nMessage-ID: <1@example.org>\r\n\r\n"
    article = b"220 1 <1@example.org>\r\n" + head + (b"0123456789" * 7 + b"\r\n") * 40 + b".\r\n"
    return {
        b"CAPABILITIES": b"101 these\r\nVERSION 2\r\nREADER\r\nOVER\r\n.\r\n",
        b"MODE": b"200 ready\r\n",
        b"GROUP": b"211 %d 1 %d %s\r\n" % (overviews, overviews, GROUP),
        b"OVER": over,
        b"XOVER": over,
        b"LIST": b"215 order\r\nSubject:\r\nFrom:\r\nDate:\r\nMessage-ID:\r\nReferences:\r\n"
        b":bytes\r\n:lines\r\nXref:full\r\n.\r\n",
        b"ARTICLE": article,
        b"QUIT": b"205 bye\r\n",
    }


def serve(sock: socket.socket, known: dict[bytes, bytes]) -> None:
    """One client; its commands may come several at a time."""
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"200 ready\r\n")
        held = b""
        while data := sock.recv(65536):
            lines = (held + data).split(b"\r\n")
            held = lines.pop()
            verbs = [line.partition(b" ")[0].upper() for line in lines]
            sock.sendall(b"".join(known.get(verb, b"500 what?\r\n") for verb in verbs))


def main() -> None:
    known = answers(int(sys.argv[1]), int(sys.argv[2]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, known), daemon=True).start()


if __name__ == "__main__":
    main()
