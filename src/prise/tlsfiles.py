"""Certificates, keys and pins as users give them: read, checked, and refused with the name of the file and what is wrong in it.

OpenSSL alone would say "PEM lib" of a file without a certificate, and ask for the password of a key on the terminal.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from hashlib import sha256
from typing import TypeAlias

from prise.errors import UsageError

File: TypeAlias = "str | os.PathLike[str]"

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")

MOST_FILE = 16 * 1024 * 1024
"""Bytes of a file that are read. The certificates of all authorities that systems trust take a quarter of a megabyte."""


def load_certificate(
    context: ssl.SSLContext,
    cert: File,
    key: File | None,
    password: str | bytes | Callable[[], str | bytes] | None = None,
) -> None:
    """Our own certificate and its key, for the other side to check. Raises UsageError."""
    cert = os.fspath(cert)
    key = cert if key is None else os.fspath(key)
    if not _CERTIFICATE.search(_read(cert)):
        raise UsageError("{file} holds no certificate (PEM: -----BEGIN CERTIFICATE-----)", file=cert)
    if not _KEY.search(_read(key)):
        if key == cert:
            raise UsageError("{file} holds no private key; give the file of the key as well: key=FILE", file=key)
        raise UsageError("{file} holds no private key (PEM: -----BEGIN PRIVATE KEY-----)", file=key)

    def no_password() -> str:
        raise UsageError("the key in {file} is encrypted: give its password", file=key)

    try:
        context.load_cert_chain(cert, key, no_password if password is None else password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UsageError("the key in {key} is not that of the certificate in {cert}", key=key, cert=cert) from error
        if password is not None and _encrypted(key):
            raise UsageError("the key in {key} cannot be decrypted: is the password right?", key=key) from error
        raise UsageError(
            "the certificate in {cert} and the key in {key} cannot be used: {problem}",
            cert=cert,
            key=key,
            problem=_problem(error),
        ) from error


def load_authorities(context: ssl.SSLContext, ca: File) -> None:
    """The certificates that we trust. Raises UsageError."""
    file = os.fspath(ca)
    found = _CERTIFICATE.findall(_read(file))
    if not found:
        raise UsageError("{file} holds no certificate (PEM: -----BEGIN CERTIFICATE-----)", file=file)
    try:
        context.load_verify_locations(cadata="\n".join(found))
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(
            "a certificate in {file} cannot be read: {problem}", file=file, problem=_problem(error)
        ) from error


def own_fingerprint(cert: File) -> str:
    """SHA-256 of the first certificate in a file, in hexadecimal."""
    found = _CERTIFICATE.search(_read(os.fspath(cert)))
    if found is None:
        raise UsageError("{file} holds no certificate (PEM: -----BEGIN CERTIFICATE-----)", file=os.fspath(cert))
    return sha256(ssl.PEM_cert_to_DER_cert(found[0])).hexdigest()


def read_pin(text: str) -> str:
    """A fingerprint as people write it, as 64 lower-case hexadecimal digits. Raises UsageError."""
    pin = text.strip().lower().removeprefix("sha256:").replace(":", "")
    if not re.fullmatch("[0-9a-f]{64}", pin, re.ASCII):
        raise UsageError(
            "a pin is the SHA-256 of a certificate, 64 hexadecimal digits, not {text}; "
            "openssl x509 -in cert.pem -noout -fingerprint -sha256 prints it",
            text=repr(text),
        )
    return pin


def _read(file: str) -> str:
    try:
        with open(file, encoding="latin-1") as opened:
            return opened.read(MOST_FILE)
    except (OSError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError("{file} cannot be read: {problem}", file=file, problem=problem) from error


def _encrypted(key: str) -> bool:
    text = _read(key)
    return "ENCRYPTED" in text


def _problem(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or "?").replace("_", " ").lower()
    return str(error)
