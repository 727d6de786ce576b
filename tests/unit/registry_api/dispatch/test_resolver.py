"""What a path leads to: what it serves now, an earlier version, or a cache."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from catalog.access.policy import NOBODY
from catalog.catalog import open_catalog
from catalog.distributions.records import Distribution
from catalog.remotes.clients import Upstreams
from catalog.settings import read_settings
from oci.errors import Denied, Unauthorized
from registry_api.app import create_app
from registry_api.context import Registry
from registry_api.dispatch.cached import CachedTarget
from registry_api.dispatch.earlier import EarlierTarget
from registry_api.dispatch.present import PresentTarget
from registry_api.dispatch.resolver import TargetResolver
from registry_api.dispatch.routes import MANIFEST, ROUTES, Match
from registry_api.dispatch.target import PathTarget
from registry_api.path_changes import check_changeable
from registry_api.pull_through.caches import Caches
from registry_api.pull_through.missing_children import MissingChildren
from tests.homes import new_home
from tests.unit.catalog.conftest import push_image

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SCOPE = {"type": "http", "client": ("192.0.2.1", 4000)}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """Served are `app`, version 1 of it at `fixed`, and below the private cache `hub` also `hub/app`, which is no part of it."""
    home = new_home(tmp_path_factory.mktemp("registry") / "entrepot")
    with open_catalog(read_settings(home=home)) as catalog:
        push_image(catalog, "app", "v1", "seed")
        for distribution in (
            Distribution("fixed", "app", NOW, NOW, version=1),
            Distribution("hub", "", NOW, NOW, private=True, remote="registry.example"),
            Distribution("hub/app", "app", NOW, NOW),
        ):
            catalog.distributions.put(distribution, actor="test")
        app = create_app(catalog)
        yield app.management.state.registry
        app.management.state.registry.threads.close()
        app.management.state.webhooks.queue.close()


def resolve(registry: Registry, name: str, method: str = "GET") -> PathTarget:
    upstreams = Upstreams(registry.catalog.settings, registry.catalog.remotes, interactive=True)
    resolver = TargetResolver(registry, Caches(upstreams), MissingChildren(upstreams))
    return asyncio.run(resolver.resolve(Match(MANIFEST, name, "v1"), ROUTES[MANIFEST][method], name))


@pytest.mark.parametrize(
    ("name", "kind", "repository"),
    [
        ("app", PresentTarget, "app"),
        ("fixed", PresentTarget, "app"),
        ("nothing", PresentTarget, "nothing"),
        ("hub/library/debian", CachedTarget, "hub/library/debian"),
        ("hub/app", PresentTarget, "app"),
        ("history/1/app", EarlierTarget, "history/1/app"),
    ],
)
def test_a_path_leads_to_one_kind_of_target(registry: Registry, name: str, kind: type, repository: str) -> None:
    target = resolve(registry, name)
    assert (type(target), target.repository) == (kind, repository)


@pytest.mark.parametrize("name", ["app", "fixed", "hub/app", "history/1/app"])
def test_anybody_may_pull_from_a_public_path(registry: Registry, name: str) -> None:
    resolve(registry, name).check(NOBODY, SCOPE)


@pytest.mark.parametrize(
    ("name", "method"),
    [("nothing", "GET"), ("hub/library/debian", "GET"), ("app", "PUT"), ("history/1/app", "PUT"), ("app", "DELETE")],
)
def test_an_anonymous_caller_has_no_other_right(registry: Registry, name: str, method: str) -> None:
    with pytest.raises(Unauthorized):
        resolve(registry, name, method).check(NOBODY, SCOPE)


def test_what_has_a_fixed_version_or_an_upstream_takes_no_push(registry: Registry) -> None:
    find, cache = registry.catalog.distributions.find, registry.catalog.distributions.find_cache("hub/debian")
    check_changeable(registry, "push", "app", find("app"))
    for name, below in (("fixed", None), ("hub", None), ("hub/debian", cache)):
        with pytest.raises(Denied):
            check_changeable(registry, "push", name, find(name), below)
    check_changeable(registry, "delete", "hub/debian", None, cache)


def test_a_first_push_by_others_meanwhile_is_no_reason_to_refuse(registry: Registry) -> None:
    """The path was looked up before their commit, the repository after it."""
    check_changeable(registry, "push", "app", None)


def test_what_others_made_of_the_path_meanwhile_is_judged_too(registry: Registry) -> None:
    push_image(registry.catalog, "lib", "v1", "lib")
    registry.catalog.distributions.put(Distribution("lib", "app", NOW, NOW, version=1), actor="test")
    with pytest.raises(Denied, match="no path serves the repository lib"):
        check_changeable(registry, "push", "lib", None)
