"""Markdown of reports that Prefect's page draws: charts, tables and links. Pure.

Charts are drawn by the page itself, from text. Every word in them is one of ours, or is made harmless here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

_BAR, _FULL = 20, "█"
_THEME = (
    "%%{init: {'theme': 'base', 'themeVariables': {'pie1': '#2563eb', 'pie2': '#16a34a', 'pie3': '#d97706', 'pie4': '#dc2626', "
    "'pie5': '#7c3aed', 'pie6': '#0891b2', 'pie7': '#64748b', 'pie8': '#be185d', 'pieOpacity': '1', "
    "'pieTitleTextColor': '#e2e8f0', 'pieLegendTextColor': '#e2e8f0', 'pieSectionTextColor': '#ffffff'}}}%%"
)
"""Colours that differ, and text that can be read on the page's dark ground of code blocks, by day and by night."""
_UNFIT = re.compile(r"[^\w .,:/@+-]+")


def pie(title: str, shares: Mapping[str, int]) -> str:
    """Return a pie chart of counts as a code block that the page draws; empty where there is nothing to count."""
    parts = [f'    "{_plain(name)}" : {count}' for name, count in shares.items() if count > 0]
    if not parts:
        return ""
    return "\n".join(["```mermaid", _THEME, f"pie showData title {_plain(title)}", *parts, "```"])


def chain(steps: Sequence[tuple[str, bool]]) -> str:
    """Return steps, one after the other, as a chart; those that did something stand out from those that were left out."""
    nodes = [f'    s{number}["{_plain(name)}"]' for number, (name, _) in enumerate(steps)]
    arrows = [f"    s{number} --> s{number + 1}" for number in range(len(steps) - 1)]
    idle = ",".join(f"s{number}" for number, (_, is_done) in enumerate(steps) if not is_done)
    style = [f"    style {one} fill:#64748b,color:#ffffff,stroke-dasharray: 4 4" for one in idle.split(",") if one]
    return "\n".join(["```mermaid", "flowchart LR", *nodes, *arrows, *style, "```"])


def bar(count: int, total: int) -> str:
    """Return a bar of text for a share of a total."""
    return _FULL * max(1, round(_BAR * count / total)) if count and total else ""


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; what stands in a cell cannot leave it."""
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(str(one) for one in row)} |" for row in rows]
    return "\n".join(lines)


def plain_cell(text: object) -> str:
    """Return a text that others have written as one of a table's cells, without markup."""
    plain = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>()#|~!&$])", r"\\\1", plain).replace("\\&", "&amp;").replace("\\<", "&lt;")


def link(text: str, address: str) -> str:
    """Return a link; the address is one of ours."""
    return f"[{plain_cell(text)}]({address.replace('(', '%28').replace(')', '%29').replace(' ', '%20')})"


def _plain(text: str) -> str:
    return " ".join(_UNFIT.sub(" ", text).split()) or "-"
