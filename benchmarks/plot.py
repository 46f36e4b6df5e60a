"""Plots in SVG, written by hand, one panel under the other: bars, one per server, or curves over two logarithmic axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLOURS = {"prise": "#d9480f", "bare": "#868e96", "platform": "#1971c2", "framework": "#74b816", "program": "#9c36b5"}
MEANING = {
    "prise": "prise",
    "bare": "no framework",
    "platform": "Python's own, uvloop",
    "framework": "frameworks",
    "program": "programs",
}
WIDTH, NAMES, FIGURES, BAR, GAP, HEADING = 860, 250, 80, 15, 6, 40
LEFT, RIGHT, TALL, AXIS = 70, 590, 360, 30  # of the curves: their box, its height, and the room for the ticks below
MARKS = "circle", "square", "diamond", "ring"  # tell lines of one colour apart


@dataclass(frozen=True)
class Panel:
    """bars: (name, kind, figure), in the order they are drawn. digits: of the figures, after the point."""

    title: str
    digits: int
    bars: list[tuple[str, str, float]]

    @property
    def height(self) -> int:
        return len(self.bars) * (BAR + GAP)

    def draw(self, y: float) -> list[str]:
        """What it consists of, from this height on."""
        parts = []
        longest = max((figure for _, _, figure in self.bars), default=1.0)
        for name, kind, figure in self.bars:
            length = max(1.0, (WIDTH - NAMES - FIGURES) * figure / longest)
            base = y + BAR - 3
            weight = 'font-weight="bold"' if kind == "prise" else ""
            parts.append(_text(NAMES - 8, base, name, f'text-anchor="end" {weight}'))
            parts.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[kind]}"/>')
            parts.append(_text(NAMES + length + 6, base, f"{figure:,.{self.digits}f}", weight))
            y += BAR + GAP
        return parts


@dataclass(frozen=True)
class Curves:
    """ticks: (x, label) of the lower axis. lines: (name, kind, points), a point being (x, y); all above 0."""

    title: str
    ticks: list[tuple[float, str]]
    lines: list[tuple[str, str, list[tuple[float, float]]]]
    height: int = TALL + AXIS

    def draw(self, y: float) -> list[str]:
        """What it consists of, from this height on."""
        figures = [figure for _, _, points in self.lines for _, figure in points] or [1.0]
        low, high = min(figures) / 1.15, max(figures) * 1.15
        first, last = self.ticks[0][0], self.ticks[-1][0]

        def across(value: float) -> float:
            return LEFT + 15 + (RIGHT - LEFT - 30) * _share(value, first, last)

        def down(value: float) -> float:
            return y + TALL * (1 - _share(value, low, high))

        parts = [f'<rect x="{LEFT}" y="{y}" width="{RIGHT - LEFT}" height="{TALL}" fill="none" stroke="#adb5bd"/>']
        for figure in _steps(low, high):
            parts.append(_line([(LEFT, down(figure)), (RIGHT, down(figure))], "#e9ecef"))
            parts.append(_text(LEFT - 6, down(figure) + 4, f"{figure:,g}", 'text-anchor="end"'))
        for value, label in self.ticks:
            parts.append(_text(across(value), y + TALL + 18, label, 'text-anchor="middle"'))
        seen: dict[str, int] = {}
        ends = []
        for name, kind, points in self.lines:
            mark = MARKS[seen.setdefault(kind, 0) % len(MARKS)]
            seen[kind] += 1
            places = [(across(value), down(figure)) for value, figure in points]
            parts.append(_line(places, COLOURS[kind], 2.5 if kind == "prise" else 1.5))
            parts += [_mark(mark, place, COLOURS[kind]) for place in places]
            ends.append((places[-1], name, kind))
        ends.sort(key=lambda end: end[0][1])
        for (place, name, kind), beside in zip(ends, _apart([end[0][1] for end in ends], y, y + TALL), strict=True):
            weight = 'font-weight="bold"' if kind == "prise" else ""
            parts.append(_line([place, (RIGHT + 12, beside)], "#ced4da"))
            parts.append(_text(RIGHT + 16, beside + 4, name, f'fill="{COLOURS[kind]}" {weight}'))
        return parts


def _share(value: float, low: float, high: float) -> float:
    """How far it is from one to the other on a logarithmic axis: 0 to 1."""
    return math.log(value / low) / math.log(high / low) if high > low else 0.5


def _steps(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, 20 and so on, as far as they are between the two."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step for decade in decades for digit in (1, 2, 5) if low <= (step := digit * 10.0**decade) <= high]


def _apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """The heights (in order) moved as little as is simple, so that labels there do not overlap."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + BAR if placed else top))
    for number in range(len(placed) - 1, -1, -1):
        placed[number] = min(placed[number], bottom - BAR * (len(placed) - 1 - number))
    return placed


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str, width: float = 1) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _mark(mark: str, place: tuple[float, float], colour: str) -> str:
    x, y = place
    if mark in ("circle", "ring"):
        inside = colour if mark == "circle" else "white"
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{inside}" stroke="{colour}" stroke-width="1.5"/>'
    turn = f' transform="rotate(45 {x:.1f} {y:.1f})"' if mark == "diamond" else ""
    return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"{turn}/>'


def svg(title: str, panels: Sequence[Panel | Curves]) -> str:
    """The picture, whole."""
    height = 90 + sum(HEADING + panel.height for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="system-ui, sans-serif" font-size="12" fill="#212529">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(20, 30, title, 'font-size="17" font-weight="bold"'),
    ]
    for number, (kind, words) in enumerate(MEANING.items()):
        x = 20 + number * 165
        parts.append(f'<rect x="{x}" y="44" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(_text(x + 18, 54, words))
    y = 66
    for panel in panels:
        y += HEADING
        parts.append(_text(20, y - 10, panel.title, 'font-size="14" font-weight="bold"'))
        parts += panel.draw(y)
        y += panel.height
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"
