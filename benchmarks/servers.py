"""The servers that are compared: their names in the tables, and the commands that start them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import harness

REFERENCE = "bare epoll"
UVLOOP = "uvloop Protocol"
ASYNCIO = "asyncio Protocol"
ASYNCIO_STREAMS = "asyncio streams"
WEBSOCKETS = "websockets"
RECVFROM = "recvfrom loop"
C_EPOLL = "C epoll, batched"
SOCKETSERVER = "socketserver"
THREADS = 4_000  # at once, at the most: systems bound them (pids.max), often at 4,915
DATAGRAMS = "asyncio DatagramProtocol"
NGIRCD = "ngircd"
TUTORIAL = "tutorial, threads"
PRISE_CHAT = "prise chat"
BROADCAST = "websockets.broadcast"
SOCAT = "socat"
SOCAT_LARGE = "socat, 64 KiB blocks"
NGINX = "nginx"
NGINX_2 = "nginx, 2 workers"


@dataclass(frozen=True)
class Entry:
    """name: in the tables. command: prints its port when ready. program: what has to be installed for it, if anything.

    kind: "bare" (no framework, and so none of its duties), "platform" (asyncio, uvloop), "framework", "program" or "prise".
    """

    name: str
    kind: str
    command: tuple[str, ...]
    program: str = ""

    @property
    def threaded(self) -> bool:
        """True where each connection is a thread, of which a machine has only so many (THREADS)."""
        return self.name.startswith((SOCKETSERVER, "prise threads"))

    def wanted(self, only: Sequence[str], *references: str) -> bool:
        """True for the references, and for those whose name contains one of `only`; for all when there is none."""
        return not only or self.name in references or any(part in self.name for part in only)


def _peer(name: str, kind: str, module: str, *options: str, program: str = "") -> Entry:
    return Entry(name, kind, (sys.executable, "-m", f"benchmarks.peers.{module}", *options), program)


def _prise(model: str, spelling: str, *options: str) -> Entry:
    loop = " + uvloop" if "--uvloop" in options else ""
    command = (sys.executable, "-m", "benchmarks.prise_servers", "--model", model, "--spelling", spelling, *options)
    return Entry(f"prise {model}{loop}, {spelling}", "prise", command)


def echo() -> list[Entry]:
    """Every line echo, the references first."""
    return [
        _peer(REFERENCE, "bare", "epoll"),
        _peer(UVLOOP, "platform", "asyncio_protocol", "--uvloop"),
        _peer("bare epoll, batched", "bare", "epoll", "--batch"),
        Entry("C epoll, batched", "bare", (harness.compiled("epoll_echo"),)),
        _peer("uvloop Protocol, batched", "platform", "asyncio_protocol", "--uvloop", "--batch"),
        _peer("asyncio Protocol", "platform", "asyncio_protocol"),
        _peer("asyncio Protocol, batched", "platform", "asyncio_protocol", "--batch"),
        _peer("uvloop streams", "platform", "asyncio_streams", "--uvloop"),
        _peer("asyncio streams", "platform", "asyncio_streams"),
        _peer(SOCKETSERVER, "framework", "socketserver_threads"),
        _peer(f"{SOCKETSERVER}, forking", "framework", "socketserver_threads", "--fork"),
        _peer("trio", "framework", "trio_streams"),
        _peer("AnyIO", "framework", "anyio_streams"),
        _peer("Twisted", "framework", "twisted_lines"),
        _peer("EasyNetwork", "framework", "easynetwork_lines"),
        _peer("EasyNetwork + uvloop", "framework", "easynetwork_lines", "--uvloop"),
        _prise("select", "generator"),
        _prise("select", "coroutine"),
        _prise("asyncio", "generator", "--uvloop"),
        _prise("asyncio", "coroutine", "--uvloop"),
        _prise("asyncio", "generator", "--no-uvloop"),
        _prise("asyncio", "coroutine", "--no-uvloop"),
        _prise("threads", "function"),
        _prise("threads", "generator"),
        _prise("threads", "coroutine"),
        _prise("processes", "function"),
        _prise("processes", "generator"),
        _prise("processes", "coroutine"),
    ]


def growing(longest: int = 65536) -> list[Entry]:
    """A line echo of each sort, the reference first. longest: bytes of a line that they must take."""
    return [
        _peer(REFERENCE, "bare", "epoll"),
        Entry(C_EPOLL, "bare", (harness.compiled("epoll_echo"), str(longest))),
        _peer(UVLOOP, "platform", "asyncio_protocol", "--uvloop"),
        _peer(ASYNCIO_STREAMS, "platform", "asyncio_streams", "--longest", str(longest)),
        _peer(SOCKETSERVER, "framework", "socketserver_threads"),
        _peer("Twisted", "framework", "twisted_lines", "--longest", str(longest)),
        _prise("select", "generator"),
        _prise("asyncio", "coroutine", "--uvloop"),
        _prise("threads", "function"),
    ]


def workers(count: int) -> list[Entry]:
    """The line echoes that can run in several processes on one port, in so many."""
    option = ("--workers", str(count))
    return [
        _peer(REFERENCE, "bare", "epoll", *option),
        _peer(UVLOOP, "platform", "asyncio_protocol", "--uvloop", *option),
        _prise("select", "generator", *option),
        _prise("asyncio", "coroutine", "--uvloop", *option),
        _prise("threads", "function", *option),
    ]


def idle() -> list[Entry]:
    """The echoes whose memory is compared."""
    bare = ("asyncio streams", "uvloop", "socketserver", "Twisted", "trio")
    wanted = (*bare, "prise select", "prise asyncio", "prise threads, function")
    return [entry for entry in echo() if entry.name.startswith(wanted) and "batched" not in entry.name]


def fanout() -> list[Entry]:
    """Each line to everyone."""
    return [
        _peer("asyncio broadcast", "platform", "asyncio_broadcast"),
        _peer("uvloop broadcast", "platform", "asyncio_broadcast", "--uvloop"),
        _prise("select", "coroutine", "--room"),
        _prise("asyncio", "coroutine", "--room", "--uvloop"),
        _prise("asyncio", "coroutine", "--room", "--no-uvloop"),
    ]


def _loops(*options: str) -> list[Entry]:
    """prise where one loop serves everyone, in the spellings and loops that there are."""
    return [
        _prise("select", "generator", *options),
        _prise("select", "coroutine", *options),
        _prise("asyncio", "generator", "--uvloop", *options),
        _prise("asyncio", "coroutine", "--uvloop", *options),
        _prise("asyncio", "generator", "--no-uvloop", *options),
        _prise("asyncio", "coroutine", "--no-uvloop", *options),
    ]


def tls() -> list[Entry]:
    """Every line echo over TLS, all with one certificate."""
    option = ("--tls", harness.certificate())
    return [
        _peer(ASYNCIO, "platform", "asyncio_protocol", *option),
        _peer(UVLOOP, "platform", "asyncio_protocol", "--uvloop", *option),
        _peer(f"{ASYNCIO}, batched", "platform", "asyncio_protocol", "--batch", *option),
        _peer(f"{UVLOOP}, batched", "platform", "asyncio_protocol", "--uvloop", "--batch", *option),
        _peer(ASYNCIO_STREAMS, "platform", "asyncio_streams", *option),
        _peer("uvloop streams", "platform", "asyncio_streams", "--uvloop", *option),
        *_loops("--address", "tls:127.0.0.1:0", *option),
    ]


def websocket() -> list[Entry]:
    """Every echo of text messages over WebSocket."""
    return [
        _peer(WEBSOCKETS, "framework", "websockets_asyncio"),
        _peer("websockets + uvloop", "framework", "websockets_asyncio", "--uvloop"),
        _peer("websockets, threads", "framework", "websockets_threads"),
        _peer("aiohttp", "framework", "aiohttp_websocket"),
        _peer("aiohttp + uvloop", "framework", "aiohttp_websocket", "--uvloop"),
        _peer("picows", "framework", "picows_listener"),
        _peer("picows + uvloop", "framework", "picows_listener", "--uvloop"),
        *_loops("--address", "ws:127.0.0.1:0"),
    ]


def udp() -> list[Entry]:
    """Every echo of datagrams."""
    return [
        _peer(RECVFROM, "bare", "recvfrom"),
        _peer(DATAGRAMS, "platform", "asyncio_datagrams"),
        _peer(f"{DATAGRAMS}, cold", "platform", "asyncio_datagrams", "--cold"),
        _peer("uvloop DatagramProtocol", "platform", "asyncio_datagrams", "--uvloop"),
        *_loops("--address", "udp:127.0.0.1:0"),
    ]


def chats() -> list[Entry]:
    """Chat servers for lines of text, each with its own etiquette."""
    return [
        _peer(NGIRCD, "program", "chat", "ngircd", program="ngircd"),
        _peer(TUTORIAL, "bare", "tutorial_chat"),
        _peer(PRISE_CHAT, "prise", "chat", "prise"),
    ]


def pages() -> list[Entry]:
    """Every message to everyone, over WebSocket. prise's is the chat's page, with all that belongs to it."""
    return [
        _peer(BROADCAST, "framework", "websockets_chat"),
        _peer("aiohttp + uvloop", "framework", "aiohttp_chat", "--uvloop"),
        _peer("picows + uvloop", "framework", "picows_chat", "--uvloop"),
        _peer(PRISE_CHAT, "prise", "chat", "prise"),
        _peer(f"{PRISE_CHAT}, no uvloop", "prise", "chat", "asyncio"),
    ]


def relays() -> list[Entry]:
    """Every relay between two TCP connections; the port that it connects to is to be appended."""
    return [
        _peer(SOCAT, "program", "relay", "socat", program="socat"),
        _peer(SOCAT_LARGE, "program", "relay", "socat", "-b65536", program="socat"),
        _peer("ncat", "program", "relay", "ncat", program="ncat"),
        Entry("prise relay", "prise", _relay()),
        Entry("prise relay, not spliced", "prise", _relay("--rate", "1000G")),
    ]


def _relay(*options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.peers.relay", "prise", *options)


def web(folder: str) -> list[Entry]:
    """Every server of the files in a folder."""

    def program(name: str, kind: str, program: str, *options: str) -> Entry:
        needed = program if kind == "program" else ""
        return _peer(name, kind, "web_program", program, folder, *options, program=needed)

    return [
        program(NGINX, "program", "nginx"),
        program("darkhttpd", "program", "darkhttpd"),
        program("caddy", "program", "caddy"),
        program("granian", "framework", "granian"),
        _peer("http.server", "framework", "web_python", "http.server", folder),
        _peer("aiohttp", "framework", "web_python", "aiohttp", folder),
        _peer("aiohttp + uvloop", "framework", "web_python", "aiohttp", folder, "--uvloop"),
        _peer("starlette + uvicorn", "framework", "web_python", "starlette", folder, "--uvloop"),
        program("prise web", "prise", "prise"),
        program(NGINX_2, "program", "nginx", "2"),
        program("prise web, 2 workers", "prise", "prise", "2"),
    ]
