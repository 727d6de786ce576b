"""Shows which rule keeps or drops each tag, for `--explain`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from catalog.filters.tags import Selection

Judged = Sequence[tuple[str, bool, str]]
"""What was looked at, whether it is taken, and the rule that says so."""


def judged(selection: "Selection") -> Judged:
    """Return a selection as rows."""
    kept = [(tag, True, rule) for tag, rule in selection.rules.items()]
    return [*kept, *((tag, False, reason) for tag, reason in selection.dropped.items())]


def show_judged(rows: Judged, *, as_json: bool) -> None:
    """Print each tag with the rule that keeps or drops it."""
    if as_json:
        print_json([{"tag": tag, "selected": kept, "rule": rule} for tag, kept, rule in rows])
        return
    print_table(("TAG", "SELECTED", "RULE"), [(tag, "yes" if kept else "no", rule) for tag, kept, rule in rows])
    print_line(f"{sum(kept for _tag, kept, _rule in rows)} of {len(rows)} tags are selected")
