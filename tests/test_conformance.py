"""Every model × spelling × transport keeps every promise of `prise.testing.conformance`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prise.testing import conformance
from prise.testing.conformance import Setting

ADDRESSES = ("127.0.0.1:0", "[::1]:0", "unix:PATH", "mem:conformance")


def settings() -> list[Setting]:
    """Everything on TCP; the other transports without workers, which change nothing for them."""
    return [
        setting
        for setting in conformance.settings(*ADDRESSES)
        if setting.workers == 1 or setting.address == ADDRESSES[0]
        if setting.address != "[::1]:0" or setting.spelling == "generator"
    ]


@pytest.mark.parametrize("case", conformance.CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("setting", settings(), ids=str)
def test_promise(case: Callable[[Setting], None], setting: Setting, tmp_path: Path) -> None:
    address = setting.address.replace("PATH", str(tmp_path / "s"))
    case(Setting(setting.model, setting.spelling, setting.workers, address))
