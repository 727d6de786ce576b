"""The drawings and the tree of docs/architecture.md, from the arrows that tests/test_imports.py holds and from docstrings."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.test_imports import ARROWS, PACKAGE_ARROWS, ROOM_OF

ROOT = Path(__file__).resolve().parent.parent
_NAMES = {"prefect": "Prefect", "fastapi": "FastAPI", "duckdb": "DuckDB, DuckLake"}
"""How the libraries are written that a drawing names, of those that one room alone may import."""


def rooms_drawing() -> str:
    """Draw which room may import which, with what each holds."""
    boxes = [f'    {room}["{room}/<br/>{_wrapped(room)}"]' for room in ARROWS]
    return _drawing([*boxes, *_edges(ARROWS)])


def package_drawings() -> str:
    """Draw for each room which of its packages may import which."""
    return "\n\n".join(
        f"#### Within `{room}/`\n\n{_drawing(_edges(without_detours(_arrows_within(room))))}" for room in ARROWS
    )


def tree() -> str:
    """List each room's packages with what they hold: the first lines of their docstrings."""
    parts = []
    for room in ARROWS:
        packages = sorted(str(path.parent.relative_to(ROOT / room)) for path in (ROOT / room).rglob("*/__init__.py"))
        rows = [f"| `{name}/` | {first_line(f'{room}/{name}')} |" for name in packages]
        parts.append(
            "\n".join([f"### `{room}/`\n\n{first_line(room)}.\n", "| package | holds |", "| --- | --- |", *rows])
        )
    return "\n\n".join(parts)


def first_line(package: str) -> str:
    """Return what a package's docstring says first, without its full stop."""
    docstring = ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())) or ""
    return docstring.partition("\n")[0].removesuffix(".")


def without_detours(arrows: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Return the arrows that do not follow from others; there must be no circle among them."""

    def reached(node: str) -> set[str]:
        ends = arrows.get(node, set())
        return ends.union(*(reached(end) for end in ends)) if ends else set()

    return {
        start: {end for end in ends if not any(end in reached(other) for other in ends - {end})}
        for start, ends in arrows.items()
    }


def _arrows_within(room: str) -> dict[str, set[str]]:
    within = f"{room}/"
    return {start.removeprefix(within): ends for start, ends in PACKAGE_ARROWS.items() if start.startswith(within)}


def _edges(arrows: Mapping[str, set[str]]) -> Iterator[str]:
    for start, ends in sorted(arrows.items()):
        yield from (f"    {_box(start)} --> {_box(end)}" for end in sorted(ends))


def _box(name: str) -> str:
    """Return a box with its name; a slash is no part of a box's own id."""
    return f'{name.replace("/", "_")}["{name}"]' if "/" in name else name


def _wrapped(room: str) -> str:
    """Return what a room holds and the libraries that it alone may import, in lines for a box."""
    libraries = [_NAMES[name] for name, owner in ROOM_OF.items() if owner == room and name in _NAMES]
    title, _, details = first_line(room).replace("`", "").partition(": ")
    return "<br/>".join([part for part in (title, details) if part] + [f"({name})" for name in libraries])


def _drawing(lines: list[str] | Iterator[str]) -> str:
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])
