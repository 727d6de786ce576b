"""Direct commits and DuckDB's own: whatever is asked of the lake afterwards, the answers are the same.

Three lakes get the same commits: one by DuckDB, one by the worker, one by either in turns. `TEST_COMMITS` sets how many
commits; run `make nightly` for each release of DuckDB or DuckLake before it is added to `choice.PROVEN`.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from catalog.database.postgresql import PostgresDatabase
from catalog.lake.connection import Lake
from catalog.lake.direct.choice import DIRECT
from catalog.lake.metadata.data import LakeData
from catalog.lake.metadata.engine import Metadata
from catalog.lake.metadata.postgresql import PostgresMetadata
from catalog.lake.nested_values import to_text
from catalog.lake.writer import Writer
from catalog.postgres_address import parse_address
from oci.digest import Digest
from tests.postgresql import PostgresServer

COMMITS = int(os.environ.get("TEST_COMMITS", "40"))
ODD = [*"aZ0/_-. ,'\":=()[]{}", "é", "✓", "😀", "日本", "\n", "\t", "\\", "\x01", "\u00a0", "NULL", "null", "true"]
NUMBERS = [0, 1, -1, 2**63 - 1, -(2**63), 2**53 + 1, 10**18, 999, None]
ROW_HASH = "count(*), bit_xor(hash(r)), sum(hash(r)::HUGEINT)"
TABLES = ("records", "distributions", "pulls")
Deed = Callable[[Writer], None]


class Engine:
    """Opens and copies lakes in SQLite files."""

    def open_lake(self, folder: Path, *, direct: bool) -> Lake:
        return self._open(folder, direct, None)

    @staticmethod
    def _open(folder: Path, direct: bool, metadata: Metadata | None) -> Lake:
        file = folder / "catalog.sqlite"
        return Lake(
            file, memory="512MB", threads=1, lock_timeout=10, direct_commits=direct, worker_after=0, metadata=metadata
        )

    def copy(self, folder: Path, to: Path) -> None:
        shutil.copytree(folder, to)

    def close(self) -> None:
        pass


class PostgresEngine(Engine):
    """Opens and copies lakes in databases of a server."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._urls: dict[Path, str] = {}
        self._databases: list[PostgresDatabase] = []

    def open_lake(self, folder: Path, *, direct: bool) -> Lake:
        folder.mkdir(exist_ok=True)
        if folder not in self._urls:
            self._urls[folder] = self._server.new_database()
        database = PostgresDatabase(parse_address(self._urls[folder], self._server.password))
        self._databases.append(database)
        return self._open(folder, direct, PostgresMetadata(database, LakeData(f"{folder / 'data'}/"), lock_timeout=10))

    def copy(self, folder: Path, to: Path) -> None:
        self.close()
        super().copy(folder, to)
        self._urls[to] = self._server.new_database(template=self._urls[folder])

    def close(self) -> None:
        for database in self._databases:
            database.close()
        self._databases.clear()


class Trio:
    """The three lakes; `do` makes a commit in each."""

    def __init__(self, folder: Path, seed: int, engine: Engine) -> None:
        open_lake = engine.open_lake
        base = open_lake(folder / "base", direct=False)
        for table in TABLES:  # what older shapes would have held goes: it would go under who looks into the past
            base.flush(table)
        base.close()
        for name in ("duckdb", "direct", "mixed"):
            engine.copy(folder / "base", folder / name)
        self.duckdb = open_lake(folder / "duckdb", direct=False)
        self.direct = open_lake(folder / "direct", direct=True)
        self.mixed = open_lake(folder / "mixed", direct=True), open_lake(folder / "mixed", direct=False)
        for lake in (self.direct, self.mixed[0]):
            lake.worker.start()
            assert lake.worker.is_ready(wait=30)
        self._chance = random.Random(seed)

    def do(self, deed: Deed) -> None:
        for lake in (self.duckdb, self.direct, self._chance.choice(self.mixed)):
            with lake.write() as writer:
                deed(writer)

    def maintain(self, sql: str) -> None:
        """Do the same to each; which of the two that share a lake is chance."""
        self.check(lambda lake: lake.maintain(sql)[0], others=(self._chance.choice(self.mixed),))

    def flush(self, *tables: str) -> None:
        others = (self._chance.choice(self.mixed),)
        for table in tables or TABLES:
            self.check(lambda lake, table=table: lake.flush(table)[0], others)  # type: ignore[misc]

    def check(self, ask: Callable[[Lake], object], others: tuple[Lake, ...] = ()) -> None:
        wanted = ask(self.duckdb)
        for lake in (self.direct, *(others or self.mixed)):
            assert ask(lake) == wanted, lake.file.parent.name

    def same(self, sql: str) -> None:
        self.check(lambda lake: lake.read(sql))

    def close(self) -> None:
        for lake in (self.duckdb, self.direct, *self.mixed):
            lake.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    if request.param == "sqlite":
        return Engine()
    return PostgresEngine(request.getfixturevalue("postgres_server"))


@pytest.fixture
def trio(tmp_path: Path, engine: Engine) -> Iterator[Trio]:
    made = Trio(tmp_path, 5, engine)
    yield made
    made.close()
    engine.close()


def odd_text(chance: random.Random, length: int = 6) -> str:
    return "".join(chance.choice(ODD) for _ in range(chance.randint(0, length)))


def append_of(number: int) -> Deed:
    """Return one commit such as the product makes, with values chosen against the writer."""
    chance = random.Random(number)
    repository = f"team/app{chance.randint(0, 9)}" if chance.random() < 0.9 else f"t/{odd_text(chance)}"
    when = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(
        seconds=61 * number, microseconds=chance.choice([0, 100000, 123456])
    )
    if chance.random() < 0.03:
        when = when.replace(year=chance.choice([1970, 1066, 9999]))
    records: list[dict[str, object]] = [{
        "repository": repository, "version": number, "base": chance.choice([None, number - 1]), "action": "add",
        "kind": "version", "operation": "push", "operation_id": f"op-{number}", "actor": odd_text(chance),
        "flow_run_id": "", "message": odd_text(chance, 20), "created_at": when, "tags": chance.choice(NUMBERS),
        "size_bytes": chance.choice(NUMBERS),
    }]  # fmt: skip
    for place in range(chance.randint(0, 7)):
        digest = Digest.of(f"{number} {place}".encode())
        child = {"role": "layer", "digest": digest, "size": 1, "platform": odd_text(chance)}
        records.append({
            "repository": repository, "version": number, "action": chance.choice(["add", "remove"]),
            "kind": chance.choice(["tag", "manifest", "blob"]), "tag": odd_text(chance), "digest": digest,
            "size": chance.choice(NUMBERS), "artifact_type": chance.choice(["", None, odd_text(chance)]),
            "labels_json": to_text({odd_text(chance): odd_text(chance)}), "children_json": to_text([child]),
        })  # fmt: skip

    served: tuple[object, ...] = (
        f"{repository}-{number}", repository, None, chance.random() < 0.5, odd_text(chance), when, when, None, 60, None,
        None, [odd_text(chance) for _ in range(chance.randrange(3))], [odd_text(chance)], [], "with-images",
        chance.choice([None, 0, 5]), chance.choice([0.0, 0.5, 1e22, None]), None, 3, None, "{}",
    )  # fmt: skip
    pulled = (repository, odd_text(chance), f"sha256:{number}", date(2026, 1, 1 + number % 28), 3, when)
    actor, message, is_served, is_pulled = odd_text(chance), odd_text(chance), *(chance.random() < 0.2 for _ in "12")

    def deed(writer: Writer) -> None:
        writer.append("records", records)
        writer.insert("distributions", [served] if is_served else [])
        writer.insert("pulls", [pulled] if is_pulled else [])
        writer.describe(actor, message, versions={repository: range(number, number + 1)})

    return deed


def questions(first: int, last: int, step: int) -> Iterator[str]:
    """Everything that DuckLake answers: versions, time travel, changes, row ids, filters on bounds, and its bookkeeping."""
    note = "json_merge_patch(commit_extra_info, '{\"commit\": null}')"  # without what no other commit has
    columns = f"snapshot_id, schema_version, changes, author, commit_message, {note}"
    yield f"SELECT {columns} FROM lake.snapshots() ORDER BY 1"
    for version in range(first, last + 1, step):
        for table in TABLES:
            yield f"SELECT {ROW_HASH} FROM (SELECT * FROM {table} AT (VERSION => {version})) r"
        yield f"SELECT count(*), bit_xor(hash(rowid, repository, kind, digest)) FROM records AT (VERSION => {version})"
        until = min(version + 6, last)
        yield (
            "SELECT snapshot_id, rowid, change_type, hash(repository, version, kind, created_at, size) "
            f"FROM lake.table_changes('records', {version}, {until}) ORDER BY ALL"
        )
    chance = random.Random(first)
    for _ in range(6):
        number = chance.randint(0, 2 * COMMITS)
        yield f"SELECT {ROW_HASH} FROM records r WHERE version {chance.choice('<>=')} {number}"
        yield f"SELECT {ROW_HASH} FROM records r WHERE repository = 'team/app{number % 12}'"
        yield f"SELECT {ROW_HASH} FROM records r WHERE created_at < TIMESTAMPTZ '2026-01-01 0{number % 6}:00:00+00'"
        yield f"SELECT {ROW_HASH} FROM records r WHERE digest < 'sha256:{number % 10}'"
    for condition in (
        f"version > {2 * COMMITS}", "version < 0", "repository IS NULL", "artifact_type IS NULL", "base IS NULL",
        "size = 9223372036854775807", "size = -9223372036854775808", "labels_json IS NULL", "labels IS NULL",
    ):  # fmt: skip
        yield f"SELECT {ROW_HASH} FROM records r WHERE {condition}"
    for days in ("0", "0.4", "1e21", "1e22"):
        yield f"SELECT {ROW_HASH} FROM distributions r WHERE keep_unused_days > {days}"
    yield "SELECT min(version), max(version), min(repository), max(repository), min(tag), max(tag), count(base) FROM records"
    yield "SELECT * FROM distributions ORDER BY ALL"
    yield "SELECT * FROM versions ORDER BY ALL"
    yield "SELECT * FROM members ORDER BY ALL"
    yield "SELECT * FROM ducklake_table_info('lake') ORDER BY ALL"
    yield from BOOKKEEPING


LAKE = "__ducklake_metadata_lake"
BOOKKEEPING = (
    f"SELECT table_id, column_id, contains_null::BOOL, contains_nan::BOOL, min_value, max_value, extra_stats "
    f"FROM {LAKE}.ducklake_table_column_stats ORDER BY ALL",
    f"SELECT * FROM {LAKE}.ducklake_table_stats ORDER BY ALL",
    f"SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM {LAKE}.ducklake_snapshot ORDER BY 1",
    f"SELECT snapshot_id, changes_made, author, commit_message FROM {LAKE}.ducklake_snapshot_changes ORDER BY 1",
    f"SELECT * FROM {LAKE}.ducklake_inlined_data_tables ORDER BY ALL",
)


def counted_rows(lake: Lake) -> list[tuple[object, ...]]:
    """Return how many rows of `records` the bookkeeping counts."""
    sql = f"SELECT record_count FROM {LAKE}.ducklake_table_stats JOIN {LAKE}.ducklake_table USING (table_id)"
    return lake.read(f"{sql} WHERE table_name = 'records'")


def newest(trio: Trio) -> int:
    return int(str(trio.duckdb.read(f"SELECT max(snapshot_id) FROM {LAKE}.ducklake_snapshot")[0][0]))


def check_all(trio: Trio, first: int, step: int, *, without: str = "ducklake_table_info") -> None:
    """Ask all; `without`: not what holds this, which depends on how each lake's files came to be."""
    for sql in questions(first, newest(trio), step):
        if without not in sql:
            trio.same(sql)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_after_direct_commits_every_answer_is_that_after_duckdbs_own(trio: Trio) -> None:
    first = newest(trio) + 1
    for number in range(1, COMMITS + 1):
        trio.do(append_of(number))
    assert set(trio.direct.commit_counts) == {DIRECT}
    assert trio.direct.commit_counts.total() == COMMITS
    assert 0 < trio.mixed[0].commit_counts[DIRECT] < COMMITS
    check_all(trio, first, 7, without="nothing")
    for lake in (trio.duckdb, trio.direct, *trio.mixed):  # each lake has times of its own
        for version, when in lake.read(
            f"SELECT snapshot_id, snapshot_time FROM lake.snapshots() WHERE snapshot_id > {first + 9}"
        )[::9]:
            at = [f"SELECT {ROW_HASH} FROM (SELECT * FROM records AT ({moment})) r" for moment in (
                f"TIMESTAMP => '{when}'::TIMESTAMPTZ", f"VERSION => {version}")]  # fmt: skip
            assert lake.read(at[0]) == lake.read(at[1])

    trio.flush("records")
    check_all(trio, first, 11)
    for number in range(COMMITS + 1, COMMITS + 21):
        trio.do(append_of(number))
    check_all(trio, first, 13)

    trio.flush()
    trio.maintain("SELECT count(*) FROM ducklake_merge_adjacent_files('lake')")
    check_all(trio, first, 17)
    kept = newest(trio) - 15
    expired = f"list_transform(range({first}, {kept}), x -> x::UBIGINT)"
    trio.maintain(f"SELECT count(*) FROM ducklake_expire_snapshots('lake', versions => {expired})")
    trio.maintain("SELECT count(*) FROM ducklake_cleanup_old_files('lake', cleanup_all => true)")
    trio.maintain("SELECT count(*) FROM ducklake_delete_orphaned_files('lake', cleanup_all => true)")
    check_all(trio, kept, 5)
    trio.do(lambda writer: writer.delete("records", "repository", "team/app3"))
    trio.maintain("SELECT count(*) FROM ducklake_rewrite_data_files('lake', 'records')")
    for number in range(COMMITS + 21, COMMITS + 31):
        trio.do(append_of(number))
    assert counted_rows(trio.direct) == trio.direct.read("SELECT count(*) FROM records")
    check_all(trio, kept, 5, without="table_stats")  # DuckDB goes on counting rows that its rewriting has dropped


@pytest.mark.slow
def test_histories_in_which_both_writers_and_maintenance_take_turns(trio: Trio) -> None:
    chance, first = random.Random(11), newest(trio) + 1
    for number in range(1, COMMITS):
        match chance.randrange(12):
            case 0 | 1:
                trio.maintain("SELECT count(*) FROM ducklake_merge_adjacent_files('lake', 'records')")
            case 2:
                name = f"team/app{chance.randrange(10)}"
                trio.do(lambda writer, name=name: writer.delete("records", "repository", name))  # type: ignore[misc]
            case 3:
                trio.do(lambda writer: writer.execute("UPDATE records SET kind = 'squashed' WHERE version % 7 = 0"))
            case 4:
                trio.flush("records")
            case 5:
                trio.do(lambda writer: writer.execute("COMMENT ON TABLE schema_versions IS 'another'"))
            case _:
                trio.do(append_of(number))
    check_all(trio, first, 9)
