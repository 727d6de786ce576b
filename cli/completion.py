"""Shell completion: repository names, versions and tags, read from the catalogue without changing it.

A completion says nothing when it cannot answer: without a home, or with a catalogue that cannot be read, it is empty.
"""

from collections.abc import Sequence
from pathlib import Path

import typer

LIMIT = 200


def repositories(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a repository's name."""
    return _read(context, "SELECT name FROM lake.repositories WHERE starts_with(name, ?) ORDER BY 1", [incomplete])


def versions(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a version's number, newest first; the repository is the argument before it."""
    sql = (
        "SELECT number FROM lake.versions WHERE repository = ? AND starts_with(number::VARCHAR, ?) ORDER BY number DESC"
    )
    return _read(context, sql, [str(context.params.get("name") or context.params.get("repository") or ""), incomplete])


def versions_of(context: typer.Context, incomplete: str) -> list[str]:
    """Complete NAME, then NAME@NUMBER."""
    name, at, number = incomplete.partition("@")
    if not at:
        return repositories(context, incomplete)
    sql = """SELECT number FROM lake.versions WHERE repository = ? AND starts_with(number::VARCHAR, ?)
             ORDER BY number DESC"""
    return [f"{name}@{found}" for found in _read(context, sql, [name, number])]


def tags_of(context: typer.Context, incomplete: str) -> list[str]:
    """Complete NAME, then NAME:TAG of the latest version."""
    name, colon, tag = incomplete.partition(":")
    if not colon:
        return repositories(context, incomplete)
    sql = "SELECT DISTINCT tag FROM lake.tags WHERE repository = ? AND starts_with(tag, ?) ORDER BY tag"
    return [f"{name}:{found}" for found in _read(context, sql, [name, tag])]


def _read(context: typer.Context, sql: str, parameters: Sequence[str]) -> list[str]:
    """Return the first column of a question's rows; none where there is no catalogue to read."""
    from catalog.query.first_column import read_first_column
    from catalog.settings import read_settings
    from oci.errors import EntrepotError

    home = context.params.get("home")
    try:
        settings = read_settings(home=Path(str(home)) if home else None)
        if not settings.catalog_file.is_file():
            return []
        return read_first_column(settings.catalog_file, f"{sql} LIMIT {LIMIT}", parameters)
    except (EntrepotError, OSError):
        return []
