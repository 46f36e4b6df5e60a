"""The first messages of a transfer: both sides say hello, agree on who sends, and prove the code.

    both:      hello (protocol, version, role, nonce, whether a code is wanted)
    connects:  proof
    listens:   proof, or no

Who connects shows its proof first, so that somebody who merely tries out a port learns nothing, and has one guess for
each connection.
"""

from __future__ import annotations

from typing import Literal

from prise import Connection, FrameError, HandshakeError, TooSlow
from prise.transfer.code import NONCE_SIZE, is_proof, key_of, new_nonce, proof_of
from prise.transfer.talk import Refusal, Talk, broken

PROTOCOL = "prise-transfer"
VERSION = 1
PATIENCE = 10.0
"""Seconds for each message of the other side."""


def handshake(connection: Connection, *, role: Literal["send", "receive"], listens: bool, code: str | None) -> None:
    """Agrees with the other side. code: what both must give, or None when neither does.

    Raises HandshakeError: no prise at the other end, the same role, a code on one side only, a wrong code.
    """
    talk = Talk(connection)
    try:
        _handshake(talk, role, listens, code)
    except Refusal as refusal:
        raise HandshakeError(
            "the code is not the one of the other side" if refusal.code == "code" else "the other side refused"
        ) from None
    except TooSlow as error:
        raise HandshakeError(
            "the other side does not answer as `prise send` and `prise receive` do; is it one of them?"
        ) from error
    except FrameError as error:
        if isinstance(error, HandshakeError):
            raise
        raise HandshakeError(
            "what is there does not speak as `prise send` and `prise receive` do; is it one of them?"
        ) from error


def _handshake(talk: Talk, role: str, listens: bool, code: str | None) -> None:
    ours = new_nonce()
    talk.tell("hello", protocol=PROTOCOL, version=VERSION, role=role, nonce=ours.hex(), code=code is not None)
    hello = talk.hear("hello", timeout=PATIENCE)
    if hello.text("protocol") != PROTOCOL:
        raise broken("protocol")
    if hello.number("version") != VERSION:
        raise HandshakeError(
            "the other side speaks version {theirs} of the transfer, this one {ours}: update the older one",
            theirs=hello.number("version"),
            ours=VERSION,
        )
    theirs, other = hello.digest("nonce"), hello.text("role")
    assert len(theirs) == NONCE_SIZE
    if theirs == ours or other not in ("send", "receive"):
        raise broken("nonce")
    if other == role:
        raise HandshakeError(
            "both sides want to send; one must receive"
            if role == "send"
            else "both sides want to receive; one must send"
        )
    if hello.flag("code") != (code is not None):
        raise HandshakeError(
            "the other side asks for a code: give the one it shows with --code"
            if code is None
            else "the other side gives no code; both must give the same with --code"
        )
    if code is not None:
        _prove(talk, key_of(code, *((ours, theirs) if listens else (theirs, ours))), role, other, listens)


def _prove(talk: Talk, key: bytes, role: str, other: str, listens: bool) -> None:
    if listens:
        proof = talk.hear("proof", timeout=PATIENCE).text("proof")
        if not is_proof(proof, key, "connect", other):
            talk.refuse("code")
            raise _wrong_code()
        talk.tell("proof", proof=proof_of(key, "listen", role))
    else:
        talk.tell("proof", proof=proof_of(key, "connect", role))
        proof = talk.hear("proof", timeout=PATIENCE).text("proof")
        if not is_proof(proof, key, "listen", other):
            raise _wrong_code()


def _wrong_code() -> HandshakeError:
    return HandshakeError("the code is not the one of the other side")
