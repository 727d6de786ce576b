"""Charts of what grows with the catalogue, as Mermaid draws them: one for each figure, a bar for each number of tags. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from benchmarks.rows import Row, figure

_OF = re.compile(r"([\d,]+ tags): (?!question )(.+)")
_QUESTION = re.compile(r"([\d,]+ tags): question ")


def charts(rows: Sequence[Row]) -> str:
    """The charts as Markdown; empty where no row tells of a number of tags."""
    return "\n\n".join(_drawn(title, values) for title, values in _figures(rows))


def _figures(rows: Sequence[Row]) -> Iterator[tuple[str, Mapping[str, float]]]:
    found: dict[str, dict[str, float]] = {}
    questions: dict[str, list[float]] = {}
    for row in rows:
        if match := _OF.fullmatch(row.name):
            found.setdefault(f"{match[2]}, {row.unit}", {})[match[1]] = median(row.ours)
        elif match := _QUESTION.match(row.name):
            questions.setdefault(match[1], []).append(median(row.ours))
    yield from found.items()
    if questions:
        yield "the median of all named questions, s", {tags: median(some) for tags, some in questions.items()}
        yield "the slowest of all named questions, s", {tags: max(some) for tags, some in questions.items()}


def _drawn(title: str, values: Mapping[str, float]) -> str:
    names = ", ".join(f'"{tags}"' for tags in values)
    bars = ", ".join(figure(value).replace(",", "") for value in values.values())
    return f'```mermaid\nxychart-beta\n    title "{title}"\n    x-axis [{names}]\n    bar [{bars}]\n```'
