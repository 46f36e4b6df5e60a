"""What the fuzzer has found to reach new code, and all that ever broke something, through the same targets once more.

`python -m fuzz` (fuzz/README.md) keeps these inputs; here they run without it, so on every Python. What a target checks is
written beside it, in fuzz/families.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fuzz.families import load

PROJECT = Path(__file__).parent.parent
FUZZ = PROJECT / "fuzz"
TARGETS = load()


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_stays_harmless(name: str) -> None:
    target = TARGETS[name]
    inputs = [*target.seeds, b""]
    for folder in (FUZZ / "corpus" / name, FUZZ / "crashes" / name):
        inputs += [path.read_bytes() for path in sorted(folder.glob("*"))]
    for blob in inputs:
        try:
            target(blob)
        except Exception as error:
            error.add_note(f"the input of {name} was {blob[:500]!r}")
            raise


@pytest.mark.parametrize("kept", ["corpus", "crashes"])
def test_nothing_is_kept_of_targets_that_are_gone(kept: str) -> None:
    assert {path.name for path in (FUZZ / kept).glob("*")} <= set(TARGETS)


def test_php_refuses_what_is_no_handover_and_does_nothing_else(tmp_path: Path) -> None:
    """The same inputs for the other side of a channel (php/src/Frame.php): whatever they are, ProtocolError or a header."""
    program = tmp_path / "frames.php"
    program.write_text(PHP)
    inputs = [str(path) for path in sorted((FUZZ / "corpus" / "handover-frames").glob("*"))]
    done = subprocess.run(
        ["php", str(program), str(PROJECT / "php" / "autoload.php"), *inputs],
        capture_output=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"fine", b"")


PHP = r"""<?php
declare(strict_types=1);
require $argv[1];
set_error_handler(static fn (int $level, string $text) => throw new ErrorException($text));
$refused = static function (callable $read): void {
    try {
        $read();
    } catch (Prise\Exception\ProtocolError) {
    }
};
foreach (array_slice($argv, 2) as $file) {
    $data = substr(file_get_contents($file), 0, -2);
    $refused(static fn () => Prise\Frame::decode($data));
    $refused(static fn () => Prise\Frame::decode(substr($data, 4)));
    $refused(static fn () => Prise\Frame::headerSize(str_pad(substr($data, 0, 4), 4, "\0")));
}
echo 'fine';
"""
