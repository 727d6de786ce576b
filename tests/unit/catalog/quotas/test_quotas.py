"""Quotas hold exactly, whoever pushes at the same time, and never hinder what shrinks."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.catalog import Catalog
from catalog.quotas.quotas import Quota, check_quota, judge_growth, judge_warning
from catalog.quotas.totals import Total
from catalog.versions.changes import RemoveManifest, RemoveTag
from oci.errors import InvalidInput, QuotaExceeded, QuotaUnknown
from tests.unit.catalog.conftest import commit_to, push_image


@pytest.mark.parametrize(
    ("used", "change", "refused"),
    [
        (Total(9, 90), Total(1, 10), False),
        (Total(10, 50), Total(1, 0), True),
        (Total(5, 100), Total(0, 1), True),
        (Total(20, 500), Total(0, 0), False),  # the quota came later: what adds nothing goes on
        (Total(20, 500), Total(-1, -10), False),
        (Total(20, 50), Total(-1, 10), False),
    ],
)
def test_growth_is_refused_above_the_limit_and_nothing_else(used: Total, change: Total, *, refused: bool) -> None:
    assert bool(judge_growth(Quota("team/**", max_bytes=100, max_tags=10), used, change)) is refused


def test_a_refusal_says_what_is_used_and_what_to_do() -> None:
    said = judge_growth(Quota("team/**", max_bytes=100), Total(1, 80), Total(0, 30))
    assert said.startswith("team/** may hold 100 bytes: 80 are used, and 30 more do not fit; delete")
    assert judge_warning(Quota("team/**", warn_tags=5), Total(5, 0)) == ""
    assert "holds 6 tags" in judge_warning(Quota("team/**", warn_tags=5), Total(6, 0))


@pytest.mark.parametrize(
    "quota", [Quota("team/**"), Quota("Team", max_tags=1), Quota("a", max_tags=-1), Quota("a", 10, None, 11)]
)
def test_quotas_that_make_no_sense(quota: Quota) -> None:
    with pytest.raises(InvalidInput):
        check_quota(quota)


def test_deleting_frees_and_other_namespaces_do_not_count(catalog: Catalog) -> None:
    catalog.quotas.put(Quota("team/**", max_tags=2), actor="test")
    push_image(catalog, "team/a", "v1", "one")
    push_image(catalog, "team/b", "v1", "two")
    push_image(catalog, "other/c", "v1", "three")
    with pytest.raises(QuotaExceeded):
        push_image(catalog, "team/c", "v1", "four")
    push_image(catalog, "team/a", "v1", "five")  # a tag that moves takes no more
    commit_to(catalog, "team/b", RemoveTag("v1"), operation_id="untag")
    push_image(catalog, "team/c", "v1", "four")
    assert catalog.quotas.get("team/**").used.tags == 2
    catalog.quotas.delete("team/**", actor="test")
    push_image(catalog, "team/c", "v2", "six")
    with pytest.raises(QuotaUnknown):
        catalog.quotas.get("team/**")


def test_bytes_are_those_of_latest_versions(catalog: Catalog) -> None:
    first = push_image(catalog, "team/a", "v1", "one", ("x" * 5000,)).snapshot
    catalog.quotas.put(Quota("team/*", max_bytes=first.size_bytes + 1000), actor="test")
    with pytest.raises(QuotaExceeded):
        push_image(catalog, "team/a", "v2", "two", ("y" * 5000,))
    commit_to(catalog, "team/a", RemoveManifest(first.tags["v1"]), operation_id="remove")
    assert catalog.quotas.get("team/*").used == Total(0, 0)
    push_image(catalog, "team/a", "v2", "two", ("y" * 5000,))


def test_what_other_processes_do_counts(catalog: Catalog, open_again: Callable[..., Catalog]) -> None:
    other = open_again()
    catalog.quotas.put(Quota("team/**", max_tags=3), actor="test")
    push_image(other, "team/a", "v1", "one")
    push_image(catalog, "team/a", "v2", "two")
    push_image(other, "team/b", "v1", "three")
    for late in (catalog, other, open_again()):
        with pytest.raises(QuotaExceeded):
            push_image(late, "team/c", "v1", "four")
    list(catalog.maintenance.steps(keep_snapshots=0.0, grace=-5.0))
    assert {one.quotas.get("team/**").used.tags for one in (catalog, open_again())} == {3}


@pytest.mark.parametrize("limited", ["tags", "bytes"])
def test_32_pushes_at_once_never_end_above_the_limit(
    catalog: Catalog, open_again: Callable[..., Catalog], limited: str
) -> None:
    size = push_image(catalog, "size/a", "v1", "00", ("x" * 1000,)).snapshot.size_bytes
    quota = Quota("team/**", max_tags=10) if limited == "tags" else Quota("team/**", max_bytes=10 * size)
    catalog.quotas.put(quota, actor="test")
    both = (catalog, open_again())

    def push(number: int) -> bool:
        try:
            push_image(both[number % 2], f"team/{number % 5}", f"t{number}", f"{number:02}", (f"{number:0>1000}",))
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(32) as pool:
        done = list(pool.map(push, range(32)))
    assert 9 <= sum(done) <= 10
    names = [name for name in catalog.snapshots.names() if name.startswith("team/")]
    held = [catalog.snapshots.get(name) for name in names]
    assert sum(len(one.tags) for one in held) == sum(done)
    used = Total(sum(len(one.tags) for one in held), sum(one.size_bytes for one in held))
    catalog.snapshots.refresh()
    assert catalog.quotas.get("team/**").used == used
    assert used.bytes <= (quota.max_bytes or used.bytes)
