"""A certificate for development: for localhost, 127.0.0.1, ::1 and this machine's name, signed by itself.

Nobody vouches for it, so clients pin its fingerprint (`TLS.fingerprint`). For the pin to last, the certificate and its key are
kept, in one file that only the user may read, until 30 days before it expires. Needs the extra `tls` (package cryptography).
"""

from __future__ import annotations

import importlib
import os
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from prise.errors import MissingExtra, UsageError

LIFE = timedelta(days=365)
RENEWED_BEFORE = timedelta(days=30)


def default_file() -> Path:
    """In the user's state directory: $XDG_STATE_HOME, or ~/.local/state (XDG Base Directory Specification)."""
    state = os.environ.get("XDG_STATE_HOME", "")
    base = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return base / "prise" / "self-signed.pem"


def certificate_file(file: Path | None = None, now: datetime | None = None) -> Path:
    """The file of a certificate and its key that are good for at least 30 days more; made where there is none yet.

    file: by default that of the user. now: the time, in UTC. Raises UsageError, MissingExtra.
    """
    file = file or default_file()
    now = now or datetime.now(UTC)
    x509 = _package("cryptography.x509")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            kept = file.read_bytes()
        except FileNotFoundError:
            kept = b""
        if kept and x509.load_pem_x509_certificate(kept).not_valid_after_utc - now > RENEWED_BEFORE:
            return file
        _keep(file, make(now), renew=bool(kept))
        return file
    except OSError as error:
        raise UsageError(
            "the self-signed certificate cannot be kept in {file}: {problem}",
            file=file,
            problem=error.strerror or error,
        ) from error
    except ValueError as error:
        raise UsageError("{file} holds no certificate; delete it, and another is made", file=file) from error


def make(now: datetime) -> bytes:
    """A fresh key and its certificate, both PEM in one text."""
    x509 = _package("cryptography.x509")
    ec = _package("cryptography.hazmat.primitives.asymmetric.ec")
    hashes = _package("cryptography.hazmat.primitives.hashes")
    forms = _package("cryptography.hazmat.primitives.serialization")
    purposes = x509.oid.ExtendedKeyUsageOID
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "prise development")])
    hosts = dict.fromkeys(("localhost", *_own_name()))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # the clocks of two machines differ
        .not_valid_after(now + LIFE)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    *map(x509.DNSName, hosts),
                    x509.IPAddress(ip_address("127.0.0.1")),
                    x509.IPAddress(ip_address("::1")),
                ]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purposes.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private: bytes = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    public: bytes = certificate.public_bytes(forms.Encoding.PEM)
    return private + public


def _own_name() -> tuple[str, ...]:
    name = socket.gethostname().lower().rstrip(".")
    good = name.isascii() and 0 < len(name) < 64 and all(each.isalnum() or each in "-." for each in name)
    return (name,) if good else ()


def _keep(file: Path, content: bytes, renew: bool) -> None:
    """Writes the file at once as a whole, 0600 from its first moment. Of two programs that make the first one, one wins."""
    descriptor, temporary = tempfile.mkstemp(prefix=".self-signed-", dir=file.parent)
    try:
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(content)
        if renew:
            os.replace(temporary, file)
            return
        try:
            os.link(temporary, file)
        except FileExistsError:
            pass  # made a moment ago by another program: that one is used
        except OSError:
            os.replace(temporary, file)  # a file system without hard links
    finally:
        try:
            os.unlink(temporary)
        except FileNotFoundError:
            pass


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise MissingExtra(
            "the package {package} is not installed; get it with: pip install 'prise[{extra}]'",
            package="cryptography",
            extra="tls",
        ) from None
