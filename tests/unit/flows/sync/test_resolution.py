"""The stage Resolved: what batches have found is added, and failures are judged."""

import pytest

from catalog.filters.tags import Selection
from flows.sync.batches import Outcome
from flows.sync.request import SyncRequest
from flows.sync.resolution import Resolved, TagsFailed
from flows.sync.selection import Selected
from oci.errors import EntrepotError, RemoteCorrupt, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from tests.unit.flows.sync.versions import descriptor

SIGNATURE = f"sha256-{'a' * 64}.sig"


def resolved(*tags: str, may_lack: frozenset[str] = frozenset(), optional: frozenset[str] = frozenset()) -> Resolved:
    selection = Selection(dict.fromkeys(tags, "every tag is included"))
    return Resolved.of(Selected(selection, "mirror", may_lack=may_lack, optional=optional))


def request(**fields: object) -> SyncRequest:
    return SyncRequest.model_validate({"remote": "upstream.example/team/app", **fields})


def test_batches_add_up_and_the_stage_before_stays_as_it_was() -> None:
    before = resolved("v1", "v2")
    after = before.with_outcomes(
        [Outcome(pointing={"v1": descriptor("one")}), Outcome(pointing={"v2": descriptor("two")})]
    )
    assert after.pointing == {"v1": descriptor("one"), "v2": descriptor("two")}
    assert (before.pointing, before.failed) == ({}, {})
    assert after.with_outcomes([Outcome(pointing={"v1": descriptor("moved")})]).pointing["v1"] == descriptor("moved")


@pytest.mark.parametrize(
    ("may_lack", "error", "gone"),
    [
        (True, RemoteNotFound("not there"), True),
        (True, RemoteCorrupt("nonsense"), False),
        (False, RemoteNotFound("not there"), False),
    ],
)
def test_a_tag_that_was_only_named_may_be_missing(may_lack: bool, error: EntrepotError, gone: bool) -> None:
    after = resolved("v1", may_lack=frozenset({"v1"} if may_lack else ())).with_outcomes(
        [Outcome(failed={"v1": error})]
    )
    assert (after.gone, after.selection.dropped) == (
        (frozenset({"v1"}), {"v1": "not upstream"}) if gone else (frozenset(), {})
    )
    assert after.failed == ({} if gone else {"v1": error.message})


def test_a_named_tag_that_vanishes_after_it_was_there_has_failed() -> None:
    named = resolved("v1", may_lack=frozenset({"v1"})).with_outcomes([Outcome(pointing={"v1": descriptor("one")})])
    after = named.with_outcomes([Outcome(failed={"v1": RemoteNotFound("gone")})])
    assert (after.gone, after.failed) == (frozenset[str](), {"v1": "gone"})


@pytest.mark.parametrize("error", [RemoteUnauthorized("no", status=403), RemoteRefused("no", status=451)])
def test_a_companion_that_upstream_refuses_counts_as_missing(error: EntrepotError) -> None:
    there = Outcome(pointing={SIGNATURE: descriptor("signature")})
    after = resolved("v1", SIGNATURE, optional=frozenset({SIGNATURE})).with_outcomes(
        [there, Outcome(failed={SIGNATURE: error})]
    )
    assert (after.pointing, after.failed, after.gone) == ({}, {}, frozenset({SIGNATURE}))
    assert after.selection.kept == ("v1",)


def test_companions_are_selected_and_may_be_missing() -> None:
    after = resolved("v1").with_companions({SIGNATURE: "belongs to sha256:aa"}, optional=[SIGNATURE])
    assert after.selection.kept == ("v1", SIGNATURE)
    assert (after.may_lack, after.optional) == (frozenset({SIGNATURE}), frozenset({SIGNATURE}))
    assert after.without([SIGNATURE]).selection == Selection({"v1": "every tag is included"})


def test_failures_are_skipped_only_where_asked_and_only_some() -> None:
    after = resolved("v1", "v2").with_outcomes([Outcome(failed={"v1": RemoteCorrupt("nonsense")})])
    with pytest.raises(TagsFailed, match="1 tag could not be copied") as caught:
        after.check_failures(request())
    assert caught.value.failed == {"v1": "nonsense"}
    after.check_failures(request(on_error="skip"))
    none_left = after.with_outcomes([Outcome(failed={"v2": RemoteCorrupt("nonsense")})])
    with pytest.raises(TagsFailed, match="2 tags"):
        none_left.check_failures(request(on_error="skip"))


def test_a_login_that_is_refused_everywhere_is_raised_as_it_is() -> None:
    refusal = RemoteUnauthorized("wrong password", status=401)
    after = resolved("v1", "v2").with_outcomes([Outcome(failed={"v1": refusal, "v2": refusal})])
    with pytest.raises(RemoteUnauthorized, match="wrong password"):
        after.check_failures(request(on_error="skip"))
