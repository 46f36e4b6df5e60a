"""Passwords as they are kept: a file of `user:hash` lines, and whether a password is the one.

A hash is in PHC string format, scrypt (RFC 7914) as passlib writes it too, base64 without padding:

    $scrypt$ln=14,r=8,p=1$SALT$HASH        N = 2**ln; 16 MiB of memory and about 50 ms for ln=14

`hash_of` makes one. bcrypt (`$2y$`, what `htpasswd -B` writes) is understood where the package `bcrypt` is installed. The
other forms of htpasswd ({SHA}, $apr1$, crypt) are guessed in minutes and refused. Empty lines and # lines are skipped.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from importlib import import_module
from typing import Final

from prise import MissingExtra, UsageError

MOST_ACCOUNTS: Final = 10_000
"""Lines of a file that are accounts."""
LARGEST_FILE: Final = 4 * 2**20
"""Bytes of such a file."""

_SCRYPT: Final = re.compile(
    r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
)
_BCRYPT: Final = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_MOST_MEMORY: Final = 64 * 2**20  # of one scrypt: ln=16, r=8


def hash_of(password: str) -> str:
    """The scrypt hash of a password, with a salt of its own. Takes about 50 ms."""
    salt = os.urandom(16)
    return f"$scrypt$ln=14,r=8,p=1${_encode(salt)}${_encode(_scrypt(password, salt, 14, 8, 1, 32))}"


def matches(password: str, hashed: str) -> bool:
    """Whether it is the password of this hash, which `checked` has found good. Blocks for as long as the hash takes."""
    found = _SCRYPT.fullmatch(hashed)
    if found is None:
        known: bool = import_module("bcrypt").checkpw(password.encode("utf-8", "surrogateescape")[:72], hashed.encode())
        return known
    ln, r, p = int(found[1]), int(found[2]), int(found[3])
    wanted = _decode(found[5])
    return hmac.compare_digest(_scrypt(password, _decode(found[4]), ln, r, p, len(wanted)), wanted)


def accounts(given: str) -> dict[str, str]:
    """User -> hash, from USER:PASSWORD or the path of a file of `user:hash` lines. A file of that name goes before.

    Raises UsageError for what is neither, and for hashes that are not taken; MissingExtra for bcrypt without its package.
    """
    if not os.path.exists(given):
        user, colon, password = given.partition(":")
        if not colon:
            raise UsageError("{given} is neither a file of user:hash lines nor USER:PASSWORD", given=given)
        if not user or not password:
            raise UsageError("an account is USER:PASSWORD, and neither may be empty")
        return {user: hash_of(password)}
    try:
        with open(given, encoding="utf-8") as file:
            text = file.read(LARGEST_FILE + 1)
    except (OSError, UnicodeError) as error:
        raise UsageError("the file of accounts {file} cannot be read: {why}", file=given, why=error) from error
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        user, _, hashed = line.partition(":")
        if not user:
            raise UsageError("line {number} of {file} is not user:hash", number=number, file=given)
        found[user] = checked(hashed, f"{given}:{number}")
    if not found or len(found) > MOST_ACCOUNTS or len(text) > LARGEST_FILE:
        raise UsageError("{file} holds no account, or more than {most}", file=given, most=MOST_ACCOUNTS)
    return found


def checked(hashed: str, where: str) -> str:
    """The hash, if it is one that is taken here. where: for the error ("file:3"). Raises UsageError, MissingExtra."""
    if found := _SCRYPT.fullmatch(hashed):
        ln, r, p = int(found[1]), int(found[2]), int(found[3])
        if not (1 <= ln <= 20 and r and 1 <= p <= 4 and (128 * r << ln) <= _MOST_MEMORY):
            raise UsageError("{where}: the parameters of this scrypt hash ask for too much memory or time", where=where)
        try:
            _decode(found[4]), _decode(found[5])
        except binascii.Error:
            raise UsageError("{where}: this scrypt hash is damaged", where=where) from None
        return hashed
    if _BCRYPT.fullmatch(hashed):
        try:
            import_module("bcrypt")
        except ImportError:
            raise MissingExtra(
                "{where} is a bcrypt hash, which needs a package: pip install bcrypt", where=where
            ) from None
        return hashed
    weak = hashed.startswith(("{SHA}", "$apr1$", "$1$")) or len(hashed) == 13
    if weak:
        raise UsageError("{where}: hashes of this kind are guessed too fast; make a scrypt or bcrypt hash", where=where)
    raise UsageError("{where}: this is no scrypt or bcrypt hash (a password is not written in a file)", where=where)


def _scrypt(password: str, salt: bytes, ln: int, r: int, p: int, length: int) -> bytes:
    needed = 128 * r * ((1 << ln) + p + 2) + 2**20
    return hashlib.scrypt(
        password.encode("utf-8", "surrogateescape"), salt=salt, n=1 << ln, r=r, p=p, maxmem=needed, dklen=length
    )


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
