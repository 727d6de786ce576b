"""Whatever the filter and the content: each tag is kept or dropped for a reason, the order of looking changes nothing."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from catalog.filters.conditions import Conditions
from catalog.filters.facts import Facts, facts_of
from catalog.filters.filter import Filter
from catalog.filters.tags import TagFilter
from oci.digest import Digest

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TAGS = st.sampled_from([*(f"{major}.{minor}" for major in (1, 2) for minor in range(4)), "latest", "edge", "1.3-rc1"])
AGES = st.sampled_from(["", "1d", "5d", "2026-02-20"])


@st.composite
def contents(draw: st.DrawFn) -> dict[str, Facts]:
    found = {}
    for tag in draw(st.lists(TAGS, unique=True, max_size=9)):
        ago = draw(st.one_of(st.none(), st.integers(0, 20)))
        found[tag] = facts_of(
            Digest.of(tag.encode()),
            kind=draw(st.sampled_from(["image", "helm"])),
            created="" if ago is None else (NOW - timedelta(days=ago)).isoformat(),
            labels=draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from(["x", "xy", ""]), max_size=2)),
            signed=draw(st.booleans()),
        )
    return found


PAIRS = st.lists(st.sampled_from(["a", "!a", "a=x*", "b!=x", "b="]), max_size=2).map(tuple)
FILTERS = st.builds(
    Filter,
    st.builds(
        TagFilter,
        include=st.sampled_from([(), ("1.*",), ("semver:*", "latest")]),
        exclude=st.sampled_from([(), ("*.1",)]),
        newest=st.one_of(st.none(), st.integers(1, 3)),
        line=st.sampled_from(["repository", "major", "minor"]),
        newest_by=st.sampled_from(["version", "created"]),
    ),
    st.builds(
        Conditions,
        types=st.sampled_from([(), ("image",), ("!helm",)]),
        labels=PAIRS,
        newer_than=AGES,
        older_than=AGES,
        signed=st.booleans(),
    ),
)


@given(FILTERS, contents(), st.integers(0, 3))
def test_looking_step_by_step_chooses_what_looking_at_all_chooses(
    wanted: Filter, found: dict[str, Facts], ahead: int
) -> None:
    whole = wanted.select({tag: one.digest for tag, one in found.items()}, {f.digest: f for f in found.values()}, NOW)
    assert whole.rules.keys() | whole.dropped.keys() == found.keys()
    assert not whole.rules.keys() & whole.dropped.keys()
    candidates = wanted.candidates(found)
    known: dict[str, Facts] = {}
    while tags := wanted.to_judge(
        candidates.kept, {tag: wanted.conditions.judge(one, NOW)[0] for tag, one in known.items()}, ahead=ahead
    ):
        assert not known.keys() & set(tags)
        known |= {tag: found[tag] for tag in tags}
    step_by_step = wanted.settle(candidates, known, NOW)
    assert set(step_by_step.kept) == set(whole.kept)


@given(FILTERS, contents())
def test_what_is_kept_fulfils_every_condition_and_outranks_what_fulfils_them_too(
    wanted: Filter, found: dict[str, Facts]
) -> None:
    kept = wanted.select(
        {tag: one.digest for tag, one in found.items()}, {f.digest: f for f in found.values()}, NOW
    ).kept
    assert all(wanted.conditions.judge(found[tag], NOW)[0] for tag in kept)
    if wanted.tags.newest_by == "created" and wanted.tags.newest and wanted.tags.line == "repository":
        created = {tag: one.created for tag, one in found.items()}
        good = {
            tag: when
            for tag in wanted.tags.match(found).kept
            if wanted.conditions.judge(found[tag], NOW)[0] and (when := created[tag])
        }
        assert len(kept) == min(wanted.tags.newest, len(good))
        oldest = min((good[tag] for tag in kept), default=NOW)
        assert all(when <= oldest for tag, when in good.items() if tag not in kept)
