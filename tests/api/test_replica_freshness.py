"""Two registries over one database: what one changes, the other serves, also when its listener hears nothing."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from catalog.access.policy import Grant
from catalog.holds.rules import HoldDecision, HoldRule
from oci import mediatypes
from oci.digest import Digest
from registry_api.freshness import RECENT
from tests.api.conftest import Api, describe, serve, simple_manifest
from tests.api.test_replicas import basic, desk
from tests.postgresql import PostgresServer, stopped_sessions
from tests.replicas.pushes import push_small_image
from tests.servers import wait_until
from tests.unit.catalog.state.test_documents import END_LISTENERS


@pytest.fixture
def replicas(tmp_path: Path, postgres: str) -> Iterator[tuple[Api, Api]]:
    """Two registries in one home, so that both have all content."""
    with ExitStack() as stack:
        first = stack.enter_context(serve(tmp_path / "a"))
        yield first, stack.enter_context(serve(tmp_path / "a", max_staleness=0.0))


@contextmanager
def deaf(server: PostgresServer, api: Api) -> Iterator[None]:
    """Stop the server's side of each listener again and again: their connections stay, and nobody answers."""
    state = api.catalog.state
    assert state is not None
    with stopped_sessions(server, state.database.address.database, "application_name = 'entrepot listener'"):
        yield


def get(api: Api, reference: str, authorization: str = "") -> int:
    headers = {"authorization": authorization} if authorization else {}
    return api.anybody.get(f"/v2/team/app/manifests/{reference}", headers=headers).status_code


def set_private(api: Api, path: str) -> None:
    found = api.catalog.distributions.get(path)
    api.catalog.distributions.put(replace(found, private=True), actor="test")


def test_the_referrers_of_a_manifest_are_those_of_all_replicas(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, other = replicas
    digest = push_small_image(one.admin, "team/app", "v1", "before")
    url = f"/v2/team/app/referrers/{digest}"
    assert other.anybody.get(url).json()["manifests"] == []
    with deaf(postgres_server, other):
        raw = simple_manifest(
            one, "team/app", subject=describe(digest, len(one.anybody.get(f"/v2/team/app/manifests/{digest}").content),
                                              mediatypes.OCI_MANIFEST)
        )  # fmt: skip
        assert one.put_manifest("team/app", "v2", raw).status_code == 201
        assert [found["digest"] for found in other.anybody.get(url).json()["manifests"]] == [Digest.of(raw)]


def test_a_manifest_that_was_a_blob_before_is_found(replicas: tuple[Api, Api], postgres_server: PostgresServer) -> None:
    """That it is not there is what memory said before."""
    one, other = replicas
    push_small_image(one.admin, "team/app", "v1", "before")
    raw = simple_manifest(one, "team/app")
    document = simple_manifest(
        one, "team/app", layers=[describe(one.push_blob("team/app", raw), len(raw), mediatypes.OCI_LAYER_GZIP)]
    )
    assert one.put_manifest("team/app", "v2", document).status_code == 201
    digest = Digest.of(raw)
    assert get(other, digest) == 404
    with deaf(postgres_server, other):
        assert one.put_manifest("team/app", "v3", raw).status_code == 201
        assert get(other, digest) == 200


def test_a_path_made_private_is_closed_by_digest_though_the_listener_hears_nothing(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, other = replicas
    digest = push_small_image(one.admin, "team/app", "v1", "open")
    assert get(other, digest) == 200
    with deaf(postgres_server, other):
        set_private(one, "team/app")
        began = time.monotonic()
        wait_until(lambda: get(other, digest) == 401, RECENT + 2, "it is closed")
        assert time.monotonic() - began < RECENT + 1


def test_a_rule_withdrawn_ends_though_the_listener_hears_nothing(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, other = replicas
    digest = push_small_image(one.admin, "team/app", "v1", "closed")
    set_private(one, "team/app")
    desk(one).add_account("ada", password="long enough")
    rule = desk(one).add_rule(["user:ada"], Grant(actions=("pull",), patterns=("team/**",)))
    ada = basic("ada", "long enough")
    wait_until(lambda: get(other, digest, ada) == 200, 5, "she may")
    with deaf(postgres_server, other):
        desk(one).remove_rule(rule.id)
        wait_until(lambda: get(other, digest, ada) == 403, RECENT + 2, "she may not")


def test_a_listener_whose_connection_is_half_dead_takes_another(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    _, other = replicas
    with deaf(postgres_server, other):
        since = other.catalog.serving.looked_at
        wait_until(lambda: other.catalog.serving.looked_at > since + 1, 15, "it looks again")


def test_a_miss_is_confirmed_whatever_the_staleness(tmp_path: Path, postgres: str) -> None:
    with serve(tmp_path / "a") as one, serve(tmp_path / "a", max_staleness=60.0) as other:
        assert other.catalog.state is not None
        other.catalog.state.listener._looks.clear()
        other.catalog.state.listener._takes.clear()  # else a notification tells at once
        push_small_image(one.admin, "team/app", "v1", "first")
        for reference in ("v1", "v1"):
            assert get(other, reference) == 200, "a path that is not known is a miss as well"
        push_small_image(one.admin, "team/app", "v2", "second")
        assert get(other, "v2") == 200
        moved = push_small_image(one.admin, "team/app", "v1", "moved")
        answer = other.anybody.head("/v2/team/app/manifests/v1")
        assert answer.headers["docker-content-digest"] != moved, "a tag may be old"
        assert other.admin.delete("/v2/team/app/manifests/v1").status_code == 202
        assert get(one, "v1") == 404


def test_lists_histories_and_questions_are_to_be_tried_again_without_the_database(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, _ = replicas
    push_small_image(one.admin, "team/app", "v1", "before")
    assert one.catalog.state is not None
    name = one.catalog.state.database.address.database
    asked = (
        "versions/team/app",
        "repositories",
        "repositories/team/app",
        "distributions",
        "events",
        "query?sql=SELECT+1",
    )

    def statuses() -> dict[str, tuple[int, str]]:
        answers = {path: one.admin.get(f"/api/v1/{path}") for path in asked}
        return {path: (answer.status_code, answer.headers.get("retry-after", "")) for path, answer in answers.items()}

    assert statuses() == dict.fromkeys(asked, (200, ""))
    push_small_image(one.admin, "team/app", "v2", "nothing of it is in memory")
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    try:
        postgres_server.execute(END_LISTENERS.format(name))
        assert statuses() == dict.fromkeys(asked, (503, "2"))
    finally:
        postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    wait_until(lambda: statuses() == dict.fromkeys(asked, (200, "")), 10, "all is answered again")


def test_a_hold_a_release_and_a_block_count_at_the_other_with_its_next_request(
    replicas: tuple[Api, Api], postgres_server: PostgresServer
) -> None:
    one, other = replicas
    digest = push_small_image(one.admin, "team/app", "v1", "before")
    now = datetime.now(UTC)
    assert get(other, "v1") == get(other, digest) == 200
    with deaf(postgres_server, other):
        one.catalog.holds.put_rule(HoldRule("team/**", timedelta(days=7), "test", now))
        assert get(other, "v1") == 403
        assert get(other, digest) == 403
        one.catalog.holds.decide(HoldDecision(digest, "release", "**", "needed", "test", now))
        assert get(other, digest) == 200
        assert get(other, "v1") == 200
        one.catalog.holds.decide(HoldDecision(digest, "block", "team/app", "malware", "test", now))
        assert get(other, "v1") == 403
        assert get(one, "v1") == 403
