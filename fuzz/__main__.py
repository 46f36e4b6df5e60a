"""`python -m fuzz [NAME...] [--seconds S] [--jobs N]`, from the folder of the project: fuzzes these targets, or all of them.

Inputs worth keeping go to fuzz/corpus, one that broke something to fuzz/crashes, the figures of a long run to fuzz/results.md.

atheris lives in a virtual environment of its own, `.venv-fuzz` (scripts/environment.py).
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

from scripts.environment import go_on_in


def run(names: list[str], seconds: int, jobs: int) -> bool:
    """Fuzzes the targets, so many at a time, and says what came of each. False when something broke."""
    from fuzz.engine import Result, fuzz
    from fuzz.families import load
    from fuzz.results import write

    targets = load()
    unknown = [name for name in names if name not in targets]
    if unknown:
        print(f"unknown target {unknown[0]}; there are {', '.join(targets)}", file=sys.stderr)
        raise SystemExit(2)
    chosen = [targets[name] for name in names or targets]
    results: list[Result] = []
    with ThreadPoolExecutor(jobs) as pool:
        for done in as_completed([pool.submit(fuzz, each, seconds) for each in chosen]):
            result = done.result()
            results.append(result)
            write(result)
            print(
                f"{len(results)}/{len(chosen)}{' BROKEN' * bool(result.why)} {result.row()}",
                file=sys.stderr,
                flush=True,
            )
            if result.why:
                print(result.why, file=sys.stderr, flush=True)
    print("| target | seconds | executions | corpus files | corpus bytes |\n|---|--:|--:|--:|--:|")
    for each in sorted(results, key=lambda result: result.name):
        print(each.row())
    for each in results:
        if each.why:
            print(f"{each.name} broke: {each.crash or 'see above'}")
    return not any(each.why for each in results)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzzes the parsers of what peers send.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which targets (default: all)")
    parser.add_argument("--seconds", type=int, default=300, help="of CPU for each (default: 300)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at the same time (default: CPUs)")
    options = parser.parse_args()
    if not sys.platform.startswith("linux"):
        parser.error("the wheels of atheris, and /proc, are for Linux only")
    go_on_in("fuzz", "atheris")
    return 0 if run(options.names, options.seconds, options.jobs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
