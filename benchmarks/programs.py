"""The programs that are measured or needed, and where they come from: the Debian package of each."""

from __future__ import annotations

import os
import shutil

PACKAGES = {
    "caddy": "caddy",
    "cc": "gcc libc6-dev",
    "curl": "curl",
    "darkhttpd": "darkhttpd",
    "dovecot": "dovecot-imapd",
    "ncat": "ncat",
    "nats-server": "nats-server",
    "nginx": "nginx-light",
    "ngircd": "ngircd",
    "openssl": "openssl",
    "php": "php-cli",
    "proftpd": "proftpd-core proftpd-mod-crypto",
    "socat": "socat",
    "taskset": "util-linux",
    "wrk": "wrk",
}


class Failure(Exception):
    """A server, a load or a program that did not do its work; the text says which and why."""


def missing(*names: str) -> str:
    """What to install, as a sentence, if one of the programs is not there; otherwise the empty string."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"  # where Debian has servers
    absent = [name for name in names if name and shutil.which(name, path=path) is None]
    if not absent:
        return ""
    packages = " ".join(PACKAGES.get(name, name) for name in absent)
    return f"not installed: {', '.join(absent)} (Debian: apt-get install {packages})"


def require(*names: str) -> None:
    """Raises Failure unless all of these programs are there."""
    if absent := missing(*names):
        raise Failure(absent)
