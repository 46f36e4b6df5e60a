"""`python -m fuzz [NAME...] [--seconds S] [--jobs N]`, from the folder of the project: fuzzes these targets, or all of them.

Inputs worth keeping go to fuzz/corpus, one that broke something to fuzz/crashes, the figures of a long run to fuzz/results.md.

atheris lives in a virtual environment of its own, `.venv-fuzz`, made here when it is missing or when the list of what belongs
in it has changed; this program then starts again inside it. prise is imported from `src`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import venv
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

PROJECT = Path(__file__).parent.parent
ENVIRONMENT = PROJECT / ".venv-fuzz"
PYTHON = ENVIRONMENT / "bin" / "python"
REQUIREMENTS = PROJECT / "fuzz" / "requirements.txt"


def prepare() -> None:
    """Makes the environment, unless it is there and complete."""
    installed = ENVIRONMENT / "installed.txt"
    if installed.exists() and installed.read_bytes() == REQUIREMENTS.read_bytes():
        return
    print(f"installing atheris into {ENVIRONMENT.name}", file=sys.stderr)
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    options = ("--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(REQUIREMENTS))
    subprocess.run([str(PYTHON), "-m", "pip", "install", *options], check=True)
    installed.write_bytes(REQUIREMENTS.read_bytes())


def start_again() -> None:
    """Replaces this process by the same one in that environment."""
    os.chdir(PROJECT)
    os.environ["PYTHONPATH"] = str(PROJECT / "src")
    os.execv(PYTHON, [str(PYTHON), "-m", "fuzz", *sys.argv[1:]])


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
    if Path(sys.prefix).resolve() != ENVIRONMENT.resolve():
        prepare()
        start_again()
    return 0 if run(options.names, options.seconds, options.jobs) else 1


if __name__ == "__main__":
    raise SystemExit(main())
