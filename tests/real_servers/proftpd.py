"""ProFTPD: FTP with all its extensions.

On `port` in clear, with AUTH TLS; on `tls_port` with TLS from the first byte. The TLS of a data connection must resume that of
the control connection, as the server demands by itself. The user's home is `root`.
"""

from __future__ import annotations

from real_servers.base import PASSWORD_HASH, RealServer

CONFIGURATION = """
ModulePath /usr/lib/proftpd
LoadModule mod_tls.c
ServerType standalone
ServerName prise
DefaultAddress 127.0.0.1
Port @port@
UseIPv6 off
UseReverseDNS off
User @account@
Group @group@
PidFile @folder@/pid
ScoreboardFile @folder@/scoreboard
DelayEngine off
ControlsEngine off
TransferLog none
WtmpLog off
SystemLog @folder@/proftpd.log
<Global>
    AuthOrder mod_auth_file.c
    AuthUserFile @folder@/passwd
    AuthGroupFile @folder@/group
    RequireValidShell off
    AllowOverwrite on
    AllowStoreRestart on
    AllowRetrieveRestart on
    TLSEngine on
    TLSLog @folder@/tls.log
    TLSECCertificateFile @cert@
    TLSECCertificateKeyFile @key@
    TLSVerifyClient off
</Global>
<VirtualHost 127.0.0.1>
    Port @tls_port@
    TLSOptions UseImplicitSSL
</VirtualHost>
"""


class Proftpd(RealServer):
    programs = ("proftpd",)
    scheme = "ftp"

    def configure(self) -> None:
        self.port, self.tls_port = self.free_port(), self.free_port()
        self.place("hello.txt", b"hello ftp\n")
        ids = f"{self.owner.pw_uid}:{self.owner.pw_gid}"
        self.write("passwd", f"{self.user}:{PASSWORD_HASH}:{ids}::{self.root}:/bin/sh\n", 0o600)
        self.write("group", f"users:x:{self.owner.pw_gid}:{self.user}\n", 0o600)
        self.configuration("proftpd.conf", CONFIGURATION)

    def launch(self) -> None:
        self.run(["proftpd", "-n", "-c", f"{self.folder}/proftpd.conf"], self.port, self.tls_port)
