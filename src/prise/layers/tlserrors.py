"""Why TLS failed, as a sentence that says what was expected, what was found and what to try.

OpenSSL's reasons are short words for its developers; `explain` turns those that people meet into `TLSError`. Everything else
keeps OpenSSL's own words.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from prise.errors import TLSError

MOST_NAMES = 10
"""Names of a certificate that an error lists; a stranger's certificate may have thousands."""

# X509_V_ERR_..., from OpenSSL's x509_vfy.h (openssl-verification-options(1) explains them).
_NOT_YET_VALID, _EXPIRED = 9, 10
_SELF_SIGNED = 18
_UNKNOWN_ISSUER = (2, 19, 20, 21)
_OTHER_NAME = (62, 64)  # a host name, an IP address


# What the other side said before it hung up (RFC 8446 §6.2), from the point of view of a client and of a server.
_ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "the server asks for a client certificate, and none was given: cert=FILE,key=FILE",
        "the client asks for a certificate",
    ),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "the server does not accept our certificate: it does not know its issuer",
        "the client does not accept our certificate: it does not know its issuer",
    ),
    "SSLV3_ALERT_BAD_CERTIFICATE": (
        "the server does not accept our certificate",
        "the client does not accept our certificate (is it for the name that the client calls us by?)",
    ),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": (
        "the server does not accept our certificate",
        "the client does not accept our certificate",
    ),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        "the server does not accept our certificate: it has expired",
        "the client does not accept our certificate: it has expired",
    ),
    "SSLV3_ALERT_CERTIFICATE_REVOKED": (
        "the server does not accept our certificate: it is revoked",
        "the client does not accept our certificate: it is revoked",
    ),
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": (
        "the server does not accept our certificate: it is of a kind that it does not support",
        "the client does not accept our certificate: it is of a kind that it does not support",
    ),
    "TLSV1_UNRECOGNIZED_NAME": (
        "the server does not serve the name {name}",
        "the client does not know our name",
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": (
        "no version of TLS in common: the server refuses {minimum} and later",
        "no version of TLS in common: the client refuses {minimum} and later",
    ),
    "SSLV3_ALERT_HANDSHAKE_FAILURE": (
        "the server refuses: no cipher in common, or it asks for a client certificate (cert=FILE,key=FILE)",
        "the client refuses: no cipher in common",
    ),
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": (
        "the server speaks none of the protocols that we offer (alpn)",
        "the client speaks none of the protocols that we offer (alpn)",
    ),
}


def explain(
    error: ssl.SSLError,
    *,
    server: bool,
    name: str | None = None,
    certificate: Mapping[str, Any] | None = None,
    minimum: str = "TLS 1.2",
) -> TLSError:
    """The error to raise.

    server: which side we are. name: whom the client wanted to reach. certificate: the peer's, as `getpeercert` has it; None
    where it is not known. minimum: the oldest version that we accept.
    """
    reason = error.reason or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error, server, name, certificate or {})
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return TLSError("the client showed no certificate, and this server asks for one")
    if reason in _ALERTS:
        return TLSError(_ALERTS[reason][server], name=name, minimum=minimum)
    if reason in ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"):
        if server:
            return TLSError(
                "no version of TLS in common: we accept {minimum} and later, the client has none of them",
                minimum=minimum,
            )
        return TLSError(
            "no version of TLS in common: we accept {minimum} and later, the server chose an older one", minimum=minimum
        )
    if reason == "NO_SHARED_CIPHER":
        return TLSError("no cipher in common with the client (or no certificate of a kind that it can check)")
    if reason == "CALLBACK_FAILED" and server:
        return TLSError("the client asked for a name that no host can have (its bytes are not ASCII)")
    if reason in ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", "SSLV3_ALERT_BAD_RECORD_MAC"):
        return TLSError("what arrived was changed on its way, or was damaged (bad record MAC)")
    if "_ALERT_" in reason:
        alert = reason.partition("_ALERT_")[2].replace("_", " ").lower()
        return TLSError("the other side ended TLS: {alert}", alert=alert)
    problem = reason.replace("_", " ").lower() or error.strerror or type(error).__name__
    return TLSError("TLS failed: {problem}", problem=problem)


_REQUEST = re.compile(rb"[A-Z]{3,10} \S+ HTTP/1\.[01]\r?\n")
_TARGET = re.compile(
    rb"(?:GET|HEAD|POST|PUT|OPTIONS) (/[!-~]{0,2000}) HTTP/1\.[01]\r?\n(?:[^\r\n]+\r?\n){0,50}?[Hh][Oo][Ss][Tt]:[ \t]*"
    rb"([A-Za-z0-9._-]{1,255}(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::[0-9]{1,5})?)[ \t]*\r?\n"
)


def not_tls(first: bytes, server: bool) -> TLSError:
    """first: the beginning of what came where TLS was expected."""
    shown = repr(first)[1:]
    if server:
        return TLSError("the client does not speak TLS; it began with {first}", first=shown)
    return TLSError("the server does not speak TLS here; it sent {first}", first=shown)


def in_clear(first: bytes) -> bytes:
    """What a server of TLS says, in clear, to who has begun like this: an answer to HTTP, nothing to anybody else.

    A request that says for which host it is meant is sent there by https (308, RFC 9110 §15.4.9), as a GET, HEAD or whatever it
    was. The name and the target are the client's own and come back to it alone; only those of harmless characters do.
    """
    if _REQUEST.match(first) is None:
        return b""
    found = _TARGET.match(first)
    answer = (
        b"HTTP/1.1 400 Bad Request\r\n"
        if found is None
        else (b"HTTP/1.1 308 Permanent Redirect\r\nLocation: https://%b%b\r\n" % (found[2], found[1]))
    )
    said = b"this port speaks TLS: the address begins with https://\n"
    return b"%bContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (
        answer,
        len(said),
        said,
    )


def wrong_pin(expected: Iterable[str], found: str) -> TLSError:
    return TLSError(
        "the certificate is not the pinned one: expected {expected}, found {found}",
        expected=", ".join(expected),
        found=found,
    )


def _untrusted(
    error: ssl.SSLCertVerificationError, server: bool, name: str | None, certificate: Mapping[str, Any]
) -> TLSError:
    code = error.verify_code
    problem = error.verify_message.rstrip(".")
    details: dict[str, Any] = {"name": name, "problem": problem}
    if code in _OTHER_NAME:
        names = names_of(certificate)
        more = len(names) - MOST_NAMES
        details["names"] = ", ".join(names[:MOST_NAMES]) + (f", … (+{more})" if more > 0 else "")
        if names:
            return TLSError("the certificate is for {names}, not for {name}", **details)
        return TLSError("the certificate is not for {name}", **details)
    if code == _EXPIRED and (end := moment(certificate, "notAfter")):
        details["end"] = end.strftime("%Y-%m-%d %H:%M UTC")
        if server:
            return TLSError("the client's certificate expired on {end}", **details)
        return TLSError("the server's certificate expired on {end} (is this machine's clock right?)", **details)
    if code == _NOT_YET_VALID and (start := moment(certificate, "notBefore")):
        details["start"] = start.strftime("%Y-%m-%d %H:%M UTC")
        if server:
            return TLSError("the client's certificate is valid from {start} only", **details)
        return TLSError(
            "the server's certificate is valid from {start} only (is this machine's clock right?)", **details
        )
    if code == _SELF_SIGNED:
        if server:
            return TLSError("the client's certificate is self-signed, and not one of those that client-ca lists")
        return TLSError(
            "the server's certificate is self-signed, so nobody vouches for it; if you know it, give it with ca=FILE, "
            "or its fingerprint with pin=SHA256 (for a command: --ca, --pin)"
        )
    if code in _UNKNOWN_ISSUER:
        details["issuer"] = plain_name(certificate.get("issuer", ())) or "-"
        if server:
            return TLSError("the client's certificate comes from an issuer that is not trusted: {issuer}", **details)
        return TLSError(
            "the server's certificate comes from an issuer that is not trusted: {issuer}; if you trust it, give its "
            "certificate with ca=FILE, or the server's fingerprint with pin=SHA256 (for a command: --ca, --pin)",
            **details,
        )
    if server:
        return TLSError("the client's certificate is not accepted: {problem}", **details)
    return TLSError("the server's certificate is not accepted: {problem}", **details)


# -- Certificates, as `getpeercert` has them ---------------------------------------------------------------------------


def plain_name(name: Iterable[Any]) -> str:
    """A distinguished name as text: `CN=example.org, O=Example`. Empty for an empty one."""
    return ", ".join(f"{_SHORT.get(kind, kind)}={_printable(value)}" for part in name for kind, value in part)


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "emailAddress": "email",
}


def names_of(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts that a certificate is for: names and IP addresses; the common name where there are none of these."""
    alternatives = certificate.get("subjectAltName", ())
    names = tuple(
        _short(value) if kind == "IP Address" else _printable(value)
        for kind, value in alternatives
        if kind in ("DNS", "IP Address")
    )
    return names or tuple(
        _printable(value) for part in certificate.get("subject", ()) for kind, value in part if kind == "commonName"
    )


def _short(address: str) -> str:
    """::1 for OpenSSL's 0:0:0:0:0:0:0:1."""
    from ipaddress import ip_address  # few certificates are for addresses

    try:
        return str(ip_address(address))
    except ValueError:
        return _printable(address)


def _printable(text: str) -> str:
    """Anybody may have written the certificate, and a terminal may show this."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def moment(certificate: Mapping[str, Any], which: str) -> datetime | None:
    """notBefore or notAfter, in UTC; None where it is missing or beyond what can be told."""
    try:
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate[which]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
