"""The code that both sides must give, and how each proves that it knows it without saying it.

Each side sends a fresh random number. The key is made of the code and both numbers by scrypt (RFC 7914), which takes a
computer some 50 ms, and a proof is the HMAC-SHA-256 (RFC 2104) of the prover's side under that key. So a proof that
was heard once is worth nothing later, and cannot be sent back to who made it. What was heard can be tried against a
dictionary, at 50 ms a word: a generated code (8 of 31 characters: 39 bits) withstands that, a name does not.

The code says who is there. It neither hides the files nor keeps somebody in between from changing them: that is what
`tls:` addresses are for.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata

_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without what looks alike: 0 o, 1 i l."""

NONCE_SIZE = 32


def new_code() -> str:
    """A fresh code such as k7mq-3xwp: easy to read out, 39 bits."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(2))


def new_nonce() -> bytes:
    return secrets.token_bytes(NONCE_SIZE)


def key_of(code: str, listener: bytes, caller: bytes) -> bytes:
    """The key of one conversation. Upper and lower case, and spaces around, make no difference."""
    word = unicodedata.normalize("NFKC", code).strip().casefold().encode(errors="surrogateescape")
    return hashlib.scrypt(word, salt=listener + caller, n=2**14, r=8, p=1, dklen=32)


def proof_of(key: bytes, side: str, role: str) -> str:
    """What this side ("listen" or "connect") in this role ("send" or "receive") shows."""
    return hmac.new(key, f"prise-transfer 1 {side} {role}".encode(), "sha256").hexdigest()


def is_proof(proof: str, key: bytes, side: str, role: str) -> bool:
    """Whether the proof is right; takes the same time whatever is wrong with it."""
    return hmac.compare_digest(proof.encode(errors="replace"), proof_of(key, side, role).encode())
