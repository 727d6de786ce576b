"""The families of metrics: what each count is called, and what it means. docs/metrics.md is generated from here."""

from typing import NamedTuple


class Family(NamedTuple):
    """A metric: its name without `entrepot_` and `_total`, what it means, its labels, and whether it only grows."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()
    grows: bool = False


REQUESTS = Family(
    "requests", "Requests, by route and status; 499: the client was gone.", ("route", "method", "status"), True
)
SENT = Family("response_bytes", "Bytes of the bodies of responses.", ("route",), True)
SECONDS = Family("request_seconds", "Seconds from a request's head to the end of its response.", ("route", "method"))

NUMBERS = (
    Family(
        "commits",
        "Commits, by who wrote them: `direct`, or DuckDB for the reason that the label says.",
        ("writer",),
        True,
    ),
    Family("commit_versions", "Versions that commits made: several of one moment share a commit.", (), True),
    Family("commit_seconds", "Seconds that groups of commits took to be written.", (), True),
    Family("commit_wait_seconds", "Seconds that commits waited until they were durable, all together.", (), True),
    Family("upstream_responses", "Responses of upstream registries to this registry.", ("remote", "status"), True),
)
"""Counters of each process, whose sums are shown."""

GAUGES = (
    Family("snapshot_entries", "Tags, manifests and blobs of versions in memory, of the answering process."),
    Family("snapshot_entries_limit", "How many of them there may be."),
    Family("distributions", "Paths that serve repositories."),
    Family("caches", "Paths that are pull-through caches."),
    Family("repositories", "Repositories."),
    Family("blobs", "Blobs held."),
    Family("blob_bytes", "Bytes of blobs held, each once."),
    Family("disk_free_bytes", "Free bytes on the disk of the catalogue and of local blobs."),
    Family("upstream_budget_remaining", "Requests that an upstream still allows, as it last said.", ("remote",)),
    Family(
        "flow_runs", "Runs of our deployments, as Prefect says: running, pending, late, waiting for a slot.", ("state",)
    ),
    Family("flow_last_success_timestamp_seconds", "When a run of this deployment last completed.", ("deployment",)),
    Family("flow_last_failure_timestamp_seconds", "When a run of this deployment last failed.", ("deployment",)),
    Family(
        "sync_last_success_timestamp_seconds",
        "When `sync-repository` last completed for this repository, changed or not; of its last 200 runs.",
        ("repository",),
    ),
    Family("database_answers", "1 when PostgreSQL answered last, 0 when not; always 1 without PostgreSQL."),
    Family("ready", "1 when the catalogue can be read and the storage written, else 0."),
)

FAMILIES = (REQUESTS, SENT, SECONDS, *NUMBERS, *GAUGES)
PREFIX = "entrepot_"
"""What each name begins with."""


def full_name(family: Family) -> str:
    """Return the name of a metric, as a query has it."""
    return f"{PREFIX}{family.name}{'_total' if family.grows else ''}"
