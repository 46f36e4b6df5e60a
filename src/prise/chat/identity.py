"""Who somebody is: tokens that make a client the same person again, and passphrases of registered names.

A token is the person's id with a code that only this house (with all its nodes) can make (HMAC-SHA256, RFC 2104), so nothing is
kept for those who never come back. A passphrase is kept as scrypt makes it (RFC 7914, from the standard library's OpenSSL).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets

_COST = {"n": 2**14, "r": 8, "p": 1, "maxmem": 64 * 1024 * 1024, "dklen": 32}  # 16 MiB and some 40 ms each

_at_once = asyncio.Semaphore(2)
"""Passphrases that are worked on at a time: each takes 16 MiB."""


def new_id() -> str:
    return secrets.token_hex(8)


def new_secret() -> str:
    return secrets.token_hex(32)


def token(secret: str, identity: str) -> str:
    """The token of a person."""
    return f"{identity}.{_code(secret, identity)}"


def identity_of(secret: str, token: str) -> str | None:
    """The id in a token of this house; None for any other text."""
    identity, _point, code = token.partition(".")
    good = hmac.compare_digest(code.encode(errors="replace"), _code(secret, identity).encode())
    return identity if good else None


def _code(secret: str, identity: str) -> str:
    return hmac.new(secret.encode(), identity.encode(errors="replace"), hashlib.sha256).hexdigest()[:32]


async def hashed(passphrase: str) -> str:
    """What is kept of a passphrase: "salt$hash"."""
    salt = secrets.token_bytes(16)
    return f"{salt.hex()}${(await _scrypt(passphrase, salt)).hex()}"


async def verified(passphrase: str, kept: str) -> bool:
    """Whether this is the passphrase of which `kept` was kept."""
    salt, _dollar, expected = kept.partition("$")
    return hmac.compare_digest((await _scrypt(passphrase, bytes.fromhex(salt))).hex(), expected)


async def _scrypt(passphrase: str, salt: bytes) -> bytes:
    async with _at_once:
        return await asyncio.to_thread(lambda: hashlib.scrypt(passphrase.encode(errors="replace"), salt=salt, **_COST))
