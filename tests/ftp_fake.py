"""An FTP server that answers as a test says: a conversation on prise's own server, with data connections."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeAlias

import prise

PATIENCE = 5.0


class Line:
    """What an answer may do, where it is a function."""

    def __init__(self, connection: Any, argument: str, listener: socket.socket | None) -> None:
        self.connection, self.argument, self._listener = connection, argument, listener

    def say(self, *lines: str) -> None:
        for line in lines:
            self.connection.send(line)

    def data(self) -> socket.socket:
        """The data connection, which the client has made."""
        assert self._listener is not None
        sock = self._listener.accept()[0]
        sock.settimeout(PATIENCE)
        return sock


Answer: TypeAlias = "str | Sequence[bytes] | Callable[[Line], None]"
"""A line to say; pieces to send over a data connection; or a function that does what it likes."""

USUAL: dict[str, Answer] = {
    "AUTH": "502 no",
    "USER": "230 in",
    "FEAT": lambda line: line.say("211-", " MLST type*;", " REST STREAM", " SIZE", "211 End"),
    "TYPE": "200 ok",
    "REST": "350 go on",
    "PWD": '257 "/"',
    "CWD": "250 there",
    "QUIT": "221 bye",
}


@contextmanager
def fake(answers: Mapping[str, Answer], greeting: str = "220 hello", host: str = "127.0.0.1") -> Iterator[str]:
    """Its URL. answers: by command; the others get the usual one. host: a loopback address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    where = f"[{host}]" if ":" in host else host

    def conversation(connection: Any) -> None:
        with ExitStack() as stack, suppress(OSError, prise.PeerError):
            listener: socket.socket | None = None
            connection.send(greeting)
            for text in connection:
                command, _, argument = text.partition(" ")
                if command == "EPSV" and command not in answers:
                    listener = stack.enter_context(socket.create_server((host, 0), family=family))
                    listener.settimeout(PATIENCE)
                    connection.send(f"229 go (|||{listener.getsockname()[1]}|)")
                    continue
                answer = answers.get(command, USUAL.get(command, "500 what?"))
                line = Line(connection, argument, listener)
                if isinstance(answer, str):
                    line.say(answer)
                elif callable(answer):
                    answer(line)
                else:
                    line.say("150 here")
                    with line.data() as data:
                        for piece in answer:
                            data.sendall(piece)
                    line.say("226 done")

    with prise.listen(conversation, f"{where}:0", framing="lines") as server:
        yield f"ftp://{where}:{server.address.port}/"
