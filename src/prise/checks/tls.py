"""TLS as it is found: once verified, to know whether a client would trust it, and if not, once unverified, to see why.

Of a certificate that was not verified Python gives the bytes alone; the package `cryptography` (the extra `tls`) reads
them. Without it, only the fingerprint is shown.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prise import PriseError, TLSError

if TYPE_CHECKING:
    from prise.checks.probe import Result

SOON = 14
"""Days before a certificate's end from which on it is worth a note."""
ALPN = ("h2", "http/1.1")
MOST_CERTIFICATES = 10


def check_tls(result: Result, sock: socket.socket, timeout: float) -> ssl.SSLSocket | None:
    """Sets TLS up over a fresh connection and notes what it is. The socket to go on with; None after a problem.

    Raises TLSError when there is no TLS at all.
    """
    target = result.target
    peer = sock.getpeername()
    try:
        context = ssl.create_default_context(cafile=target.ca)
    except OSError as error:
        raise TLSError("the file of trusted certificates {file} cannot be used", file=repr(target.ca)) from error
    try:
        secured = _secure(context, sock, target.host, timeout, target.http)
    except ssl.SSLCertVerificationError as error:
        result.problem = _distrusted(error, target.host)
    except (ssl.SSLError, OSError) as error:
        raise _no_tls(error, sock.family, peer, timeout) from error
    else:
        result.facts["tls"] = _describe(secured, True)
        _note_expiry(result)
        return secured
    unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    with socket.socket(sock.family, socket.SOCK_STREAM) as again:
        again.settimeout(timeout)
        try:
            again.connect(peer)
            with _secure(unverified, again, target.host, timeout, target.http) as secured:
                result.facts["tls"] = _describe(secured, False)
        except OSError:
            pass  # it does not want us again; what is wrong is known
    return None


def _secure(context: ssl.SSLContext, sock: socket.socket, host: str, timeout: float, http: bool) -> ssl.SSLSocket:
    context.set_alpn_protocols(["http/1.1"] if http else list(ALPN))
    sock.settimeout(timeout)
    return context.wrap_socket(sock, server_hostname=host)


def _distrusted(error: ssl.SSLCertVerificationError, host: str) -> TLSError:
    """Why the certificate is not trusted, by the codes of OpenSSL (X509_V_ERR_*)."""
    code = error.verify_code
    if code == 10:
        reason = "the certificate has expired; the server needs a new one (or a clock is wrong)"
    elif code == 9:
        reason = "the certificate is not valid yet; is the clock of this machine right?"
    elif code in (62, 64):
        reason = "the certificate is not for {host}; use a name that it has, or give the server one for this name"
    elif code in (18, 19):
        reason = "the certificate is self-signed, so nobody vouches for it; trust it with --ca FILE if it is yours"
    elif code in (2, 20, 21):
        reason = (
            "nobody that this machine trusts has issued the certificate; the server may not send the intermediate ones, "
            "or --ca FILE is needed"
        )
    else:
        reason = "the certificate is not trusted: {error}"
    return TLSError(reason, host=host, error=error.verify_message)


def _no_tls(error: OSError, family: int, peer: Any, timeout: float) -> TLSError:
    """Why there is no TLS; where something else is spoken, what it says."""
    why = getattr(error, "reason", None) or ""
    if isinstance(error, TimeoutError):
        reason = "no TLS within {seconds:g} s: what is there waits for something else, or is too busy"
    elif ("PROTOCOL" in why and "VERSION" in why) or why == "UNSUPPORTED_PROTOCOL":
        reason = "the server speaks only versions of TLS that are not safe any more (before 1.2); it must be updated"
    elif why in ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INTERNAL_ERROR", "NO_CIPHERS_AVAILABLE"):
        reason = (
            "the server refuses the TLS handshake: it wants a client certificate, or has no cipher in common with us"
        )
    elif "ALERT" in why:
        reason = "the server refuses the TLS handshake: {error}"
    else:
        from prise.checks.probe import greeting

        said = b""
        try:
            with socket.socket(family, socket.SOCK_STREAM) as sock:
                sock.settimeout(timeout)
                sock.connect(peer)
                said = greeting(sock)
        except OSError:
            pass
        reason = (
            "this is not TLS: the server says {greeting} in plain; TLS may begin later there (STARTTLS), or not at all"
            if said
            else "this is not TLS: the server answers something else, or closes; try it without TLS"
        )
        return TLSError(reason, greeting=repr(said.decode(errors="replace").strip()[:100]))
    return TLSError(reason, seconds=timeout, error=why.lower().replace("_", " "))


# -- Describing --------------------------------------------------------------------------------------------------------


def _describe(sock: ssl.SSLSocket, verified: bool) -> dict[str, Any]:
    cipher = sock.cipher()
    return {
        "version": sock.version(),
        "cipher": cipher[0] if cipher else None,
        "alpn": sock.selected_alpn_protocol(),
        "verified": verified,
        "chain": [certificate(der) for der in chain(sock)],
    }


def chain(sock: ssl.SSLSocket) -> list[bytes]:
    """The certificates that the server sent, its own first, in DER; before Python 3.13 only a private method has them."""
    own = sock.getpeercert(binary_form=True)
    found: list[bytes] = []
    try:
        public = getattr(sock, "get_unverified_chain", None)
        if public is not None:
            found = list(public())
        else:
            import _ssl

            sent = sock._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
            found = [each.public_bytes(_ssl.ENCODING_DER) for each in sent or ()]
    except (AttributeError, TypeError, ValueError):
        pass  # another Python: the first one alone then
    return (found or ([own] if own else []))[:MOST_CERTIFICATES]


def certificate(der: bytes) -> dict[str, Any]:
    """What a certificate says. Days count from now to its end; negative when it is over."""
    facts: dict[str, Any] = {"sha256": hashlib.sha256(der).hexdigest()}
    try:
        from cryptography import x509
    except ImportError:
        return facts
    try:
        read = x509.load_der_x509_certificate(der)
        end = read.not_valid_after_utc
        facts |= {
            "subject": read.subject.rfc4514_string(),
            "issuer": read.issuer.rfc4514_string(),
            "expires": end.isoformat(),
            "days": (end - datetime.now(UTC)).days,
        }
        try:
            names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            facts["names"] = [str(getattr(name, "value", name)) for name in names][:100]
        except x509.ExtensionNotFound:
            facts["names"] = []
    except ValueError:
        pass  # not written as it should be; the fingerprint tells which one it is
    return facts


def _note_expiry(result: Result) -> None:
    days = result.facts["tls"]["chain"][0].get("days")
    if days is not None and days < SOON:
        result.notes.append(PriseError("the certificate expires in {days} days; renew it", days=days))
