"""nginx in front of prise, as it stands in front of many services: WebSocket and TLS ended there, the client's name passed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prise
from peers import PATIENCE, Peer, free_port
from tls_support import client_tls, localhost

CONFIGURATION = """
daemon off; master_process off; pid {folder}/pid; error_log stderr;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{plain}; listen 127.0.0.1:{secure} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        location / {{ return 204; }}
        location /chat {{
            proxy_pass http://127.0.0.1:{behind};
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, behind: int | str | None) -> Iterator[tuple[int, int]]:
    """Gives its ports, without and with TLS. behind: where it finds the WebSocket."""
    plain, secure = free_port(), free_port()
    issued = localhost()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        CONFIGURATION.format(
            folder=folder, plain=plain, secure=secure, behind=behind, certificate=issued.cert, key=issued.key
        )
    )
    with Peer("nginx", "-e", "stderr", "-c", str(configuration), port=secure):
        yield plain, secure


def loud(connection: prise.Connection) -> None:
    count = 0
    for line in connection:
        count += 1
        connection.send(line.upper())
    connection.send(f"{count} lines")


def test_a_websocket_behind_nginx(tmp_path: Path) -> None:
    with prise.listen(loud, "ws://127.0.0.1:0/chat") as server, nginx(tmp_path, server.address.port) as (plain, secure):
        for address in (f"ws://localhost:{plain}/chat", f"wss://localhost:{secure}/chat"):
            with prise.connect(address, tls=client_tls()) as client:
                assert client.ask("é" * 100_000, timeout=PATIENCE) == "É" * 100_000
                client.send_eof()
                assert list(client) == ["1 lines"]  # the late answer passes, since the Close is answered last


def test_a_page_behind_nginx_is_of_the_same_origin(tmp_path: Path) -> None:
    with prise.listen(loud, "ws://127.0.0.1:0/chat") as server, nginx(tmp_path, server.address.port) as (_, secure):
        address = f"wss,origin=[https://localhost:{secure}]://localhost:{secure}/chat"
        with prise.connect(address, tls=client_tls()) as client:
            assert client.ask("a", timeout=PATIENCE) == "A"
        address = f"wss,origin=[https://elsewhere.example]://localhost:{secure}/chat"
        with pytest.raises(prise.HandshakeError, match="403"):
            prise.connect(address, tls=client_tls()).open().handshake()


def test_where_there_is_no_websocket(tmp_path: Path) -> None:
    with nginx(tmp_path, free_port()) as (plain, _):
        with pytest.raises(prise.HandshakeError, match="the server answers 204"):
            prise.connect(f"ws://localhost:{plain}/").open().handshake()
        with pytest.raises(prise.HandshakeError, match="the server answers 502"):
            prise.connect(f"ws://localhost:{plain}/chat").open().handshake()
