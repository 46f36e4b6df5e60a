"""TLS 1.2 and 1.3 (RFC 5246, RFC 8446) as a layer: OpenSSL works on two buffers in memory, and the layer moves their bytes.

    outside -> incoming buffer -> OpenSSL -> inside           outside <- outgoing buffer <- OpenSSL <- inside

One implementation for clients and servers. `receive` reads until OpenSSL has nothing more, so that nothing stays behind in it
while the socket is watched. Whatever OpenSSL wants to say by itself (handshake, session tickets, key updates, alerts) is in
the outgoing buffer, and goes out by `output` or with the next data.

Either side may end its half (close_notify) and go on receiving. An input that ends without it was cut short, by accident or by
somebody on the way (a truncation attack), and that is an error.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, ClassVar

from prise.errors import ConnectionLost, TLSError, UsageError
from prise.layers.base import Ends, Layer
from prise.layers.tlserrors import explain, in_clear, moment, names_of, not_tls, plain_name, wrong_pin

MOST_KEPT = 1024 * 1024
"""Bytes that may be given to `send` before the handshake is over."""

RECORD_SIZE = 16 * 1024
"""Bytes of data that one record carries at the most (RFC 8446 §5.1): the most that one read from OpenSSL can give."""

FIRST_BYTES = 40
"""Bytes shown of what came in place of TLS."""


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What TLS has agreed on, and with whom.

    version: "TLSv1.2" or "TLSv1.3". cipher: its OpenSSL name. alpn: the protocol chosen, None if none was. server_name: the
    name that the client asked for (SNI), None without one. peer_certificate: DER, None where the peer showed none;
    fingerprint: its SHA-256 in hexadecimal. subject, issuer ("CN=..."), names (hosts that it is for), not_after (UTC): of a
    certificate that was verified; empty and None for one that was only pinned, or not looked at.
    """

    version: str
    cipher: str
    alpn: str | None = None
    server_name: str | None = None
    peer_certificate: bytes | None = field(default=None, repr=False)
    fingerprint: str | None = None
    subject: str = ""
    issuer: str = ""
    names: tuple[str, ...] = ()
    not_after: datetime | None = None


class NamedObject(ssl.SSLObject):
    """What the contexts of servers make, so that their SNI callback has a place for the name (see `prise.tls`)."""

    asked: str | None = None


class TLSLayer(Layer):
    """One connection's TLS.

    context: of the right side (ssl.PROTOCOL_TLS_SERVER, PROTOCOL_TLS_CLIENT). server: which side we are. name: whom the
    client wants to reach, as the context verifies it; also sent (SNI) unless it is an IP address. pins: SHA-256 fingerprints
    in lower-case hexadecimal, of which the peer's certificate must have one; empty: any will do.

    Raises TLSError. info: a `TLSInfo` once it is `ready`.
    """

    name: ClassVar[str] = "tls"

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server: bool,
        name: str | None = None,
        pins: tuple[str, ...] = (),
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.ready = False
        self._context = context
        self._server = server
        self._server_name = name
        self._pins = pins
        self._session = session
        self._incoming = ssl.MemoryBIO()  # bound: one read, and one record that is not complete
        self._outgoing = ssl.MemoryBIO()  # bound: what was sent since `output`, and answers to one read
        self._object: Any = None
        self._records = _Records()
        self._kept = bytearray()  # sent before we were ready; bound: MOST_KEPT
        self._ending = False
        self._failure: TLSError | None = None

    def begin(self, ends: Ends) -> None:
        self._object = self._context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=self._server,
            server_hostname=self._server_name,
            session=self._session,
        )
        if not self._server:
            self._shake_hands()

    # -- In ------------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> bytes:
        if self._failure is not None:
            raise self._failure
        if self.ended:
            return b""  # after its close_notify, what a peer sends means nothing (RFC 8446 §6.1)
        self.pending = self._records.pass_by(data)
        self._incoming.write(data)
        if self.ready:
            return self._read()
        try:
            shaken = self._shake_hands()
        except TLSError:
            if self._server and self._records.foreign:
                self._outgoing.read()
                self._outgoing.write(in_clear(data))  # `output` says it before the connection ends
            raise
        return self._read() if shaken else b""

    def _shake_hands(self) -> bool:
        """As far as it goes with what is here. True when it is over."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            if self._records.foreign:  # OpenSSL waits for more of what will never be TLS (or is SSL 2)
                raise self._failed(not_tls(self._records.foreign, self._server)) from None
            return False
        except ssl.SSLError as error:
            raise self._failed(self._explain(error)) from error
        certificate = self._object.getpeercert(binary_form=True)
        fingerprint = sha256(certificate).hexdigest() if certificate else None
        if self._pins and fingerprint not in self._pins:
            # In TLS 1.3 our half of the handshake has not gone out yet: so an impostor gets nothing, not even our certificate.
            self._outgoing.read()
            raise self._failed(wrong_pin(self._pins, fingerprint or "-"))
        self.info = self._inform(certificate, fingerprint)
        self.ready = True
        if self._kept:
            self._write(self._kept)
            self._kept.clear()
        if self._ending:
            self._close_our_half()
        return True

    def _read(self) -> bytes:
        """All that OpenSSL can decrypt. An error waits in `error` if there was good data before it."""
        chunks: list[bytes] = []
        read, remaining, incoming = self._object.read, self._object.pending, self._incoming
        try:
            while chunk := read(RECORD_SIZE):
                chunks.append(chunk)
                if not incoming.pending and not remaining():
                    break  # reading once more would say the same, by an exception, which costs more
            else:
                self._end_of_input()
        except ssl.SSLZeroReturnError:  # how the peer's close_notify shows once we have sent ours
            self._end_of_input()
        except ssl.SSLWantReadError:
            if self._records.foreign:
                self._fail_after(chunks, not_tls(self._records.foreign, self._server))
        except ssl.SSLError as error:
            self._fail_after(chunks, self._explain(error))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _end_of_input(self) -> None:
        self.ended = True
        self.pending = False
        self._incoming.read()  # what comes behind the end means nothing: it is not kept

    def _fail_after(self, chunks: list[bytes], failure: TLSError) -> None:
        self._failed(failure)
        if not chunks:
            raise failure
        self.error = failure

    def receive_end(self) -> None:
        if self.ended or self._failure is not None:
            return
        if not self.ready:
            raise self._failed(
                TLSError(
                    "the client hung up during the TLS handshake (does it trust our certificate?)"
                    if self._server
                    else "the server hung up during the TLS handshake (does it speak TLS here?)"
                )
            )
        raise ConnectionLost("cut short: the connection ended without TLS's own end")

    # -- Out -----------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> bytes:
        if self._failure is not None:
            raise self._failure
        if not self.ready:
            if len(self._kept) + len(data) > MOST_KEPT:
                raise UsageError("more than {limit} bytes were sent before TLS was set up", limit=MOST_KEPT)
            self._kept += data
        else:
            self._write(data)
        return self._outgoing.read()

    def _write(self, data: bytes | bytearray) -> None:
        if not data:
            return  # an empty record would say nothing
        write = self._object.write
        try:
            sent = write(data)
            if sent < len(data):  # it takes one record at a time
                with memoryview(data) as rest:
                    while sent < len(data):
                        sent += write(rest[sent : sent + RECORD_SIZE])
        except ssl.SSLError as error:
            if self._ending:
                raise ConnectionLost("nothing can be sent any more: our half of TLS is closed") from error
            raise self._failed(self._explain(error)) from error

    def output(self) -> bytes:
        return self._outgoing.read() if self._outgoing.pending else b""

    def end(self) -> bytes:
        if not self._ending:
            self._ending = True
            if self.ready and self._failure is None:
                self._close_our_half()
        return self._outgoing.read()

    def _close_our_half(self) -> None:
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # usually SSLWantReadError: the peer's close_notify is not here yet, and `receive` waits for it

    @property
    def context(self) -> ssl.SSLContext:
        """That of its certificates and of its session."""
        return self._context

    @property
    def session(self) -> ssl.SSLSession | None:
        """The TLS session, for another layer to resume (with TLS 1.3: once the server has sent a ticket)."""
        found: ssl.SSLSession | None = None if self._object is None else self._object.session
        return found

    # -- What is known -------------------------------------------------------------------------------------------------

    def _failed(self, failure: TLSError) -> TLSError:
        self._failure = failure
        self.pending = False
        self._incoming.read()  # nobody looks at the rest: it is not kept
        return failure

    def _explain(self, error: ssl.SSLError) -> TLSError:
        if self._records.foreign:
            return not_tls(self._records.foreign, self._server)
        minimum = "TLS 1.3" if self._context.minimum_version == ssl.TLSVersion.TLSv1_3 else "TLS 1.2"
        return explain(
            error,
            server=self._server,
            name=self._server_name,
            certificate=_unverified(self._object) if isinstance(error, ssl.SSLCertVerificationError) else None,
            minimum=minimum,
        )

    def _inform(self, certificate: bytes | None, fingerprint: str | None) -> TLSInfo:
        tls = self._object
        cipher = tls.cipher()
        verified = tls.getpeercert() if certificate else None
        return TLSInfo(
            version=tls.version() or "",
            cipher=cipher[0] if cipher else "",
            alpn=tls.selected_alpn_protocol(),
            server_name=getattr(tls, "asked", None) if self._server else self._server_name,
            peer_certificate=certificate,
            fingerprint=fingerprint,
            subject=plain_name(verified.get("subject", ())) if verified else "",
            issuer=plain_name(verified.get("issuer", ())) if verified else "",
            names=names_of(verified) if verified else (),
            not_after=moment(verified, "notAfter") if verified else None,
        )


def _unverified(tls: ssl.SSLObject) -> Mapping[str, Any] | None:
    """The peer's certificate, to say what is wrong with it.

    `getpeercert` has none before the handshake is over. Python 3.13 made `get_unverified_chain` public, but as bytes; inside, it
    can be read since 3.10. Where it cannot, the sentence says less.
    """
    try:
        chain = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        found: Mapping[str, Any] = chain[0].get_info()
        return found
    except (AttributeError, IndexError, TypeError, ValueError, ssl.SSLError):
        return None


class _Records:
    """Follows the headers of TLS records (type, version, length; RFC 8446 §5.1), which OpenSSL keeps to itself.

    foreign: the first bytes found where a record should begin and does not; empty while all is well.
    """

    __slots__ = ("_header", "_left", "foreign")

    def __init__(self) -> None:
        self._header = b""  # of a record, in part
        self._left = 0  # bytes that the current record still lacks
        self.foreign = b""

    def pass_by(self, data: bytes) -> bool:
        """Takes what arrived; True when it ends inside a record."""
        size = len(data)
        begins = size > 5 and not (self._left or self._header)
        if begins and data[1] == 3 and 20 <= data[0] <= 24 and data[3] << 8 | data[4] == size - 5:
            return False  # one whole record, as nearly always
        position = 0
        while position < size and not self.foreign:
            if self._left:
                step = min(self._left, size - position)
                self._left -= step
                position += step
                continue
            begin = position
            position += 5 - len(self._header)
            header = self._header + data[begin:position]
            if len(header) < 5:
                self._header = header
                break
            self._header = b""
            if not 20 <= header[0] <= 24 or header[1] != 3:
                self.foreign = header + data[position : position + FIRST_BYTES - 5]
                break
            self._left = header[3] << 8 | header[4]
        return bool(self._left or self._header)
