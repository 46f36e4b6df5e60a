"""What `prise --version` says: one line with all that a report of a fault should tell. It needs no click."""

from __future__ import annotations

import platform

import prise


def version() -> str:
    """For example "prise 1.2.0, CPython 3.13.0, Linux 6.1 x86_64"."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"prise {prise.__version__}, {python}, {platform.system()} {platform.release()} {platform.machine()}"
