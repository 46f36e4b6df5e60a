"""sn, a news server as they once were: RFC 977 with XOVER and XHDR; neither CAPABILITIES, DATE nor TLS.

local.test has three articles (it begins with number 10); local.empty and local.t0, ..., local.t3 have none. All can be posted to.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from real_servers.base import unpacked_libraries, unpacked_program
from real_servers.inetd import InetdServer

ARTICLE = (
    b"From: a@example.org\r\nNewsgroups: local.test\r\nSubject: article %d\r\nMessage-ID: <%d@example.org>\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 +0000\r\n\r\nbody\r\n.dot\r\n"
)


class Sn(InetdServer):
    scheme = "nntp"
    groups: ClassVar[tuple[str, ...]] = ("local.test", "local.empty", *(f"local.t{number}" for number in range(4)))

    def configure(self) -> None:
        self.port = self.free_port()
        self.make("sn")
        for group in self.groups:
            self._administer("snnewgroup", group)
        self.store(ARTICLE % (number, number) for number in (1, 2, 3))
        # The program that snntpd gives a posted article to.
        self.write("sn/.SNPOST", Path(self._program("SNPOST")).read_bytes(), 0o755)

    def launch(self) -> None:
        self.listen(self._program("snntpd.bin"), env=self._environment())

    def store(self, articles: Iterable[bytes]) -> None:
        """Articles as they are, each with Newsgroups and Message-ID, lines ended by CR LF."""
        wire = (article.replace(b"\r\n.", b"\r\n..") + b".\r\n" for article in articles)
        self._administer("snstore", given=b"".join(wire))

    def _program(self, name: str) -> str:
        return unpacked_program(f"usr/sbin/{name}")

    def _environment(self) -> dict[str, str]:
        path = f"{os.path.dirname(self._program('snntpd.bin'))}:/usr/sbin:/usr/bin:/bin"
        return {"SNROOT": f"{self.folder}/sn", "POSTING_OK": "1", "PATH": path, **unpacked_libraries()}

    def _administer(self, program: str, *arguments: str, given: bytes = b"") -> None:
        argv = self.as_owner([self._program(program), *arguments])
        subprocess.run(argv, env=self._environment(), input=given, check=True, capture_output=True, cwd=self.folder)
