"""The views of questions tell what the lake's own do, of deleted versions too."""

from datetime import UTC, datetime

from catalog.catalog import Catalog
from tests.unit.catalog.conftest import push_image

NAME = "team/app"


def test_a_deleted_version_is_neither_a_change_nor_a_member_nor_a_base(catalog: Catalog) -> None:
    for number in range(3):
        push_image(catalog, NAME, f"v{number}", str(number))
    catalog.deletion.delete_versions(NAME, [range(1, 2)], actor="tester", now=datetime.now(UTC))
    for view in ("changes", "members"):
        rows = catalog.query.run(f"SELECT DISTINCT kind FROM {view} ORDER BY kind").to_pylist()
        assert [row["kind"] for row in rows] == ["blob", "manifest", "tag"], view
    bases = catalog.query.run("SELECT number, base FROM versions ORDER BY number").to_pylist()
    assert [(row["number"], row["base"]) for row in bases] == [
        (row.number, row.base) for row in reversed(catalog.history.versions(NAME))
    ]
