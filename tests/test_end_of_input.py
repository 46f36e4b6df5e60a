"""`printf 'hi\\n' | prise connect` gets the answer that comes after its end of input, from everybody.

socat loses it after half a second, OpenBSD's nc and curl never say that their input has ended, ncat loses it with UDP. Each
server here reads to the end of its input and answers a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_process import Running, run
from peers import Peer, free_port

LATE = "cat >/dev/null; sleep 0.8; echo late"
LATE_DATAGRAM = "read line; sleep 0.8; echo late"


def ask(address: str, *options: str) -> str:
    done = run("connect", *options, address, given=b"hi\n")
    assert done.returncode == 0, done.stderr
    return done.stdout


TCP_SERVERS = {
    "socat": lambda port: ("socat", "-t5", f"TCP-LISTEN:{port},bind=127.0.0.1", f"SYSTEM:{LATE}"),
    "nc.traditional": lambda port: ("nc.traditional", "-l", "-s", "127.0.0.1", "-p", str(port), "-c", LATE),
}


@pytest.mark.parametrize("server", TCP_SERVERS)
def test_tcp(server: str) -> None:
    port = free_port()
    with Peer(*TCP_SERVERS[server](port), port=port):
        assert ask(f"127.0.0.1:{port}") == "late\n"


def test_a_server_that_hangs_up_at_the_end_of_input() -> None:
    """ncat, listening, drops what its program still has to say; without that end it does not."""
    port = free_port()
    with Peer("ncat", "-l", "127.0.0.1", str(port), "-c", LATE_DATAGRAM, port=port):
        assert ask(f"127.0.0.1:{port}", "--no-eof") == "late\n"


def test_openbsd_netcat_answers_with_its_own_input() -> None:
    """It runs no program, but sends its standard input; -N ends its side when that is over."""
    port = free_port()
    answer = f"{LATE_DATAGRAM.replace('read line; ', '')} | nc.openbsd -N -l 127.0.0.1 {port}"
    with Peer("sh", "-c", answer, port=port):
        assert ask(f"127.0.0.1:{port}") == "late\n"


def test_unix_sockets(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Peer("socat", "-t5", f"UNIX-LISTEN:{path}", f"SYSTEM:{LATE}"):
        assert ask(f"unix:{path}", "--retry", "20") == "late\n"


UDP_SERVERS = {
    "socat, one datagram": lambda port: (
        "socat",
        "-t5",
        f"UDP4-RECVFROM:{port},bind=127.0.0.1",
        f"SYSTEM:{LATE_DATAGRAM}",
    ),
    "socat": lambda port: ("socat", "-t5", f"UDP4-LISTEN:{port},bind=127.0.0.1", f"SYSTEM:{LATE_DATAGRAM}"),
    "ncat": lambda port: ("ncat", "-u", "-l", "127.0.0.1", str(port), "-c", LATE_DATAGRAM),
}


@pytest.mark.parametrize("server", UDP_SERVERS)
def test_udp(server: str) -> None:
    """A datagram cannot say that the input has ended: prise waits a while for answers."""
    port = free_port(socket.SOCK_DGRAM)
    options = () if server == "socat" else ("--wait", "1.5")  # by itself it waits longer, which one of them shows
    with Peer(*UDP_SERVERS[server](port), port=port, kind=socket.SOCK_DGRAM):
        assert ask(f"udp:127.0.0.1:{port}", *options) == "late\n"


def test_udp_from_openbsd_netcat() -> None:
    """Its answer is its own input, which it reads once somebody has sent it something."""
    port = free_port(socket.SOCK_DGRAM)
    with Peer("nc.openbsd", "-u", "-l", "127.0.0.1", str(port), port=port, kind=socket.SOCK_DGRAM, given=b"late\n"):
        assert ask(f"udp:127.0.0.1:{port}", "--wait", "1.5") == "late\n"


UDP_CLIENTS = {
    "socat": lambda port: ("socat", "-", f"UDP4:127.0.0.1:{port}"),
    "ncat": lambda port: ("ncat", "-u", "127.0.0.1", port),
    "nc.openbsd": lambda port: ("nc.openbsd", "-u", "127.0.0.1", port),
    "nc.traditional": lambda port: ("nc.traditional", "-u", "127.0.0.1", port),
}


@pytest.fixture(scope="module")
def echo() -> Iterator[str]:
    """The port of `prise serve echo --on udp:…`."""
    with Running("serve", "echo", "--on", "udp:127.0.0.1:0") as server:
        yield str(server.port())


@pytest.mark.parametrize("client", UDP_CLIENTS)
def test_udp_clients(client: str, echo: str) -> None:
    """They see lines, each with its end."""
    with Peer(*UDP_CLIENTS[client](echo), given=b"hi\n") as peer:
        said, heard = peer.process.stdin, peer.process.stdout
        assert said is not None
        assert heard is not None
        assert heard.readline() == b"hi\n"
        said.write(b"again\n")
        said.flush()
        assert heard.readline() == b"again\n"


def test_a_program() -> None:
    assert ask(f"sh:{LATE}") == "late\n"
