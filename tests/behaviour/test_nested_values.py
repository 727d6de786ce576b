"""Nested values come back as they were written, whatever characters they hold, and homes that hold what DuckDB misreads heal."""

import json
import random
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import catalog.lake.connection
from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.nested_repair import parse_nested, robust_text
from catalog.lake.nested_values import CHILDREN, NESTED, TEXTS, as_nested, to_text
from catalog.lake.schema import TEXTS_SINCE
from catalog.settings import read_settings
from catalog.versions.rows import Record, fit_records
from oci.errors import CatalogUnusable

MARKS = "ab,'\"[]{}()\\ =\n\t:;/é\U0001f980NUL"
POISON = ["a}b", "a\\", "'}", "\\}", "a\\}, ", "},{'role': layer", "NULL", "", " a ", "a'b\\", "{", "\\'", "[x", "k=v"]
CHILD = pa.struct(
    [
        (name, pa.int64() if name == "size" else pa.string())
        for name in ("role", "digest", "media_type", "size", "platform")
    ]
)
FORMER = {"labels": pa.map_(pa.string(), pa.string()), "annotations": pa.map_(pa.string(), pa.string())}
FORMER |= {"children": pa.list_(CHILD)}
"""The types of the columns that older releases wrote."""


def odd_text(chance: random.Random) -> str:
    return chance.choice(POISON) if chance.random() < 0.2 else "".join(chance.choices(MARKS, k=chance.randrange(6)))


def odd_texts(chance: random.Random) -> dict[str, str]:
    return {odd_text(chance): odd_text(chance) for _ in range(chance.randrange(3))}


def odd_child(chance: random.Random) -> dict[str, object]:
    texts = {name: odd_text(chance) for name in ("role", "digest", "media_type", "platform")}
    return {**texts, "size": chance.choice([0, 12, -1, 2**53, 2**63 - 1])}


def odd_values(seed: int, count: int) -> list[dict[str, object]]:
    chance = random.Random(seed)
    return [
        {"labels": odd_texts(chance), "annotations": odd_texts(chance),
         "children": [odd_child(chance) for _ in range(chance.randrange(3))]}
        for _ in range(count)
    ]  # fmt: skip


def open_lake(folder: Path) -> Lake:
    return Lake(folder / "catalog.sqlite", memory="256MB", threads=2, lock_timeout=10)


def manifest(number: int, **more: object) -> Record:
    return {"repository": "team/app", "version": number, "action": "add", "kind": "manifest", "tag": "",
            "digest": f"sha256:{number:064x}", "size": 1, "media_type": "m", "manifest_kind": "index", **more}  # fmt: skip


def append(lake: Lake, rows: list[Record]) -> None:
    with lake.write() as writer:
        writer.append("records", rows)
        writer.describe("somebody", "writes", versions={})


def former_table(values: list[dict[str, object]]) -> pa.Table:
    """The rows as older releases wrote them."""
    rows = [manifest(number) for number in range(1, len(values) + 1)]
    plain = pa.Table.from_pylist(fit_records(rows))
    for name, kind in FORMER.items():
        nested = [list(one[name].items()) if isinstance(one[name], dict) else one[name] for one in values]  # type: ignore[attr-defined]
        plain = plain.append_column(name, pa.array(nested, kind))
    return plain


def append_former(lake: Lake, values: list[dict[str, object]]) -> None:
    """Insert nested values as DuckDB takes them from Arrow, which was how they were written."""
    with lake.write() as writer:
        cursor = writer.begin()
        cursor.register("former_rows", former_table(values))
        cursor.execute("INSERT INTO records BY NAME SELECT * FROM former_rows")
        cursor.unregister("former_rows")
        writer.describe("somebody", "writes", versions={})


def read_back(lake: Lake) -> list[dict[str, object]]:
    columns = ", ".join(as_nested("records", column) for column in NESTED["records"])
    rows = lake.read(f"SELECT {columns} FROM records WHERE kind = 'manifest' ORDER BY version")
    return [dict(zip(NESTED["records"], row, strict=True)) for row in rows]


@pytest.fixture
def former_schema(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lakes that are made meanwhile are of the last release that wrote nested columns."""
    monkeypatch.setattr(catalog.lake.connection, "SCHEMA_VERSION", TEXTS_SINCE - 1)
    return monkeypatch


def test_20_000_odd_values_come_back_inlined_and_flushed(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    values = odd_values(1, 20_000)
    rows = [
        manifest(number, **{f"{name}_json": to_text(value) for name, value in one.items()})  # type: ignore[arg-type]
        for number, one in enumerate(values, 1)
    ]
    for start in range(0, 1_600, 800):
        append(lake, fit_records(rows[start : start + 800]))
    assert read_back(lake) == values[:1_600]
    for start in range(1_600, 20_000, 9_200):
        append(lake, fit_records(rows[start : start + 9_200]))
    lake.flush("records")
    assert read_back(lake) == values
    lake.close()


def test_lists_of_texts_come_back_inlined_and_flushed(tmp_path: Path) -> None:
    """Such as patterns of tags: DuckDB reads these as it writes them."""
    lake, chance = open_lake(tmp_path), random.Random(2)
    lists = [[odd_text(chance) for _ in range(chance.randrange(4))] for _ in range(1_000)]
    with lake.write() as writer:
        writer.execute("CREATE TABLE lists (number BIGINT, texts VARCHAR[])")
    for start in range(0, 1_000, 500):
        with lake.write() as writer:
            some = [{"number": number, "texts": lists[number]} for number in range(start, start + 500)]
            writer.append("lists", some)
    assert [row[0] for row in lake.read("SELECT texts FROM lists ORDER BY number")] == lists
    lake.flush("lists")
    assert [row[0] for row in lake.read("SELECT texts FROM lists ORDER BY number")] == lists
    lake.close()


def test_former_texts_are_read_and_written_so_that_duckdb_reads_them(
    tmp_path: Path, former_schema: pytest.MonkeyPatch
) -> None:
    """Each text that DuckDB has written is one that is read here, and DuckDB reads what is made of it."""
    lake, values = open_lake(tmp_path), odd_values(3, 2_400)
    for start in range(0, 2_400, 800):
        append_former(lake, values[start : start + 800])
    (table,) = lake.read(
        "SELECT inlined.table_name FROM __ducklake_metadata_lake.ducklake_inlined_data_tables inlined JOIN "
        "__ducklake_metadata_lake.ducklake_table tables USING (table_id) WHERE tables.table_name = 'records' "
        "ORDER BY schema_version DESC LIMIT 1"
    )[0]
    for column, kind in NESTED["records"].items():
        texts = lake.read(f"SELECT {column} FROM __ducklake_metadata_lake.{table} ORDER BY row_id")
        written = [robust_text(str(text), kind) for (text,) in texts]
        found = lake.read(f"SELECT text::{kind} FROM (SELECT unnest(?) AS text)", [written])
        assert [row[0] for row in found] == [one[column] for one in values]
        assert [robust_text(text, kind) for text in written] == written
    lake.close()


def test_a_home_whose_upkeep_fails_heals(tmp_path: Path, former_schema: pytest.MonkeyPatch) -> None:
    settings = read_settings(home=tmp_path / "home")
    values = [*odd_values(4, 100), poisonous("k\\")]
    lake = open_lake(settings.catalog_file.parent)
    versions = [{**version, "version": number} for number, version in enumerate([VERSION] * len(values), 1)]
    append(lake, fit_records(versions))
    append_former(lake, values)
    with pytest.raises(CatalogUnusable):
        lake.flush("records")
    with pytest.raises(CatalogUnusable):
        lake.read("SELECT children FROM records")
    lake.close()
    former_schema.undo()

    with Catalog(settings) as healed:
        found = healed.query.run("SELECT labels, annotations, children FROM manifests ORDER BY version").to_pylist()
        assert [
            {**one, "labels": dict(one["labels"]), "annotations": dict(one["annotations"])} for one in found
        ] == values
        assert {step.name for step in healed.maintenance.steps(keep_snapshots=0, grace=0)} >= {"flush-rows"}
        again = healed.query.run("SELECT labels, annotations, children FROM manifests ORDER BY version").to_pylist()
        assert again == found
        parts = sum(len(children) for one in values if isinstance(children := one["children"], list))
        assert healed.query.run("SELECT digest FROM descriptors").num_rows == parts
        digests = healed.history.children("team/app").values()
        assert ("sha256:poison",) in [tuple(map(str, some)) for some in digests]


def test_rows_of_former_releases_that_a_squash_writes_anew_stay_readable(
    tmp_path: Path, former_schema: pytest.MonkeyPatch
) -> None:
    settings = read_settings(home=tmp_path / "home")
    values = [poisonous("k\\")] * 3
    lake = open_lake(settings.catalog_file.parent)
    append(lake, fit_records([{**VERSION, "version": number} for number in (1, 2, 3)]))
    append_former(lake, values)
    lake.close()
    former_schema.undo()
    with Catalog(settings) as healed:
        before = healed.query.run(
            "SELECT digest, labels, annotations, children FROM manifests ORDER BY digest"
        ).to_pylist()
        healed.deletion.delete_versions("team/app", [range(1, 3)], actor="somebody", now=NOW)
        list(healed.maintenance.steps(keep_snapshots=0, grace=0))
        after = healed.query.run(
            "SELECT digest, labels, annotations, children FROM manifests ORDER BY digest"
        ).to_pylist()
    assert after == before
    assert len(after) == 3


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (
            "[{'role': layer, 'size': 1, 'platform': NULL}, NULL]",
            [{"role": "layer", "size": "1", "platform": None}, None],
        ),
        ("{a=b, k='https://x'}", {"a": "b", "k": "https://x"}),
        ("{a\\=v, 'b\\\\'='\\''}", {"a\\": "v", "b\\": "'"}),
        ("[]", []),
        ("{}", {}),
    ],
)
def test_texts_are_read_as_duckdb_writes_them(text: str, value: object) -> None:
    assert parse_nested(text) == value


def test_types_are_the_same_whichever_release_wrote_the_row(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    append(lake, fit_records([manifest(1, labels_json=json.dumps({"a": "b"}), children_json="[]")]))
    kinds = lake.read(
        f"SELECT typeof({as_nested('records', 'labels')}), typeof({as_nested('records', 'children')}) FROM records"
    )
    assert kinds == [(TEXTS, CHILDREN.replace("role", '"role"'))]
    lake.close()


def poisonous(key: str) -> dict[str, object]:
    child = {"role": "manifest", "digest": "sha256:poison", "media_type": "m", "size": 3, "platform": "linux/arm/a}b"}
    return {"labels": {key: "a'b"}, "annotations": {}, "children": [child]}


NOW = datetime(2026, 1, 1, tzinfo=UTC)
VERSION: Record = {
    "repository": "team/app", "base": 0, "action": "add", "kind": "version", "operation": "push", "actor": "somebody",
    "created_at": NOW,
    "tags": 0, "manifests": 1, "blobs": 0, "size_bytes": 1, "added": 1, "removed": 0,
}  # fmt: skip
