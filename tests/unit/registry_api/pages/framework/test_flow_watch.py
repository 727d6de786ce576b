"""What Prefect says of flows, as pages show it: what failed last, and no page that waits for an answer."""

import asyncio
from datetime import UTC, datetime

from oci.errors import RemoteUnavailable
from registry_api.metrics.siblings import Numbers
from registry_api.pages.framework.flow_watch import FlowStates, PrefectWatch, read_figures

FIGURES: Numbers = {
    ("flow_runs", "running"): 2.0,
    ("flow_last_success_timestamp_seconds", "sync-repository"): 100.0,
    ("flow_last_failure_timestamp_seconds", "sync-repository"): 50.0,
    ("flow_last_success_timestamp_seconds", "gc"): 10.0,
    ("flow_last_failure_timestamp_seconds", "gc"): 20.0,
    ("flow_last_failure_timestamp_seconds", "scrub"): 5.0,
    ("sync_last_success_timestamp_seconds", "library/alpine"): 100.0,
}


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def test_a_deployment_has_failed_when_nothing_succeeded_since() -> None:
    assert read_figures(FIGURES) == FlowStates(
        {"running": 2}, {"gc": at(20), "scrub": at(5)}, {"library/alpine": at(100)}
    )


def test_prefect_is_asked_once_in_a_while_and_its_silence_is_no_answer() -> None:
    async def run() -> None:
        now, asked = 0.0, 0
        answer: Numbers | None = FIGURES

        async def ask() -> FlowStates:
            nonlocal asked
            asked += 1
            if answer is None:
                raise RemoteUnavailable("it is away", registry="prefect")
            return read_figures(answer)

        watch = PrefectWatch(ask, clock=lambda: now)
        first = await watch.look(patience=10)
        assert first is not None
        assert await watch.look(patience=10) is first
        assert asked == 1
        now, answer = 20.0, None
        assert await watch.look(patience=10) is None
        assert asked == 2
        await watch.close()

    asyncio.run(run())


def test_a_page_does_not_wait_for_prefect_and_a_stop_ends_the_question() -> None:
    async def run() -> None:
        began, ended = asyncio.Event(), asyncio.Event()

        async def ask() -> FlowStates | None:
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return None

        watch = PrefectWatch(ask)
        assert await watch.look(patience=0) is None
        await began.wait()
        assert await watch.look(patience=0) is None
        await watch.close()
        assert ended.is_set()

    asyncio.run(run())
