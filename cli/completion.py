"""Shell completion: repository names, versions and tags, read from the catalogue without changing it.

A completion says nothing when it cannot answer: without a home, or with a catalogue that cannot be read, it is empty.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import typer

LIMIT = 200
_BREAK = re.compile("[:@=]+")
"""What bash takes for words of their own, where it stands within a word (its COMP_WORDBREAKS)."""


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
    from catalog.blobs.lake_data import lake_place
    from catalog.query.first_column import read_first_column
    from catalog.settings import read_settings
    from oci.errors import EntrepotError

    home = context.params.get("home")
    try:
        settings = read_settings(home=Path(str(home)) if home else None)
        if not settings.has_catalog:
            return []
        return read_first_column(lake_place(settings), f"{sql} LIMIT {LIMIT}", parameters)
    except (EntrepotError, OSError):
        return []


def join_words(words: Sequence[str], current: int) -> tuple[list[str], str]:
    """Return the words up to the current one as they were typed, and what bash keeps of the last: `team/app:` of `team/app:1`.

    Bash splits words at `:`, `@` and `=`. It completes what stands behind, after an `@` with the `@`.
    """
    joined: list[str] = []
    kept, is_open = "", False
    for word in words[: current + 1]:
        is_break = _BREAK.fullmatch(word) is not None
        if joined and (is_break or (is_open and word)):
            kept = joined[-1] + ("" if word.startswith("@") else word if is_break else "")
            kept = kept.removesuffix("@")
            joined[-1] += word
        else:
            joined.append(word)
            kept = ""
        is_open = is_break
    return joined, kept


@contextlib.contextmanager
def words_of_bash() -> Iterator[None]:
    """Let a completion for bash see words as they were typed, and answer with what bash replaces; nothing for other runs."""
    if os.environ.get("_ENTREPOT_COMPLETE") != "complete_bash":
        yield
        return
    words, kept = join_words(os.environ["COMP_WORDS"].split("\n"), int(os.environ["COMP_CWORD"]))
    os.environ |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            yield
    finally:
        sys.stdout.write("".join(f"{line.removeprefix(kept)}\n" for line in told.getvalue().splitlines()))
