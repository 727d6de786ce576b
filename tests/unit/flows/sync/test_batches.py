"""Batches: every tag once, every digest once, in the order of upstream."""

from flows.runs.metering import Meter
from flows.runs.run_log import RunLog
from flows.sync.batches import Outcome, root_batches, tag_batches
from oci.errors import RemoteCorrupt, RemoteUnavailable
from tests.unit.flows.sync.versions import descriptor


def test_tags_come_so_many_at_a_time() -> None:
    assert [list(batch.tags) for batch in tag_batches(["a", "b", "c"], 2)] == [["a", "b"], ["c"]]
    assert list(tag_batches([], 2)) == []


def test_a_digest_with_several_tags_is_one_root() -> None:
    pointing = {"v1": descriptor("one"), "latest": descriptor("two"), "v2": descriptor("two"), "other": descriptor("x")}
    batches = list(root_batches(["v1", "latest", "v2"], pointing, 1))
    assert [[root.tags for root in batch] for batch in batches] == [[("v1",)], [("latest", "v2")]]


def test_an_outcome_is_tried_again_where_one_failure_may_pass() -> None:
    assert not Outcome(failed={"v1": RemoteCorrupt("nonsense")}).retryable
    assert Outcome(failed={"v1": RemoteCorrupt("nonsense"), "v2": RemoteUnavailable("down")}).retryable


def test_what_was_moved_in_several_tries_adds_up_and_a_remark_counts_once() -> None:
    log: RunLog[str] = RunLog()
    log.charge({"v1": Meter(1, 10)})
    log.charge({"v1": Meter(2, 5), "v2": Meter(1, 1)})
    assert log.moved == {"v1": Meter(3, 15), "v2": Meter(1, 1)}
    log.note("once")
    log.note("once")
    assert log.notes == ["once"]
