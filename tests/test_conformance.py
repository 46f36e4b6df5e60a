"""Every model × spelling × transport keeps every promise of `prise.testing.conformance`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prise.testing import conformance
from prise.testing.conformance import Setting

FULLY = ("127.0.0.1:0", "unix:PATH")
ADDRESSES = (*FULLY, "[::1]:0", "mem:conformance")


def settings() -> list[Setting]:
    """Every model and spelling on TCP and Unix sockets; IPv6, memory and workers, which change less, with one spelling."""
    return [
        setting
        for setting in conformance.settings(*ADDRESSES)
        if setting.spelling == "generator" or (setting.workers == 1 and setting.address in FULLY)
        if setting.workers == 1 or setting.address == FULLY[0]
    ]


PROMISES = [
    pytest.param(case, setting, id=f"{setting}-{case.__name__}")
    for setting in settings()
    for case in conformance.cases_for(setting)
]


@pytest.mark.parametrize(("case", "setting"), PROMISES)
def test_promise(case: Callable[[Setting], None], setting: Setting, tmp_path: Path) -> None:
    address = setting.address.replace("PATH", str(tmp_path / "s"))
    case(replace(setting, address=address))
