"""The limits of upstreams are read in all their forms, and no more requests are sent than they allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.reference import DOCKER_HUB
from oci.remote.limits.bandwidth import BURST, Bucket, take
from oci.remote.limits.budget import (
    AnnouncedLimit,
    Budget,
    after_response,
    after_sent,
    is_counted,
    plan_wait,
    read_rate_limit,
    remaining_at,
)
from oci.remote.limits.rate import Rate

NOW = 1_800_000_000.0
HUB = Budget(limit=100, remaining=76, told_at=NOW, window=21600.0)


@pytest.mark.parametrize(
    ("headers", "limits"),
    [
        ({}, None),
        ({"ratelimit-limit": "100;w=21600"}, None),
        ({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"}, AnnouncedLimit(100, 76, 21600.0)),
        ({"ratelimit-limit": "100", "ratelimit-remaining": "7", "ratelimit-reset": "30"}, AnnouncedLimit(100, 7, 0.0, 30.0)),
        (
            {"x-ratelimit-limit": "9", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 9)},
            AnnouncedLimit(9, 0, 0.0, 9.0),
        ),
        ({"ratelimit": '"default";r=50;t=30', "ratelimit-policy": '"default";q=100;w=60'}, AnnouncedLimit(100, 50, 60.0, 30.0)),
        (
            {"ratelimit": '"a";r=50;t=30, "b";r=3;t=9', "ratelimit-policy": '"a";q=99;w=60, "b";q=5;w=10'},
            AnnouncedLimit(5, 3, 10.0, 9.0),
        ),
        ({"ratelimit-remaining": "none"}, None),
        ({"ratelimit": "nonsense"}, None),
    ],
)  # fmt: skip
def test_the_fields_are_read_in_their_forms(headers: dict[str, str], limits: AnnouncedLimit | None) -> None:
    assert read_rate_limit(headers, NOW) == limits


def test_docker_hub_counts_gets_of_manifests_alone() -> None:
    manifest, blob = "/v2/library/alpine/manifests/3", "/v2/library/alpine/blobs/sha256:0"
    assert [is_counted(DOCKER_HUB, *one) for one in (("GET", manifest), ("HEAD", manifest), ("GET", blob))] == [
        True, False, False,
    ]  # fmt: skip
    assert is_counted("registry.example", "HEAD", manifest)


def wait(
    budget: Budget, *, now: float = NOW, counted: bool = True, interactive: bool = False, rate: Rate | None = None
) -> float:
    return plan_wait(budget, now=now, counted=counted, interactive=interactive, rate=rate)


def test_syncs_leave_a_reserve_to_clients() -> None:
    assert wait(HUB) == 0
    spent = Budget(limit=100, remaining=20, told_at=NOW, window=21600.0)
    assert wait(spent) == pytest.approx(216.0)
    assert wait(spent, now=NOW + 217) == 0
    assert wait(spent, interactive=True) == wait(spent, counted=False) == 0
    reset = Budget(limit=100, remaining=20, told_at=NOW, resets_at=NOW + 30)
    assert (wait(reset), wait(reset, now=NOW + 30)) == (30.0, 0.0)
    assert remaining_at(reset, NOW + 31) == 100
    assert wait(Budget(limit=1, remaining=1, told_at=NOW, window=10.0)) == 0


def test_a_request_that_is_answered_without_a_word_of_the_limit_has_not_counted() -> None:
    sent = after_sent(HUB, now=NOW)
    assert sent.remaining == 75
    assert after_response(sent, now=NOW, status=200, counted=True).remaining == 76
    learned = after_response(sent, now=NOW + 1, status=200, counted=True, limits=AnnouncedLimit(100, 70, 21600.0))
    assert (learned.remaining, learned.told_at) == (70, NOW + 1)


def test_a_retry_after_holds_everybody_and_a_bare_429_syncs_alone() -> None:
    closed = after_response(Budget(), now=NOW, status=429, counted=True, retry_after=60.0)
    assert wait(closed) == wait(closed, interactive=True) == wait(closed, counted=False) == 60.0
    at_hub = after_response(Budget(), now=NOW, status=429, counted=True, retry_after=60.0, everywhere=False)
    assert (wait(at_hub, interactive=True), wait(at_hub, counted=False)) == (60.0, 0.0)
    down = after_response(Budget(), now=NOW, status=503, counted=True, retry_after=60.0, everywhere=False)
    assert wait(down, counted=False) == 60.0
    assert after_response(Budget(), now=NOW, status=503, counted=True) == Budget()
    bare = after_response(Budget(), now=NOW, status=429, counted=True)
    assert (wait(bare), wait(bare, interactive=True)) == (15.0, 0.0)
    twice = after_response(bare, now=NOW + 15, status=429, counted=True)
    assert wait(twice, now=NOW + 15) == 30.0
    assert after_response(twice, now=NOW + 45, status=200, counted=True).strikes == 0


@given(
    st.integers(1, 40),
    st.floats(0.5, 100.0),
    st.lists(st.tuples(st.floats(0.0, 30.0), st.booleans()), min_size=1, max_size=80),
)
def test_no_time_has_more_requests_than_were_set(
    requests: int, seconds: float, steps: list[tuple[float, bool]]
) -> None:
    rate, now, budget = Rate(requests, seconds), NOW, Budget()
    sent: list[float] = []
    for pause, interactive in steps:
        now += pause
        held = wait(budget, now=now, interactive=interactive, rate=rate)
        if held > 0:
            assert held <= seconds * 62 / 60
            continue
        budget = after_sent(budget, now=now, rate=rate)
        sent.append(now)
        assert sum(1 for when in sent if when > now - seconds) <= requests
    assert len(budget.sent) <= 61


def test_bytes_pass_evenly() -> None:
    bucket, now, passed = Bucket(0.0, 0.0), 0.0, 0
    for _ in range(100):
        bucket, pause = take(bucket, 65_536, now=now, rate=1_000_000.0)
        passed += 65_536
        now += pause
    assert passed / now == pytest.approx(1_000_000.0)
    bucket, pause = take(bucket, 100, now=now + 1000, rate=1_000_000.0)
    assert (bucket.level, pause) == (BURST * 1_000_000.0 - 100, 0.0)
