"""Certificates for tests of TLS, and two layers that talk with each other without any socket."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from prise import TLS, Address
from prise.errors import PriseError
from prise.layers.base import Ends, Layer

ENDS = Ends(Address("tcp", "127.0.0.1", 1), Address("tcp", "127.0.0.1", 2))


class Issued(NamedTuple):
    """A certificate and its key: the files, and what signs others with it."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    private: Any

    @property
    def fingerprint(self) -> str:
        return self.certificate.fingerprint(hashes.SHA256()).hex()


@functools.cache
def folder() -> Path:
    keeper = tempfile.TemporaryDirectory(prefix="prise-certificates-")
    folder.keeper = keeper  # type: ignore[attr-defined]
    return Path(keeper.name)


def identified(builder: x509.CertificateBuilder, key: Any, issuer: Any, authority: bool) -> x509.CertificateBuilder:
    """With what RFC 5280 §4.2.1 wants besides; from Python 3.13 on, `ssl` refuses certificates that lack it."""
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())
        builder = builder.add_extension(identifier, critical=False)
    if authority:
        no = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        usage = x509.KeyUsage(digital_signature=True, key_cert_sign=True, crl_sign=True, **no)
        builder = builder.add_extension(usage, critical=True)
    return builder


def issue(
    file: str,
    names: Sequence[str] = ("localhost",),
    *,
    issuer: Issued | None = None,
    authority: bool = False,
    start: timedelta = timedelta(days=-1),
    end: timedelta = timedelta(days=30),
    password: bytes | None = None,
    where: Path | None = None,
) -> Issued:
    """Makes a certificate, signed by `issuer` or by itself. start, end: from now."""
    now = datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, f"Test {file}"),
            x509.NameAttribute(x509.oid.NameOID.ORGANIZATION_NAME, "prise"),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    builder = identified(builder, key, issuer.private if issuer else None, authority)
    if names and not authority:
        general = [x509.IPAddress(ip_address(n)) if n[0].isdigit() or ":" in n else x509.DNSName(n) for n in names]
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    certificate = builder.sign(issuer.private if issuer else key, hashes.SHA256())
    where = where or folder()
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    cert_file, key_file = where / f"{file}.pem", where / f"{file}.key"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return Issued(cert_file, key_file, certificate, key)


@functools.cache
def authority() -> Issued:
    return issue("authority", authority=True)


@functools.cache
def localhost() -> Issued:
    """For localhost, 127.0.0.1 and ::1."""
    return issue("localhost", ("localhost", "127.0.0.1", "::1"), issuer=authority())


@functools.cache
def someone() -> Issued:
    """A client."""
    return issue("someone", ("someone.example",), issuer=authority())


def server_tls(**more: Any) -> TLS:
    return TLS(**{"cert": localhost().cert, "key": localhost().key, **more})


def client_tls(**more: Any) -> TLS:
    return TLS(**{"ca": authority().cert, **more})


class Pair:
    """A client's layer and a server's, joined by nothing but two buffers.

    step: at most so many bytes are given at a time; 0: all of them. heard: what each has received. errors: what each raised.
    watched: all that went to each, if `watch`.
    """

    def __init__(self, client: Layer, server: Layer, step: int = 0, watch: bool = False) -> None:
        self.client, self.server = client, server
        self.step = step
        self.watch = watch
        self.watched = {client: b"", server: b""}
        self.heard = {client: b"", server: b""}
        self.errors: dict[Layer, PriseError] = {}
        self.on_the_way = {client: b"", server: b""}  # to whom -> bytes
        client.begin(ENDS)
        server.begin(ENDS)
        self.settle()

    def other(self, layer: Layer) -> Layer:
        return self.server if layer is self.client else self.client

    def say(self, layer: Layer, data: bytes) -> None:
        self.on_the_way[self.other(layer)] += layer.send(data)
        self.settle()

    def end(self, layer: Layer) -> None:
        self.on_the_way[self.other(layer)] += layer.end()
        self.settle()

    def settle(self) -> None:
        """Until nobody has anything to say."""
        while True:
            for layer in (self.client, self.server):
                self.on_the_way[self.other(layer)] += layer.output()
            if not any(self.on_the_way.values()):
                return
            for layer in (self.client, self.server):
                data, self.on_the_way[layer] = self.on_the_way[layer], b""
                self.give(layer, data)

    def give(self, layer: Layer, data: bytes) -> None:
        if self.watch:
            self.watched[layer] += data
        step = self.step or len(data) or 1
        for position in range(0, len(data), step):
            if layer in self.errors:
                return
            try:
                self.heard[layer] += layer.receive(data[position : position + step])
            except PriseError as error:
                self.errors[layer] = error
            else:
                if layer.error is not None:
                    self.errors[layer] = layer.error


def pair(
    server: TLS | None = None, client: TLS | None = None, host: str = "localhost", step: int = 0, watch: bool = False
) -> Pair:
    return Pair((client or client_tls()).client(host)(), (server or server_tls()).server()(), step, watch)
