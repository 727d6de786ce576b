"""Charts drawn here as SVG, without styles or scripts in them; the style sheet colours them."""

from collections.abc import Sequence

from markupsafe import Markup

_HEIGHT, _BAR, _GAP = 40, 10, 2


def draw_bars(values: Sequence[tuple[str, int]], label: str) -> Markup:
    """Return a chart of one bar for each (title, value), scaled to the largest; `label` says what it shows."""
    most = max((value for _, value in values), default=0) or 1
    width = len(values) * (_BAR + _GAP)
    parts = [
        Markup('<svg class="bars" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">').format(
            width, _HEIGHT, label
        )
    ]
    for place, (title, value) in enumerate(values):
        height = max(round(value / most * (_HEIGHT - 2), 1), 0.8) if value else 0.8
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}: {}</title></rect>').format(
                "some" if value else "none", place * (_BAR + _GAP), _HEIGHT - height, _BAR, height, title, value
            )
        )
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)
