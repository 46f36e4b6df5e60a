"""`prise mail`: what it writes, what it sends by Exim, and how it says what became of it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from email import message_from_bytes, message_from_string, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from cli_process import argv, environment, run
from peers import PATIENCE
from real_servers.dovecot import Dovecot
from real_servers.exim import Exim

pytest.importorskip("click")

NUMBERS = itertools.count(10)


@pytest.fixture
def user() -> str:
    """A mailbox that no other test writes to."""
    return f"u{next(NUMBERS)}"


def mail(exim: Exim, *arguments: str, given: bytes = b"", login: str = "", tls: bool = False) -> Any:
    url = f"smtp{'s' if tls else ''}://{login}localhost:{exim.tls_port if tls else exim.port}/"
    return run("mail", *arguments, "--ca", str(exim.ca), "--no-netrc", url, given=given)


def arrived(dovecot: Dovecot, user: str) -> EmailMessage:
    deadline = time.monotonic() + PATIENCE
    while not (messages := dovecot.messages(user)):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    message = message_from_bytes(messages[-1], policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_a_text_with_a_file(exim: Exim, dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "été.png"
    page.write_text("<p>Voilà</p>", "utf-8")
    picture.write_bytes(bytes(range(256)))
    done = mail(
        exim,
        *("--from", "Zoé <ada@example.org>", "--to", f"Ben <{user}@localhost>", "--bcc", "u9@localhost"),
        *(
            "--subject",
            "L’été",
            "--attach",
            str(picture),
            "--header",
            "X-Project: 7",
            "--html",
            str(page),
            "--body",
            "-",
        ),
        given="Voilà\n.\n".encode(),
    )
    assert done.stdout == ""
    assert done.stderr.startswith(f"sent to {user}@localhost, u9@localhost (OK id=")
    assert done.returncode == 0
    message = arrived(dovecot, user)
    assert (message["From"], message["Subject"], message["X-Project"]) == ("Zoé <ada@example.org>", "L’été", "7")
    assert message["Bcc"] is None
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert text.get_content() == "Voilà\n.\n"
    assert html is not None
    assert html.get_content() == "<p>Voilà</p>\n"
    (attached,) = message.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("été.png", picture.read_bytes())


def test_a_folder_and_what_was_refused(exim: Exim, dovecot: Dovecot, user: str, tmp_path: Path) -> None:
    (tmp_path / "1.eml").write_bytes(b"From: a@x.test\nTo: %s@localhost, nobody@localhost\n\none\n" % user.encode())
    (tmp_path / "2.eml").write_bytes(b"no message")
    (tmp_path / "3.eml").write_bytes(b"From: a@x.test\nTo: nobody@localhost\n\nthree\n")
    done = mail(exim, "--json", str(tmp_path))
    assert done.returncode == 1
    one, three = str(tmp_path / "1.eml"), str(tmp_path / "3.eml")
    accepted, refused, failed, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert accepted == {
        "event": "accepted",
        "file": one,
        "recipient": f"{user}@localhost",
        "code": "250",
        "words": accepted["words"],
    }
    no = {"event": "refused", "recipient": "nobody@localhost", "code": "550", "words": "no such user"}
    assert refused == {**no, "file": one}
    assert (failed["event"], failed["file"]) == ("failed", str(tmp_path / "2.eml"))
    assert last == {**no, "file": three}
    lines = done.stderr.splitlines()
    assert lines[0] == f"{one}: refused: nobody@localhost: 550 no such user"
    assert lines[1].startswith(f"{one}: sent to {user}@localhost (OK id=")
    assert "2.eml: this is no message" in lines[2]
    assert lines[3] == f"{three}: refused: nobody@localhost: 550 no such user"
    assert arrived(dovecot, user).get_content() == "one\n"


def test_it_shows_the_protocol_and_hides_the_password(exim: Exim, dovecot: Dovecot, user: str) -> None:
    read, write = os.pipe()
    os.write(write, b"pw\n")
    os.close(write)
    try:
        url = f"smtps://u1@localhost:{exim.tls_port}/{user}@members.test"
        done = subprocess.run(
            argv("mail", "-v", "--from", "ada@example.org", "--ca", str(exim.ca), "--password-fd", str(read)),
            input=b"hello\n",
            capture_output=True,
            env=environment(PRISE_SMTP=url),
            pass_fds=(read,),
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(read)
    said = done.stderr.decode()
    assert done.returncode == 0, said
    assert "> AUTH PLAIN ********\n" in said
    assert f"> RCPT TO:<{user}@members.test>\n" in said
    assert arrived(dovecot, user)["To"] == f"{user}@members.test"


def test_dry_run() -> None:
    done = run(
        *("mail", "--dry-run", "--from", "ada@example.org", "--to", "ben@example.org", "--bcc", "c@example.org"),
        given="là\n".encode(),
    )
    assert done.returncode == 0
    message = message_from_string(done.stdout, policy=policy.default)
    assert (message["To"], message["Bcc"]) == ("ben@example.org", None)
    assert done.stderr == "from: ada@example.org\nto: ben@example.org, c@example.org\n"


def test_dry_run_shows_who_would_send(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from prise.cli.root import invoke

    (tmp_path / "1.eml").write_bytes(b"To: u2@localhost\n\nhello\n")
    assert invoke(["mail", "--dry-run", str(tmp_path), "smtp://ada%40x.test@localhost/"]) == 0
    assert "from: ada@x.test\n" in capfd.readouterr().err


def test_a_file_that_cannot_be_read_does_not_stop_the_others(
    exim: Exim, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from prise.cli.root import invoke

    (tmp_path / "1.eml").mkdir()
    (tmp_path / "2.eml").write_bytes(b"From: a@x.test\nTo: u2@localhost\n\nhello\n")
    assert invoke(["mail", "--no-netrc", "--insecure", str(tmp_path), f"smtp://localhost:{exim.port}/"]) == 1
    _, lines = capsys.readouterr()
    assert "1.eml cannot be read" in lines
    assert "2.eml: sent to u2@localhost" in lines


def mistaken(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code, and the one line on stderr."""
    from prise.cli.outcome import outcome
    from prise.cli.root import invoke

    code = outcome(lambda: invoke(["mail", *arguments]))
    out, line = capsys.readouterr()
    assert (out, line.count("\n")) == ("", 1)
    return code, line


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--to", "u2@localhost", "--from", "a@x.test"), 6, "issuer that is not trusted"),
        (("--to", "u2@localhost", "--from", "a@x.test", "--insecure", "-u", "u1"), 2, "password is not known"),
        (("--to", "no@localhost", "--from", "a@x.test", "--insecure"), 1, "refused: no@localhost: 550 no such user"),
        (("--to", "u2@localhost", "--from", "a@x.test", "--insecure", "--notify", "x"), 2, "notify is never"),
    ],
)
def test_what_goes_wrong(
    exim: Exim, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], code: int, words: str
) -> None:
    ended, line = mistaken(capsys, *arguments, "--body", os.devnull, "--no-netrc", f"smtp://localhost:{exim.port}/")
    assert ended == code
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--from", "a@x.test", "smtp://localhost/"), "who is to get the message?"),
        (("--to", "u2@localhost", "smtp://localhost/"), "who sends it? say --from"),
        (("--to", "a b", "--from", "a@x.test", "--body", os.devnull, "smtp://localhost/"), "'a b' is not an address"),
        (("missing.eml", "smtp://localhost/"), "missing.eml is not there"),
        (("--to", "a@x.test", "--from", "a@x.test", "-a", "no.pdf", "smtp://localhost/"), "no.pdf is not there"),
        (("--subject", "x", __file__, "smtp://localhost/"), "is sent as it is"),
        (("smtp://localhost/", "smtps://localhost/"), "one server at a time"),
        ((str(Path(__file__).parent), "smtp://localhost/"), "there is no *.eml in"),
        (("--to", "a@x.test", "--from", "a@x.test"), "which server?"),
        (("--to", "a@x.test", "--server", "imap://localhost/"), "not by imap://"),
    ],
)
def test_what_is_not_clear(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    ended, line = mistaken(capsys, *arguments)
    assert ended == 2
    assert words in line


def test_a_wrong_password(exim: Exim, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"smtp://u1:wrong@localhost:{exim.port}/"
    more = ("--body", os.devnull, "--ca", str(exim.ca), url)
    ended, line = mistaken(capsys, "--to", "u2@localhost", "--from", "a@x.test", *more)
    assert ended == 7
    assert "535" in line
    assert "wrong" not in line
