"""vsftpd, a second opinion on FTP: no MLSD, only LIST. Its one user is anonymous, and only the folder `pub` can be written to.
`VsftpdPlain` does not lock it into `root`: a path that begins with "/" is one of the machine.

`VsftpdTls` has AUTH TLS besides, and demands that the TLS of a data connection resumes that of the control connection.
"""

from __future__ import annotations

import os
from typing import ClassVar

from real_servers.base import ROOT, RealServer, unpacked_libraries, unpacked_program

CONFIGURATION = """
listen=YES
listen_address=127.0.0.1
listen_port=@port@
background=NO
anonymous_enable=YES
anon_root=@folder@/root
no_anon_password=NO
write_enable=YES
anon_upload_enable=YES
anon_mkdir_write_enable=YES
anon_other_write_enable=YES
anon_umask=022
anon_world_readable_only=NO
local_enable=NO
secure_chroot_dir=@folder@/empty
connect_from_port_20=NO
xferlog_enable=NO
seccomp_sandbox=NO
mdtm_write=YES
"""
PLAIN = "run_as_launching_user=YES\n"
TLS = """
ftp_username=@account@
nopriv_user=nobody
ssl_enable=YES
allow_anon_ssl=YES
require_ssl_reuse=YES
ssl_ciphers=HIGH
rsa_cert_file=@cert@
rsa_private_key_file=@key@
"""


class VsftpdPlain(RealServer):
    scheme = "ftp"
    user = "anonymous"
    password = "someone@example.org"
    settings: ClassVar[str] = CONFIGURATION + PLAIN

    def configure(self) -> None:
        self.port = self.free_port()
        self.make("empty", "root")
        self.place("hello.txt", b"hello ftp\n")
        self.place("pub/there.txt", b"there\n")
        self.root.chmod(0o555)  # vsftpd refuses to lock anybody into a folder they can write to
        self.configuration("vsftpd.conf", self.settings)

    def launch(self) -> None:
        argv = [unpacked_program("usr/sbin/vsftpd"), f"{self.folder}/vsftpd.conf"]
        self.run(argv, self.port, as_root=self.needs_root and ROOT, env=unpacked_libraries())


class VsftpdTls(VsftpdPlain):
    needs_root = True
    account = "mail"  # a user whose home exists, as vsftpd wants it
    settings = CONFIGURATION + TLS

    def configure(self) -> None:
        super().configure()
        os.chown(self.folder / "vsftpd.conf", 0, 0)  # vsftpd trusts the configuration of whoever runs it
