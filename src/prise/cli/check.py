"""`prise check ADDRESS...`: what is there, and what is wrong; one block of lines for each, or one JSON object."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import click

import prise
from prise.checks import Result, Target, check, targets
from prise.cli import parameters
from prise.cli.texts import examples, visible
from prise.locale import translate as _

AT_ONCE = 32
PAUSE = 0.2
"""Seconds between two looks with --wait."""


@click.command(
    "check",
    help=_(
        "Says what is at each ADDRESS, and what is wrong: every address behind a name, how long a connection takes, a "
        "greeting, TLS with its certificates (tls:, wss:, https:), the answer of a WebSocket (ws:) or web server (http:). "
        "host:8000-8010 is a range of ports. The exit code is 0 when all is well, else that of the first problem: "
        "3 no such name, 4 refused, 5 no answer, 6 TLS, 1 anything else."
    ),
    epilog=examples(
        ("prise check localhost:5432", _("is it there?")),
        ("prise check --wait 30s db:5432 && ./start", _("waits until it is")),
        ("prise check https://example.org tls:mail.example.org:993", _("certificates, and whether they fit")),
        ("prise check --json localhost:8000-8010", _("a range of ports, for a program")),
    ),
)
@click.argument("addresses", nargs=-1, required=True, type=parameters.ADDRESS, metavar=_("ADDRESS..."))
@click.option("--wait", type=parameters.Duration(), help=_("Look again until it answers, for this time at the most."))
@click.option(
    "--timeout", type=parameters.Duration(), default=5.0, help=_("Time for each step, such as connecting. Default: 5s.")
)
@click.option("--total", type=parameters.Duration(), default=120.0, help=_("Time for all of it. Default: 2m."))
@click.option("--tls", is_flag=True, help=_("Expect TLS."))
@click.option("--http", is_flag=True, help=_("Ask as a browser would."))
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help=_("Trusted certificates, a PEM file."))
@click.option("--json", "as_json", is_flag=True, help=_("Print one JSON object per line."))
def command(
    addresses: tuple[str, ...],
    wait: float | None,
    timeout: float,
    total: float,
    tls: bool,
    http: bool,
    ca: str | None,
    as_json: bool,
) -> int:
    wanted = [target for text in addresses for target in targets(text, tls=tls, http=http, ca=ca)]
    until = time.monotonic() + (total if wait is None else max(total, wait))
    patience = 0.0 if wait is None else wait
    code = 0
    show = show_json if as_json else Human()
    for result in run(wanted, lambda target: look(target, timeout, patience, until)):
        show(result)
        if result.problem is not None and not code:
            code = result.problem.exit_code
    return code


def run(wanted: list[Target], look: Callable[[Target], Result]) -> Iterator[Result]:
    """The results in the order asked for, each as soon as those before it are there."""
    if len(wanted) == 1:
        yield look(wanted[0])
        return
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
        waiting: list[Future[Result]] = [pool.submit(look, target) for target in wanted]
        try:
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def look(target: Target, timeout: float, patience: float, until: float) -> Result:
    """Looks once, or with patience again until something answers. until: when all of it must be over."""
    began = time.monotonic()
    while True:
        now = time.monotonic()
        if now >= until:
            return Result(target, prise.TooSlow("not looked at: the time for all of it is over (--total)"))
        left = min(timeout, until - now)
        if patience:
            left = max(min(left, began + patience - now), 0.05)
        result = check(target, timeout=left)
        absent = isinstance(result.problem, (prise.ConnectError, prise.TooSlow, prise.ResolveError))
        if not absent or time.monotonic() - began + PAUSE >= patience:
            return result
        time.sleep(PAUSE)


def show_json(result: Result) -> None:
    problem = result.problem
    click.echo(
        json.dumps(
            {
                "address": str(result.target),
                "ok": problem is None,
                "code": 0 if problem is None else problem.exit_code,
                "problem": None if problem is None else problem.sentence(_),
                "addresses": [
                    {
                        "address": attempt.address,
                        "ms": round(attempt.seconds * 1000, 3),
                        "problem": None if attempt.problem is None else attempt.problem.sentence(_),
                    }
                    for attempt in result.attempts
                ],
                **result.facts,
                "notes": [note.sentence(_) for note in result.notes],
            }
        )
    )
    sys.stdout.flush()


class Human:
    """For people: a line with the address and how it is, then what was found, indented and aligned."""

    def __init__(self) -> None:
        self._colour = sys.stdout.isatty()

    def __call__(self, result: Result) -> None:
        problem = result.problem
        seconds = next((attempt.seconds for attempt in result.attempts if attempt.problem is None), None)
        word = _("all is well") if problem is None else _("problem")
        if problem is None and result.facts.get("udp") == "open or filtered":
            word = _("open or filtered: UDP does not tell which without an answer")
        elif problem is None and seconds is not None:
            word = _("answers in {time}").format(time=milliseconds(seconds))
        lines = [f"{visible(str(result.target))}  {self._painted(word, 32 if problem is None else 31)}"]
        rows = [*found(result)]
        if problem is not None:
            rows.append((_("wrong"), problem.sentence(_)))
        rows += [(_("note"), note.sentence(_)) for note in result.notes]
        width = max((len(label) for label, _text in rows), default=0)
        lines += [f"  {label:<{width}}  {one_line(text)}" for label, text in rows]
        click.echo("\n".join(lines))
        sys.stdout.flush()

    def _painted(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def one_line(text: str) -> str:
    return visible(text.replace("\r", "").replace("\n", " | "))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def found(result: Result) -> Iterator[tuple[str, str]]:
    """The facts as rows: a label, and what it is."""
    facts: dict[str, Any] = result.facts
    if len(result.attempts) > 1 or (result.attempts and result.attempts[0].address != str(result.target)):
        for attempt in result.attempts:
            how = milliseconds(attempt.seconds) if attempt.problem is None else attempt.problem.sentence(_)
            yield _("address"), f"{attempt.address}  {how.partition(':')[0] if attempt.problem else how}"
    if unix := facts.get("unix"):
        if "mode" in unix:
            yield _("socket"), _("{mode}, owner {owner}").format(**unix)
        if unix.get("pid"):
            yield _("server"), _("process {pid}, user {uid}").format(**unix)
    if greeting := facts.get("greeting"):
        yield _("greeting"), greeting
    if tls := facts.get("tls"):
        yield "TLS", ", ".join(part for part in (tls["version"], tls["cipher"], tls["alpn"]) if part)
        for place, certificate in enumerate(tls["chain"]):
            yield from describe(certificate, _("certificate") if not place else _("issued by"))
    for name in ("http", "websocket"):
        if answer := facts.get(name):
            parts = (f"{answer['status']} {answer['reason']}".strip(), answer.get("server"), answer.get("location"))
            yield {"http": "HTTP", "websocket": "WebSocket"}[name], ", ".join(part for part in parts if part)


def describe(certificate: dict[str, Any], label: str) -> Iterator[tuple[str, str]]:
    if "subject" not in certificate:
        yield label, _("SHA-256 {sha256} (for more: pip install 'prise[tls]')").format(**certificate)
        return
    days = certificate["days"]
    ends = _("expired {days} days ago") if days < 0 else _("expires in {days} days")
    yield label, f"{certificate['subject']}, {ends.format(days=abs(days))}"
    if label == _("certificate"):
        yield _("issuer"), certificate["issuer"]
        if certificate["names"]:
            yield _("names"), ", ".join(certificate["names"][:10])
        yield "SHA-256", certificate["sha256"]
