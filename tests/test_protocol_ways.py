"""A session goes any way that a connection of prise's can go: it can be recorded and played again, and takes IPv6."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring
import keyring.backend
import pytest

import prise
from prise.relay import Relay
from prise.relay.recording import Recorder, Recording
from prise.relay.replaying import Player
from real_servers.dovecot import Dovecot
from real_servers.nginx import Nginx

MAIL = b"Subject: once\r\n\r\nsaid twice\r\n"


def read(port: object, **options: Any) -> list[bytes]:
    with prise.open(f"pop3://ways:pw@localhost:{port}/?tls=never", **options) as box:
        return [box.get(message.name).read() for message in box.list()]


def test_a_session_is_recorded_and_played_again_without_its_server(dovecot: Dovecot, tmp_path: Path) -> None:
    dovecot.deliver("ways", MAIL)
    path = str(tmp_path / "talk.jsonl")
    recorder = Recorder(path)
    with Relay("127.0.0.1:0", f"127.0.0.1:{dovecot.pop3_port}", taps=[recorder]) as relay:
        # CRAM-MD5 answers another challenge each time; a recording wants the same words again.
        assert read(relay.address.port, mechanism="PLAIN") == [MAIL]
    recorder.close()
    player = Player(Recording(path), "server", "127.0.0.1:0", speed=None)
    (address,) = player.bind()
    results = []
    playing = threading.Thread(target=lambda: results.append(player.run()))
    playing.start()
    assert read(address.port, mechanism="PLAIN") == [MAIL]
    playing.join(10)
    assert results[0].differences == []


def test_ipv6(nginx: Nginx) -> None:
    nginx.place("six.txt", b"six")
    with Relay("[::1]:0", f"127.0.0.1:{nginx.port}") as relay:
        assert prise.get(f"http://[::1]:{relay.address.port}/six.txt").read() == b"six"


class Ring(keyring.backend.KeyringBackend):
    """A keyring like the desktop's, in memory."""

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.passwords: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.passwords.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.passwords[service, username] = password


@pytest.fixture
def ring() -> Iterator[Ring]:
    before = keyring.get_keyring()
    ring = Ring()
    keyring.set_keyring(ring)
    yield ring
    keyring.set_keyring(before)


def test_a_password_from_the_keyring(dovecot: Dovecot, ring: Ring) -> None:
    keyring.set_password("localhost", "ways", "pw")
    with prise.open(f"pop3://ways@localhost:{dovecot.pop3_port}/?tls=never", netrc=False) as box:
        assert box.stat().messages >= 0
    with pytest.raises(prise.UsageError, match="netrc"):
        prise.open(f"pop3://ways@localhost:{dovecot.pop3_port}/?tls=never", netrc=False, keyring=False).open()
