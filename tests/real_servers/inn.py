"""INN: NNTP with all its extensions, read through nnrpd and fed through innd.

Readers use `port` (with STARTTLS), `tls_port` (TLS from the first byte) and `login_port` (nothing without a login). Everybody
may read and post, except in local.members, which wants a login, and local.readonly, where nobody posts. The feed is
`feed_port`: IHAVE, CHECK and TAKETHIS. Groups: local.test, local.empty, and local.t0, ..., local.t49 for tests that want one
for themselves.

An article needs a From at a domain with a dot (example.org); one for the feed also Date, Message-ID and Path.
"""

from __future__ import annotations

import os
import subprocess
from typing import ClassVar

from real_servers.base import PASSWORD_HASH, RealServer, unpacked, unpacked_libraries, unpacked_program

SETTINGS = """
mta: "/bin/true %s"
organization: "test"
ovmethod: tradindexed
hismethod: hisv6
pathhost: news.localhost
domain: localhost
pathnews: @news@
pathbin: @news@/bin
pathfilter: @folder@/filter
pathdb: @folder@/db
pathetc: @folder@/etc
pathrun: @folder@/run
pathlog: @folder@/log
pathhttp: @folder@/log
pathspool: @folder@/spool
pathtmp: @folder@/tmp
runasuser: @account@
runasgroup: @group@
bindaddress: 127.0.0.1
port: @feed_port@
maxartsize: 10000000
localmaxartsize: 10000000
maxconnections: 100
enableoverview: true
wanttrash: true
icdsynccount: 1
nnrpdloadlimit: 0
tlscertfile: @cert@
tlskeyfile: @key@
"""
INCOMING = 'streaming: true\nmax-connections: 50\npeer ME { hostname: "localhost, 127.0.0.1" }\n'
READERS = """
auth "local" { hosts: "*" default: "<anonymous>" auth: "ckpasswd -f @folder@/passwords" }
access "everybody" { users: "<anonymous>" newsgroups: "*,!local.members" access: RPAN }
access "members" { users: "@user@" newsgroups: "*" access: RPAN }
"""
LOGIN_READERS = """
auth "local" { hosts: "*" auth: "ckpasswd -f @folder@/passwords" }
access "members" { users: "@user@" newsgroups: "*" access: RPAN }
"""
WRITABLE = ("local.test", "local.empty", "local.members", *(f"local.t{number}" for number in range(50)))
READABLE = ("control", "control.cancel", "junk", "local.readonly")  # innd wants the first three


class Inn(RealServer):
    scheme = "nntp"
    account = "news"
    needs_root = True  # innd runs as this user and no other
    patience = 0.1  # innd hears SIGTERM, but does not end
    groups: ClassVar[tuple[str, ...]] = WRITABLE

    def __init__(self) -> None:
        super().__init__()
        self.login_port = self.feed_port = 0

    def configure(self) -> None:
        self.port, self.tls_port, self.login_port, self.feed_port = (self.free_port() for _ in range(4))
        spools = ("articles", "overview", "incoming/bad", "outgoing", "tmp", "archive", "innfeed")
        self.make("db", "run", "log", "tmp", "filter", *(f"spool/{name}" for name in spools))
        news = unpacked() / "usr/lib/news"
        self.configuration("etc/inn.conf", SETTINGS, news=news, feed_port=self.feed_port)
        self.configuration("etc/readers.conf", READERS, user=self.user)
        self.configuration("etc/readers-login.conf", LOGIN_READERS, user=self.user)
        self.write("etc/newsfeeds", "ME:*::\n")
        self.write("etc/storage.conf", "method tradspool { newsgroups: * class: 0 }\n")
        self.write("etc/incoming.conf", INCOMING)
        self.write("etc/inn-secrets.conf", "", 0o640)
        for name in ("expire.ctl", "control.ctl", "localgroups"):
            self.write(f"etc/{name}", "")
        self.write("etc/distributions", "local\tThis site\n")
        self.write("etc/subscriptions", "local.test\nlocal.empty\n")
        self.write("etc/moderators", "local.moderated.*:%s@example.org\n")
        self.write("etc/motd.nnrpd", "Be kind.\n")
        self.write("passwords", f"{self.user}:{PASSWORD_HASH}\n", 0o600)
        active = [*((group, "n") for group in READABLE), *((group, "y") for group in WRITABLE)]
        self.write("db/active", "".join(f"{group} 0000000000 0000000001 {flag}\n" for group, flag in active))
        self.write("db/active.times", "")
        self.write("db/newsgroups", "local.test\tA group for tests, où l’on écrit\nlocal.empty\tNothing here\n")
        self.write("db/history", "")

    def launch(self) -> None:
        env = {"INNCONF": f"{self.folder}/etc/inn.conf", **unpacked_libraries()}
        makedbz, innd, nnrpd = (unpacked_program(f"usr/lib/news/bin/{name}") for name in ("makedbz", "innd", "nnrpd"))
        argv = self.as_owner([makedbz, "-i", "-o", "-f", f"{self.folder}/db/history"])
        subprocess.run(argv, env={**os.environ, **env}, check=True, capture_output=True, cwd=self.folder)
        self.run([innd, "-f", "-N", "-P", str(self.feed_port), "-4", self.host], self.feed_port, env=env)
        for port, *options in (
            (self.port,),
            (self.tls_port, "-S"),
            (self.login_port, "-c", f"{self.folder}/etc/readers-login.conf"),
        ):
            self.run([nnrpd, "-D", "-f", "-p", str(port), "-b", self.host, *options], env=env)
        self.wait(self.port, self.tls_port, self.login_port)
