"""`entrepot apply` and `entrepot export-config` over a home: plan, do, do nothing, prune; one bad item spoils no other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from catalog.access.store import AccessStore, is_password_of
from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from cli.administration import quota
from cli.content import distribution
from cli.exit_codes import DONE, FAILED, USAGE, WOULD_CHANGE
from cli.main import run
from oci.errors import CatalogBusy
from tests.homes import new_home
from tests.unit.catalog.conftest import push_image

TEXT = """\
remotes:
  docker.io: {policy: on_demand, rate: 100/6h, headers: {X-Team: env:TEAM}}
repositories: [team/app, team/base]
distributions:
  team/app: {private: true}
  stable/app: {repository: team/app, immutable_tags: "v*"}
caches:
  hub: {remote: docker.io, include: "library/*", max_size: 50GB}
users:
  alice: {password: env:ALICE_PASSWORD}
  ci: {robot: true}
groups:
  developers: [alice, ci]
access:
  developers-push: {subjects: group:developers, actions: [push, pull], paths: team/**}
trusts:
  builds: {issuer: https://ci.example, audience: a, account: ci, claims: {sub: "repo:*"}, scopes: ["pull:team/**"]}
quotas:
  team/**: {bytes: 500GB, tags: 10000}
retention:
  releases: {pattern: prod/**, newest: 5}
holds:
  dockerhub/**: {duration: 7d}
policies:
  release:
    version: 1
    signers: {ci: {identity: ci@team.example, issuer: "https://issuer.example"}}
    rules: [{paths: [team/**], signatures: [{signers: [ci]}]}]
gates:
  team/**:
  - {policy: release, at: [sync, pull], mode: warn}
lifecycle:
  "prod/app:1.*": {end_of_life: 2026-04-30, successor: "prod/app:2"}
hooks:
  harbor: {upstream: registry.example, kind: harbor, secret: env:HOOK_SECRET}
subscriptions:
  ops: {url: "https://receiver.example/events?key=hidden", secret: env:OPS_SECRET}
"""
T = TypeVar("T")
ITEMS = 19


class Ran(NamedTuple):
    code: int
    out: str
    err: str


class Applier:
    """Runs commands in this process over one home."""

    def __init__(self, home: Path, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.home, self.file, self._capture = home, folder / "entrepot.yaml", capture

    def __call__(self, *arguments: str) -> Ran:
        self._capture.readouterr()
        code = run([*arguments, "--home", str(self.home)])
        return Ran(code, *self._capture.readouterr())

    def apply(self, text: str, *options: str) -> Ran:
        self.file.write_text(text)
        return self("apply", str(self.file), *options)

    def steps(self, text: str, *options: str) -> dict[tuple[str, str, str], dict[str, Any]]:
        """Apply with --json; return the steps that are no `unchanged`, by action, kind and key."""
        found = json.loads(self.apply(text, "--yes", "--json", *options).out)["steps"]
        return {(one["action"], one["kind"], one["key"]): one for one in found if one["action"] != "unchanged"}

    def look(self, ask: Callable[[Catalog], T]) -> T:
        with open_catalog(read_settings(home=self.home)) as catalog:
            return ask(catalog)


SECRETS = {name: f"{name.lower()}-of-a-test" for name in ("ALICE_PASSWORD", "HOOK_SECRET", "OPS_SECRET")}


@pytest.fixture
def applier(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Applier:
    """Commands over a new home, with every secret of TEXT in the environment."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return Applier(new_home(tmp_path / "home", administrator=True), tmp_path, capsys)


@pytest.fixture(scope="module")
def applied_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that TEXT was applied to, once for all tests, which copy it."""
    folder = tmp_path_factory.mktemp("applied")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        (folder / "entrepot.yaml").write_text(TEXT)
        home = new_home(folder / "home", administrator=True)
        assert run(["apply", str(folder / "entrepot.yaml"), "--yes", "--home", str(home)]) == DONE
    return home


@pytest.fixture
def applied(applier: Applier, applied_home: Path, tmp_path: Path) -> Applier:
    """Commands over a home that TEXT was applied to."""
    applier.home = tmp_path / "applied"
    shutil.copytree(applied_home, applier.home)
    return applier


def test_a_plan_shows_all_and_changes_nothing(applier: Applier) -> None:
    before = applier("export-config", "--no-deployments", "--json").out
    plan = applier.apply(TEXT, "--plan")
    assert plan.code == WOULD_CHANGE
    assert f"{ITEMS} to create, 0 to change, 0 to remove, 0 unchanged" in plan.out
    assert "+ quotas team/**\n    bytes: 500000000000\n    tags: 10000\n" in plan.out
    assert "hidden" not in plan.out + plan.err
    assert "of-a-test" not in plan.out + plan.err
    assert applier("export-config", "--no-deployments", "--json").out == before


def test_what_a_cache_has_made_is_its_own(applier: Applier) -> None:
    assert applier.apply("caches: {hub: {remote: docker.io}}", "--yes").code == 0
    with open_catalog(read_settings(home=applier.home)) as catalog:
        push_image(catalog, "hub/library/alpine", "3", "a")
        assert catalog.distributions.find("hub/library/alpine") is not None
    exported = applier("export-config", "--no-deployments").out
    assert "library/alpine" not in exported
    assert applier.apply(exported, "--plan").code == 0


def test_an_export_of_a_home_that_is_not_there_makes_none(applier: Applier, tmp_path: Path) -> None:
    applier.home = tmp_path / "mistyped"
    refused = applier("export-config", "--no-deployments")
    assert (refused.code, refused.out, "there is no catalogue in" in refused.err) == (1, "", True)
    assert not applier.home.exists()


def test_the_second_apply_does_nothing(applied: Applier) -> None:
    applier = applied
    events = applier("event", "list", "--json").out
    assert applier.apply(TEXT, "--yes") == (DONE, f"nothing to do: {ITEMS} unchanged\n", "")
    assert applier.apply(TEXT, "--plan").code == DONE
    assert applier("event", "list", "--json").out == events
    actions = {one["action"] for one in json.loads(events)}
    assert {"create", "set-remote", "set-distribution", "create-user", "create-robot", "set-group", "add-rule", "add-trust",
            "set-quota", "set-hold", "set-policy", "set-policy-gate", "set-lifecycle", "create-hook",
            "create-subscription"} <= actions  # fmt: skip


def test_a_home_that_is_not_there_is_planned_without_being_made(applier: Applier, tmp_path: Path) -> None:
    applier.home = tmp_path / "new"
    assert applier.apply(TEXT, "--plan").code == WOULD_CHANGE
    assert not applier.home.exists()
    assert applier.apply("quotas: {'**': {tags: 5}}", "--yes").out.endswith("1 done, 0 failed\n")


def test_without_a_terminal_and_without_yes_nothing_is_done(applier: Applier) -> None:
    done = applier.apply(TEXT)
    assert done.code == USAGE
    assert "use --yes to apply, or --plan to see the plan" in done.err
    assert applier.look(lambda catalog: catalog.remotes.all()) == []


def test_a_new_repository_whose_path_is_private_was_never_public(
    applier: Applier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise CatalogBusy("somebody else is writing")

    monkeypatch.setattr(distribution, "write_distribution", refuse)
    text = "repositories: [team/app, team/base]\ndistributions: {team/app: {private: true}}\n"
    assert applier.apply(text, "--yes").code == FAILED
    paths = applier.look(lambda catalog: {one.path: one.private for one in catalog.distributions.all()})
    assert paths == {"team/base": False}  # and nothing serves the other one until its path is written


def test_every_kind_can_change(applied: Applier, monkeypatch: pytest.MonkeyPatch) -> None:
    applier = applied
    monkeypatch.setenv("ALICE_PASSWORD", "another-password")
    monkeypatch.setenv("HOOK_SECRET", "another-secret-of-hook")
    changed = (
        TEXT.replace("100/6h", "200/6h").replace("private: true", "private: false").replace("50GB", "60GB")
        .replace("robot: true", "robot: true, disabled: true").replace("[alice, ci]", "[alice]")
        .replace("[push, pull]", "[pull]").replace("repo:*", "repo:a").replace("10000", "20000").replace("newest: 5", "newest: 6")
        .replace("duration: 7d", "duration: 1w, trust_created: true").replace("ci@team", "cd@team")
        .replace("mode: warn", "mode: refuse").replace("2026-04-30", "2026-05-31T12:00:00+02:00")
        .replace("kind: harbor", "kind: quay").replace("events?key=hidden", "events?key=other")
    )  # fmt: skip
    steps = applier.steps(changed)
    assert {key: [change["field"] for change in step["changes"]] for key, step in steps.items()} == {
        ("change", "remotes", "docker.io"): ["rate"],
        ("change", "distributions", "team/app"): ["private"],
        ("change", "caches", "hub"): ["max_size"],
        ("change", "users", "alice"): ["secret"],
        ("change", "users", "ci"): ["disabled"],
        ("change", "groups", "developers"): ["members"],
        ("change", "access", "developers-push"): ["actions"],
        ("change", "trusts", "builds"): ["claims"],
        ("change", "quotas", "team/**"): ["tags"],
        ("change", "retention", "releases"): ["newest"],
        ("change", "holds", "dockerhub/**"): ["trust_created"],
        ("change", "policies", "release"): ["signers"],
        ("change", "gates", "team/** release"): ["mode"],
        ("change", "lifecycle", "prod/app:1.*"): ["end_of_life"],
        ("change", "hooks", "harbor"): ["kind", "secret"],
        ("change", "subscriptions", "ops"): ["url"],
    }
    assert all(not step["error"] for step in steps.values())
    assert applier.steps(changed) == {}
    with open_catalog(read_settings(home=applier.home)) as catalog:
        policy = AccessStore(catalog.settings, catalog.state).policy
    assert is_password_of(policy.accounts["alice"], "another-password")


def test_what_the_file_does_not_name_stays_and_pruning_removes_only_what_apply_made(applied: Applier) -> None:
    applier = applied
    applier("quota", "set", "mine/**", "--tags", "5")
    kept = applier.steps("", "--plan")
    assert {action for action, _, _ in kept} == {"keep"}
    removed = applier.steps("", "--prune")
    assert len(removed) == len(kept) == ITEMS
    assert {action for action, _, _ in removed} == {"remove"}
    left = json.loads(applier("export-config", "--no-deployments", "--json").out)
    assert {name: list(part) for name, part in left.items() if name != "version"} == {
        "users": ["admin"], "access": ["administrator"], "quotas": ["mine/**"],
    }  # fmt: skip


def test_what_was_deleted_and_made_again_by_hand_is_not_pruned(applier: Applier) -> None:
    applier.apply("remotes: {quay.io: {policy: on_demand}}", "--yes")
    applier("remote", "delete", "quay.io")
    applier("remote", "set", "quay.io", "--policy", "streamed")
    assert applier.steps("", "--prune") == {}
    assert applier.look(lambda catalog: [one.policy for one in catalog.remotes.all()]) == ["streamed"]


def test_a_repository_that_has_had_content_is_never_pruned(applier: Applier) -> None:
    applier.apply("repositories: [team/app, team/empty]", "--yes")
    applier.look(lambda catalog: push_image(catalog, "team/app", "v1", "content"))
    steps = applier.steps("", "--prune")
    assert set(steps) == {("remove", "repositories", "team/empty")}
    plan = applier.apply("", "--plan", "--prune")
    assert "! repositories team/app: it has had content since" in plan.out
    assert applier.look(lambda catalog: [row.name for row in catalog.history.repositories()]) == ["team/app"]


def test_every_wrong_reference_is_told_at_once_and_nothing_is_changed(applier: Applier, tmp_path: Path) -> None:
    text = f"""\
remotes:
  docker.io: {{ca_file: /nowhere/ca.pem}}
  index.docker.io: {{}}
distributions:
  a: {{repository: nothing}}
  b: {{repository: c, version: 7}}
  hub/x: {{repository: c}}
  hub2: {{repository: c}}
repositories: [c, c]
caches:
  hub: {{remote: docker.io}}
  hub2: {{remote: docker.io}}
users:
  new: {{}}
  unset: {{password: env:NOT_SET}}
  missing: {{password: file:{tmp_path}/nothing}}
  admin: {{robot: true}}
  one: {{robot: true, certificate: CN=x}}
  two: {{robot: true, certificate: CN=x}}
groups:
  g: [nobody]
access:
  r: {{subjects: [group:none, user:one, robot:no], actions: pull, paths: a}}
quotas:
  q: {{}}
hooks:
  h: {{upstream: registry.example}}
  i: {{upstream: registry.example, secret: env:HOOK_SECRET, request: {{mode: nonsense}}}}
subscriptions:
  s: {{url: "ftp://x"}}
  t: {{url: "https://x.example", events: [nothing]}}
unknown: 1
"""
    done = applier.apply(text, "--yes")
    assert done.code == USAGE
    wrong = [line.removeprefix("error: ").removeprefix(str(applier.file)) for line in done.err.splitlines()]
    lines = [line.split(":")[1] for line in wrong if line.startswith(":")]
    assert lines == ["2", "3", "5", "6", "8", "9", "11", "12", "14", "15", "16", "17", "19", "21", "23", "23", "23", "25",
                     "27", "28", "30", "31", "32"], done.err  # fmt: skip
    assert wrong[-1] == "23 faults; nothing was changed"
    assert applier.look(lambda catalog: (catalog.remotes.all(), catalog.distributions.all())) == ([], [])


def test_rules_about_pulls_are_checked_before_anything_is_changed(applier: Applier) -> None:
    text = """\
holds:
  a/**: {duration: 0s}
  b/**: {duration: soon}
policies:
  release: {version: 1, signer: {}}
  none: {version: 1, rules: [{paths: [a], signatures: [{signers: [nobody]}]}]}
gates:
  team/**: [{policy: missing}]
  other/**: [{policy: release, at: [delete]}]
  A: [{policy: release, at: pull}]
  a/**: [{policy: release, at: []}]
lifecycle:
  a: {}
  b: {refuse: true, successor: c}
  c: {end_of_life: soon}
"""
    done = applier.apply(text, "--yes")
    assert done.code == USAGE
    lines = [line.removeprefix("error: ").removeprefix(str(applier.file)) for line in done.err.splitlines()]
    assert [line.split(":")[1] for line in lines if line.startswith(":")] == [
        "2", "3", "5", "6", "8", "9", "10", "11", "13", "14", "15",
    ], done.err  # fmt: skip
    assert "there is no policy missing; add it to `policies`" in done.err
    assert applier.look(lambda catalog: (catalog.holds.rules(), catalog.policies.all(), catalog.lifecycles.all())) == (
        [],
        {},
        [],
    )


def test_pruning_removes_gates_before_their_policy_and_leaves_those_that_others_have_set(applied: Applier) -> None:
    applied("policy", "gate", "other/**", "release", "--at", "push")
    applied("hold", "set", "mine/**", "1d")
    without = TEXT[: TEXT.index("holds:")] + TEXT[TEXT.index("hooks:") :]
    done = applied.apply(without, "--yes", "--prune")
    assert done.code == FAILED
    assert (
        "failed: policies release: the policy release is used by the gate of other/**: delete that gate first"
        in done.out
    )
    assert done.out.endswith("3 done, 1 failed\n")
    left = json.loads(applied("export-config", "--no-deployments", "--json").out)
    assert left["holds"] == {"mine/**": {"duration": "1d"}}
    assert left["gates"] == {"other/**": [{"policy": "release", "at": ["push"]}]}
    assert "lifecycle" not in left
    applied("policy", "ungate", "other/**", "release")
    assert set(applied.steps(without, "--prune")) == {("remove", "policies", "release")}


def test_one_item_that_fails_spoils_no_other(applier: Applier, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "remotes: {quay.io: {}}\nquotas: {'**': {tags: 5}}\nretention: {all: {pattern: '**', newest: 2}}\n"

    def refuse(*_: object) -> None:
        raise CatalogBusy("somebody else is writing")

    with monkeypatch.context() as patch:
        patch.setattr(quota, "write_quota", refuse)
        done = applier.apply(text, "--yes")
    assert done.code == FAILED
    assert "failed: quotas **: somebody else is writing" in done.out
    assert done.out.endswith("2 done, 1 failed\n")
    assert set(applier.steps(text)) == {("create", "quotas", "**")}
    assert len(applier.steps("", "--prune")) == 3


def test_an_export_changes_nothing_where_it_was_written_and_makes_the_same_elsewhere(
    applied: Applier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applier = applied
    exported = applier("export-config", "--no-deployments").out
    again = applier.apply(exported, "--yes")
    assert again.code == DONE
    assert "nothing to do" in again.out
    assert "the variable HARBOR_HOOK_SECRET is not set" in again.err
    applier.home = new_home(tmp_path / "other", administrator=True)
    refused = applier.apply(exported, "--yes")
    assert refused.code == USAGE
    assert "HARBOR_HOOK_SECRET is not set" in refused.err
    monkeypatch.setenv("HARBOR_HOOK_SECRET", "a-secret-of-the-other-home")
    assert applier.apply(exported, "--yes").code == DONE
    assert applier("export-config", "--no-deployments").out == exported


def test_an_export_into_a_file_is_what_is_printed(applied: Applier, tmp_path: Path) -> None:
    applier = applied
    done = applier("export-config", "--no-deployments", "--output", str(tmp_path / "out.yaml"))
    assert "the URL of subscription ops has a query" in done.err
    assert (tmp_path / "out.yaml").stat().st_mode & 0o777 == 0o600  # a URL in it may be a secret
    assert (tmp_path / "out.yaml").read_text() == applier("export-config", "--no-deployments").out


def test_the_schema_is_printed_without_a_file(applier: Applier) -> None:
    assert json.loads(applier("apply", "--schema").out)["title"] == "Configuration"
