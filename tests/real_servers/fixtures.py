"""The servers as fixtures: each is started when the first test asks for it, and ended with the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from real_servers.dovecot import Dovecot
from real_servers.exim import Exim
from real_servers.gophernicus import Gophernicus
from real_servers.inn import Inn
from real_servers.nginx import Nginx
from real_servers.proftpd import Proftpd
from real_servers.sn import Sn
from real_servers.telnetd import Telnetd
from real_servers.vsftpd import VsftpdPlain, VsftpdTls


@pytest.fixture(scope="session")
def nginx() -> Iterator[Nginx]:
    with Nginx() as server:
        yield server


@pytest.fixture(scope="session")
def proftpd() -> Iterator[Proftpd]:
    with Proftpd() as server:
        yield server


@pytest.fixture(scope="session")
def vsftpd_plain() -> Iterator[VsftpdPlain]:
    with VsftpdPlain() as server:
        yield server


@pytest.fixture(scope="session")
def vsftpd_tls() -> Iterator[VsftpdTls]:
    with VsftpdTls() as server:
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    with Dovecot() as server:
        yield server


@pytest.fixture(scope="session")
def exim(dovecot: Dovecot) -> Iterator[Exim]:
    with Exim(dovecot) as server:
        yield server


@pytest.fixture(scope="session")
def inn() -> Iterator[Inn]:
    with Inn() as server:
        yield server


@pytest.fixture(scope="session")
def sn() -> Iterator[Sn]:
    with Sn() as server:
        yield server


@pytest.fixture(scope="session")
def telnetd() -> Iterator[Telnetd]:
    with Telnetd() as server:
        yield server


@pytest.fixture(scope="session")
def gophernicus() -> Iterator[Gophernicus]:
    with Gophernicus() as server:
        yield server
