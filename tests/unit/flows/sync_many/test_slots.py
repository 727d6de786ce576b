"""How many chunks can run at once."""

import pytest

from flows.sync_many.slots import PoolState, slots_of


@pytest.mark.parametrize(
    ("pool", "own_pool", "slots"),
    [
        (None, None, 0),
        (PoolState("p", workers=3), None, 3),
        (PoolState("p", workers=0), None, 0),
        (PoolState("p", workers=3, is_paused=True), None, 0),
        (PoolState("p", (8, None), workers=1), None, 8),
        (PoolState("p", (8, 2), workers=1), None, 2),
        (PoolState("p", (8, 2), workers=1), "p", 1),  # the run itself holds one
        (PoolState("p", (1, None), workers=1), "p", 0),
        (PoolState("p", (8, None), workers=1), "another", 8),
        (PoolState("p", (8, None), workers=1, chunk_limit=3), "p", 3),
        (PoolState("p", workers=3, chunk_limit=1), None, 1),
    ],
)
def test_slots_of_a_pool(pool: PoolState | None, own_pool: str | None, slots: int) -> None:
    assert slots_of(pool, own_pool=own_pool) == slots
