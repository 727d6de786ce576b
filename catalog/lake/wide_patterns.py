"""Patterns of paths as earlier releases wrote some of them: globs whose `*` crossed parts, now spelled anew.

Caches' names, pushes, replications, reclaims, evictions, prefetches and retention runs had them.
"""

import re
from fnmatch import translate

import duckdb

_NOTHING = "re:(?!)"
"""A pattern that no path fits."""


def respell(text: str) -> str:
    """Return the pattern of `catalog.path_patterns` that fits the paths that an earlier release's wide pattern fitted.

    No path is empty, ends with a slash or has two in a row, so that `team/*` fitted `team/app` and `team/sub/app`, not `team`.
    """
    if not text.removeprefix("re:") or text.startswith(("sha256:", "sha512:", "semver:")):  # languages of tags
        return _NOTHING
    if text.startswith("re:") or not re.fullmatch("[a-z0-9._/*-]+", text):
        return f"re:{_without_blanks(text.removeprefix('re:') if text.startswith('re:') else _expression(text))}"
    deep = re.sub(r"\*+", "**", text)
    return f"{deep.removesuffix('**')}*/**" if deep.endswith("/**") else deep


def _expression(text: str) -> str:
    found = re.fullmatch(r"\(\?s:(.*)\)\\[zZ]", translate(text), re.DOTALL)
    assert found is not None
    return found[1]


def _without_blanks(expression: str) -> str:
    return re.sub(r"\\?(\s)", lambda found: f"\\x{ord(found[1]):02x}" if ord(found[1]) < 256 else found[1], expression)


def respell_cache_rules(connection: duckdb.DuckDBPyConnection) -> None:
    """Spell the names that caches include and exclude anew, within the transaction of a migration."""
    rows = connection.execute("SELECT path, include_names, exclude_names FROM distributions").fetchall()
    for path, include, exclude in rows:
        if include or exclude:
            connection.execute(
                "UPDATE distributions SET include_names = ?, exclude_names = ? WHERE path = ?",
                [[respell(one) for one in include or ()], [respell(one) for one in exclude or ()], path],
            )
