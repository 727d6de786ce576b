"""The items of a plan as JSON and as the rows of a table."""

from collections.abc import Mapping, Sequence

from flows.runs.plan_items import PlanItem

MAX_ROWS = 1000
"""How many tags a table shows; what failed comes first, what did not change last."""

ORDER = ("failed", "refused", "removed", "moved", "completed", "added", "unchanged")

CHANGE_HEADS = ("TAG", "ACTION", "DIGEST", "BYTES", "REASON")
"""Heads of `change_row`."""


def item_json(item: PlanItem) -> dict[str, object]:
    """One tag for programs."""
    return {
        "tag": item.tag,
        "action": item.action,
        "digest": item.digest,
        "previous": item.previous,
        "bytes": item.size,
        "reason": item.reason,
    }


def important_first(items: Sequence[PlanItem]) -> list[PlanItem]:
    """Items by what a reader looks for first; otherwise in their order."""
    return sorted(items, key=lambda item: ORDER.index(item.action))


def table_rows(items: Sequence[PlanItem], *, limit: int = MAX_ROWS) -> list[Mapping[str, object]]:
    """The rows of the result table; beyond `limit`, one row says how many are left out."""
    rows: list[Mapping[str, object]] = [
        {
            "tag": item.tag,
            "action": item.action,
            "digest": str(item.digest or item.previous or ""),
            "bytes": item.size,
            "reason": item.reason,
        }
        for item in important_first(items)[:limit]
    ]
    if len(items) > limit:
        left = f"{len(items) - limit} more tags; `entrepot version diff` and `entrepot tag list` show all"
        rows.append({"tag": "…", "action": "", "digest": "", "bytes": 0, "reason": left})
    return rows


def change_row(item: PlanItem) -> tuple[str, str, str | None, int, str]:
    """Return an item as a terminal shows it."""
    return item.tag, item.action, item.digest or item.previous, item.size, item.reason


def change_rows(items: Sequence[PlanItem]) -> list[tuple[str, str, str | None, int, str]]:
    """Return the items that change something, as a terminal shows them, the important first."""
    return [change_row(item) for item in important_first(items) if item.action != "unchanged"]
