"""`prise chat --explain`: what the tutorials describe, made visible."""

from __future__ import annotations

import re
import socket
from pathlib import Path

from chat_support import Chat

BACKPRESSURE = re.compile(
    r"^bob: [\d,]+ bytes are queued: it does not read them. More than 65,536, so nothing more is read", re.M
)


def test_it_shows_that_recv_is_not_a_message(tmp_path: Path) -> None:
    with (
        Chat(tmp_path / "chat.sqlite", "--explain") as chat,
        socket.create_connection(("127.0.0.1", chat.port)) as sock,
    ):
        chat.errors.wait_for("127.0.0.1:")
        sock.sendall(b"ali")
        chat.errors.wait_for("one recv is not one message: 3 bytes are kept until the end of their line comes")
        sock.sendall("ce\nça va ?\n".encode())
        chat.errors.wait_for("message of 5 bytes, in 2 pieces: 'alice'")
        chat.errors.wait_for("message of 8 bytes: 'ça va ?'")
        chat.errors.wait_for("messages in one send")
        sock.shutdown(socket.SHUT_WR)
        chat.errors.wait_for("it has ended its side (recv gave 0 bytes)")
        chat.errors.wait_for("we have nothing more to say: the connection is closed")


def test_it_shows_the_queue_of_who_does_not_read_and_when_backpressure_acts(tmp_path: Path) -> None:
    with Chat(tmp_path / "chat.sqlite", "--explain") as chat, chat.person("alice") as alice:
        with chat.person("bob", read=False) as bob:
            alice.sees("* bob joined")
            place = 0
            while not BACKPRESSURE.search(chat.errors.text):  # the kernel keeps some megabytes for him
                alice.say("\n".join(["x" * 3000] * 10 + ["there"]))
                place = alice.sees("<alice> there", place)
            bob.screen.start()
            chat.errors.wait_for("bob: it has read everything: nothing is queued any more")


def test_it_tells_http_from_lines(tmp_path: Path) -> None:
    with (
        Chat(tmp_path / "chat.sqlite", "--explain") as chat,
        socket.create_connection(("127.0.0.1", chat.port)) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        chat.errors.wait_for("the first line is a request: it speaks HTTP")
