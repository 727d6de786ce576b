"""Rows of the record of held blobs that transactions write: those of ingests, and of a blob that is lost."""

from collections.abc import Sequence

from catalog.blobs.ingest_queue import Ingest
from catalog.database.engine import Transaction
from oci.digest import Digest

_LINK = """INSERT INTO links VALUES (?, ?, ?, ?) ON CONFLICT (repository, digest) DO UPDATE SET
    linked_at = excluded.linked_at,
    media_type = CASE excluded.media_type WHEN '' THEN links.media_type ELSE excluded.media_type END"""

_AT_ONCE = """WITH arrived AS (
    SELECT * FROM unnest(?::text[], ?::bigint[], ?::text[], ?::float8[]) AS rows (digest, size, repository, now)
), held AS (
    INSERT INTO blobs (digest, size, ingested_at, taken_by) SELECT digest, size, now, repository FROM arrived
    ON CONFLICT (digest) DO NOTHING
), delivered AS (
    INSERT INTO deliveries SELECT * FROM unnest(?::text[], ?::text[]) ON CONFLICT (digest, origin) DO NOTHING
), healed AS (
    UPDATE quarantine SET healed_at = arrived.now FROM arrived
    WHERE quarantine.digest = arrived.digest AND healed_at IS NULL
)
INSERT INTO links SELECT * FROM unnest(?::text[], ?::text[], ?::text[], ?::float8[])
ON CONFLICT (repository, digest) DO UPDATE SET linked_at = excluded.linked_at,
    media_type = CASE excluded.media_type WHEN '' THEN links.media_type ELSE excluded.media_type END"""
"""What `_write_one` does, of many blobs in one statement: PostgreSQL is asked once. No row may come twice."""


def write_rows(transaction: Transaction, ingests: Sequence[Ingest], *, at_once: bool) -> None:
    """Record blobs that are in their places, and lease them; with one statement of PostgreSQL if `at_once`."""
    if at_once:
        _write_at_once(transaction, ingests)
    else:
        for one in ingests:
            _write_one(transaction, one)


def _write_one(transaction: Transaction, one: Ingest) -> None:
    transaction.execute(
        "INSERT INTO blobs (digest, size, ingested_at, taken_by) VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO NOTHING",
        (one.digest, one.size, one.now, one.repository),
    )
    if one.origin:
        transaction.execute("INSERT INTO deliveries VALUES (?, ?) ON CONFLICT DO NOTHING", (one.digest, one.origin))
    transaction.execute(
        "UPDATE quarantine SET healed_at = ? WHERE digest = ? AND healed_at IS NULL", (one.now, one.digest)
    )
    transaction.execute(_LINK, (one.repository, one.digest, one.media_type, one.now))


def _write_at_once(transaction: Transaction, ingests: Sequence[Ingest]) -> None:
    if not ingests:
        return
    blobs = {one.digest: one for one in reversed(ingests)}  # the first of a digest brings it
    links: dict[tuple[str, str], tuple[str, float]] = {}
    for one in ingests:
        key = one.repository, one.digest
        links[key] = one.media_type or links.get(key, ("", 0.0))[0], one.now
    delivered = sorted({(one.digest, one.origin) for one in ingests if one.origin})
    ordered = sorted(links)  # rows are locked in the order of their key
    values = (
        list(blobs),
        [one.size for one in blobs.values()],
        [one.repository for one in blobs.values()],
        [one.now for one in blobs.values()],
        [digest for digest, _ in delivered],
        [origin for _, origin in delivered],
        [repository for repository, _ in ordered],
        [digest for _, digest in ordered],
        [links[key][0] for key in ordered],
        [links[key][1] for key in ordered],
    )
    transaction.executemany(_AT_ONCE, [values])  # nobody waits for it but with the COMMIT


def write_loss(transaction: Transaction, digest: Digest, size: int, reason: str, now: float) -> None:
    """Count a blob as not held, and as lost until it comes in again."""
    transaction.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    transaction.execute(
        "INSERT INTO quarantine VALUES (?, ?, ?, ?, NULL) ON CONFLICT (digest) DO UPDATE SET size = excluded.size, "
        "reason = excluded.reason, found_at = excluded.found_at, healed_at = NULL",
        (digest, size, reason, now),
    )
