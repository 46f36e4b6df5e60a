"""Every model, every spelling and every transport keep the promises of `prise.testing.conformance`.

Not every combination of the three is run: that would be three times as long and show nothing more. A spelling is turned into a
connection in one place for the blocking models and in one for the looped ones, and neither knows the transport; a transport
is known to all models alike. So:

- over TCP, and with datagrams, which are answered on a path of their own, every model meets every spelling;
- over every other transport every model meets one spelling, which changes from transport to transport: each spelling is there
  on streams, in layers, and where packets keep their boundaries, in both kinds of model;
- what differs from another transport in its addresses alone (IPv6), or is two of them at once (wss), is with one blocking and
  one looped model;
- in a worker a model runs as it does alone: there the promises that need more than one connection, the counts, or the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from prise.testing import conformance
from prise.testing.conformance import Setting
from tls_support import client_tls, localhost

CERTIFICATE = f"cert={localhost().cert},key={localhost().key}"
EVERY_SPELLING = ("127.0.0.1:0", "unix,type=dgram:PATH", "udp:127.0.0.1:0")
EVERY_MODEL = (
    "unix:PATH",
    f"tls,{CERTIFICATE}:127.0.0.1:0",
    "ws://127.0.0.1:0",
    "unix,type=seqpacket:PATH",
    "mem:conformance",
)
BOTH_KINDS = ("[::1]:0", f"wss,{CERTIFICATE}:[::1]:0", "udp:[::1]:0")

TURNS = (
    {"threads": "function", "processes": "generator", "select": "coroutine", "asyncio": "generator"},
    {"threads": "generator", "processes": "coroutine", "select": "generator", "asyncio": "coroutine"},
    {"threads": "coroutine", "processes": "function", "select": "coroutine", "asyncio": "generator"},
)
"""Which spelling each model is given, in turn."""

KINDS = (("threads", "asyncio"), ("processes", "select"))
"""A blocking and a looped model, in turn."""

WITH_WORKERS = (
    conformance.each_message_is_answered_in_order,
    conformance.each_peer_has_a_conversation_of_its_own,
    conformance.a_conversation_keeps_its_state,
    conformance.a_last_word_arrives_before_the_end,
    conformance.a_conversation_that_raises_closes_its_own_connection_only,
    conformance.a_message_over_the_limit_ends_that_connection,
    conformance.a_silent_peer_is_let_go,
    conformance.a_drain_lets_everybody_have_the_last_reply,
    conformance.a_stop_cuts,
    conformance.counts_add_up,
)


def settings() -> Iterator[Setting]:
    """Those that are chosen; see above."""
    for setting in conformance.settings(*EVERY_SPELLING, *EVERY_MODEL, *BOTH_KINDS, trust=client_tls()):
        if setting.address in EVERY_SPELLING:
            chosen = setting.workers == 1 or (setting.spelling == "generator" and setting.address == EVERY_SPELLING[0])
        elif setting.address in EVERY_MODEL:
            turn = EVERY_MODEL.index(setting.address)
            chosen = setting.workers == 1 and setting.spelling == TURNS[turn % len(TURNS)][setting.model]
        else:
            turn = BOTH_KINDS.index(setting.address)
            spellings = {model: TURNS[turn][model] for model in KINDS[turn % len(KINDS)]}
            chosen = setting.workers == 1 and setting.spelling == spellings.get(setting.model)
        if chosen:
            yield setting


def name(setting: Setting, case: Callable[[Setting], None]) -> str:
    family = "-ipv6" if "[::1]" in setting.address else ""
    return f"{setting}{family}-{case.__name__}"


PROMISES = [
    pytest.param(case, setting, id=name(setting, case))
    for setting in settings()
    for case in conformance.cases_for(setting)
    if setting.workers == 1 or case in WITH_WORKERS
]


@pytest.mark.parametrize(("case", "setting"), PROMISES)
def test_promise(case: Callable[[Setting], None], setting: Setting, tmp_path: Path) -> None:
    address = setting.address.replace("PATH", str(tmp_path / "s"))
    case(replace(setting, address=address))
