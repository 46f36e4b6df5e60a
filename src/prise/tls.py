"""`TLS`: which certificate we show, whom we trust, what we agree to. One description, for servers and for clients.

    tls = prise.TLS(cert="cert.pem", key="key.pem")
    prise.serve(conversation, "tls:*:4433", tls=tls)
    prise.connect("tls:example.org:4433", tls=prise.TLS(ca="ca.pem"))

Files are read, and checked, when the description is made, and again by `reload()`; connections only look at what was read.
The work itself is done by `prise.layers.tls`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from prise.errors import UsageError
from prise.layers.base import Layer, LayerFactory
from prise.layers.tls import NamedObject, TLSLayer
from prise.tlsfiles import File, load_authorities, load_certificate, own_fingerprint, read_pin

Password: TypeAlias = "str | bytes | Callable[[], str | bytes] | None"

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TLS:
    """How TLS is to be done. Cheap to share between addresses, threads and forked processes.

    cert, key: our certificate with its chain, and its key: PEM files; the key may be in the file of the certificate.
    password: of the key, if it is encrypted. sni: further certificates of a server by the name that is asked for
    ("example.org", "*.example.org"): name -> (cert, key); without `cert`, no other name is served.
    ca: PEM file of the certificates that a client trusts; by default those that the system trusts. verify: False to talk to
    anybody (the connection can then be read by anybody in between). pin: SHA-256 of the peer's certificate in hexadecimal
    (colons, and `sha256:` before it, are allowed), or several; then it is trusted whoever signed it, unless `ca` is given too.
    name: whom the certificate must be for, where that is not the host that is dialled.
    client_ca: PEM file of the issuers of client certificates; with it a server lets nobody in who has none (mTLS).
    alpn: protocols to choose from (RFC 7301), best first. minimum: the oldest version, "1.2" or "1.3".
    self_signed: make a certificate for development (localhost and this machine's name), and keep it for the next time;
    clients made from the same description trust it. Needs the extra `tls`.
    context: an ssl.SSLContext of your own, in place of all the rest; then `reload` does nothing.

    Raises UsageError for files that cannot be read or do not fit together, and for what excludes each other; MissingExtra.
    """

    def __init__(
        self,
        *,
        cert: File | None = None,
        key: File | None = None,
        password: Password = None,
        ca: File | None = None,
        client_ca: File | None = None,
        verify: bool = True,
        name: str | None = None,
        alpn: Iterable[str] = (),
        minimum: str = "1.2",
        pin: str | Iterable[str] | None = None,
        sni: Mapping[str, tuple[File, File | None]] | None = None,
        self_signed: bool = False,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._arguments = {each: value for each, value in locals().items() if each not in ("self", "__class__")}
        if key is not None and cert is None:
            raise UsageError("a key needs its certificate: give cert as well")
        if self_signed and cert is not None:
            raise UsageError("self_signed makes a certificate: do not give cert as well")
        if minimum not in _VERSIONS:
            raise UsageError("minimum is {known}, not {minimum}", known=" or ".join(_VERSIONS), minimum=repr(minimum))
        if not verify and ca is not None:
            raise UsageError("verify=False trusts everybody: do not give ca as well")
        self._cert, self._key, self._password = cert, key, password
        self._ca, self._client_ca, self._verify = ca, client_ca, verify
        self._name = name
        self._alpn = (alpn,) if isinstance(alpn, str) else tuple(alpn)
        if any(not 0 < len(each.encode()) < 256 for each in self._alpn):
            raise UsageError("an ALPN protocol has 1 to 255 bytes; example: {example}", example="h2")
        self._minimum = _VERSIONS[minimum]
        pins = (pin,) if isinstance(pin, str) else pin or ()
        self._pins = tuple(read_pin(each) for each in pins)
        self._sni = {each.lower().rstrip("."): files for each, files in (sni or {}).items()}
        self._self_signed = self_signed
        self._own = context
        self._fingerprint: str | None = None
        # What connections look at. Replaced as a whole, never changed: so a reload needs no lock.
        self._server: ssl.SSLContext | None = context
        self._client: ssl.SSLContext | None = context
        if context is None:
            self._read(server=self._has_certificate, client=not self._has_certificate)

    def server(self) -> LayerFactory:
        """What makes the layer of one accepted connection. Its `reload()` is that of this TLS. Raises UsageError."""
        if self._pins and self._client_ca is None and self._own is None:
            raise UsageError("a server that pins its clients' certificates has to ask for them: give client_ca as well")
        if self._server is None:
            if not self._has_certificate:
                raise UsageError(
                    "a TLS server needs a certificate: cert and key (PEM files), or self-signed for development; "
                    "example: {example}",
                    example="tls,cert=cert.pem,key=key.pem:*:4433",
                )
            self._read(server=True, client=self._client is not None)
            assert self._server is not None
        if self._server.protocol == ssl.PROTOCOL_TLS_CLIENT:
            raise UsageError("this ssl.SSLContext is for clients; a server needs one made with ssl.PROTOCOL_TLS_SERVER")
        return _Server(self)

    def client(self, host: str) -> LayerFactory:
        """What makes the layer of one connection to this host. Raises UsageError."""
        name = check_name(self._name or host)
        if self._client is None:
            self._read(server=self._server is not None, client=True)
            assert self._client is not None
        if self._client.protocol == ssl.PROTOCOL_TLS_SERVER:
            raise UsageError("this ssl.SSLContext is for servers; a client needs one made with ssl.PROTOCOL_TLS_CLIENT")
        return _Client(self, name)

    def resuming(self, connection: Any, name: str | None = None) -> Resuming:
        """For `start_tls` on another connection to the same server: it goes on with the TLS session of `connection`, as FTP
        servers demand of their data connections. On it we are the client, whoever has connected.

        name: whom the certificate must be for; by default the host that `connection` was connected to."""
        return Resuming(self, connection, name)

    def reload(self) -> None:
        """Reads all files again, for the handshakes to come. Raises what the constructor raises; then all stays as it was."""
        if self._own is None:
            self._read(server=self._server is not None, client=self._client is not None)

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of our own certificate, in hexadecimal, for clients to pin; None without one, and with a `context`."""
        return self._fingerprint

    def with_(self, **arguments: Any) -> TLS:
        """The same with other arguments, those of the constructor."""
        if self._own is not None:
            raise UsageError(
                "a TLS with a context of its own cannot be changed by {arguments}",
                arguments=", ".join(arguments),
            )
        return TLS(**{**self._arguments, **arguments})

    # -- Contexts ------------------------------------------------------------------------------------------------------

    @property
    def _has_certificate(self) -> bool:
        return self._cert is not None or self._self_signed or bool(self._sni)

    def _read(self, server: bool, client: bool) -> None:
        """Reads all files, then puts the new contexts in the place of the old."""
        own = self._cert
        if self._self_signed:
            from prise.selfsigned import certificate_file

            own = certificate_file()
        fingerprint = own_fingerprint(own) if own is not None else None
        new_server = self._make_server(own) if server else None
        new_client = self._make_client(own) if client else None
        self._server, self._client, self._fingerprint = new_server, new_client, fingerprint

    def _make_server(self, own: File | None) -> ssl.SSLContext:
        context = self._server_context(own, self._key)
        others = {name: self._server_context(*files) for name, files in self._sni.items()}
        context.sslobject_class = NamedObject
        context.sni_callback = _choose_certificate(others, own is not None)
        return context

    def _server_context(self, cert: File | None, key: File | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._agree(context)
        if cert is not None:
            load_certificate(context, cert, key, self._password)
        if self._client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            load_authorities(context, self._client_ca)
        return context

    def _make_client(self, own: File | None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._agree(context)
        # A certificate that is trusted is trusted, also where its issuer is not known (Python 3.13 does it by default).
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        trusted = own if self._self_signed and self._ca is None else self._ca
        if not self._verify or (self._pins and self._ca is None):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif trusted is not None:
            load_authorities(context, trusted)
        else:
            context.load_default_certs()
        if self._cert is not None:
            load_certificate(context, self._cert, self._key, self._password)
        return context

    def _agree(self, context: ssl.SSLContext) -> None:
        """What both sides of TLS do alike."""
        context.minimum_version = self._minimum
        # A peer that renegotiates (TLS 1.2) makes the other side compute, and changes who it is in the middle of a talk.
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self._alpn:
            context.set_alpn_protocols(list(self._alpn))


class _Server:
    """Makes the layers of a server. A class, not a closure: it has `reload` as well."""

    __slots__ = ("reload", "tls")

    def __init__(self, tls: TLS) -> None:
        self.tls = tls
        self.reload = tls.reload

    def __call__(self) -> Layer:
        context = self.tls._server
        assert context is not None
        return TLSLayer(context, server=True, pins=self.tls._pins)


class _Client:
    """Makes the layers of a client that wants to reach `name`. first: a connection whose TLS session is resumed."""

    __slots__ = ("first", "name", "reload", "tls")

    def __init__(self, tls: TLS, name: str, first: Any = None) -> None:
        self.tls = tls
        self.name = name
        self.first = first
        self.reload = tls.reload

    def __call__(self) -> Layer:
        context, session = self.tls._client, None
        if self.first is not None:
            for layer in self.first._pipeline.layers:
                if isinstance(layer, TLSLayer):  # a session belongs to its context, which a `reload` may have replaced
                    context, session = layer.context, layer.session
        assert context is not None
        return TLSLayer(context, server=False, name=self.name, pins=self.tls._pins, session=session)


class Resuming:
    """What `TLS.resuming` gives."""

    def __init__(self, tls: TLS, first: Any, name: str | None) -> None:
        self._tls, self._first, self._name = tls, first, name

    def client(self, host: str) -> LayerFactory:
        factory = self._tls.client(host)
        assert isinstance(factory, _Client)
        return _Client(self._tls, factory.name, self._first)

    def server(self) -> LayerFactory:
        """The other side has connected, to a place that it was told: it is still the server, of the host we dialled."""
        return self.client(self._name or self._first._dialled.host or "localhost")


def check_name(host: str) -> str:
    """The name by which a host's certificate is checked. Raises UsageError for what no certificate can be for."""
    name = host.partition("%")[0].removesuffix(".")  # an IPv6 zone, the dot of an absolute name
    try:
        name = name if ":" in name else name.encode("idna").decode("ascii")
        good = bool(name) and not name.startswith(".") and "\0" not in name
    except UnicodeError:
        good = False
    if not good:
        raise UsageError(
            "no certificate can be for the name {name}; example: {example}", name=repr(host), example="example.org"
        )
    return name


def _choose_certificate(others: Mapping[str, ssl.SSLContext], has_default: bool) -> Callable[..., int | None]:
    """The SNI callback (RFC 6066 §3). A name like a.b.example finds itself, then *.b.example, then the default."""

    def choose(tls: ssl.SSLObject, asked: str | None, context: ssl.SSLContext) -> int | None:
        name = (asked or "").lower()
        if isinstance(tls, NamedObject):
            tls.asked = name or None
        found = others.get(name) or others.get(f"*.{name.partition('.')[2]}")
        if found is not None:
            tls.context = found
        elif not has_default:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        return None

    return choose
