"""The torture suite: what the tests of every day have no time for. `make torture`, or `pytest torture -n 2`.

TORTURE_SECONDS (default 5) is how long each part may go on with what is random: more rounds, more messages, longer runs. With the
default all of it fits into some minutes on two cores. Each test has a minute, and more with longer runs, until it is given up.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("LANGUAGE", None)

settings.register_profile("prise", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("prise")

SECONDS = float(os.environ.get("TORTURE_SECONDS", "5"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(60 + 10 * SECONDS))


@pytest.fixture(autouse=True, scope="session")
def _own_user_folders() -> Iterator[None]:
    """No test writes into the user's data, cache or configuration."""
    with tempfile.TemporaryDirectory(prefix="prise-torture-") as folder:
        for name in ("DATA", "STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{name}_HOME"] = os.path.join(folder, name.lower())
        yield
