"""Every model × spelling × transport keeps every promise of `prise.testing.conformance` that the transport can keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prise.testing import conformance
from prise.testing.conformance import Setting
from tls_support import client_tls, localhost

CERTIFICATE = f"cert={localhost().cert},key={localhost().key}"
FULLY = (
    "127.0.0.1:0",
    "unix:PATH",
    f"tls,{CERTIFICATE}:127.0.0.1:0",
    "ws://127.0.0.1:0",
    "unix,type=seqpacket:PATH",
    "unix,type=dgram:PATH",
    "udp:127.0.0.1:0",
)
BESIDES = ("[::1]:0", "mem:conformance", f"wss,{CERTIFICATE}:[::1]:0", "udp:[::1]:0")


def settings() -> list[Setting]:
    """Every model and spelling on every transport; what differs little from those, and workers, with one spelling."""
    return [
        setting
        for setting in conformance.settings(*FULLY, *BESIDES, trust=client_tls())
        if setting.spelling == "generator" or (setting.workers == 1 and setting.address in FULLY)
        if setting.workers == 1 or setting.address == FULLY[0]
    ]


def name(setting: Setting, case: Callable[[Setting], None]) -> str:
    family = "-ipv6" if "[::1]" in setting.address else ""
    return f"{setting}{family}-{case.__name__}"


PROMISES = [
    pytest.param(case, setting, id=name(setting, case))
    for setting in settings()
    for case in conformance.cases_for(setting)
]


@pytest.mark.parametrize(("case", "setting"), PROMISES)
def test_promise(case: Callable[[Setting], None], setting: Setting, tmp_path: Path) -> None:
    address = setting.address.replace("PATH", str(tmp_path / "s"))
    case(replace(setting, address=address))
