"""Files that people send each other, with curl: who may, how large, what kind; and nothing that is sent can do harm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from chat_support import OPERATORS, PATIENCE, Bot, Chat


@pytest.fixture
def options() -> tuple[str, ...]:
    return ()


@pytest.fixture
def chat(tmp_path: Path, options: tuple[str, ...]) -> Iterator[Chat]:
    with Chat(tmp_path / "chat.sqlite", *options) as server:
        yield server
        server.terminate()


@pytest.fixture
def alice(chat: Chat) -> Iterator[Bot]:
    with chat.bot("alice") as bot:
        yield bot


def curl(*arguments: str, data: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body."""
    done = subprocess.run(
        ["curl", "-sS", "-i", "--path-as-is", "-H", "Expect:", *arguments],
        input=data,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    return int(first.split()[1]), {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}, body


def put(chat: Chat, token: str, name: str, data: bytes, query: str = "", *more: str) -> tuple[int, dict[str, Any]]:
    """Sends a file as the page does; the answer's status and JSON."""
    status, headers, body = curl(
        *(
            "-T",
            "-",
            "-H",
            f"Authorization: Bearer {token}",
            "-H",
            "Transfer-Encoding:",
            "-H",
            f"Content-Length: {len(data)}",
        ),
        *(*more, f"http://127.0.0.1:{chat.port}/files/{name}{query}"),
        data=data,
    )
    assert headers["content-type"].startswith("application/json"), body
    return status, json.loads(body)


def get(chat: Chat, url: str, *more: str) -> tuple[int, dict[str, str], bytes]:
    return curl(*more, f"http://127.0.0.1:{chat.port}{url}")


def stored(chat: Chat) -> list[Path]:
    return [each for each in Path(f"{chat.store}.files").rglob("*") if each.is_file()]


def test_a_file_appears_in_the_room_and_is_downloaded_as_it_was(chat: Chat, alice: Bot) -> None:
    data = os.urandom(300_000)
    with chat.person("bob") as bob:
        status, answer = put(chat, alice.me["token"], quote("les sockets é.png"), data, "?room=salon")
        assert status == 201
        message = alice.until("message", kind="file")
        assert message["file"] == {
            "name": "les sockets é.png",
            "size": 300_000,
            "type": "image/png",
            "url": answer["url"],
        }
        assert (message["number"], message["text"], message["author"]) == (
            answer["number"],
            "les sockets é.png",
            "alice",
        )
        bob.sees(f"* alice sends les sockets é.png (300 kB): {answer['url']}")
    status, headers, body = get(chat, answer["url"])
    assert (status, body, headers["content-type"]) == (200, data, "image/png")
    assert headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in headers["content-security-policy"]
    assert "content-disposition" not in headers
    status, headers, body = get(chat, answer["url"], "-r", "1000-1999")
    assert (status, body, headers["content-range"]) == (206, data[1000:2000], "bytes 1000-1999/300000")
    assert get(chat, answer["url"], "-r", "300000-")[0] == 416
    assert get(chat, answer["url"], "-I")[1]["content-length"] == "300000"


def test_what_could_run_in_a_browser_is_only_offered_to_be_saved(chat: Chat, alice: Bot) -> None:
    script = b"<script>alert(1)</script>"
    for name in ("page.html", "image.svg", "script.js", "x.xhtml", "x.xml", "noextension", "x.exe", "x.HTM"):
        answer = put(chat, alice.me["token"], name, script, "", "-H", "Content-Type: image/png")[1]
        for more in ((), ("-r", "0-3")):
            _status, headers, _body = get(chat, answer["url"], *more)
            assert headers["content-disposition"] == "attachment", name
            assert "sandbox" in headers["content-security-policy"], name
            assert headers["content-type"] != "image/png", name


def test_only_who_is_in_the_house_and_in_the_room_may_send(chat: Chat, alice: Bot) -> None:
    token = alice.me["token"]
    for wrong in ("", "x", token[:-1], f"{token}0", "é"):
        status, answer = put(chat, wrong, "a.txt", b"x")
        assert (status, bool(answer["why"])) == (401, True)
    status, headers, _body = curl("-T", "-", f"http://127.0.0.1:{chat.port}/files/a.txt", data=b"x")
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    with chat.bot("bob", rooms=["den"]) as bob:
        for room in ("den", "nowhere", "@", "!"):
            status, answer = put(chat, token, "a.txt", b"x", f"?room={room}")
            assert (status, bool(answer["why"])) == (403, True), room
        assert put(chat, bob.me["token"], "a.txt", b"x")[0] == 201  # in the first of one's rooms
        assert bob.until("message", kind="file")["room"] == "den"
        chat.say("/mute alice")
        alice.until("notice", text="you are muted in salon")
        assert put(chat, token, "a.txt", b"x")[0] == 403
        chat.say("/unmute alice")
        alice.until("notice", text="you can speak again in salon")
    assert len(stored(chat)) == 1
    assert put(chat, bob.me["token"], "a.txt", b"x")[0] in (401, 403), "bob is gone"


def test_slow_mode_counts_a_file_as_one_message(chat: Chat, alice: Bot) -> None:
    chat.say("/slow 600")
    alice.until("room", slow=600)
    assert put(chat, alice.me["token"], "a.txt", b"x")[0] == 201
    status, answer = put(chat, alice.me["token"], "b.txt", b"x")
    assert (status, "slow mode" in answer["why"]) == (403, True)
    assert len(stored(chat)) == 1


@pytest.mark.parametrize(
    "options", [("--upload-size", "1000", "--upload-quota", "2500", "--upload-types", "image/*,.TXT,.tar.gz")]
)
def test_size_quota_and_types_are_kept(chat: Chat, alice: Bot) -> None:
    token = alice.me["token"]
    assert alice.me["uploads"] == {"allowed": True, "most": 1000}
    for name, size, status in (
        ("a.txt", 1001, 413),
        ("a.html", 10, 415),
        ("a", 10, 415),
        ("a.txt.exe", 10, 415),
        ("a.txt", 1000, 201),
        ("B.PNG", 1000, 201),
        ("c.tar.gz", 501, 507),
        ("c.tar.gz", 500, 201),
        ("d.txt", 1, 507),
        ("e.txt", 0, 201),
    ):
        got, answer = put(chat, token, name, b"x" * size)
        assert got == status, (name, size, answer)
        assert bool(answer.get("why")) == (status != 201)
    # A body of unknown length, which is cut off where it becomes too large.
    assert curl(
        *("-T", "-", "-H", f"Authorization: Bearer {token}", f"http://127.0.0.1:{chat.port}/files/long.txt"),
        data=b"x" * 5000,
    )[0] in (413, 507)
    alice.meanwhile()
    assert [each["text"] for each in alice.messages()] == ["a.txt", "B.PNG", "c.tar.gz", "e.txt"]
    assert sum(each.stat().st_size for each in stored(chat)) == 2500


@pytest.mark.parametrize("options", [("--uploads", "operator")])
def test_where_only_operators_may_send(chat: Chat, alice: Bot) -> None:
    token = alice.me["token"]
    assert alice.me["uploads"]["allowed"] is False
    assert put(chat, token, "a.txt", b"x")[0] == 403
    assert alice.asks("do", f"/op {OPERATORS}", "welcome")["uploads"]["allowed"] is True
    assert put(chat, token, "a.txt", b"x")[0] == 201


@pytest.mark.parametrize("options", [("--uploads", "none")])
def test_where_nobody_may_send(chat: Chat, alice: Bot) -> None:
    assert alice.me["uploads"]["allowed"] is False
    status, _headers, _body = curl("-T", "-", f"http://127.0.0.1:{chat.port}/files/a.txt", data=b"x")
    assert 400 <= status < 500
    assert not Path(f"{chat.store}.files").exists()


def test_no_name_leads_out_of_its_folder(chat: Chat, alice: Bot) -> None:
    root = Path(f"{chat.store}.files")
    for name, kept in (
        ("..%2f..%2fetc%2fpasswd", "passwd"),
        ("..%5c..%5cevil.txt", "evil.txt"),
        ("..", "file"),
        ("%2e%2e%2f", "file"),
        (".part", "part"),
        (".htaccess", "htaccess"),
        ("ab%0d%0aSet-Cookie:x.txt", "abSet-Cookie:x.txt"),
        ("%e2%80%aegnp.exe", "gnp.exe"),
        ("x" * 300 + ".txt", "x" * 79 + ".txt"),
        (quote("é" * 300), None),
        ("%ff%fe.txt", None),
        ("index.html", "index.html"),
        ("-rf", "-rf"),
        ("%3Cb%3E%22.txt", '<b>".txt'),
        ("%f0%9f%98%80.txt", "😀.txt"),
    ):
        status, answer = put(chat, alice.me["token"], name, name.encode())
        assert status in (201, 400, 404), (name, answer)
        if status != 201:
            assert kept in (None, "file"), (name, status)
            continue
        told = alice.until("message", kind="file")["file"]
        if kept is not None:
            assert told["name"] == kept
        status, headers, body = get(chat, answer["url"])
        assert (status, body) == (200, name.encode()), name
        assert "set-cookie" not in headers
    for each in stored(chat):
        assert each.parent.parent == root
        assert not each.name.startswith(".")


def test_nothing_but_files_can_be_downloaded(chat: Chat, alice: Bot) -> None:
    url = put(chat, alice.me["token"], "a.txt", b"content")[1]["url"]
    folder = url.rpartition("/")[0]
    for path in (
        *(
            "/files",
            "/files/",
            folder,
            f"{folder}/",
            f"{folder}/.",
            f"{folder}//a.txt",
            f"{url}/",
            f"{folder}/%2e%2e/a.txt",
        ),
        *(
            "/files/../chat.sqlite",
            "/files/..%2fchat.sqlite",
            "/files/%2e%2e/chat.sqlite",
            "/files//etc/passwd",
            f"{folder}/b",
        ),
        *("/chat.sqlite", "/files/0/0", "/page/../house.py", "/page/..%2fhouse.py", "/house.py"),
    ):
        status, headers, body = get(chat, path)
        assert status in (301, 308, 400, 403, 404), (path, status, body[:200])
        assert b"a.txt" not in body.replace(path.encode(), b"")
        assert b"content" not in body
        assert not headers.get("location", "").startswith("//")
    for method in ("POST", "DELETE", "PATCH"):
        status, headers, _body = get(chat, url, "-X", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD, PUT")


def test_an_upload_that_breaks_off_leaves_nothing_and_says_nothing(chat: Chat, alice: Bot) -> None:
    with socket.create_connection(("127.0.0.1", chat.port), PATIENCE) as sock:
        sock.sendall(
            f"PUT /files/a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.me['token']}\r\n".encode()
            + b"Content-Length: 1000000\r\n\r\n"
            + b"x" * 500_000
        )
        while not stored(chat) or not stored(chat)[0].stat().st_size:
            alice.meanwhile()  # until some of it is on the disk
        assert [each.name for each in stored(chat)] == [".part"]
    while any(Path(f"{chat.store}.files").iterdir()):
        alice.meanwhile()
    assert alice.messages() == []
    assert put(chat, alice.me["token"], "a.txt", b"x")[0] == 201  # and the quota is as it was


def test_files_are_there_after_a_restart_and_halves_are_not(tmp_path: Path) -> None:
    store = tmp_path / "chat.sqlite"
    with Chat(store) as chat:
        with chat.bot("alice") as alice:
            url = put(chat, alice.me["token"], "a.txt", b"content")[1]["url"]
        chat.terminate()
    half = Path(f"{store}.files") / "0123456789abcdef"
    half.mkdir()
    (half / ".part").write_bytes(b"half")
    with Chat(store) as chat:
        with chat.bot("bob", history=10) as bob:
            assert bob.until("message", kind="file")["file"]["url"] == url
            assert get(chat, url)[2] == b"content"
            assert not half.exists()
        chat.terminate()
