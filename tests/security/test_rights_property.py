"""Random histories of two tenants and of one who attacks them: no path, by any route, gives one what only the other has."""

from collections.abc import Iterator

import pytest
from hypothesis import given

from tests.api.conftest import serve
from tests.security.histories import LOGIN, SETTINGS, History, World, few, histories, play, settle_in
from tests.upstream import Upstream


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("histories") / "entrepot"
    with Upstream({}) as upstream, Upstream({}) as evil:
        upstream.login = LOGIN
        with serve(home, **SETTINGS, logins={upstream.host: ":".join(LOGIN)}) as api:
            yield settle_in(World(api, upstream, evil))


@pytest.mark.timeout(1200)
@few(6)
@given(histories)
def test_no_history_gives_one_what_only_another_has(world: World, acts: list[tuple[object, ...]]) -> None:
    play(History(world), acts)
