"""TLS in the command: `prise serve` and `prise connect` with certificates, SIGHUP, --self-signed and --pin."""

from __future__ import annotations

import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import prise
from blocking_support import until
from cli_process import Running, run
from prise import TLS
from tls_support import authority, client_tls, issue, localhost

PATIENCE = 10.0


def serve(*options: str, on: str = "tls:127.0.0.1:0", **more: Any) -> Running:
    return Running("serve", "echo", "--on", on, *options, **more)


def fingerprint(port: int) -> str:
    with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as client:
        assert client.ask("hello", timeout=PATIENCE) == "hello"
        found: str = client.tls.fingerprint
        return found


def copied(where: Path) -> tuple[Path, Path]:
    cert, key = where / "cert.pem", where / "key.pem"
    shutil.copy(localhost().cert, cert)
    shutil.copy(localhost().key, key)
    return cert, key


def test_sighup_reads_the_certificates_again(tmp_path: Path) -> None:
    cert, key = copied(tmp_path)
    renewed = issue("renewed-by-signal", ("localhost", "127.0.0.1"), issuer=authority())
    with serve("--cert", str(cert), "--key", str(key)) as server:
        port = server.port()
        with prise.connect(f"tls:127.0.0.1:{port}", tls=client_tls(), timeout=PATIENCE) as before:
            assert before.ask("one", timeout=PATIENCE) == "one"
            shutil.copy(renewed.cert, cert)
            server.signal(signal.SIGHUP)
            server.err.expect("could not be read again, the old ones stay: the key in .* is not that of")
            assert fingerprint(port) == localhost().fingerprint
            shutil.copy(renewed.key, key)
            server.signal(signal.SIGHUP)
            server.err.expect("the certificates were read again")
            assert fingerprint(port) == renewed.fingerprint
            assert before.ask("two", timeout=PATIENCE) == "two"
            assert before.tls.fingerprint == localhost().fingerprint


def test_sighup_reaches_every_worker(tmp_path: Path) -> None:
    cert, key = copied(tmp_path)
    renewed = issue("renewed-for-workers", ("localhost", "127.0.0.1"), issuer=authority())
    with serve("--workers", "2", on=f"tls,cert={cert},key={key}:127.0.0.1:0") as server:
        port = server.port()
        assert fingerprint(port) == localhost().fingerprint
        shutil.copy(renewed.cert, cert)
        shutil.copy(renewed.key, key)
        server.signal(signal.SIGHUP)
        until(lambda: {fingerprint(port) for _ in range(6)} == {renewed.fingerprint}, "both have the new one")


def test_a_certificate_for_development(tmp_path: Path) -> None:
    """Made once and kept, where only the user reads it; its fingerprint is printed, and is enough for a client."""
    state = {"XDG_STATE_HOME": str(tmp_path)}
    pins = []
    for _ in range(2):
        with serve("--self-signed", on="127.0.0.1:0", **state) as plain:
            pins.append(plain.err.expect("--pin ([0-9a-f]{64})")[1])
    assert pins[0] == pins[1]
    (kept,) = (tmp_path / "prise").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    with serve("--tls", "--self-signed", on="127.0.0.1:0", **state) as server:
        port = server.port()
        done = run("connect", "--tls", "--pin", pins[0], f"127.0.0.1:{port}", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("hello\n", 0), done.stderr
        done = run("connect", "--pin", "00" * 32, f"tls:127.0.0.1:{port}", given=b"hello\n")
        assert done.returncode == 6
        assert done.stdout == ""
        assert f"expected {'00' * 32}, found {pins[0]}" in done.stderr
        done = run("connect", f"tls:127.0.0.1:{port}", given=b"hello\n")
        assert done.returncode == 6
        assert "the server's certificate is self-signed" in done.stderr
        assert "pin=SHA256" in done.stderr
        done = run("connect", "--insecure", f"tls:127.0.0.1:{port}", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("hello\n", 0)


def test_a_name_an_authority_and_a_date_that_are_wrong() -> None:
    other = issue("elsewhere", ("elsewhere.example",), issuer=authority())
    with serve("--cert", str(other.cert), "--key", str(other.key)) as server:
        port = server.port()
        done = run("connect", "--ca", str(authority().cert), f"tls:localhost:{port}", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("", 6)
        assert "the certificate is for elsewhere.example, not for localhost" in done.stderr
        done = run("connect", f"tls,name=elsewhere.example:localhost:{port}", given=b"hello\n")
        assert (done.stdout, done.returncode) == ("", 6)
        assert "an issuer that is not trusted: CN=Test authority, O=prise" in done.stderr
        right = f"tls,name=elsewhere.example,ca={authority().cert}:localhost:{port}"
        done = run("connect", right, given=b"hello\n")
        assert (done.stdout, done.returncode) == ("hello\n", 0)


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    for cert, key, expected in (
        (tmp_path / "none.pem", None, "none.pem cannot be read: No such file"),
        (empty, None, "empty.pem holds no certificate (PEM"),
        (localhost().cert, None, "holds no private key; give the file of the key as well"),
        (localhost().cert, authority().key, "is not that of the certificate in"),
    ):
        options = ["--cert", str(cert), *(("--key", str(key)) if key else ())]
        done = run("serve", "echo", "--on", "tls:127.0.0.1:0", *options)
        assert done.returncode == 2
        assert expected in done.stderr
    done = run("serve", "echo", "--on", "tls:127.0.0.1:0")
    assert done.returncode == 2
    assert "a TLS server needs a certificate" in done.stderr


def test_a_self_signed_server_and_client_of_one_description(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    tls = TLS(self_signed=True)

    def echo(connection: Any) -> None:
        for line in connection:
            connection.send(line)

    with prise.listen(echo, "tls:127.0.0.1:0", tls=tls) as server:
        for client in (tls, TLS(pin=tls.fingerprint)):
            with prise.connect(server.address, tls=client, timeout=PATIENCE) as connection:
                assert connection.ask("hello", timeout=PATIENCE) == "hello"
