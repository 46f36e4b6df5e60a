"""telnetd of the GNU inetutils, which negotiates a good dozen of options before it says anything.

Any name and the password "pw" lead to a shell with the prompt `prise$ `, which has said the terminal's kind and size.
"""

from __future__ import annotations

from real_servers.base import unpacked_libraries, unpacked_program
from real_servers.inetd import InetdServer

LOGIN = r"""#!/bin/sh
printf 'login: '; read -r name; printf 'Password: '; stty -echo; read -r password; stty echo; echo
[ "$password" = pw ] || { echo 'Login incorrect'; exec "$0"; }
echo "Welcome $name term=$TERM size=$(stty size)"
PS1='prise$ ' exec sh -i
"""


class Telnetd(InetdServer):
    scheme = "telnet"
    needs_root = True  # it opens a terminal and says who is logged in

    def configure(self) -> None:
        self.port = self.free_port()
        self.write("login.sh", LOGIN, 0o755)

    def launch(self) -> None:
        command = f"{unpacked_program('usr/sbin/telnetd')} -h -E {self.folder}/login.sh"
        self.listen(command, as_root=True, env=unpacked_libraries())
