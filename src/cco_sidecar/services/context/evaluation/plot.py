"""A plot of an evaluation as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.sax.saxutils import escape

from cco_sidecar.services.context.evaluation.evaluate import Evaluation, Row

_WIDTH, _HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 190, 40, 50
# Okabe and Ito's colours, which people with any colour vision can tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def svg(evaluation: Evaluation, title: str) -> str:
    """Returns recall by budget, one line for each method."""
    return "\n".join(_lines(evaluation, title)) + "\n"


def _lines(evaluation: Evaluation, title: str) -> Iterator[str]:
    budgets = sorted({row.max_bytes for row in evaluation.rows})
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'font-family="sans-serif" font-size="12">'
    )
    yield f"<title>{escape(title)}</title>"
    yield f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>'
    yield f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}</text>'
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        yield f'<line x1="{_LEFT}" y1="{y}" x2="{_WIDTH - _RIGHT}" y2="{y}" stroke="#ddd"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>'
    for budget in budgets:
        x = _x(budget, budgets)
        yield f'<text x="{x}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{budget / 1000:g} kB</text>'
    methods = list(dict.fromkeys(row.method for row in evaluation.rows))
    # Names at the ends of the lines, not above each other.
    taken: list[float] = []
    for number, method in enumerate(methods):
        rows = [row for row in evaluation.rows if row.method == method]
        yield from _series(rows, budgets, _COLOURS[number % len(_COLOURS)], taken)
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 8}">share of the changed hunks in the context, by its budget</text>'
    yield "</svg>"


def _series(rows: list[Row], budgets: list[int], colour: str, taken: list[float]) -> Iterator[str]:
    points = [(_x(row.max_bytes, budgets), _y(row.recall)) for row in rows]
    path = " ".join(f"{x},{y}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for (x, y), row in zip(points, rows, strict=True):
        yield f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"><title>{row.recall:.3f}</title></circle>'
    x, y = points[-1]
    while any(abs(y - other) < 14 for other in taken):
        y += 14
    taken.append(y)
    yield f'<text x="{x + 8}" y="{y + 4}" fill="{colour}">{escape(rows[0].method)}</text>'


def _x(budget: int, budgets: list[int]) -> float:
    low, high = math.log(budgets[0]), math.log(budgets[-1])
    share = (math.log(budget) - low) / (high - low) if high > low else 0.5
    return round(_LEFT + 20 + share * (_WIDTH - _LEFT - _RIGHT - 40), 1)


def _y(share: float) -> float:
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)
