"""Patterns of earlier releases decide as before once they are spelled anew: any pattern, and caches kept."""

from collections.abc import Callable
from datetime import UTC, datetime
from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import catalog.lake.connection
from catalog.catalog import Catalog
from catalog.distributions.cache_rules import CacheRules
from catalog.distributions.records import Distribution
from catalog.lake.schema import MIGRATIONS
from catalog.lake.wide_patterns import respell, respell_cache_rules
from catalog.path_patterns import matches, parse_path_pattern

BEFORE = MIGRATIONS.index((respell_cache_rules,))
"""The version of the schema whose caches had wide patterns."""

PATHS = st.from_regex(r"[a-c]{1,2}(\.b)?(/[a-c]{1,2}){0,3}", fullmatch=True)
GLOBS = st.lists(
    st.sampled_from(["a", "b", "c", "/", "*", "**", "?", "[ab]", "[!a]", "[a /]", ".", "/*", "A", " "]), max_size=6
)


@given(pattern=GLOBS.map("".join), paths=st.lists(PATHS, min_size=1, max_size=20))
@settings(max_examples=500, deadline=None)
def test_every_glob_fits_the_paths_that_it_fitted(pattern: str, paths: list[str]) -> None:
    spelled = parse_path_pattern(respell(pattern))
    assert [matches(spelled, path) for path in paths] == [fnmatchcase(path, pattern) for path in paths]


@pytest.mark.parametrize(
    ("former", "spelled"),
    [
        ("team/app", "team/app"),
        ("team/*", "team/*/**"),
        ("team/**", "team/*/**"),
        ("team*", "team**"),
        ("*", "**"),
        ("*/app", "**/app"),
        ("a*b/*/c", "a**b/**/c"),
        ("re:team/.*", "re:team/.*"),
        ("re:a b", "re:a\\x20b"),
        ("a\nb?", "re:a\\x0ab."),
        ("team/a?p", "re:team/a.p"),
        ("sha256:" + "0" * 64, "re:(?!)"),
        ("semver:>=1", "re:(?!)"),
        ("", "re:(?!)"),
    ],
)
def test_spellings(former: str, spelled: str) -> None:
    assert parse_path_pattern(respell(former)) == spelled


NAMES = ("library", "library/nginx", "library/sub/nginx", "team/app", "team/secret/app", "teams", "other")
FORMER = (("library/*", "team*", "te?m/app"), ("*/secret/*", "re:.*x$"))


def test_a_cache_of_an_older_home_takes_what_it_took(
    home: object, open_again: Callable[..., Catalog], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    with monkeypatch.context() as patch:
        patch.setattr(catalog.lake.connection, "SCHEMA_VERSION", BEFORE)
        old = open_again()
        rules = CacheRules(*FORMER, max_size=5)
        for path, found in (("cache", rules), ("plain", CacheRules())):
            made = Distribution(path, "", now, now, remote="registry.example", cache=found)
            old.distributions.put(made, actor="admin")
        old.close()
    for _ in range(2):  # what is spelled anew once is not respelled
        migrated = open_again()
        rules = migrated.distributions.get("cache").cache
        assert rules.include == ("library/*/**", "team**", "re:te.m/app")
        assert [rules.selects(name) for name in NAMES] == [_took(name) for name in NAMES]
        assert rules.max_size == 5
        assert rules.check() == rules
        assert migrated.distributions.get("plain").cache == CacheRules()
        migrated.close()


def _took(name: str) -> bool:
    """Return what the earlier release decided: its `*` crossed parts."""
    include, (secret, _) = FORMER
    return any(fnmatchcase(name, one) for one in include) and not fnmatchcase(name, secret) and not name.endswith("x")
