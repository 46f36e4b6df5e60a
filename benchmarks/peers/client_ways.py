"""One client at one task, in a process of its own: prints its wall time, CPU time and peak memory as JSON.

    python -m benchmarks.peers.client_ways PROTOCOL CLIENT TASK PLACE(JSON)

The clock runs from the connection to the last byte; imports are not counted. Of curl, all of it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks.clients import ARTICLES, LARGE_FILE, LARGE_MAILS, LARGE_SIZE, OVERVIEWS, SMALL_FILES, SMALL_MAILS

Place = dict[str, Any]


def imported(protocol: str) -> Any:
    """prise, with the modules of a protocol, which are otherwise imported when a session is opened."""
    import prise
    from prise.protocols.opening import session_class

    session_class(protocol)
    return prise


def check(found: int, expected: int) -> None:
    """A client that has not done its work must not look fast."""
    if found < expected:
        raise SystemExit(f"found {found}, expected {expected}")


class Usage:
    """Of curl: CPU seconds, peak memory in MB."""

    cpu = 0.0
    memory = 0.0
    known = False


def curl(*arguments: str) -> None:
    """Runs curl, whose figures stand in the place of ours."""
    pid = os.posix_spawnp("curl", ["curl", "--silent", "--show-error", "--fail", *arguments], os.environ)
    while True:
        # Not ru_maxrss: a process that was forked has that of its parent.
        Usage.memory = peak(f"/proc/{pid}/status") or Usage.memory
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            break
        time.sleep(0.005)
    if status:
        raise SystemExit(f"curl ended with {status}")
    Usage.cpu, Usage.known = usage.ru_utime + usage.ru_stime, True


def peak(status: str) -> float:
    """The most memory that a process has had, in MB; 0 when it is gone."""
    try:
        with open(status, encoding="ascii") as lines:
            return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)
    except OSError:
        return 0.0


# -- News --------------------------------------------------------------------------------------------------------------


def nntp_prise(task: str, place: Place) -> Callable[[], None]:
    prise = imported("nntp")

    def run() -> None:
        with prise.open(place["url"]) as session:
            session.group("bench.test")
            if task == "over":
                check(sum(1 for overview in session.over((1, OVERVIEWS)) if overview.subject), OVERVIEWS)
            else:
                check(sum(len(article.data) > 2000 for article in session.articles(range(1, ARTICLES + 1))), ARTICLES)

    return run


def nntp_prise_await(task: str, place: Place) -> Callable[[], None]:
    prise = imported("nntp")

    async def main() -> None:
        async with prise.open(place["url"]) as session:
            await session.group("bench.test")
            count = 0
            if task == "over":
                async for overview in session.over((1, OVERVIEWS)):
                    count += bool(overview.subject)
                check(count, OVERVIEWS)
            else:
                async for article in session.articles(range(1, ARTICLES + 1)):
                    count += len(article.data) > 2000
                check(count, ARTICLES)

    return lambda: asyncio.run(main())


def nntp_pynntp(task: str, place: Place) -> Callable[[], None]:
    import nntp

    def run() -> None:
        client = nntp.NNTPClient("127.0.0.1", place["port"])
        client.group("bench.test")
        if task == "over":
            check(sum(1 for _, overview in client.xover((1, OVERVIEWS)) if overview["subject"]), OVERVIEWS)
        else:
            check(sum(len(client.article(number)[2]) > 2000 for number in range(1, ARTICLES + 1)), ARTICLES)
        client.quit()

    return run


def nntp_nntplib(task: str, place: Place) -> Callable[[], None]:
    warnings.simplefilter("ignore", DeprecationWarning)
    import nntplib

    def run() -> None:
        client = nntplib.NNTP("127.0.0.1", place["port"])
        client.group("bench.test")
        if task == "over":
            _, overviews = client.over((1, OVERVIEWS))
            check(sum(1 for _, overview in overviews if overview["subject"]), OVERVIEWS)
        else:
            check(sum(len(client.article(number)[1].lines) > 40 for number in range(1, ARTICLES + 1)), ARTICLES)
        client.quit()

    return run


# -- Mail --------------------------------------------------------------------------------------------------------------


def expected(task: str) -> tuple[int, int]:
    """messages, bytes of each at least"""
    return (SMALL_MAILS, 3900) if task == "small" else (LARGE_MAILS, LARGE_SIZE - 100)


def imap_prise(task: str, place: Place) -> Callable[[], None]:
    prise = imported("imap")

    def run() -> None:
        count, size = expected(task)
        with prise.open(f"imap://{task}:pw@127.0.0.1:{place['port']}/INBOX?tls=never") as session:
            session.examine("INBOX")
            check(sum(len(message.data) >= size for message in session.messages("1:*")), count)

    return run


def imap_prise_await(task: str, place: Place) -> Callable[[], None]:
    prise = imported("imap")

    async def main() -> None:
        count, size = expected(task)
        async with prise.open(f"imap://{task}:pw@127.0.0.1:{place['port']}/INBOX?tls=never") as session:
            await session.examine("INBOX")
            check(sum([len(message.data) >= size async for message in session.messages("1:*")]), count)

    return lambda: asyncio.run(main())


def imap_imaplib(task: str, place: Place) -> Callable[[], None]:
    import imaplib

    def run() -> None:
        count, size = expected(task)
        client = imaplib.IMAP4("127.0.0.1", place["port"])
        client.login(task, "pw")
        client.select("INBOX", readonly=True)
        _, parts = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
        check(sum(isinstance(part, tuple) and len(part[1]) >= size for part in parts), count)
        client.logout()

    return run


def imap_aioimaplib(task: str, place: Place) -> Callable[[], None]:
    import aioimaplib

    async def main() -> None:
        count, size = expected(task)
        client = aioimaplib.IMAP4("127.0.0.1", place["port"], timeout=120)
        await client.wait_hello_from_server()
        await client.login(task, "pw")
        await client.select("INBOX")
        answer = await client.uid("fetch", "1:*", "(BODY.PEEK[])")
        check(sum(isinstance(line, bytearray) and len(line) >= size for line in answer.lines), count)
        await client.logout()

    return lambda: asyncio.run(main())


# -- Files -------------------------------------------------------------------------------------------------------------


def ftp_url(task: str, place: Place) -> str:
    return f"ftp://{place['user']}:pw@localhost:{place['port']}/large?tls={'required' if task == 'tls' else 'never'}"


def ftp_prise(task: str, place: Place) -> Callable[[], None]:
    prise = imported("ftp")

    trust = prise.TLS(ca=place["ca"])

    def run() -> None:
        check(sum(len(piece) for piece in prise.get(ftp_url(task, place), tls=trust)), LARGE_FILE)

    return run


def ftp_prise_await(task: str, place: Place) -> Callable[[], None]:
    prise = imported("ftp")

    trust = prise.TLS(ca=place["ca"])

    async def main() -> None:
        total = 0
        async for piece in prise.get(ftp_url(task, place), tls=trust):
            total += len(piece)
        check(total, LARGE_FILE)

    return lambda: asyncio.run(main())


def ftp_curl(task: str, place: Place) -> Callable[[], None]:
    more = ("--ssl-reqd", "--cacert", place["ca"]) if task == "tls" else ()
    url = f"ftp://localhost:{place['port']}/large"
    return lambda: curl("--user", f"{place['user']}:pw", "-o", "/dev/null", *more, url)


def ftp_ftplib(task: str, place: Place) -> Callable[[], None]:
    import ftplib

    class Resuming(ftplib.FTP_TLS):
        """With the session of the control connection, which ProFTPD demands."""

        def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
            sock, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
            assert isinstance(self.sock, ssl.SSLSocket)
            return self.context.wrap_socket(sock, server_hostname=self.host, session=self.sock.session), size

    def run() -> None:
        total = 0

        def take(piece: bytes) -> None:
            nonlocal total
            total += len(piece)

        if task == "tls":
            client: ftplib.FTP = Resuming(context=ssl.create_default_context(cafile=place["ca"]))
        else:
            client = ftplib.FTP()
        client.connect("localhost", place["port"])
        client.login(place["user"], "pw")
        if isinstance(client, Resuming):
            client.prot_p()
        client.retrbinary("RETR large", take, blocksize=65536)
        check(total, LARGE_FILE)
        client.quit()

    return run


# -- Pages -------------------------------------------------------------------------------------------------------------


def http_prise(task: str, place: Place) -> Callable[[], None]:
    prise = imported("http")

    url = f"http://127.0.0.1:{place['port']}/"

    def run() -> None:
        with prise.open(url) as session:
            if task == "large":
                check(sum(len(piece) for piece in session.get("large")), LARGE_FILE)
            else:
                check(sum(len(session.get("small").read()) for _ in range(SMALL_FILES)), SMALL_FILES * 1000)

    return run


def http_prise_await(task: str, place: Place) -> Callable[[], None]:
    prise = imported("http")

    url = f"http://127.0.0.1:{place['port']}/"

    async def main() -> None:
        async with prise.open(url) as session:
            if task == "large":
                check(sum([len(piece) async for piece in session.get("large")]), LARGE_FILE)
            else:
                check(sum([len(await session.get("small").read()) for _ in range(SMALL_FILES)]), SMALL_FILES * 1000)

    return lambda: asyncio.run(main())


def http_curl(task: str, place: Place) -> Callable[[], None]:
    url = f"http://127.0.0.1:{place['port']}/"
    if task == "large":
        return lambda: curl("-o", "/dev/null", f"{url}large")
    return lambda: curl("-o", "/dev/null", f"{url}small?[1-{SMALL_FILES}]")


def http_httpx(task: str, place: Place) -> Callable[[], None]:
    import httpx

    url = f"http://127.0.0.1:{place['port']}/"

    def run() -> None:
        with httpx.Client() as client:
            if task == "large":
                with client.stream("GET", f"{url}large") as answer:
                    check(sum(len(piece) for piece in answer.iter_bytes()), LARGE_FILE)
            else:
                check(sum(len(client.get(f"{url}small").content) for _ in range(SMALL_FILES)), SMALL_FILES * 1000)

    return run


def http_niquests(task: str, place: Place) -> Callable[[], None]:
    import niquests

    url = f"http://127.0.0.1:{place['port']}/"

    def run() -> None:
        with niquests.Session() as session:
            if task == "large":
                answer = session.get(f"{url}large", stream=True)
                check(sum(len(piece) for piece in answer.iter_content(65536)), LARGE_FILE)
            else:
                check(
                    sum(len(session.get(f"{url}small").content or b"") for _ in range(SMALL_FILES)), SMALL_FILES * 1000
                )

    return run


def main() -> None:
    protocol, client, task, place = sys.argv[1:]
    way = globals()[f"{protocol}_{client.replace(', ', '_')}"]
    run = way(task, json.loads(place))
    before, begun = time.process_time(), time.perf_counter()
    run()
    wall = time.perf_counter() - begun
    cpu, memory = (
        (Usage.cpu, Usage.memory) if Usage.known else (time.process_time() - before, peak("/proc/self/status"))
    )
    print(json.dumps({"wall": wall, "cpu": cpu, "memory": memory}))


if __name__ == "__main__":
    main()
