"""Dovecot: IMAP on `port` and `tls_port`, POP3 on `pop3_port` and `pop3_tls_port`, both with STARTTLS.

Any user name with the password "pw" has a mailbox of its own, made when it is first used: a test takes a name that no other
test has. The users `u`, `u0`, ..., `u99` and `émile` get mail from Exim as well. Logins: PLAIN, LOGIN, CRAM-MD5, APOP.
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

from real_servers.base import RealServer

KNOWN_TO_EXIM = ("u", *(f"u{number}" for number in range(100)), "émile")

CONFIGURATION = """
base_dir = @folder@/run
state_dir = @folder@/run
log_path = /dev/stderr
protocols = imap pop3
listen = 127.0.0.1
ssl = yes
ssl_cert = <@cert@
ssl_key = <@key@
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 apop
auth_failure_delay = 0
auth_username_chars =
mail_location = maildir:@mail@/%u
mailbox_idle_check_interval = 1s
mail_max_userip_connections = 100
first_valid_uid = 1
first_valid_gid = 1
default_internal_user = @account@
default_internal_group = @group@
default_login_user = @account@
passdb {
  driver = static
  args = password={PLAIN}pw
}
userdb {
  driver = static
  args = uid=@account@ gid=@group@ home=@mail@/%u
}
namespace inbox {
  inbox = yes
  separator = /
  mailbox Sent {
    special_use = \\Sent
  }
  mailbox Trash {
    special_use = \\Trash
  }
}
service anvil {
  chroot =
  # Without it, wrong passwords do not make the following ones wait.
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = @port@
  }
  inet_listener imaps {
    port = @tls_port@
  }
}
service pop3-login {
  chroot =
  inet_listener pop3 {
    port = @pop3_port@
  }
  inet_listener pop3s {
    port = @pop3_tls_port@
  }
}
"""


class Dovecot(RealServer):
    programs = ("dovecot", "/usr/lib/dovecot/imap-login", "/usr/lib/dovecot/pop3-login")
    scheme = "imap"
    account = "Debian-exim"  # of the one who brings the mail
    patience = 0.1  # it would take a second or more to end by itself

    def __init__(self) -> None:
        super().__init__()
        self.pop3_port = self.pop3_tls_port = 0
        self._numbers = itertools.count(1)

    def configure(self) -> None:
        self.port, self.tls_port = self.free_port(), self.free_port()
        self.pop3_port, self.pop3_tls_port = self.free_port(), self.free_port()
        self.make("run", *(f"mail/{name}" for name in KNOWN_TO_EXIM))
        more = {"mail": self.mail, "pop3_port": self.pop3_port, "pop3_tls_port": self.pop3_tls_port}
        self.configuration("dovecot.conf", CONFIGURATION, **more)

    def launch(self) -> None:
        ports = self.port, self.tls_port, self.pop3_port, self.pop3_tls_port
        self.run(["dovecot", "-F", "-c", f"{self.folder}/dovecot.conf"], *ports)

    @property
    def mail(self) -> Path:
        """Where the mailboxes are: a maildir for each user."""
        return self.folder / "mail"

    def maildir(self, user: str, folder: str = "INBOX") -> Path:
        """folder: ASCII, with "/" between its parts."""
        return self.mail / user / ("" if folder == "INBOX" else f".{folder.replace('/', '.')}")

    def deliver(self, user: str, data: bytes, folder: str = "INBOX") -> Path:
        """Puts a message into a mailbox, as new; both are made when they are not there."""
        maildir = self.maildir(user, folder)
        home = maildir.relative_to(self.folder)
        self.make(*(home / part for part in ("cur", "new", "tmp")))
        name = f"{time.time_ns()}.{next(self._numbers)}.localhost"
        path = self.write(str(home / "tmp" / name), data, 0o600)
        os.rename(path, maildir / "new" / name)
        return maildir / "new" / name

    def messages(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """What is in a mailbox, the oldest first."""
        maildir = self.maildir(user, folder)
        paths = [path for part in ("cur", "new") for path in (maildir / part).glob("*")]
        return [path.read_bytes() for path in sorted(paths, key=lambda path: path.name)]

    def pop3_url(self, path: str = "", *, tls: bool = False, user: str | None = None) -> str:
        return self._url("pop3", path, tls, user, self.pop3_port, self.pop3_tls_port)
