"""What all tests share: they speak English, leave the user's own files alone, and have time on a busy machine."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The command that tests start inherits these. A test of the French sets its own.
os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("LANGUAGE", None)

# A slow example says something about the machine's other work, not about the code; coverage doubles it.
settings.register_profile("prise", deadline=None, max_examples=100, print_blob=True)
settings.load_profile("prise")


pytest_plugins = ["real_servers.fixtures"]

TESTS = Path(__file__).resolve().parent
UNPACKED = TESTS.parent / ".venv-debs"
WHERE = {
    TESTS / "debian-packages.txt": f"{os.environ['PATH']}:/usr/sbin:/sbin",
    TESTS / "debian-unpacked.txt": f"{UNPACKED}/usr/sbin:{UNPACKED}/usr/lib/news/bin",
}


def pytest_sessionstart(session: pytest.Session) -> None:
    """A person may lack programs, and then some tests are left out; in CI (PRISE_ALL_PROGRAMS=1) that is a failure."""
    if os.environ.get("PRISE_ALL_PROGRAMS") != "1":
        return
    missing = [
        line.split()[0]
        for file, path in WHERE.items()
        for line in file.read_text().splitlines()
        if line.strip() and not line.startswith("#") and shutil.which(line.split()[0], path=path) is None
    ]
    if missing:
        raise pytest.UsageError(f"programs that tests need are missing: {', '.join(missing)}; see tests/debian-*.txt")


@pytest.fixture(autouse=True, scope="session")
def _own_user_folders() -> Iterator[None]:
    """No test writes into the user's data, cache or configuration."""
    with tempfile.TemporaryDirectory(prefix="prise-tests-") as folder:
        for name in ("DATA", "STATE", "CACHE", "CONFIG"):
            os.environ[f"XDG_{name}_HOME"] = os.path.join(folder, name.lower())
        yield


@pytest.fixture
def bare_environment() -> dict[str, str]:
    """The environment without what measures coverage in child processes: for tests that look at a child's own start."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
