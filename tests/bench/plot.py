"""A picture of a few measured points, for the documentation."""

from collections.abc import Sequence
from math import log10
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 300, 60, 45, 20
STYLE = "font: 13px sans-serif; fill: #444"

Point = tuple[int, float]


def draw(points: Sequence[Point], path: Path, title: str, unit: str) -> None:
    """Write an SVG with a logarithmic axis from left to right, and one from 0 upwards."""
    low, high = log10(points[0][0]), log10(points[-1][0])
    top = 1.25 * max(value for _, value in points)

    def x(count: int) -> float:
        return LEFT + (log10(count) - low) / (high - low) * (WIDTH - LEFT - 30)

    def y(value: float) -> float:
        return TOP + (1 - value / top) * (HEIGHT - TOP - BOTTOM)

    base = HEIGHT - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<path d="M{LEFT} {TOP}V{base}H{WIDTH - 20}" fill="none" stroke="#999"/>',
        f'<text x="{LEFT}" y="{TOP - 5}" style="{STYLE}">{unit}</text>',
        f'<text x="{WIDTH / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle" style="{STYLE}">{title}</text>',
        (
            f'<polyline points="{" ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in points)}" fill="none" '
            'stroke="#2563eb" stroke-width="2"/>'
        ),
    ]
    for count, value in points:
        parts += [
            f'<circle cx="{x(count):.1f}" cy="{y(value):.1f}" r="4" fill="#2563eb"/>',
            f'<text x="{x(count):.1f}" y="{y(value) - 10:.1f}" text-anchor="middle" style="{STYLE}">{value:.1f}</text>',
            f'<text x="{x(count):.1f}" y="{base + 18}" text-anchor="middle" style="{STYLE}">{count:,}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>", ""]))
