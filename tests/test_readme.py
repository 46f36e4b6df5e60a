"""Every Python block of both READMEs runs, and does what the page says."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import pytest

import prise
from blocking_support import until
from real_servers.dovecot import Dovecot
from real_servers.nginx import Nginx

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"<!-- test: ([\w ]+) -->\n```python\n(.*?)```", re.DOTALL)


class Page:
    """A README's blocks, run one after the other in one namespace; what it would serve for ever is noted instead."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.blocks = dict(BLOCK.findall((ROOT / name).read_text()))
        self.names: dict[str, Any] = {}
        self.served: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        monkeypatch.setattr(prise, "serve", lambda *where, **how: self.served.append((where, how)))

    def run(self, name: str, *replace: tuple[str, str]) -> None:
        source = self.blocks[name]
        for old, new in replace:
            assert old in source
            source = source.replace(old, new)
        exec(compile(source, name, "exec"), self.names)


@pytest.fixture(params=["README.md", "README.fr.md"])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Page:
    return Page(request.param, monkeypatch)


def test_all_python_blocks_are_tested(page: Page) -> None:
    assert sorted(page.blocks) == [
        "client of greeter", "handover", "models", "play", "protocols", "serve", "spellings", "transports",
    ]  # fmt: skip
    for name in ("README.md", "README.fr.md"):
        assert (ROOT / name).read_text().count("```python") == len(page.blocks)


def test_the_five_lines_and_their_client(page: Page, capsys: pytest.CaptureFixture[str]) -> None:
    page.run("serve")
    ((conversation, address), how) = page.served[0]
    assert (address, how) == (":50000", {})
    with prise.listen(conversation, ":0") as server:
        page.run("client of greeter", ("localhost:50000", str(server.address)))
    assert capsys.readouterr().out == "Message reçu : Bonjour\n"


def test_the_three_spellings_in_the_models_of_the_page(page: Page, tmp_path: Path) -> None:
    page.run("serve")
    page.run("spellings")
    page.served.clear()
    page.run("models")
    assert len(page.served) == 3
    for (conversation, *addresses), how in page.served:
        where = [":0" if address == ":50000" else f"unix:{tmp_path}/form.sock" for address in addresses]
        with prise.listen(conversation, *where, **how) as server:
            for address in server.addresses:
                with prise.connect(address) as client:
                    assert client.receive(10) == "Votre nom ?"
                    assert client.ask("Zoé", 10) == "Bonjour Zoé"
                    assert client.ask("FIN", 10) == "Au revoir"
    for name in ("greet", "chatter"):
        with prise.listen(page.names[name], ":0") as server, prise.connect(server.address) as client:
            assert client.ask("salut", 10) in ("Message reçu : salut", "salut")


def test_a_conversation_is_played_without_a_socket(page: Page) -> None:
    page.run("spellings")
    page.run("play")


def test_one_function_over_several_transports(
    page: Page, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # where the certificate is kept
    page.run("serve")
    page.run("client of greeter", ('with prise.connect("localhost:50000") as connection:', "if False:"))
    page.run("transports")
    said = capsys.readouterr().out.splitlines()
    assert said == [f"{each} Message reçu : Bonjour" for each in ("tcp", "udp", "ws", "TLSv1.3")]


def test_a_connection_changes_hands(page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    page.run("handover")
    doctor = threading.Thread(target=page.names["doctor"])
    doctor.start()
    until(lambda: any((tmp_path / "run" / name).exists() for name in ("door", "porte")), "the doctor waits")
    with prise.listen(page.names["receptionist"], "127.0.0.1:0") as server, prise.connect(server.address) as client:
        assert client.receive(10) == "Votre nom ?"
        client.send("Zoé")
        assert client.receive(10) == "Bonjour Zoé"
    doctor.join(10)


def test_the_protocols(
    page: Page, dovecot: Dovecot, nginx: Nginx, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dovecot.deliver("readme", b"Subject: hello\r\n\r\nworld\r\n")
    nginx.place("readme.txt", b"a page")
    page.names.update(prise=prise, trust=prise.TLS(ca=dovecot.ca))
    (file,) = re.findall(r"\w+\.eml", page.blocks["protocols"])
    page.run(
        "protocols",
        ('"imaps://ada@mail.example.org/INBOX"', f'"{dovecot.url("INBOX", user="readme:pw", tls=True)}", tls=trust'),
        ('"https://example.org/"', f'"{nginx.url("readme.txt")}"'),
        (f'"{file}"', repr(str(tmp_path / file))),
    )
    assert "hello" in capsys.readouterr().out
    assert (tmp_path / file).read_bytes().endswith(b"world\r\n")
    assert page.names["page"] == b"a page"
