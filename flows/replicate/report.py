"""The report of a replication, which Prefect's page shows."""

from collections import Counter

from catalog.settings import Settings
from flows.console.charts import bar, link, pie, plain_cell, table
from flows.console.links import repository_page
from flows.replicate.request import ReplicateResult

MAX_PATHS = 500


def replicate_report(settings: Settings, result: ReplicateResult) -> str:
    """Return a chart of what became of the paths, and the paths, what failed first and what is unchanged last. Pure."""
    counts = Counter(str(one.action) for one in result.replicas)
    total = sum(counts.values())
    shares = dict(counts.most_common())
    parts = [pie("Paths", shares)]
    if shares:
        rows = [(action, count, bar(count, total)) for action, count in shares.items()]
        parts.append(table(("result", "paths", ""), rows))
    shown = result.important_first()[:MAX_PATHS]
    if shown:
        lines = [
            (link(one.path, repository_page(settings, one.path)), one.action, one.version or "", plain_cell(one.note))
            for one in shown
        ]
        parts.append(table(("path", "result", "version", "note"), lines))
    if len(result.replicas) > len(shown):
        parts.append(f"{len(result.replicas) - len(shown)} more paths are not shown.")
    parts += [f"- {plain_cell(note)}" for note in result.notes[:50]]
    return "\n\n".join(filter(None, parts))
