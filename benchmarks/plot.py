"""Bars in SVG, written by hand: one panel under the other, one bar per server, its figure at its end."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

COLOURS = {"prise": "#d9480f", "bare": "#868e96", "platform": "#1971c2", "framework": "#74b816"}
MEANING = {"prise": "prise", "bare": "no framework", "platform": "asyncio, uvloop", "framework": "frameworks"}
WIDTH, NAMES, FIGURES, BAR, GAP, HEADING = 860, 250, 80, 15, 6, 40


@dataclass(frozen=True)
class Panel:
    """bars: (name, kind, figure), in the order they are drawn. digits: of the figures, after the point."""

    title: str
    digits: int
    bars: list[tuple[str, str, float]]


def _text(x: float, y: float, words: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{escape(words)}</text>'


def svg(title: str, panels: list[Panel]) -> str:
    """The picture, whole."""
    height = 90 + sum(HEADING + len(panel.bars) * (BAR + GAP) for panel in panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">',
        '<g font-family="system-ui, sans-serif" font-size="12" fill="#212529">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(20, 30, title, 'font-size="17" font-weight="bold"'),
    ]
    for number, (kind, words) in enumerate(MEANING.items()):
        x = 20 + number * 150
        parts.append(f'<rect x="{x}" y="44" width="12" height="12" fill="{COLOURS[kind]}"/>')
        parts.append(_text(x + 18, 54, words))
    y = 66
    for panel in panels:
        y += HEADING
        parts.append(_text(20, y - 10, panel.title, 'font-size="14" font-weight="bold"'))
        longest = max((figure for _, _, figure in panel.bars), default=1.0)
        for name, kind, figure in panel.bars:
            length = max(1.0, (WIDTH - NAMES - FIGURES) * figure / longest)
            base = y + BAR - 3
            weight = 'font-weight="bold"' if kind == "prise" else ""
            parts.append(_text(NAMES - 8, base, name, f'text-anchor="end" {weight}'))
            parts.append(f'<rect x="{NAMES}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[kind]}"/>')
            parts.append(_text(NAMES + length + 6, base, f"{figure:,.{panel.digits}f}", weight))
            y += BAR + GAP
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"
