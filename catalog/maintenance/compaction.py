"""Compaction of the lake in steps: each holds the write lock for moments, and leaves a catalogue that is whole, however it ends.

Source: DuckLake 1.0, "Maintenance". What versions hold never changes by it: they are rows, and DuckLake's snapshots, which do
expire, only say how the rows came to be.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb

from catalog.blobs.index import BlobIndex
from catalog.blobs.uploads import Uploads
from catalog.lake.connection import Lake
from catalog.maintenance.leases import settle_leases
from catalog.pull_counts import Pulls
from catalog.query.projection_writer import refresh_projection
from oci.errors import LocalError

log = logging.getLogger("catalog")
_META = "__ducklake_metadata_lake"
_SNAPSHOTS = 500
"""Snapshots that expire in one hold of the lock."""

_SMALL = 1_000_000
"""Bytes: files above that are not merged any more: one merge, of one partition's small files, stays within memory and moments."""

_REWRITTEN = 0.25
"""The share of a file's rows that must have been deleted for the file to be written anew."""


@dataclass(frozen=True, slots=True)
class MaintenanceStep:
    """One hold of the write lock: what it did, how much of it, and for how many seconds a push had to wait."""

    name: str
    done: int
    seconds: float


class Compaction:
    """The steps, in the order in which they are worth doing. Times are in seconds, `now` is a Unix time."""

    def __init__(self, lake: Lake, blob_index: BlobIndex, uploads: Uploads, pulls: Pulls) -> None:
        self._lake, self._blob_index, self._uploads, self._pulls = lake, blob_index, uploads, pulls

    def steps(self, *, keep_snapshots: float, grace: float, now: float) -> Iterator[MaintenanceStep]:
        """Do one step after the other. `keep_snapshots`: how long DuckLake's snapshots are kept; `grace`: leases older than that
        end, and files that nothing needs are removed then."""
        yield from self.compact_pulls(datetime.fromtimestamp(now, UTC).date())
        yield from self.flush()
        yield from self.merge()
        yield from self.rewrite()
        yield from self.project()
        yield from self.expire(before=now - keep_snapshots)
        yield from self.remove_files(before=now - grace)
        yield from self.drop_leases(before=now - grace, now=now)

    def compact_pulls(self, today: date) -> Iterator[MaintenanceStep]:
        """Add up pull counts."""
        began = time.monotonic()
        yield MaintenanceStep("compact-pulls", self._pulls.compact(today), time.monotonic() - began)

    def flush(self) -> Iterator[MaintenanceStep]:
        """Write rows that are kept in the bookkeeping into files, table by table."""
        for table in self._tables():
            yield MaintenanceStep("flush-rows", *self._lake.flush(table))

    def merge(self) -> Iterator[MaintenanceStep]:
        """Merge small files, one partition at a time."""
        for table in self._tables():
            while True:
                rows, seconds = self._lake.maintain(
                    "CALL ducklake_merge_adjacent_files('lake', ?, max_compacted_files => 1, max_file_size => ?)",
                    [table, _SMALL],
                )
                if not rows:
                    break
                yield MaintenanceStep("merge-files", sum(int(str(row[2])) for row in rows), seconds)

    def rewrite(self) -> Iterator[MaintenanceStep]:
        """Write files anew of which a good part was deleted."""
        for table in self._tables():
            rows, seconds = self._lake.maintain(
                "CALL ducklake_rewrite_data_files('lake', ?, delete_threshold => ?)", [table, _REWRITTEN]
            )
            yield MaintenanceStep("rewrite-files", sum(int(str(row[2])) for row in rows), seconds)

    def project(self) -> Iterator[MaintenanceStep]:
        """Bring the copy of rows that questions read up to date, while the snapshots that tell what has changed are there;
        without the write lock."""
        try:
            rows = refresh_projection(self._lake)
        except (OSError, duckdb.Error, LocalError) as error:  # such as a full disk: what frees it comes after
            log.warning("cannot write the projection of rows error=%s", str(error).partition("\n")[0])
            rows = 0
        yield MaintenanceStep("project-rows", rows, 0.0)

    def expire(self, *, before: float) -> Iterator[MaintenanceStep]:
        """Forget DuckLake's old snapshots, the newest never."""
        old = (
            f"SELECT snapshot_id FROM {_META}.ducklake_snapshot WHERE snapshot_time::TIMESTAMPTZ < to_timestamp(?) "
            f"AND snapshot_id < (SELECT max(snapshot_id) FROM {_META}.ducklake_snapshot) ORDER BY snapshot_id LIMIT {_SNAPSHOTS}"
        )
        while numbers := [int(str(row[0])) for row in self._lake.read(old, [before])]:
            _, seconds = self._lake.maintain(f"CALL ducklake_expire_snapshots('lake', versions => {numbers})")
            yield MaintenanceStep("expire-snapshots", len(numbers), seconds)

    def remove_files(self, *, before: float) -> Iterator[MaintenanceStep]:
        """Remove files that no snapshot needs since then, and those that a killed process has left."""
        for call in ("ducklake_cleanup_old_files", "ducklake_delete_orphaned_files"):
            rows, seconds = self._lake.maintain(f"CALL {call}('lake', older_than => to_timestamp(?))", [before])
            yield MaintenanceStep("remove-files", len(rows), seconds)

    def drop_leases(self, *, before: float, now: float) -> Iterator[MaintenanceStep]:
        """End old leases, and uploads that nobody resumes; without the write lock."""
        yield MaintenanceStep(
            "drop-leases", settle_leases(self._lake, self._blob_index, before=before, now=now).dropped, 0.0
        )
        yield MaintenanceStep("drop-uploads", self._uploads.sweep(now), 0.0)

    def _tables(self) -> list[str]:
        return [
            str(name)
            for (name,) in self._lake.read(
                f"SELECT table_name FROM {_META}.ducklake_table WHERE end_snapshot IS NULL ORDER BY table_name"
            )
        ]
