"""Who may do what: permissions, accounts and their file, pages of other origins, and what is told to who may not."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from application_support import Folder, folder
from prise import MissingExtra, UsageError
from prise.web import access, passwords
from prise.web.access import Access, Permission
from prise.web.application import SANDBOX
from site_support import write


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


ADA = basic("ada", "s3cret: ü")


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("accounts") / "users"
    path.write_text(f"# teachers\n\nada:{passwords.hash_of('s3cret: ü')}\n", encoding="utf-8")
    return str(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "a.txt", "a")
    write(tmp_path / "page.html", "<script>1</script>")
    return tmp_path


# What is allowed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "MKCOL"])
def test_reading_alone_is_the_default_and_the_refusal_says_what_would_help(root: Path, method: str) -> None:
    with folder(root) as served:
        answer = served.ask("/new.txt", method, "content")
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
        assert "--allow upload" in answer.text
        assert not (root / "new.txt").exists()


def test_upload_adds_and_write_changes(root: Path) -> None:
    with folder(root, allow="upload") as served:
        assert served.ask("/new.txt", "PUT", "1").status == 201
        assert served.ask("/new.txt", "PUT", "2").status == 409
        refused = served.ask("/new.txt", "DELETE")
        assert refused.status == 403
        assert "--allow write" in refused.text
        assert served.ask("/folder", "MKCOL").status == 403
        assert served.ask("/index.html", "PUT", "mine").status == 403
        assert (root / "new.txt").read_text() == "1"
    with folder(root, allow="write") as served:
        assert served.ask("/new.txt", "PUT", "2").status == 204
        assert served.ask("/index.html", "PUT", "mine").status == 201
        assert served.ask("/new.txt", "DELETE").status == 204
    assert not (root / "new.txt").exists()
    with pytest.raises(UsageError, match="read, upload or write"), folder(root, allow="everything"):
        pass


def test_options_tell_the_methods(root: Path) -> None:
    with folder(root) as served:
        assert served.ask("/", "OPTIONS").headers["allow"] == "GET, HEAD, OPTIONS"
    with folder(root, allow="write") as served:
        assert "PUT" in served.ask("/", "OPTIONS").headers["allow"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://other.localhost"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(root: Path, headers: dict[str, str]) -> None:
    with folder(root, allow="write") as served:
        assert served.ask("/new.txt", "PUT", "x", headers).status == 403
        assert served.ask("/?name=new.txt", "POST", "x", headers | {"Content-Type": "text/plain"}).status == 403
        assert not (root / "new.txt").exists()
        assert served.ask("/a.txt", headers=headers).status == 200
        own = {"Origin": f"http://127.0.0.1:{served.port}"}
        assert served.ask("/new.txt", "PUT", "x", own).status == 201
        assert served.ask("/new.txt", "PUT", "x", {"Sec-Fetch-Site": "same-origin", **own}).status == 204


def test_where_uploads_are_allowed_files_act_in_nobodys_name(root: Path) -> None:
    with folder(root) as served:
        assert "content-security-policy" not in served.ask("/page.html").headers
    with folder(root, allow="upload") as served:
        for _ in range(3):  # the third comes from memory where that is allowed
            assert served.ask("/page.html").headers["content-security-policy"] == SANDBOX
        assert "default-src 'none'" in served.ask("/").headers["content-security-policy"]


# Accounts ------------------------------------------------------------------------------------------------------------------


def test_everybody_logs_in(root: Path, accounts: str) -> None:
    with folder(root, auth=accounts) as served:
        answer = served.ask("/a.txt")
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="prise", charset="UTF-8"'
        for wrong in (
            basic("ada", "x"),
            basic("bob", "s3cret: ü"),
            {"Authorization": "Basic ???"},
            {"Authorization": "Bearer x"},
        ):
            assert served.ask("/a.txt", headers=wrong).status == 401
        assert served.ask("/a.txt", headers=ADA).body == b"a"
        assert served.ask("/.prise/listing.css").status == 200  # no secret, and no page of its own
        assert served.ask("/", headers=ADA).status == 200
        assert served.ask("/", "OPTIONS").status == 204


def test_an_account_may_be_given_directly(root: Path) -> None:
    with folder(root, auth="bob:pass:word") as served:
        assert served.ask("/a.txt", headers=basic("bob", "pass:word")).status == 200
        assert served.ask("/a.txt", headers=basic("bob", "pass")).status == 401


def test_pupils_download_and_the_teacher_uploads(root: Path, accounts: str) -> None:
    with folder(root, auth=accounts, allow="upload", auth_for_writing=True) as served:
        page = served.ask("/").text
        assert 'type="file"' not in page
        assert 'href="?login"' in page
        assert served.ask("/a.txt").body == b"a"
        refused = served.ask("/new.txt", "PUT", "x")
        assert refused.status == 401
        assert "account" in refused.text
        assert served.ask("/new.txt?upload=1", "HEAD").status == 401
        assert served.ask("/?login").status == 401
        back = served.ask("/?login", headers=ADA)
        assert (back.status, back.headers["location"]) == (303, "./")
        assert 'type="file"' in served.ask("/", headers=ADA).text
        assert served.ask("/new.txt", "PUT", "x", ADA).status == 201


def test_a_password_is_hashed_once(root: Path, accounts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = passwords.matches

    def counted(password: str, hashed: str) -> bool:
        asked.append(password)
        return real(password, hashed)

    monkeypatch.setattr(passwords, "matches", counted)
    monkeypatch.setattr(access, "MOST_REMEMBERED", 1)
    with folder(root, auth=accounts) as served:
        for _ in range(5):
            assert served.ask("/a.txt", headers=ADA).status == 200
        assert len(asked) == 1
        assert served.ask("/a.txt", headers=basic("ada", "wrong")).status == 401
        assert served.ask("/a.txt", headers=ADA).status == 200  # wrong ones push nobody out
        assert len(asked) == 2


def test_who_guesses_waits_in_a_row_and_others_are_served(root: Path, accounts: str) -> None:
    with folder(root, auth=accounts) as served:
        assert served.ask("/a.txt", headers=ADA).status == 200
        with ThreadPoolExecutor(8) as people:
            guesses = [people.submit(served.ask, "/a.txt", headers=basic("ada", str(n))) for n in range(16)]
            began = time.monotonic()
            assert served.ask("/a.txt", headers=ADA).status == 200
            waited = time.monotonic() - began
            assert [guess.result().status for guess in guesses] == [401] * 16
        assert waited < 2


def test_too_many_that_wait_are_sent_away(root: Path, accounts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "MOST_WAITING", 0)
    with folder(root, auth=accounts) as served:
        assert served.ask("/a.txt", headers=ADA).status == 503


def test_the_grant_of_a_request_is_known_without_waiting() -> None:
    async def never(*_: Any) -> Any:
        raise AssertionError

    everybody = Access(never, allow="write")
    assert everybody.open
    locked = Access(never, allow="write", accounts={"ada": passwords.hash_of("x")})
    assert not locked.open
    assert Permission.of("upload") == Permission.UPLOAD < Permission.WRITE


def test_the_user_is_known_to_the_log(root: Path, accounts: str) -> None:
    with folder(root, auth=accounts) as served:
        assert isinstance(served, Folder)
        served.ask("/a.txt", headers=ADA)
        [user] = served.application.access._known.values()
        assert user == "ada"


# Files of accounts --------------------------------------------------------------------------------------------------------


def test_a_hash_is_a_phc_string_with_a_salt_of_its_own() -> None:
    first, second = passwords.hash_of("x"), passwords.hash_of("x")
    assert first != second
    assert first.startswith("$scrypt$ln=14,r=8,p=1$")
    assert passwords.matches("x", first)
    assert not passwords.matches("y", first)


def test_openssl_agrees_about_scrypt() -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    salt = base64.b64decode("TmFDbE5hQ2w=")
    options = ("pass:secret", f"hexsalt:{salt.hex()}", "n:1024", "r:8", "p:1")
    command = ["openssl", "kdf", "-keylen", "32", "-binary"]
    for option in options:
        command += ["-kdfopt", option]
    done = subprocess.run([*command, "SCRYPT"], capture_output=True, check=True, timeout=20)
    hashed = base64.b64encode(done.stdout).decode().rstrip("=")
    assert passwords.matches("secret", f"$scrypt$ln=10,r=8,p=1$TmFDbE5hQ2w${hashed}")


@pytest.mark.parametrize(
    "hashed",
    [
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "$apr1$abcdefgh$0123456789012345678901",
        "plainpassword",
        "",
        "$scrypt$ln=30,r=8,p=1$TmFDbE5hQ2w$5rVs/qD36vnbI2Gbx3e1uJFVjuSgoP7Ccv6sO3Yyp1A",
        "$scrypt$ln=14,r=8,p=1$TmFDbE5hQ2w$x",
    ],
)
def test_what_is_weak_or_no_hash_is_refused_with_its_line(tmp_path: Path, hashed: str) -> None:
    path = write(tmp_path / "users", f"# a comment\nada:{hashed}\n")
    with pytest.raises(UsageError, match=f"{path}:2"):
        passwords.accounts(str(path))


def test_bcrypt_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    path = write(tmp_path / "users", "ada:$2y$05$" + "a" * 53 + "\n")
    with pytest.raises(MissingExtra, match="pip install bcrypt"):
        passwords.accounts(str(path))


@pytest.mark.parametrize("given", ["nothing", ":password", "user:", "/does/not/exist"])
def test_what_is_no_account_is_refused(given: str) -> None:
    with pytest.raises(UsageError):
        passwords.accounts(given)
