"""What is at an address, and what is wrong with it: the library part of `prise check`.

    for target in targets("example.org:8000-8010"):
        result = check(target, timeout=5.0)
        print(result.target, result.problem or "answers")

A `Result` holds facts, for people and programs, and at most one problem: an error of prise's (so it has an exit code and
a sentence that says what to try). Nothing is raised but what is wrong with the question itself.
"""

from prise.checks.probe import Attempt, Result, check
from prise.checks.target import Target, targets

__all__ = ["Attempt", "Result", "Target", "check", "targets"]
