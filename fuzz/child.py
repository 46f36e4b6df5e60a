"""One target under atheris, in a process of its own: `python -m fuzz.child NAME [libFuzzer's options] [folders]`.

prise is instrumented as it is imported, so that libFuzzer sees which branches an input reaches. An exception that a target
lets out ends the process; the input is then where `-artifact_prefix` says.
"""

from __future__ import annotations

import logging
import shlex
import sys

import atheris


def main() -> None:
    name, *options = sys.argv[1:]
    logging.disable()  # what the packages below would say of each bad input
    # Never left: what prise imports when it is first used is instrumented as well.
    atheris.instrument_imports(include=["prise", "websockets", "python_multipart"]).__enter__()
    from fuzz.families import load

    run = load()[name]
    # libFuzzer gives its first argument to a shell, to start itself again for `-merge=1`.
    atheris.Setup([f"{shlex.quote(sys.executable)} -m fuzz.child {name}", *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
