"""The real servers of the tests: each answers the standard library's client, or a few bytes, and leaves nothing behind."""

from __future__ import annotations

import ftplib
import imaplib
import io
import os
import poplib
import smtplib
import socket
import ssl
import time
import urllib.request
from typing import ClassVar

import pytest

from peers import PATIENCE
from real_servers.base import RealServer, session_of
from real_servers.dovecot import Dovecot
from real_servers.exim import Exim
from real_servers.gophernicus import Gophernicus
from real_servers.inn import Inn
from real_servers.nginx import Nginx
from real_servers.proftpd import Proftpd
from real_servers.sn import Sn
from real_servers.telnetd import Telnetd
from real_servers.vsftpd import VsftpdPlain, VsftpdTls


def trust(server: RealServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.ca))


def say(server: RealServer, port: int, *lines: bytes, tls: bool = False) -> bytes:
    """What a server answers, until it hangs up. Each line waits for an answer to the one before, if only a part of it."""
    with socket.create_connection((server.host, port), PATIENCE) as plain:
        sock = trust(server).wrap_socket(plain, server_hostname=server.host) if tls else plain
        with sock:
            said = b""
            for line in lines:
                if said or not isinstance(server, Gophernicus):
                    said += sock.recv(65536)
                sock.sendall(line + b"\r\n")
            while data := sock.recv(65536):
                said += data
            return said


def test_nginx(nginx: Nginx) -> None:
    for url in (nginx.url("hello.txt"), nginx.url("auth/../hello.txt"), nginx.url("hello.txt", tls=True)):
        with urllib.request.urlopen(url, context=trust(nginx), timeout=PATIENCE) as answer:
            assert answer.read() == b"hello nginx\n"
    request = urllib.request.Request(nginx.url("dav/new.txt"), data=b"new", method="PUT")
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        assert answer.status == 201
    assert (nginx.root / "dav/new.txt").read_bytes() == b"new"


class Resuming(ftplib.FTP_TLS):
    """The standard library's, with data connections that resume the session of the control connection."""

    def ntransfercmd(self, cmd: str, rest: int | str | None = None) -> tuple[socket.socket, int | None]:
        connection, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        session = self.sock.session  # type: ignore[union-attr]  # it is TLS by then
        return self.context.wrap_socket(connection, server_hostname=self.host, session=session), size


def test_proftpd(proftpd: Proftpd) -> None:
    with Resuming(context=trust(proftpd), timeout=PATIENCE) as client:
        client.connect(proftpd.host, proftpd.port)
        client.login(proftpd.user, proftpd.password)
        client.prot_p()
        assert "hello.txt" in [name for name, _ in client.mlsd()]
        client.storbinary("STOR new", io.BytesIO(b"new"))
        assert (proftpd.root / "new").read_bytes() == b"new"
    context = trust(proftpd)
    with socket.create_connection((proftpd.host, proftpd.tls_port), PATIENCE) as sock:
        with context.wrap_socket(sock, server_hostname="localhost") as tls:
            assert tls.recv(100).startswith(b"220 ")


def test_vsftpd_has_lists_alone(vsftpd_plain: VsftpdPlain) -> None:
    with ftplib.FTP(timeout=PATIENCE) as client:
        client.connect(vsftpd_plain.host, vsftpd_plain.port)
        client.login(vsftpd_plain.user, vsftpd_plain.password)
        assert client.nlst() == ["hello.txt", "pub"]
        with pytest.raises(ftplib.error_perm, match="500"):
            list(client.mlsd())


def test_vsftpd_with_tls(vsftpd_tls: VsftpdTls) -> None:
    with Resuming(context=trust(vsftpd_tls), timeout=PATIENCE) as client:
        client.connect(vsftpd_tls.host, vsftpd_tls.port)
        client.login(vsftpd_tls.user, vsftpd_tls.password)
        client.prot_p()
        assert "pub/there.txt" in client.nlst("pub")


def test_exim_brings_mail_to_dovecot(exim: Exim, dovecot: Dovecot) -> None:
    with smtplib.SMTP(exim.host, exim.port, timeout=PATIENCE) as client:
        client.starttls(context=trust(exim))
        client.ehlo()
        for extension in ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "SIZE"):
            assert client.has_extn(extension), extension
        client.user, client.password = exim.user, exim.password
        client.auth("CRAM-MD5", client.auth_cram_md5)
        refused = client.sendmail("a@localhost", ["u99@localhost", "nobody@localhost", "later@localhost"], "\r\nhi\r\n")
        assert {name: code for name, (code, _) in refused.items()} == {"nobody@localhost": 550, "later@localhost": 451}
    with smtplib.SMTP_SSL(exim.host, exim.tls_port, timeout=PATIENCE, context=trust(exim)) as client:
        assert client.noop()[0] == 250
    deadline = time.monotonic() + PATIENCE
    while not (messages := dovecot.messages("u99")):
        assert time.monotonic() < deadline, exim.log()
        time.sleep(0.005)
    assert messages[0].endswith(b"\nhi\n")


def test_dovecot(dovecot: Dovecot) -> None:
    dovecot.deliver("test-real-servers", b"Subject: one\r\n\r\nhello\r\n")
    dovecot.deliver("test-real-servers", b"Subject: two\r\n\r\nhello\r\n", folder="Work/2026")
    with imaplib.IMAP4(dovecot.host, dovecot.port, timeout=PATIENCE) as client:
        client.starttls(trust(dovecot))
        client.login_cram_md5("test-real-servers", "pw")
        assert client.select("Work/2026") == ("OK", [b"1"])
    with imaplib.IMAP4_SSL(dovecot.host, dovecot.tls_port, ssl_context=trust(dovecot), timeout=PATIENCE) as client:
        client.login("test-real-servers", "pw")
    mailbox = poplib.POP3(dovecot.host, dovecot.pop3_port, timeout=PATIENCE)
    mailbox.apop("test-real-servers", "pw")
    assert mailbox.retr(1)[1] == [b"Subject: one", b"", b"hello"]
    mailbox.quit()
    mailbox = poplib.POP3_SSL(dovecot.host, dovecot.pop3_tls_port, context=trust(dovecot), timeout=PATIENCE)
    assert mailbox.capa()
    mailbox.quit()


ARTICLE = b"From: a@example.org\r\nNewsgroups: %s\r\nSubject: p\r\n\r\n..dot\r\n."


def test_inn(inn: Inn) -> None:
    said = say(inn, inn.port, b"CAPABILITIES", b"POST", ARTICLE % b"local.t49", b"GROUP local.t49", b"QUIT")
    for line in (b"STARTTLS", b"COMPRESS DEFLATE", b"AUTHINFO", b"240 ", b"211 1 1 1 local.t49"):
        assert line in said, said
    assert b"200 " in say(inn, inn.tls_port, b"QUIT", tls=True)
    said = say(
        inn, inn.port, b"GROUP local.members", b"AUTHINFO USER u", b"AUTHINFO PASS pw", b"GROUP local.members", b"QUIT"
    )
    assert [line[:3] for line in said.splitlines()] == [b"200", b"480", b"381", b"281", b"211", b"205"]
    assert b"480 " in say(inn, inn.login_port, b"GROUP local.test", b"QUIT")


def test_inn_is_fed(inn: Inn) -> None:
    head = b"Path: elsewhere\r\nMessage-ID: <fed@example.org>\r\nDate: %s +0000\r\n" % (
        time.strftime("%d %b %Y %H:%M:%S", time.gmtime()).encode()
    )
    said = say(inn, inn.feed_port, b"IHAVE <fed@example.org>", head + ARTICLE % b"local.t48", b"QUIT")
    assert [line[:3] for line in said.splitlines()] == [b"200", b"335", b"235", b"205"]


def test_sn_is_of_old(sn: Sn) -> None:
    said = say(
        sn, sn.port, b"CAPABILITIES", b"GROUP local.test", b"POST", ARTICLE % b"local.t0", b"GROUP local.t0", b"QUIT"
    )
    assert [line[:3] for line in said.splitlines()] == [b"200", b"500", b"211", b"340", b"240", b"211", b"205"]
    assert b"211 3 10 12 local.test" in said


def test_telnetd(telnetd: Telnetd) -> None:
    answers = [(b"login: ", b"bob\r\n"), (b"Password: ", b"pw\r\n"), (b"prise$ ", b"exit\r\n")]
    with socket.create_connection((telnetd.host, telnetd.port), PATIENCE) as sock:
        raw, text = b"", b""
        while data := sock.recv(65536):
            raw += data
            # RFC 854: WILL is answered with DONT, DO with WONT.
            while (at := raw.find(b"\xff")) >= 0 and len(raw) >= at + 3:
                refusals = {251: 254, 253: 252}
                if raw[at + 1] in refusals:
                    sock.sendall(bytes((255, refusals[raw[at + 1]], raw[at + 2])))
                raw = raw[:at] + raw[at + 3 :]
            if b"\xff" not in raw:
                raw, text = b"", text + raw
            if answers and text.endswith(answers[0][0]):
                sock.sendall(answers.pop(0)[1])
    assert b"Welcome bob term=" in text


def test_gophernicus(gophernicus: Gophernicus) -> None:
    assert say(gophernicus, gophernicus.port, b"/cgi-bin/search\tfoo").startswith(
        b"0Found foo\t/hello.txt\t127.0.0.1\t"
    )
    assert b"\tgopher.example.org\t70\r\n" in say(gophernicus, gophernicus.port, b"")
    assert say(gophernicus, gophernicus.tls_port, b"/hello.txt", tls=True) == b"hello gopher\r\n"
    assert say(gophernicus, gophernicus.port, b"/data.bin") == bytes(range(256)) * 16


@pytest.mark.parametrize("kind", [Nginx, Proftpd, VsftpdPlain, Dovecot, Inn, Sn, Gophernicus])
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_ended_server_leaves_nothing_behind(kind: type[RealServer], end: str) -> None:
    with kind() as server:
        folder = server.folder
        with socket.create_connection((server.host, server.port), PATIENCE) as talk:
            if kind not in (Nginx, Gophernicus):
                talk.recv(100)  # by now there is a process for this connection
            processes = server.processes()
            assert processes
            getattr(server, end)()
        assert not [pid for pid in processes if session_of(pid) is not None]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), PATIENCE)
    assert not os.path.exists(folder)


def test_a_start_survives_a_port_that_was_taken_meanwhile() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:

        class Unlucky(Gophernicus):
            ports: ClassVar = [taken.getsockname()[1]]

            def free_port(self) -> int:
                return self.ports.pop() if self.ports else super().free_port()

        with Unlucky() as server:
            assert say(server, server.port, b"/hello.txt") == b"hello gopher\r\n"
