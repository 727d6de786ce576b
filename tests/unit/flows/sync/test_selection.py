"""The stage Selected: which tags of a source are candidates, and when its list is asked for."""

from collections.abc import Sequence

import pytest

from flows.sync.request import SyncRequest
from flows.sync.selection import select_candidates

pytestmark = pytest.mark.anyio
DIGEST = "sha256:" + "a" * 64
TAGS = ("v1", "v2", "latest")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Listing:
    """Lists TAGS, and counts how often it does."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> Sequence[str]:
        self.calls += 1
        return TAGS


def request(remote: str = "upstream.example/team/app", **fields: object) -> SyncRequest:
    return SyncRequest.model_validate({"remote": remote, **fields})


@pytest.mark.parametrize(("remote", "key"), [(":v1", "v1"), (f"@{DIGEST}", DIGEST), (f":v1@{DIGEST}", "v1")])
async def test_what_the_remote_names_is_selected_without_a_list(remote: str, key: str) -> None:
    listing = Listing()
    found = await select_candidates(request(f"upstream.example/team/app{remote}"), listing)
    assert (found.selection.kept, found.listed, found.may_lack, listing.calls) == ((key,), None, frozenset(), 0)


async def test_tags_that_are_named_need_no_list_and_may_be_missing() -> None:
    listing = Listing()
    found = await select_candidates(request(include=["v1", "gone", DIGEST], exclude=["gone"]), listing)
    assert found.selection.kept == ("v1", DIGEST)
    assert found.selection.dropped == {"gone": "excluded by gone"}
    assert (found.listed, found.may_lack, listing.calls) == (None, frozenset({"v1", "gone", DIGEST}), 0)


async def test_patterns_choose_from_the_list() -> None:
    listing = Listing()
    found = await select_candidates(request(include=["v*"]), listing)
    assert found.selection.kept == ("v1", "v2")
    assert found.selection.dropped == {"latest": "matches no include"}
    assert (found.listed, found.may_lack, listing.calls) == (frozenset(TAGS), frozenset[str](), 1)
