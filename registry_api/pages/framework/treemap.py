"""Treemaps drawn here as SVG: rectangles whose areas are sizes, without styles or scripts; the style sheet colours them.

Source: Bruls, Huizing, van Wijk, "Squarified Treemaps".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from catalog.units import format_size

_LINE, _CHARACTER, _PADDING = 16, 7.2, 6
_SHAPES = {"wide": (1180, 440), "tall": (360, 520)}


class TreemapCell(NamedTuple):
    """One rectangle: `size` in bytes is its area, `shared` of them are drawn apart. `path` is the page that it leads to."""

    label: str
    size: int
    shared: int
    path: str = ""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A place in the drawing."""

    x: float
    y: float
    width: float
    height: float


def squarify(sizes: Sequence[float], area: Rectangle) -> list[Rectangle]:
    """Return a rectangle for each size, in order, together filling the area; sizes are positive, the largest first. Pure."""
    total = sum(sizes)
    if not total:
        return []
    scale = area.width * area.height / total
    left, placed = area, list[Rectangle]()
    values = [size * scale for size in sizes]
    start = 0
    while start < len(values):
        side = min(left.width, left.height)
        end = start + 1
        while end < len(values) and _worst(values[start : end + 1], side) <= _worst(values[start:end], side):
            end += 1
        row, left = _place_row(values[start:end], left)
        placed += row
        start = end
    return placed


def _worst(row: Sequence[float], side: float) -> float:
    """Return the worst ratio of sides in a row along a side."""
    total = sum(row)
    if not side or not total:
        return float("inf")
    return max(side * side * max(row) / (total * total), total * total / (side * side * min(row)))


def _place_row(row: Sequence[float], left: Rectangle) -> tuple[list[Rectangle], Rectangle]:
    total, placed = sum(row), list[Rectangle]()
    if left.width >= left.height:  # a column at the left
        width = min(total / left.height, left.width) if left.height else 0.0
        y = left.y
        for value in row:
            height = min(value / width, left.height) if width else 0.0
            placed.append(Rectangle(left.x, y, width, height))
            y += height
        return placed, Rectangle(left.x + width, left.y, max(left.width - width, 0.0), left.height)
    height = min(total / left.width, left.height) if left.width else 0.0
    x = left.x
    for value in row:
        width = min(value / height, left.width) if height else 0.0
        placed.append(Rectangle(x, left.y, width, height))
        x += width
    return placed, Rectangle(left.x, left.y + height, left.width, max(left.height - height, 0.0))


def draw_treemap(rows: Sequence[tuple[str, int, int, str]], shape: str) -> Markup:
    """Return a drawing of cells, hidden from who listens: the table beside it says the same. `shape` is wide or tall."""
    width, height = _SHAPES[shape]
    some = sorted((TreemapCell(*row) for row in rows if row[1] > 0), key=lambda cell: -cell.size)
    places = squarify([cell.size for cell in some], Rectangle(0, 0, width, height))
    parts = [
        Markup('<svg class="treemap {}" viewBox="0 0 {} {}" aria-hidden="true" focusable="false">').format(
            shape, width, height
        )
    ]
    parts += [_draw_cell(cell, place) for cell, place in zip(some, places, strict=True)]
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _draw_cell(cell: TreemapCell, place: Rectangle) -> Markup:
    inner = Rectangle(place.x + 1, place.y + 1, max(place.width - 2, 0.5), max(place.height - 2, 0.5))
    note = format_size(cell.size)
    drawn = Markup("<title>{}: {}, {} shared</title>").format(cell.label, note, format_size(cell.shared))
    drawn += _rectangle("own", inner)
    shared = inner.height * min(max(cell.shared / cell.size, 0.0), 1.0)
    if shared >= 1:
        drawn += _rectangle("shared", Rectangle(inner.x, inner.y + inner.height - shared, inner.width, shared))
    fitting = int((inner.width - 2 * _PADDING) / _CHARACTER)
    if fitting >= 4 and inner.height >= _LINE + _PADDING:
        drawn += _text(cell.label, fitting, inner, 1)
        if inner.height >= 2 * _LINE + _PADDING:
            drawn += _text(note, fitting, inner, 2)
    drawn = Markup("<g>{}</g>").format(drawn)
    return Markup('<a href="{}" tabindex="-1">{}</a>').format(cell.path, drawn) if cell.path else drawn


def _rectangle(kind: str, place: Rectangle) -> Markup:
    return Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
        kind, place.x, place.y, place.width, place.height
    )


def _text(text: str, fitting: int, place: Rectangle, line: int) -> Markup:
    shown = text if len(text) <= fitting else f"{text[: fitting - 1]}…"
    return Markup('<text class="line{}" x="{:.1f}" y="{:.1f}">{}</text>').format(
        line, place.x + _PADDING, place.y + line * _LINE, shown
    )
