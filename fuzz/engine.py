"""Runs a target for so long, keeps what is worth keeping, and stretches it.

libFuzzer works in a folder of its own, beginning with the corpus; afterwards the smallest inputs that together reach as much
become the corpus (`-merge=1`). At last each is made longer by repeating a part of it, and the time that it takes must grow
as its length does: what is quadratic shows there, though no input of the fuzzer is long enough to be slow.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzz.target import LONGEST, Target, Wrong

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
CRASHES = HERE / "crashes"

MOST_FILES = 200
MOST_BYTES = 128 * 1024
"""Of one target's corpus; the smallest inputs are kept."""

PATIENCE = 20
"""Seconds of the clock for each CPU second that is to be spent, at most."""

STRETCHED = (32 * 1024, 256 * 1024)
"""Bytes of the two lengths whose times are compared."""
MOST_GROWTH = 2.0
"""How many times more than in proportion the longer one may take."""
WORTH_A_LOOK = 0.3
"""CPU seconds below which a time says nothing."""
STRETCHING = 20.0
"""Seconds for all of it."""

_alone = threading.Lock()
"""Targets are stretched in this very process, where some share an event loop, and one after the other times them better."""


@dataclass(slots=True)
class Result:
    """What came of a target. seconds: of CPU that were spent. crash: the file with the input, None if all was well; why: the
    end of what was printed."""

    name: str
    seconds: int = 0
    executions: int = 0
    files: int = 0
    size: int = 0
    crash: Path | None = None
    why: str = ""

    def row(self) -> str:
        """A line of the table in README.md."""
        return f"| {self.name} | {self.seconds} | {self.executions:,} | {self.files} | {self.size:,} |"


def fuzz(target: Target, seconds: int) -> Result:
    """Fuzzes one target for so many CPU seconds, beginning with its corpus, and leaves a better one."""
    result = Result(target.name)
    corpus = CORPUS / target.name
    with tempfile.TemporaryDirectory(prefix=f"prise-fuzz-{target.name}-") as name:
        work = Path(name)
        new, seeds, merged = (work / each for each in ("new", "seeds", "merged"))
        for folder in (new, seeds, merged):
            folder.mkdir()
        for number, each in enumerate((*target.seeds, b"")):
            (seeds / f"seed-{number}").write_bytes(each)
        known = [str(each) for each in (corpus, CRASHES / target.name) if each.is_dir()]
        words = work / "words"
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words))
        status, said, result.seconds = _for_seconds(
            seconds, work, target, f"-max_total_time={seconds * PATIENCE}", f"-dict={words}", f"-max_len={LONGEST}",
            "-timeout=60", "-rss_limit_mb=2048", "-print_final_stats=1", "-reload=0", f"-artifact_prefix={work}/",
            new, seeds, *known,
        )  # fmt: skip
        found = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
        result.executions = int(found[1]) if found else 0
        if status:
            broken = next((each for each in work.iterdir() if re.match("(crash|timeout|oom|slow)", each.name)), None)
            result.crash, result.why = _kept(target, broken), said[-3000:]
            return result
        status, said = _child(work, target, "-merge=1", f"-max_len={LONGEST}", merged, new, seeds, *known)
        if status:
            result.why = said[-3000:]
            return result
        _replace(corpus, merged)
    kept = [each.stat().st_size for each in corpus.iterdir()]
    result.files, result.size = len(kept), sum(kept)
    try:
        with _alone:
            stretch(target)
    except Stretched as wrong:
        CRASHES.joinpath(target.name).mkdir(parents=True, exist_ok=True)
        result.crash = CRASHES / target.name / "stretched"
        result.crash.write_bytes(wrong.blob)
        result.why = f"{wrong}: {wrong.__cause__!r}" if wrong.__cause__ else str(wrong)
    return result


def _for_seconds(seconds: int, work: Path, target: Target, *options: object) -> tuple[int, str, int]:
    """A child for so many CPU seconds: an hour of a machine that is busy with other things may be a minute of fuzzing."""
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            _command(target, *options), stdout=said, stderr=subprocess.STDOUT, cwd=HERE.parent, env=_surroundings(work)
        )
        used, stopped = 0.0, False
        try:
            while child.poll() is None:
                time.sleep(0.5)
                used = _cpu(child.pid) or used
                if used >= seconds and not stopped:
                    stopped = True
                    child.send_signal(signal.SIGUSR1)  # at which libFuzzer ends in peace
        finally:
            child.kill()
            child.wait()
        said.seek(0)
        early = stopped and child.returncode == -signal.SIGUSR1  # it had not even begun to fuzz
        return 0 if early else child.returncode, said.read().decode(errors="replace"), round(used)


def _cpu(pid: int) -> float:
    """CPU seconds of a process so far (proc_pid_stat(5)); 0 once it is over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _child(work: Path, target: Target, *options: object) -> tuple[int, str]:
    command, surroundings = _command(target, *options), _surroundings(work)
    done = subprocess.run(command, capture_output=True, cwd=HERE.parent, env=surroundings, check=False)
    return done.returncode, done.stderr.decode(errors="replace")


def _surroundings(work: Path) -> dict[str, str]:
    """libFuzzer ends without a word to Python: what a target has on disk goes with the folder of the run."""
    return {**os.environ, "TMPDIR": str(work)}


def _command(target: Target, *options: object) -> list[str]:
    return [sys.executable, "-m", "fuzz.child", target.name, *map(str, options)]


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def _kept(target: Target, broken: Path | None) -> Path | None:
    """The input that broke something, where it outlives this run."""
    if broken is None:
        return None
    folder = CRASHES / target.name
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(broken, folder / broken.name[:20]))


def _replace(corpus: Path, merged: Path) -> None:
    """The smallest inputs of a folder become the corpus, named by their order of size."""
    found = sorted((each.stat().st_size, each.read_bytes()) for each in merged.iterdir())
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    total = 0
    for number, (size, data) in enumerate(found[:MOST_FILES]):
        total += size
        if total > MOST_BYTES:
            break
        (corpus / f"{number:03}").write_bytes(data)


class Stretched(Wrong):
    """An input that was made longer, and takes more time than its length explains or breaks something."""

    def __init__(self, blob: bytes, text: str) -> None:
        super().__init__(text)
        self.blob = blob


def stretch(target: Target, seconds: float = STRETCHING) -> None:
    """Makes inputs of the corpus longer. Raises Stretched."""
    chance = random.Random(target.name)
    blobs = [each.read_bytes() for each in sorted((CORPUS / target.name).iterdir())]
    deadline = time.monotonic() + seconds
    for parts in _parts(blobs, chance):
        if time.monotonic() > deadline:
            return
        small, large = (_stretched(*parts, size) for size in STRETCHED)
        times = _time(target, small), _time(target, large)
        if _grows(*times):
            times = min(_time(target, small) for _ in range(3)), min(_time(target, large) for _ in range(3))
            if _grows(*times):
                raise Stretched(
                    large,
                    f"{len(small)} bytes take {times[0]:.3f} s and {len(large)} bytes {times[1]:.3f} s of CPU: "
                    f"repeated {parts[1]!r:.200}",
                )


def _parts(blobs: list[bytes], chance: random.Random) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What stands before, what is repeated, what stands behind: for ever, whatever the input."""
    while blobs:
        blob = chance.choice(blobs)
        if len(blob) > 2:
            start = chance.randrange(len(blob) - 2)
            end = min(start + chance.choice((1, 2, 4, 8, 16, 64)), len(blob) - 2)
            cut = chance.choice((0x00, 0xFF))  # in one piece, or 15 bytes each
            yield blob[:start], blob[start:end], blob[end:-1] + bytes((cut,))
        elif all(len(each) <= 2 for each in blobs):
            return


def _stretched(before: bytes, part: bytes, behind: bytes, size: int) -> bytes:
    return before + part * (size // len(part)) + behind


def _time(target: Target, blob: bytes) -> float:
    start = time.thread_time()
    try:
        target.run_unlimited(blob)
    except Exception as error:
        raise Stretched(blob, "an input that was made longer broke something") from error
    return time.thread_time() - start


def _grows(small: float, large: float) -> bool:
    return large > WORTH_A_LOOK and large > MOST_GROWTH * STRETCHED[1] / STRETCHED[0] * small
