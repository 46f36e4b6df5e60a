"""Sampled stacks of a running program: taken with py-spy, kept as a tree, drawn as a flame graph in SVG.

    stacks = sample(pid, seconds)        # [(frames from the outermost to the innermost, how often), ...]
    svg(title, stacks, colours)          # a picture: each box is a function, as wide as the time spent in it and below

A frame is `function (file)`. Native ones are there as well, so the C functions of the modules and of the C library are seen.
The picture is static; a pointer held over a box shows its whole name and its share.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from benchmarks.programs import Failure

RATE = 499  # samples a second; a prime, so that it does not keep step with anything
PATIENCE = 60.0  # seconds for py-spy to read the symbols, and to write the stacks
WIDTH, ROW, LETTER, MARGIN, HEADING = 1200, 17, 6.4, 10, 70
NARROWEST = 0.5  # of what is drawn, in pixels
NEARLY = 0.98  # of the samples: as good as all
PLACE = re.compile(r":\d+\)$")  # the line number of a frame

Stack = tuple[tuple[str, ...], int]


def sample(pid: int, seconds: float, cpu: int) -> list[Stack]:
    """The stacks of a process during so many seconds; py-spy runs on the CPU given. Raises Failure."""
    program = Path(sys.executable).with_name("py-spy")
    if not program.exists():
        raise Failure("not installed: py-spy; it is one of the peers (make lock)")
    command = [str(program), "record", "--native", "--rate", str(RATE), "--format", "raw"]
    command += ["--duration", str(max(1, round(seconds))), "--pid", str(pid), "--output", "/dev/stdout"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=seconds + PATIENCE,
        check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    )
    stacks = parse(done.stdout)
    if not stacks:
        raise Failure(f"py-spy has seen nothing\n{done.stderr[-1000:]}")
    return stacks


def parse(text: str) -> list[Stack]:
    """Folded stacks, one on a line: the frames with semicolons between them, a space, how often."""
    counts: dict[tuple[str, ...], int] = {}
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():
            stack = tuple(PLACE.sub(")", frame) for frame in frames.split(";"))
            counts[stack] = counts.get(stack, 0) + int(count)
    return list(counts.items())


@dataclass
class Box:
    """A function, as called from the box below it."""

    name: str
    count: int = 0
    inner: dict[str, Box] = field(default_factory=dict)


def tree(stacks: Sequence[Stack]) -> Box:
    """All stacks as one; what nearly all begin with is left out. A function that calls itself is one box."""
    whole = Box("all")
    for frames, count in stacks:
        box = whole
        box.count += count
        for name in frames:
            if name != box.name:
                box = box.inner.setdefault(name, Box(name))
                box.count += count
    box = whole
    while box.inner:
        most = max(box.inner.values(), key=lambda inner: inner.count)
        if most.count < NEARLY * box.count:
            break
        box = most
    return box


def depth(box: Box, least: float) -> int:
    """How many boxes stand above one another, without those below a count."""
    return 1 + max((depth(each, least) for each in box.inner.values() if each.count >= least), default=0)


def svg(title: str, stacks: Sequence[Stack], colours: Mapping[str, str]) -> str:
    """The picture. colours: by a part of a frame's name, the first that fits; "" fits all."""
    whole = tree(stacks)
    scale = (WIDTH - 2 * MARGIN) / whole.count
    tall = depth(whole, NARROWEST / scale)
    height = HEADING + tall * ROW + MARGIN
    legend = f"{whole.count:,} samples. A box: a function, as wide as the time spent in it; on it stand those that it called."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="ui-monospace, monospace" font-size="11" fill="#212529">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{MARGIN}" y="28" font-family="system-ui, sans-serif" font-size="17">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="50">{escape(legend)}</text>',
    ]

    def draw(box: Box, x: float, level: int) -> None:
        wide = box.count * scale
        if wide < NARROWEST:
            return
        y = height - MARGIN - (level + 1) * ROW
        colour = next(colour for part, colour in colours.items() if part in box.name)
        share = f"{box.count / whole.count:.1%}"
        parts.append(f"<g><title>{escape(box.name)}: {share}</title>")
        parts.append(
            f'<rect x="{x:.1f}" y="{y}" width="{max(wide - 0.5, 0.3):.1f}" height="{ROW - 1}" fill="{colour}"/>'
        )
        room = int((wide - 6) / LETTER)
        if room >= 4:
            name = box.name if len(box.name) <= room else box.name.partition(" (")[0]
            name = name if len(name) <= room else f"{name[: room - 1]}…"
            parts.append(f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(name)}</text>')
        parts.append("</g>")
        for each in sorted(box.inner.values(), key=lambda inner: inner.name):
            draw(each, x, level + 1)
            x += each.count * scale

    draw(whole, MARGIN, 0)
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"
