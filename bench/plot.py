"""Bars of latencies as an SVG, readable on light and dark pages."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import NamedTuple

_ROW = 26
_LEFT = 190
_WIDTH = 420
_RIGHT = 230
_MEDIAN, _TAIL, _TEXT = "#2f7ed8", "#a9c8ee", "#808080"


class Bar(NamedTuple):
    """One peer: milliseconds, and a note behind the bar."""

    name: str
    p50: float
    p99: float
    note: str


def bars(title: str, rows: list[Bar], path: Path) -> None:
    """Writes a picture with a bar for each row: p50 in front of p99."""
    scale = _WIDTH / max(row.p99 for row in rows)
    height = _ROW * (len(rows) + 2)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}" role="img"',
        f' aria-label="{escape(title)}" font-family="sans-serif" font-size="13" fill="{_TEXT}">',
        f'<text x="4" y="{_ROW - 8}">{escape(title)}: p50 (dark) and p99 (light), milliseconds</text>',
    ]
    for number, row in enumerate(rows, start=1):
        top = number * _ROW + 4
        text = top + _ROW - 12
        lines += [
            f'<text x="{_LEFT - 8}" y="{text}" text-anchor="end">{escape(row.name)}</text>',
            f'<rect x="{_LEFT}" y="{top}" width="{row.p99 * scale:.1f}" height="{_ROW - 8}" fill="{_TAIL}"/>',
            f'<rect x="{_LEFT}" y="{top}" width="{row.p50 * scale:.1f}" height="{_ROW - 8}" fill="{_MEDIAN}"/>',
            f'<text x="{_LEFT + row.p99 * scale + 6:.1f}" y="{text}">'
            f"{row.p50:.1f} / {row.p99:.1f}  {escape(row.note)}</text>",
        ]
    path.write_text("\n".join([*lines, "</svg>", ""]))
