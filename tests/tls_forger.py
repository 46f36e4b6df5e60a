"""A client that has the keys of its own TLS session, and sends records that OpenSSL never would.

The keys come from OpenSSL's key log; RFC 8446 §5.2 and §7 (TLS 1.3), RFC 5246 §5 and §6.3, RFC 5288 (TLS 1.2) say the rest.
"""

from __future__ import annotations

import hmac
import ssl
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from prise import TLS
from tls_hellos import DATA, HANDSHAKE, message, sized
from tls_support import Pair, authority, pair

KEY_UPDATE = 24


class Forger:
    """pair: the two layers, their handshake done. Forged records are to be given to `pair.server`, before `client` sends."""

    def __init__(self, where: Path, version: ssl.TLSVersion, server: TLS | None = None) -> None:
        context = ssl.create_default_context(cafile=str(authority().cert))
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        log = where / "keys"
        context.keylog_filename = str(log)
        self.pair: Pair = pair(server, TLS(context=context), watch=True)
        assert not self.pair.errors
        self.lines = dict(line.split(" ", 1) for line in log.read_text().splitlines() if line[0] != "#")

    def give(self, *records: bytes) -> None:
        self.pair.give(self.pair.server, b"".join(records))


class Forger13(Forger):
    def __init__(self, where: Path, server: TLS | None = None) -> None:
        super().__init__(where, ssl.TLSVersion.TLSv1_3, server)
        self._use(bytes.fromhex(self.lines["CLIENT_TRAFFIC_SECRET_0"].split()[1]))

    def _use(self, secret: bytes) -> None:
        self._hash = "sha256" if len(secret) == 32 else "sha384"
        self._secret = secret
        self._cipher = AESGCM(self._expand("key", 16 if len(secret) == 32 else 32))
        self._nonce = int.from_bytes(self._expand("iv", 12), "big")
        self._number = 0

    def _expand(self, label: str, length: int) -> bytes:
        info = length.to_bytes(2, "big") + sized(b"tls13 " + label.encode(), 1) + b"\0"
        return hmac.digest(self._secret, info + b"\1", self._hash)[:length]

    def record(self, content: bytes, kind: int = DATA, padding: int = 0) -> bytes:
        """kind: 0 for a record that has no type at all, only padding."""
        inner = content + (bytes([kind]) if kind else b"") + bytes(padding)
        header = b"\x17\3\3" + (len(inner) + 16).to_bytes(2, "big")
        nonce = (self._nonce ^ self._number).to_bytes(12, "big")
        self._number += 1
        return header + self._cipher.encrypt(nonce, inner, header)

    def key_update(self, request: bool) -> bytes:
        made = self.record(message(KEY_UPDATE, bytes([request])), HANDSHAKE)
        self._use(self._expand("traffic upd", len(self._secret)))
        return made


class Forger12(Forger):
    def __init__(self, where: Path, server: TLS | None = None) -> None:
        super().__init__(where, ssl.TLSVersion.TLSv1_2, server)
        client_random, master = (bytes.fromhex(each) for each in self.lines["CLIENT_RANDOM"].split())
        server_random = self.pair.watched[self.pair.client][
            11:43
        ]  # behind the headers of record and message, and a version
        seed = b"key expansion" + server_random + client_random
        block = b""
        step: Any = seed
        while len(block) < 40:
            step = hmac.digest(master, step, "sha256")
            block += hmac.digest(master, step + seed, "sha256")
        self._cipher = AESGCM(block[:16])
        self._salt = block[32:36]
        self._number = 1  # 0 was the client's Finished

    def record(self, content: bytes, kind: int = DATA) -> bytes:
        number = self._number.to_bytes(8, "big")
        self._number += 1
        about = number + bytes([kind]) + b"\3\3" + len(content).to_bytes(2, "big")
        sealed = number + self._cipher.encrypt(self._salt + number, content, about)
        return bytes([kind]) + b"\3\3" + len(sealed).to_bytes(2, "big") + sealed
