"""What `prise.TLS` is given: files, passwords, pins, names. What does not fit is refused when it is made, in one sentence."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from prise import TLS, UsageError
from prise.selfsigned import RENEWED_BEFORE, certificate_file
from prise.tls import check_name
from prise.tlsfiles import own_fingerprint, read_pin
from tls_support import authority, client_tls, issue, localhost, pair, server_tls


def test_a_key_with_a_password(tmp_path: Path) -> None:
    locked = issue("locked", issuer=authority(), password=b"sesame", where=tmp_path)
    for password in ("sesame", b"sesame", lambda: "sesame"):
        assert pair(TLS(cert=locked.cert, key=locked.key, password=password)).errors == {}
    with pytest.raises(UsageError, match="is encrypted: give its password"):
        TLS(cert=locked.cert, key=locked.key)
    with pytest.raises(UsageError, match="is the password right"):
        TLS(cert=locked.cert, key=locked.key, password="open")


def test_certificate_and_key_in_one_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(localhost().key.read_bytes() + localhost().cert.read_bytes())
    assert pair(TLS(cert=both)).errors == {}
    assert own_fingerprint(both) == localhost().fingerprint == TLS(cert=both).fingerprint


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"key": "key.pem"}, "a key needs its certificate"),
        ({"cert": localhost().cert, "self_signed": True}, "do not give cert as well"),
        ({"minimum": "1.1"}, "minimum is 1.2 or 1.3, not '1.1'"),
        ({"verify": False, "ca": authority().cert}, "do not give ca as well"),
        ({"alpn": ("",)}, "1 to 255 bytes"),
        ({"alpn": "x" * 256}, "1 to 255 bytes"),
        ({"pin": "abc"}, "64 hexadecimal digits, not 'abc'"),
        ({"ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be read: No such file"),
        ({"ca": localhost().key}, "holds no certificate"),
        ({"ca": "bad\0name"}, "cannot be read"),
    ],
)
def test_what_does_not_fit(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError) as raised:
        TLS(**arguments)
    assert expected in str(raised.value)


def test_a_damaged_certificate(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text(localhost().cert.read_text().replace("MII", "AAA"))
    for arguments in ({"ca": broken}, {"cert": broken, "key": localhost().key}):
        with pytest.raises(UsageError, match=r"broken\.pem"):
            TLS(**arguments)  # type: ignore[arg-type]


def test_contexts_of_the_wrong_side() -> None:
    with pytest.raises(UsageError, match="is for clients"):
        TLS(context=ssl.create_default_context()).server()
    with pytest.raises(UsageError, match="is for servers"):
        TLS(context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).client("localhost")
    with pytest.raises(UsageError, match="context of its own cannot be changed by alpn"):
        TLS(context=ssl.create_default_context()).with_(alpn="h2")


def test_a_server_needs_a_certificate_and_somebody_to_pin() -> None:
    with pytest.raises(UsageError, match="a TLS server needs a certificate"):
        client_tls().server()
    with pytest.raises(UsageError, match="give client_ca as well"):
        server_tls(pin="00" * 32).server()


def test_pins_and_names_as_people_write_them() -> None:
    digits = "0123456789abcdef" * 4
    colons = ":".join(digits[each : each + 2].upper() for each in range(0, 64, 2))
    for text in (digits, colons, f"sha256:{digits}", f" SHA256:{colons}\n"):
        assert read_pin(text) == digits
    for host, name in (
        ("example.org", "example.org"),
        ("example.org.", "example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("fe80::1%eth0", "fe80::1"),
    ):
        assert check_name(host) == name
    for host in ("", ".", "a..b", ".example", "x" * 64 + ".example", "a\0b"):
        with pytest.raises(UsageError, match="no certificate can be for the name"):
            check_name(host)


def test_the_development_certificate_is_kept_until_it_is_old(tmp_path: Path) -> None:
    file = tmp_path / "state" / "self-signed.pem"
    now = datetime.now(UTC)
    assert certificate_file(file, now) == file
    first = own_fingerprint(file)
    certificate_file(file, now + timedelta(days=365) - RENEWED_BEFORE - timedelta(days=1))
    assert own_fingerprint(file) == first
    certificate_file(file, now + timedelta(days=365) - RENEWED_BEFORE + timedelta(days=1))
    assert own_fingerprint(file) != first
    assert [each.name for each in file.parent.iterdir()] == [file.name]  # nothing is left behind
    file.write_text("rubbish")
    with pytest.raises(UsageError, match="holds no certificate; delete it"):
        certificate_file(file)
