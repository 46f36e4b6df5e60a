"""Gophernicus: Gopher on `port`, and over TLS on `tls_port`.

The menu of `root` has items of many types; `/cgi-bin/search` answers a search (type 7) with what was looked for. A folder
without a gophermap is listed as it is.
"""

from __future__ import annotations

from real_servers.base import unpacked_libraries, unpacked_program
from real_servers.inetd import InetdServer

# What a line lacks is the server's own: its name and its port.
MENU = """Welcome to the tests
iInformation\tfake\t(NULL)\t0
0A text\t/hello.txt
1A folder\t/folder
7A search\t/cgi-bin/search
9A binary file\t/data.bin
5An archive\t/data.zip
4BinHex\t/data.hqx
6UUencoded\t/data.uu
gA picture\t/picture.gif
IAn image\t/picture.png
sA sound\t/sound.wav
hA page\tURL:http://example.org/
8A terminal\tlogin\tlocalhost\t23
TA mainframe\tlogin\tlocalhost\t23
2A phone book\tname\tlocalhost\t105
+Another server\t/hello.txt\tlocalhost\t70
3An error\tfake\t(NULL)\t0
0Elsewhere\t/far.txt\tgopher.example.org\t70
"""
SEARCH = """#!/bin/sh
printf '0Found %s\\t/hello.txt\\t%s\\t%s\\r\\n' "$QUERY_STRING" "$SERVER_NAME" "$SERVER_PORT"
"""


class Gophernicus(InetdServer):
    scheme = "gopher"

    def configure(self) -> None:
        self.port, self.tls_port = self.free_port(), self.free_port()
        self.place("gophermap", MENU.encode())
        self.place("hello.txt", b"hello gopher\n")
        self.place("dots.txt", b".\n..\n.dot\nend\n")
        self.place("data.bin", bytes(range(256)) * 16)
        self.place("folder/one.txt", b"one\n")
        self.place("folder/two.bin", b"\0\1\2")
        self.place("cgi-bin/search", SEARCH.encode(), 0o755)

    def launch(self) -> None:
        self.listen(self._command(self.port), env=unpacked_libraries())
        self.listen_tls(self._command(self.tls_port), env=unpacked_libraries())

    def _command(self, port: int) -> str:
        # -n*: without virtual hosts, the users' own folders, and the server's own menu of headers. -i, -k: all its runs on one
        # machine count what a client has asked for (in shared memory), and would make it wait after 4096 requests.
        options = f"-h {self.host} -p {port} -r {self.root} -nv -nu -no -i 999999999 -k 999999999"
        return f"{unpacked_program('usr/sbin/gophernicus')} {options}"
