"""Exim: SMTP with STARTTLS on `port`, with TLS from the first byte on `tls_port`.

It has PIPELINING, 8BITMIME, SMTPUTF8, DSN, CHUNKING, PRDR, SIZE (at most 5 MiB), AUTH PLAIN, LOGIN, CRAM-MD5 and XOAUTH2 (the
token is "token"). Anybody may write to the users of a Dovecot at `localhost`: `u`, `u0`, ..., `u99` and `émile`; who has logged
in may also write to them at `members.test`. Others are refused for good, `later@localhost` for now.
"""

from __future__ import annotations

import os

from real_servers.base import RealServer
from real_servers.dovecot import Dovecot

CONFIGURATION = r"""
spool_directory = @folder@/spool
log_file_path = @folder@/exim-%slog
pid_file_path = @folder@/pid
primary_hostname = localhost
local_interfaces = 127.0.0.1
daemon_smtp_ports = @port@ : @tls_port@
daemon_startup_retries = 0
tls_on_connect_ports = @tls_port@
tls_advertise_hosts = *
tls_certificate = @cert@
tls_privatekey = @key@
chunking_advertise_hosts = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
prdr_enable = true
message_size_limit = 5M
smtp_accept_max = 200
smtp_accept_max_nonmail_hosts =
smtp_accept_queue_per_connection = 0
host_lookup =
rfc1413_hosts =
keep_environment =
acl_smtp_rcpt = rcpt
acl_smtp_data = accept

begin acl
rcpt:
  defer local_parts = later
        message = try again later
  deny domains = members.test
       !authenticated = *
       message = members only
  accept domains = localhost : members.test
         verify = recipient
  deny domains = localhost : members.test
       message = no such user
  deny message = relay not permitted

begin routers
box:
  driver = accept
  domains = localhost : members.test
  local_parts = dsearch;@mail@
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = @mail@/$local_part_data
  maildir_format
  user = @account@
  group = @group@

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{match{$auth2}{\N^u\d*$\N}}{eq{$auth3}{pw}}}}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{{match{$auth1}{\N^u\d*$\N}}{eq{$auth2}{pw}}}}
  server_set_id = $auth1
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${if match{$auth1}{\N^u\d*$\N}{pw}fail}
  server_set_id = $auth1
xoauth2:
  driver = plaintext
  public_name = XOAUTH2
  server_prompts = :
  server_condition = ${if match{$auth1}{\N^user=u\d*\x01auth=Bearer token\x01\x01$\N}}
  server_set_id = u
"""


class Exim(RealServer):
    programs = ("exim4",)
    scheme = "smtp"
    account = "Debian-exim"
    needs_root = True

    def __init__(self, dovecot: Dovecot) -> None:
        """dovecot: whose users get the mail; it runs."""
        super().__init__()
        self.dovecot = dovecot

    def configure(self) -> None:
        self.port, self.tls_port = self.free_port(), self.free_port()
        self.make("spool")
        path = self.configuration("exim.conf", CONFIGURATION, mail=self.dovecot.mail)
        os.chown(path, 0, 0)  # exim trusts no configuration but root's

    def launch(self) -> None:
        self.run(["/usr/sbin/exim4", "-C", f"{self.folder}/exim.conf", "-bdf"], self.port, self.tls_port, as_root=True)
