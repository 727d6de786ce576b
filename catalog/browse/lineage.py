"""Lineage: how the same manifest came into repositories, and where it left by; one query."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from catalog.audit import Event
from catalog.lake.connection import Lake
from catalog.lake.reading import listed
from catalog.versions.version_origins import VersionOrigin, parse_origins
from oci.digest import Digest

MOST_LEAVINGS = 50
Departure = Literal["export", "push-to-registry"]
LEAVING = get_args(Departure)
"""The actions of audit events that say that a version, or a part of it, went out."""

_READ = f"""
WITH brought AS (
    SELECT repository, min(version) AS number FROM records
    WHERE repository IN (SELECT unnest(string_split($names, ' '))) AND kind = 'manifest' AND action = 'add' AND digest = $digest
    GROUP BY repository
), came AS (
    SELECT repository, number, operation, actor, created_at, origins FROM versions JOIN brought USING (repository, number)
), went AS (
    SELECT acts.name AS repository, (detail->>'version')::BIGINT AS number, action AS operation, actor,
        happened_at AS created_at, detail AS origins
    FROM acts JOIN brought ON brought.repository = acts.name
    WHERE action IN {LEAVING} AND outcome = 'done' AND try_cast(detail->>'version' AS BIGINT) >= brought.number
    ORDER BY happened_at DESC LIMIT {MOST_LEAVINGS}
)
SELECT false, * FROM came UNION ALL SELECT true, * FROM went ORDER BY created_at, repository"""


@dataclass(frozen=True, slots=True)
class LineageStep:
    """How a repository got a manifest: the version that brought it, from where; or, where it `left`, to which `target`."""

    repository: str
    number: int
    operation: str
    actor: str
    at: datetime
    origins: tuple[VersionOrigin, ...] = ()
    left: bool = False
    target: str = ""


def departure_event(
    action: Departure, repository: str, version: int, target: str, *, actor: str, run_id: str, now: datetime
) -> Event:
    """Return the audit event of a version that went out to a bundle or a registry. Pure."""
    return Event(now, actor, action, repository, detail={"version": version, "target": target, "flow_run_id": run_id})


def read_lineage(lake: Lake, digest: Digest, repositories: Iterable[str]) -> list[LineageStep]:
    """Return how a manifest came into repositories and went out of them, by time; one query."""
    rows = lake.read(_READ, {"names": listed(repositories), "digest": digest})
    steps = []
    for left, repository, number, operation, actor, at, text in cast("list[tuple[Any, ...]]", rows):
        target = str(json.loads(text).get("target") or "")[:300] if left and text else ""
        origins = () if left else parse_origins(text)
        steps.append(LineageStep(repository, int(number), operation, actor, at, origins, bool(left), target))
    return steps
