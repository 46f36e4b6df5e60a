"""What processes and machines of ours say to each other: handover, ipc, file transfer, recordings, socket activation."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

from fuzz.families.layers import LOCAL, PEER
from fuzz.target import Given, must, outcome, scratch, seed, target, told
from prise.core.pipeline import Pipeline
from prise.errors import FrameError, HandoverError, PeerError, UsageError
from prise.framing.names import framing_of
from prise.handover.frame import TAKEN, decoded, encoded
from prise.handover.wire import drive, read
from prise.ipc.frame import Announced, Decoder, head
from prise.layers.proxy import proxy_from
from prise.layers.websocketserver import server_factory
from prise.relay.recording import Recording
from prise.transfer.code import is_proof
from prise.transfer.hearing import hear_list
from prise.transfer.talk import FRAMING, LIMITS, Entry, Refusal, Talk
from prise.transfer.talk import read as read_message

FRAME = (
    encoded(
        "handover",
        b"pending",
        kind="stream",
        peer="tcp://127.0.0.1:1",
        local="tcp://127.0.0.1:2",
        state={"a": [1, None]},
    )
    + b"pending"
)


@target(
    seed(FRAME, 0, 0x11), seed(TAKEN), seed(TAKEN + FRAME), seed(encoded("ack", ok=False, error="no")),
    seed(b"\0\0\0\x07{\"v\":1}"),
    words=(b'"type":"handover"', b'"v":1', b'"pending":', b'"state":', b"\0\0\0\x20", b"NaN", b"1e999", b"\\ud800",
        b"18446744073709551616"), raises=(HandoverError,),
)  # fmt: skip
def handover_frames(given: Given) -> None:
    """All frames of a channel, through a real pair of sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.setblocking(False)
        try:
            theirs.send(given.data[:100_000])
        except BlockingIOError:
            return
        theirs.shutdown(socket.SHUT_WR)
        while (frame := drive(read(ours), ours, 5)) is not None:
            must(isinstance(frame.header["type"], str) and frame.descriptors == [], "no frame:", frame)
            must(len(frame.pending) == frame.header.get("pending", 0), "pending bytes are missing:", frame)
            fields = {name: value for name, value in frame.header.items() if name not in ("v", "type", "pending")}
            try:
                again = encoded(frame.header["type"], frame.pending, **fields)
            except UsageError as error:  # half of a surrogate pair, which JSON has and UTF-8 has not
                told(error)
                continue
            must(decoded(again[4:]) == {"pending": 0, **frame.header}, "does not come back:", frame)


FACTS = {"branch": "", "layers": [["ProxyHeader", {"peer": "tcp://127.0.0.1:1", "local": "tcp://127.0.0.1:2"}]]}
WEBSOCKET = {
    "branch": "",
    "layers": [
        ["ServerWebSocket", {"path": "/", "host": "x", "origin": None, "subprotocol": None, "headers": [["a", "b"]]}]
    ],
}


@target(
    seed(json.dumps(FACTS).encode()), seed(json.dumps(WEBSOCKET).encode(), 1), seed(b'{"branch":"x","layers":[]}', 2),
    words=(b'"branch":', b'"layers":', b'["ProxyHeader",', b'["ServerWebSocket",', b'"peer":"unix:', b'"headers":',
        b"null", b"{}", b"[]", b"1e9"), raises=(HandoverError,),
)  # fmt: skip
def handover_facts(given: Given) -> None:
    """What another process says of a connection's layers."""
    try:
        facts = json.loads(given.data)
    except (ValueError, RecursionError):
        return
    layers = ([proxy_from("*")], [server_factory()], [])[given.choice % 3]
    Pipeline(framing_of("lines"), 1000, layers).resume(facts, PEER, LOCAL)


@target(
    seed(head(5) + b"hello" + head(0), 0, 0x11), seed(head(8, ("i", (2,))) + b"12345678", 0, 0x31),
    seed(head(100, descriptor=True) + head(1) + b"x"), seed(head(8, ("d", (1, 1)), descriptor=True)),
    words=(b"\0\0\0\0\0\0\0\5", b"\x40\0\0\0\0\0\0\x08i\1", b"\x80\0\0\0\0\0\0\1", b"\xc0\0\0\0\0\0\0\4",
        b"\0\0\0\0\0\0\0\2"),
)  # fmt: skip
def ipc_frames(given: Given) -> None:
    def messages(pieces: Iterable[bytes]) -> tuple[list[Any], str, bool]:
        decoder = Decoder(1000, 5000)
        found: list[Any] = []
        for piece in pieces:
            while piece and decoder.error is None:
                rest = decoder.rest
                if rest is None:
                    found += decoder.feed(piece)
                    break
                count = min(len(rest), len(piece))
                rest[:count] = piece[:count]
                if (message := decoder.filled(count)) is not None:
                    found.append(message)
                piece = piece[count:]
        shown = [each if isinstance(each, Announced) else (each.tobytes(), each.format, each.shape) for each in found]
        return shown, told(decoder.error) if decoder.error is not None else "", decoder.pending

    whole, pieces = messages([given.data]), messages(given.pieces())
    must(whole == pieces, "the messages depend on how bytes arrive:", whole, pieces)


class Told:
    """A connection from which these messages come; what is sent is thrown away. See `prise.Connection`."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = iter(messages)

    def receive(self, timeout: float | None = None) -> bytes | None:
        return next(self._messages, None)


LIST = (
    b'{"type":"entry","name":"a","folder":true,"size":0,"mode":493,"mtime":0}',
    b'{"type":"entry","name":"a/b","folder":false,"size":3,"mode":420,"mtime":null}',
    b'{"type":"listed","count":2}',
)


@target(
    seed(b"".join(map(FRAMING.encode, LIST))), seed(FRAMING.encode(b'{"type":"no","reason":"size","index":0}')),
    seed(b"".join(map(FRAMING.encode, (b'{"type":"wait"}', b"\0data", *LIST)))),
    seed(FRAMING.encode(b'{"type":"hello","protocol":"prise-transfer","version":1,"role":"send","nonce":"'
        + b"00" * 32 + b'","code":false}')),
    words=(b'{"type":"entry",', b'"name":"', b'"folder":', b'"size":', b'"mode":', b'"mtime":',
        b'{"type":"listed","count":', b'{"type":"no",', b'"reason":"', b'"index":-1', b"../", b"\\ud800", b"\\u0000",
        b"\0\0\0\x20", b"1e9"),
    raises=(PeerError,),
)  # fmt: skip
def transfers(given: Given) -> None:
    """The list of what is to be received, and every field of a message."""
    try:
        messages = FRAMING.decoder(LIMITS.message_size).feed(given.data, 1000)
    except FrameError:
        messages = [given.data]
    for raw in messages:
        if raw[:1] != b"\0":
            try:
                message = read_message(raw)
            except FrameError as error:
                told(error)
                continue
            for name in ("version", "nonce", "role", "code", "proof", "sha256", "index"):
                for ask in (message.number, message.text, message.flag, message.digest):
                    outcome(partial(ask, name), FrameError)
            is_proof(str(message.get("proof")), b"key", "listen", "send")
    entries: list[Entry] = []
    connection: Any = Told(messages)
    try:
        hear_list(Talk(connection), entries, 10_000)
    except Refusal as no:
        told(no.error(entries))
    except Exception as error:
        if type(error).__name__ != "Refuse":
            raise
    for entry in entries:
        must(entry.name[:1] not in ("", "/") and ".." not in entry.name.split("/"), "a name leads out:", entry)


@cache
def spool() -> Path:
    """The file that a recording is read from."""
    return scratch() / "recording"


TOP = b'{"prise": "recording", "version": 1, "when": "2026-11-21T09:30:00+00:00"}\n'


@target(
    seed(TOP + b'{"t": 0.1, "c": 1, "client": "a", "server": "b"}\n{"t": 1, "c": 1, "from": "client", "data": "x"}\n'
               b'{"t":2,"c":1,"from":"server","b64":"/w==","end":true}\n{"t":'),
    seed(TOP + b'{"t": 3, "c": 1, "reset": true}\n'), words=(TOP, b'"t":', b'"c":', b'"from":"client"', b'"data":"',
        b'"b64":"', b'"end":true', b"NaN", b"1e999", b"\\ud800", b"Infinity", b"1" * 400), raises=(UsageError,),
)  # fmt: skip
def recordings(given: Given) -> None:
    spool().write_bytes(given.data)
    for event in Recording(str(spool())):
        must(event.t == event.t and abs(event.t) < 1e309 and isinstance(event.client or "", str), "no event:", event)
