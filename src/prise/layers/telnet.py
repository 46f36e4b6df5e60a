r"""Telnet (RFC 854, RFC 855) for servers of lines: the protocol's own bytes never reach the inside, every option is refused.

What IAC (255) introduces is taken out of the input: options are refused at once (WILL gets DONT, DO gets WONT), which leaves
client and server in the plain "network virtual terminal" that both start in; WONT and DONT agree with that already and get
no answer, so no two sides can answer each other for ever (RFC 1143). Subnegotiations are thrown away. IAC IAC is the byte 255.

The keys that telnet sends as commands become the control characters that a terminal gives for them, for the inside to use or
drop: EC is \b (erase a character), EL is ^U (erase the line), IP and BRK are ^C, EOF is ^D. AYT ("are you there?") is answered.

A client that is not telnet (nc, a program) notices nothing: without a byte 255 every text passes untouched and at once, and
the layer never speaks first. Only NUL after CR changes: it is the end of a line, as CR LF is (RFC 1123 §3.3.1).
"""

from __future__ import annotations

from prise.errors import FrameError
from prise.layers.base import Layer

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
_AYT, _DATA_MARK = 246, 242
_KEYS = {247: b"\b", 248: b"\x15", 244: b"\x03", 243: b"\x03", 236: b"\x04"}  # EC, EL, IP, BRK, EOF
_OTHERS = {
    241,
    _DATA_MARK,
    245,
    249,
    239,
    238,
    237,
    SE,
}  # NOP, DM, AO, GA, EOR, ABORT, SUSP, a stray SE: nothing to do
_REFUSAL = {WILL: DONT, DO: WONT}

MOST_SUBNEGOTIATION = 4096
"""Bytes of one subnegotiation. Without a bound, one that never ends would swallow all that is said after it."""

MOST_ANSWERS = 64 * 1024
"""Bytes of answers that may wait to be asked for; one read of the server cannot cause more."""

_TEXT, _COMMAND, _OPTION, _SUB, _SUB_COMMAND = range(5)


class Telnet(Layer):
    """One connection's telnet. Raises FrameError for what passes the two bounds above; nothing else is an error.

    Give the class itself to a server: `prise.serve(conversation, layers=[Telnet])`.
    """

    __slots__ = ("_after_cr", "_answers", "_size", "_state", "_verb")
    transparent = True

    def __init__(self) -> None:
        self._state = _TEXT
        self._after_cr = False  # the last byte of text was CR
        self._verb = 0  # WILL, WONT, DO or DONT while its option is awaited
        self._size = 0  # of the subnegotiation being thrown away
        self._answers = bytearray()

    def receive(self, data: bytes) -> bytes:
        if self._state == _TEXT and b"\xff" not in data and b"\0" not in data:
            if data:
                self._after_cr = data[-1] == 13
            return data
        text = bytearray()
        start = 0
        while start < len(data):
            if self._state == _TEXT:
                end = data.find(b"\xff", start)
                self._take(data[start : end if end >= 0 else len(data)], text)
                if end < 0:
                    break
                self._state = _COMMAND
                start = end + 1
            elif self._state == _SUB:
                end = data.find(b"\xff", start)
                self._size += (end if end >= 0 else len(data)) - start
                if self._size > MOST_SUBNEGOTIATION:
                    raise FrameError(
                        "a telnet subnegotiation is longer than {limit} bytes; is the peer sending binary data?",
                        limit=MOST_SUBNEGOTIATION,
                    )
                if end < 0:
                    break
                self._state = _SUB_COMMAND
                start = end + 1
            else:
                self._command(data[start], text)
                start += 1
        return bytes(text)

    def unread(self, data: bytes) -> bytes:
        begun = {_COMMAND: (IAC,), _OPTION: (IAC, self._verb), _SUB: (IAC, SB), _SUB_COMMAND: (IAC, SB, IAC)}
        return self.send(data) + bytes(begun.get(self._state, ()))

    def send(self, data: bytes) -> bytes:
        # No UTF-8 text has a byte 255, so a client that is not telnet sees its text as it is.
        return data.replace(b"\xff", b"\xff\xff")

    def output(self) -> bytes:
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    def _take(self, run: bytes, text: bytearray) -> None:
        """Text without any IAC; CR NUL becomes CR LF, wherever the reads were split."""
        if not run:
            return
        if self._after_cr and run[0] == 0:
            run = b"\n" + run[1:]
        self._after_cr = run[-1] == 13
        text += run.replace(b"\r\0", b"\r\n")

    def _command(self, byte: int, text: bytearray) -> None:
        """The byte after IAC, or after the verb of a negotiation."""
        if self._state == _SUB_COMMAND:
            # Inside, IAC IAC is data. IAC and anything else than SE is an error of the peer's that only makes it longer.
            self._state = _TEXT if byte == SE else _SUB
            self._size += 1
        elif self._state == _OPTION:
            if self._verb in _REFUSAL:
                self._answer(bytes((IAC, _REFUSAL[self._verb], byte)))
            self._state = _TEXT
        elif WILL <= byte <= DONT:
            self._verb = byte
            self._state = _OPTION
        elif byte == SB:
            self._size = 0
            self._state = _SUB
        else:
            self._state = _TEXT
            if byte == _AYT:
                self._answer(b"[yes]\r\n")
            elif byte in _KEYS:
                self._take(_KEYS[byte], text)
            elif byte == IAC:
                self._take(b"\xff", text)
            elif byte not in _OTHERS:
                # No command. "Urgent" data (the synch of RFC 854) takes one byte out of the stream on its way, maybe the
                # one that belonged here; so this one is text.
                self._take(bytes((byte,)), text)

    def _answer(self, answer: bytes) -> None:
        if len(self._answers) + len(answer) > MOST_ANSWERS:
            raise FrameError(
                "the telnet negotiation does not end; more than {limit} bytes of answers", limit=MOST_ANSWERS
            )
        self._answers += answer
