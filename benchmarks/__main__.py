"""`python -m benchmarks [NAME...] [--quick] [--rounds N] [--seconds S] [--only PART]`, from the folder of the project;
`python -m benchmarks --page` rewrites the page and the plots from the results that are there.

The peers live in a virtual environment of their own, `.venv-benchmarks` (scripts/environment.py).
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from benchmarks.parts import NAMES, part
from scripts.environment import go_on_in


def run(options: argparse.Namespace) -> bool:
    """Runs the benchmarks asked for, whatever becomes of each. False when one failed, or a server of one; a goal that was
    missed is only reported.
    """
    from benchmarks import harness, readme

    harness.raise_file_limit()
    if len(harness.CPUS) == 1:
        print("only one CPU: server and load share it, so believe the ratios even less", file=sys.stderr)
    seconds = options.seconds or (0.3 if options.quick else 2.0)
    rounds = options.rounds or (1 if options.quick else 3)
    names = options.names or NAMES
    failed = []
    for number, name in enumerate(names, 1):
        begin = time.monotonic()
        print(f"\n[{number}/{len(names)}] {name}", file=sys.stderr, flush=True)
        try:
            report = part(name).measure(rounds, seconds, options.only)
        except Exception as error:  # whatever it is, the other parts are still to be measured
            failed.append(f"{name}: {error}")
            if isinstance(error, harness.Failure):
                print(f"{name} failed: {error}", file=sys.stderr)
            else:
                traceback.print_exc()
            continue
        print(f"\n{report.title}\n\n{readme.outcome(report)}", flush=True)
        failed += [f"{name}: {row.entry.name}: {row.failure.splitlines()[0]}" for row in report.rows if row.failure]
        if not options.quick and not options.only:
            report.write()
            readme.renew()
        print(f"{name} took {time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)
    for line in failed:
        print(f"failed: {line}", file=sys.stderr)
    return not failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures prise beside its peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short round; prints, writes no results")
    parser.add_argument("--rounds", type=int, help="how often each server is measured (default: 3)")
    parser.add_argument("--seconds", type=float, help="how long each load runs (default: 2; with --quick 0.3)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PART",
        help="only servers whose name contains this, and the references; prints, writes no results; may be repeated",
    )  # fmt: skip
    parser.add_argument("--page", action="store_true", help="measure nothing; rewrite the page from the results")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown benchmark {unknown[0]}; there are {', '.join(NAMES)}")
    if options.page:
        from benchmarks import readme

        readme.renew()
        return 0
    if not sys.platform.startswith("linux"):
        parser.error("the figures come from /proc, so this runs on Linux only")
    go_on_in("benchmarks", "the peers")
    return 0 if run(options) else 1


if __name__ == "__main__":
    raise SystemExit(main())
