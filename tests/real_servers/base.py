"""What all real servers have in common: a folder and ports of their own, a start that is waited for, an end that is sure.

A server says in `configure` which ports it wants and which files it needs, and in `launch` which programs it is. All it has
lies in one temporary folder. As root, it runs as a user of its own, as it would on a real host; otherwise as whoever runs the
tests, where it can.
"""

from __future__ import annotations

import functools
import grp
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import pytest

from peers import free_port, need
from tls_support import authority, localhost

ROOT = os.geteuid() == 0
UNPACKED = Path(__file__).resolve().parents[2] / ".venv-debs"
START_TIME = 20.0  # seconds
END_TIME = 10.0
ATTEMPTS = 5  # to start: another program may take a port between our choice and the server's bind
# What servers say then.
PORT_TAKEN = re.compile(rb"in use|cannot bind|can.t bind|bind.* failed|could not bind", re.IGNORECASE)
# "pw", as `openssl passwd -6 -salt prise pw` hashes it.
PASSWORD_HASH = "$6$prise$yrpvZrQJIOyZjMkmLLQVIgO.gICq35ShS1Xp/qbd9WXsgkV3o0CEFug/bodxz63W5oksk/B.3iGpIkdpHM4jy."


@functools.cache
def unpacked() -> Path:
    """The packages that scripts/test-programs has unpacked, in a place that the servers' users and settings can cope with."""
    readable = not ROOT or all(folder.stat().st_mode & 0o001 for folder in UNPACKED.parents)  # not so in /root
    if readable and re.fullmatch(r"[\w/.-]+", str(UNPACKED)):
        return UNPACKED
    keeper = tempfile.TemporaryDirectory(prefix="prise-debs-")
    unpacked.keeper = keeper  # type: ignore[attr-defined]
    copy = Path(keeper.name)
    copy.chmod(0o755)
    return Path(shutil.copytree(UNPACKED, copy / "debs", symlinks=True))


def unpacked_program(path: str) -> str:
    """The path of a program of tests/debian-unpacked.txt, given as its package has it: "usr/sbin/vsftpd"."""
    if not (UNPACKED / path).exists():
        pytest.fail(f"missing server: {path} (scripts/test-programs unpacks it)")
    return str(unpacked() / path)


def unpacked_libraries() -> dict[str, str]:
    """The environment in which unpacked programs find unpacked libraries."""
    folders = [unpacked() / "usr/lib/news", *sorted(unpacked().glob("usr/lib/*-linux-*"))]
    return {"LD_LIBRARY_PATH": ":".join(str(folder) for folder in folders)}


class RealServer:
    """A server, in a `with` statement, or between `start()` and `stop()`.

    host: the loopback address it listens on, which its certificate names as well as "localhost". port, tls_port: without TLS
    (with STARTTLS where the protocol has it) and with TLS from the first byte; 0 where there is none. ca: the file of the
    authority to trust. user, password: who may log in. root: the folder of the files it serves. folder: all it has.
    """

    programs: ClassVar[tuple[str, ...]] = ()  # of tests/debian-packages.txt
    account: ClassVar[str] = "nobody"
    needs_root: ClassVar[bool] = False
    scheme: ClassVar[str] = ""
    patience: ClassVar[float] = 2.0  # seconds, between SIGTERM and SIGKILL

    host = "127.0.0.1"
    user = "u"
    password = "pw"

    def __init__(self) -> None:
        self.ca = authority().cert
        self.port = self.tls_port = 0
        self._processes: list[subprocess.Popen[bytes]] = []
        self._keeper: tempfile.TemporaryDirectory[str] | None = None

    # What each server says about itself.

    def configure(self) -> None:
        """Chooses ports and writes files."""
        raise NotImplementedError

    def launch(self) -> None:
        """Runs its programs, by `run`."""
        raise NotImplementedError

    # What tests use.

    def start(self) -> Self:
        """Returns when it accepts connections."""
        need("setpriv", *self.programs)
        if self.needs_root and not ROOT:
            lacking = pytest.fail if os.environ.get("PRISE_ALL_PROGRAMS") == "1" else pytest.skip
            lacking(f"{type(self).__name__} runs as root only")
        for attempt in range(ATTEMPTS):
            self._keeper = tempfile.TemporaryDirectory(prefix="prise-server-", ignore_cleanup_errors=True)
            self.folder.chmod(0o755)
            self.own(self.folder)
            try:
                self.configure()
                self.launch()
                return self
            except BaseException as error:
                log = self.log()
                self.stop()
                if not (isinstance(error, AssertionError) and PORT_TAKEN.search(log) and attempt < ATTEMPTS - 1):
                    raise
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ends it and all that it has started, and removes its folder."""
        for process in reversed(self._processes):
            process.terminate()
        for process in reversed(self._processes):
            try:
                process.wait(self.patience)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        if self._keeper is not None:
            self._keeper.cleanup()
            self._keeper = None

    def kill(self) -> None:
        """Ends it without warning, with all that it has started: a server that dies in the middle of a transfer."""
        sessions = {process.pid for process in self._processes}
        deadline = time.monotonic() + END_TIME
        # Those that are ended may have forked meanwhile.
        while members := [pid for session in sessions for pid in members_of(session)]:
            for pid in members:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            for process in self._processes:
                process.poll()
            assert time.monotonic() < deadline, f"{members} do not end"
            time.sleep(0.002)
        for process in self._processes:
            process.wait(END_TIME)
        self._processes.clear()

    def processes(self) -> list[int]:
        """The ids of all its processes that run."""
        return [pid for process in self._processes for pid in members_of(process.pid)]

    def url(self, path: str = "", *, tls: bool = False, user: str | None = None) -> str:
        """user: as in a URL, "u" or "u:pw"."""
        return self._url(self.scheme, path, tls, user, self.port, self.tls_port)

    def log(self, size: int = 2000) -> bytes:
        """The end of what it has written into its logs, each at most `size` bytes."""
        if self._keeper is None:
            return b""
        logs = sorted(path for path in self.folder.rglob("*log") if path.is_file())
        return b"\n".join(path.read_bytes()[-size:] for path in logs)

    @property
    def folder(self) -> Path:
        assert self._keeper is not None, "the server is not running"
        return Path(self._keeper.name)

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def place(self, name: str, data: bytes, mode: int = 0o644) -> Path:
        """Puts a file into `root`, as the server's own; folders on the way are made."""
        return self.write(f"root/{name}", data, mode)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # What `configure` and `launch` are made of.

    def _url(self, scheme: str, path: str, tls: bool, user: str | None, port: int, tls_port: int) -> str:
        who = f"{user}@" if user else ""
        return f"{scheme}{'s' if tls else ''}://{who}{self.host}:{tls_port if tls else port}/{path.lstrip('/')}"

    def free_port(self) -> int:
        return free_port()

    def write(self, name: str, data: bytes | str, mode: int = 0o644) -> Path:
        """A file in `folder`, as the server's own; folders on the way are made."""
        path = self.folder / name
        self.make(path.parent.relative_to(self.folder))
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        path.chmod(mode)
        self.own(path)
        return path

    def configuration(self, name: str, template: str, **more: object) -> Path:
        """A file of settings. What stands between @ in the template is a detail of the server, or one of `more`."""
        details: dict[str, object] = {
            "folder": self.folder,
            "cert": self.cert(),
            "key": self.key(),
            "port": self.port,
            "tls_port": self.tls_port,
            "account": self.owner.pw_name,
            "group": grp.getgrgid(self.owner.pw_gid).gr_name,
            **more,
        }
        return self.write(name, re.sub(r"@(\w+)@", lambda match: str(details[match[1]]), template))

    def make(self, *names: str | Path) -> None:
        """Folders in `folder`, and those on the way."""
        for name in names:
            path = self.folder / name
            new = [one for one in (path, *path.parents) if not one.exists()]
            path.mkdir(parents=True, exist_ok=True)
            for one in new:
                self.own(one)

    def own(self, path: Path) -> None:
        """Gives it to the server's user."""
        if ROOT:
            os.chown(path, self.owner.pw_uid, self.owner.pw_gid)

    @functools.cached_property
    def owner(self) -> pwd.struct_passwd:
        """Whose the server is."""
        return pwd.getpwnam(self.account) if ROOT else pwd.getpwuid(os.geteuid())

    def cert(self) -> Path:
        """The certificate, for localhost, 127.0.0.1 and ::1."""
        return self.write("cert.pem", localhost().cert.read_bytes())

    def key(self) -> Path:
        """Its key, as a file that the server's user alone can read."""
        return self.write("key.pem", localhost().key.read_bytes(), 0o600)

    def as_owner(self, argv: Sequence[str]) -> list[str]:
        if not ROOT:
            return list(argv)
        groups = f"--reuid={self.owner.pw_uid}", f"--regid={self.owner.pw_gid}", "--clear-groups"
        return ["setpriv", *groups, "--", *argv]

    def run(
        self, argv: Sequence[str], *ports: int, as_root: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        """Starts a program of the server, and waits until it listens on `ports`, where there are any."""
        name = f"{Path(argv[0]).name}-{len(self._processes)}.log"
        with open(self.folder / name, "wb") as log:
            process = subprocess.Popen(
                list(argv) if as_root else self.as_owner(argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env={**os.environ, **(env or {})},
            )
        self._processes.append(process)
        self.wait(*ports)

    def wait(self, *ports: int) -> None:
        """Until it listens on all of these, while all that was started runs.

        To connect would not tell: what answers may be somebody else's server, when the port was taken meanwhile.
        """
        deadline = time.monotonic() + START_TIME
        for port in ports:
            while not listens(self.processes(), port):
                self._check(time.monotonic() < deadline, port)
                time.sleep(0.002)
        self._check(True, *ports)

    def _check(self, in_time: bool, *ports: int) -> None:
        gone = [process.args for process in self._processes if process.poll() is not None]
        if gone or not in_time:
            said = self.log().decode(errors="replace")
            raise AssertionError(f"{gone or type(self).__name__} does not listen on {ports}:\n{said}")


def listens(processes: Sequence[int], port: int) -> bool:
    """Whether one of these processes listens on a TCP port (proc(5): net/tcp and fd)."""
    entries = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    wanted = {f"socket:[{entry[9]}]" for entry in entries if entry[3] == "0A" and entry[1].endswith(f":{port:04X}")}
    for process in processes if wanted else ():
        folder = f"/proc/{process}/fd"
        try:
            if any(os.readlink(f"{folder}/{descriptor}") in wanted for descriptor in os.listdir(folder)):
                return True
        except PermissionError:
            return True  # it hides what it has open from all but root: it is believed
        except OSError:
            pass  # it has ended or closed something meanwhile
    return False


def members_of(session: int) -> Iterator[int]:
    """The processes of a session (setsid(2))."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and session_of(int(entry)) == session:
            yield int(entry)


def session_of(process: int) -> int | None:
    """None: it has ended, though perhaps nobody has waited for it yet."""
    try:
        status = Path("/proc", str(process), "stat").read_bytes()
    except OSError:
        return None
    state, _, _, session = status.rpartition(b")")[2].split()[:4]  # proc(5)
    return None if state == b"Z" else int(session)
