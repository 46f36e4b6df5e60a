"""FTP (RFC 959) with its extensions: TLS (RFC 4217), EPSV (RFC 2428), MLSD, SIZE, MDTM, REST (RFC 3659), UTF-8 (RFC 2640).

control.py    the control connection: greeting, TLS, login, commands
data.py       the connection that each file and each list has of its own, and how it ends
listing.py    lists as servers write them: MLSD, and what `ls -l` and `dir` print
files.py      what a user does with files and folders
trees.py      whole folders; disk.py: the local side of them

with prise.open("ftp://ftp.example.org/pub/") as ftp:
    for entry in ftp.list():
        print(entry.kind, entry.name, entry.size, entry.modified)
    ftp.get("pub/README").save("README")
"""

from __future__ import annotations

from prise.protocols.ftp.trees import Progress, TreesTalk
from prise.protocols.session import AsyncSession, Session

__all__ = ["FTP", "AsyncFTP", "FTPTalk", "Progress"]


class FTPTalk(TreesTalk):
    """All of FTP, see the files above."""


class FTP(FTPTalk, Session):
    """A blocking FTP session."""


class AsyncFTP(FTPTalk, AsyncSession):
    """An asynchronous FTP session."""
