"""Replicas of two releases share PostgreSQL: steps of its tables only add, and those of the lake that do more are named."""

import re

import pytest

from catalog.blobs.schema import SCHEMA
from catalog.blobs.shared_uploads.session_rows import SESSIONS_SCHEMA
from catalog.database.engine import Schema, statements
from catalog.lake.schema import BREAKING, MIGRATIONS
from catalog.state.shared_state import STATE_SCHEMA
from catalog.webhooks.queue import QUEUE_SCHEMA

FIRST_WITH_RULE = 17
"""The number of the lake's schema that the first entry under this rule leads to."""

ADDITION = re.compile(
    r"CREATE (TABLE|INDEX|VIEW|OR REPLACE VIEW)\b|ALTER TABLE \w+ ADD COLUMN (?!.* NOT NULL(?!.* DEFAULT))", re.DOTALL
)


@pytest.mark.parametrize("schema", [SCHEMA, SESSIONS_SCHEMA, STATE_SCHEMA, QUEUE_SCHEMA], ids=lambda one: one.name)
def test_steps_of_postgresql_only_add(schema: Schema) -> None:
    for step in schema.postgresql[1:]:
        for statement in statements(step):
            assert ADDITION.match(statement), statement


def test_entries_of_the_lake_that_do_more_than_add_are_named() -> None:
    for number, entry in list(enumerate(MIGRATIONS, 1))[FIRST_WITH_RULE - 1 :]:
        only_adds = all(isinstance(one, str) and ADDITION.match(one.strip()) for one in entry)
        assert only_adds or number in BREAKING, number


@pytest.mark.parametrize(
    ("statement", "adds"),
    [
        ("CREATE TABLE more (name TEXT)", True),
        ("ALTER TABLE blobs ADD COLUMN kind TEXT", True),
        ("ALTER TABLE blobs ADD COLUMN kind TEXT NOT NULL DEFAULT ''", True),
        ("ALTER TABLE blobs ADD COLUMN kind TEXT NOT NULL", False),
        ("ALTER TABLE blobs DROP COLUMN size", False),
        ("UPDATE blobs SET size = 0", False),
    ],
)
def test_what_counts_as_an_addition(statement: str, *, adds: bool) -> None:
    assert bool(ADDITION.match(statement)) is adds
