"""What is killed at each of its lines; imported by the server that the processes are forked from."""

from datetime import UTC, datetime
from pathlib import Path

from catalog.catalog import Catalog
from catalog.settings import read_settings
from tests.crash.killing import Traced
from tests.unit.catalog.conftest import push_image


def push_two(home: Path, traced: Traced) -> None:
    """Push `stable`, then `new`, which may be killed."""
    with Catalog(read_settings(home=home)) as catalog:
        push_image(catalog, "team/app", "stable", "stable")
        traced.told.send("stable")
        with traced.lines():
            push_image(catalog, "team/app", "new", "new")
        traced.told.send("new")


def delete_two(home: Path, traced: Traced) -> None:
    """Delete versions 1 and 2."""
    with Catalog(read_settings(home=home)) as catalog, traced.lines():
        catalog.deletion.delete_versions("team/app", [range(1, 3)], actor="test", now=datetime.now(UTC))
