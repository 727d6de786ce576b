"""What commands print: JSON for programs; tables, on a terminal with rich, else plain columns."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

MAX_SHOWN = 50
"""How many changed tags a terminal is shown; --json has all."""

Cell = str | int | float | None


def print_json(value: object) -> None:
    """Print one JSON document; times are RFC 3339 in UTC."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        from catalog.units import format_time

        return format_time(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def say(text: str) -> None:
    """Tell how things go, on standard error: standard output is for results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def say_remarks(notes: Iterable[str], failed: Mapping[str, str], *, what: str = "tags") -> None:
    """Tell what was remarkable, and which tags or paths failed and why."""
    for note in notes:
        say(f"note: {note}")
    if failed:
        say(f"warning: {len(failed)} {what} are missing:")
        for tag, reason in failed.items():
            say(f"  {tag}: {reason}")


def print_line(text: str) -> None:
    """Print a line of the result."""
    sys.stdout.write(f"{text}\n")


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print a table; numbers stand to the right. Not on a terminal: columns parted by blanks, nothing cut off.

    That a table is empty is said on standard error.
    """
    cells = [list(row) for row in rows]
    if not cells:
        say("(0 rows)")
    if sys.stdout.isatty():
        _print_rich(heads, cells)
        return
    texts = [list(heads), *([_text(cell) for cell in row] for row in cells)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(heads))]
    for row in texts:
        print_line("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def print_first(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print the first rows, how many more there are, and a blank line; nothing where there are none."""
    if rows:
        print_table(heads, rows[:MAX_SHOWN])
        if len(rows) > MAX_SHOWN:
            print_line(f"… and {len(rows) - MAX_SHOWN} more (--json has all)")
        print_line("")


def print_changes(heads: Sequence[str], rows: Sequence[Sequence[Cell]], summary: str, *, flow_run: str = "") -> None:
    """Print the first changes that an operation made or would make, then its summary and its flow run, if any."""
    print_first(heads, rows)
    print_line(summary)
    if flow_run:
        print_fields({"flow run": flow_run})


def _print_rich(heads: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, head in enumerate(heads):
        is_number = bool(rows) and all(isinstance(row[column], int | float) for row in rows)
        table.add_column(head, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    Console().print(table)


def print_fields(fields: Mapping[str, Cell]) -> None:
    """Print names and values below each other."""
    width = max(map(len, fields))
    for name, value in fields.items():
        print_line(f"{name.ljust(width)}  {_text(value)}".rstrip())


def _text(cell: Cell) -> str:
    text = "" if cell is None else str(cell)
    return "".join(character if character.isprintable() else "�" for character in text)


def time_text(when: datetime) -> str:
    """Return a time for people, to the second: RFC 3339 in UTC."""
    from catalog.units import format_time

    return format_time(when.replace(microsecond=0))


def row_json(row: Any) -> dict[str, object]:
    """Return a row of the catalogue for programs: its fields as they are named in the catalogue."""
    return asdict(row)
