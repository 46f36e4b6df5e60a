"""The command `prise`. This file is its door: everything behind it needs `click`, which is an extra."""

from __future__ import annotations

import sys


def main() -> int:
    """Runs the command that the arguments of the process name, and returns the exit code."""
    try:
        import click  # noqa: F401 - only whether it is there
    except ImportError:
        if sys.argv[1:] == ["--version"]:
            from prise.cli.version import version

            print(version())
            return 0
        from prise.locale import choose, translate

        choose(None)
        text = translate("the command needs a package that is not installed; install it with: {cure}")
        print("prise:", text.format(cure="pip install 'prise[cli]'"), file=sys.stderr)
        return 2
    from prise.cli.root import run

    return run(sys.argv[1:])
