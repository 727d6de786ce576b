"""Curating by the command, and the result in skopeo's hands."""

import json
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.servers import Client
from tests.unit.catalog.conftest import push_image

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def filled(entrepot: Entrepot) -> None:
    """Repositories a/one with v1.0, v1.1, v2.0, and b/two with nightly; they share a layer."""
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for tag in ("v1.0", "v1.1", "v2.0"):
            push_image(catalog, "a/one", tag, tag, ("shared", tag))
        push_image(catalog, "b/two", "nightly", "nightly", ("shared",))


def test_a_version_out_of_two_repositories(
    entrepot: Entrepot, prefect: PrefectServer, entrepot_server: EntrepotFactory, skopeo: Client, tmp_path: Path
) -> None:
    arguments = ("curate", "release/app", "a/one", "b/two:nightly", "--include", "semver:>=1.1 <2")
    planned = entrepot(*arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "not selected: a/one:v2.0: matches no include" in planned.stdout
    assert "dry run of release/app on version 0: 2 added" in planned.stdout
    result = entrepot.json(*arguments)
    assert (result["version"], result["tags"]) == (1, {"nightly": "added", "v1.1": "added"})
    assert result["blobs"]["added"] == 4  # two configs, the shared layer, one of its own
    assert prefect.flow_run(result["flow_run_id"])["state"]["message"].startswith("release/app: version 1; 2 added")
    server = entrepot_server(entrepot.home)
    listed = skopeo("list-tags", "--tls-verify=false", f"docker://{server.host}/release/app")
    assert json.loads(listed.stdout)["Tags"] == ["nightly", "v1.1"]
    for tag in ("nightly", "v1.1"):
        skopeo("copy", "--src-tls-verify=false", f"docker://{server.host}/release/app:{tag}", f"dir:{tmp_path / tag}")
    assert not entrepot.json(*arguments)["changed"]
    narrowed = entrepot.json("curate", "release/app", "release/app", "--newest", "1")
    assert narrowed["tags"] == {"nightly": "removed"}


def test_conditions_choose_what_is_curated_and_exported(entrepot: Entrepot, tmp_path: Path) -> None:
    chosen = entrepot.json("curate", "release/app", "a/one", "b/two", "--label", "seed=v*", "--label", "seed!=v2.0")
    assert chosen["tags"] == {"v1.0": "added", "v1.1": "added"}
    assert chosen["not_selected"]["b/two:nightly"] == "does not fulfil label seed=v*"
    exported = entrepot.json("export", str(tmp_path / "part"), "a/one", "b/two", "--label", "seed=v1.1")
    assert exported["versions"] == [{"repository": "a/one", "version": 3, "since": 0, "tags": 1}]
    assert exported["blobs"]["count"] == 4  # the manifest, its config, two layers
    assert exported["not_selected"]["b/two:nightly"] == "does not fulfil label seed=v1.1"
    nothing = entrepot("export", str(tmp_path / "nothing"), "a/one", "--signed")
    assert nothing.returncode == 2
    assert "a/one:v1.0: not signed" in nothing.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("release/app", "a/one:v9"), 1, "a/one:v9 is not in version 3 of a/one"),
        (("release/app", "c/none"), 1, "c/none"),
        (("release/app", "a/one", "--include", "re:("), 2, "expected a regular expression"),
        (("release/app", "a/one", "--platform", "amd64"), 2, "expected os/architecture"),
        (("Release", "a/one"), 2, "invalid repository name"),
    ],
)
def test_what_is_wrong_changes_nothing(entrepot: Entrepot, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = entrepot("curate", *arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [row["name"] for row in entrepot.json("repository", "list")] == ["a/one", "b/two"]


def test_a_list_edits_and_a_plan_that_was_looked_at(entrepot: Entrepot, tmp_path: Path) -> None:
    listed = tmp_path / "release.yaml"
    listed.write_text(
        "sources:\n  - repository: a/one\n    include: ['semver:>=1']\n    newest: 2\n  - b/two:nightly\ntag: ['latest=v2.0']\n"
    )
    arguments = ("curate", "release/app", "--from", str(listed), "--untag", "nightly")
    planned = entrepot(*arguments, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    plan = next(line.split()[-1] for line in planned.stdout.splitlines() if line.startswith("plan "))
    done = entrepot.json(*arguments, "--expect", plan)
    assert (done["version"], done["tags"]) == (1, {"latest": "added", "v1.1": "added", "v2.0": "added"})
    assert done["manifests"]["added"] == 3
    late = entrepot("curate", "release/app", "--remove", "v1.1", "--expect", plan)
    assert late.returncode == 1
    assert "nothing was done" in late.stderr
    assert entrepot.json("curate", "release/app", "--remove", "v1.1")["tags"] == {"v1.1": "removed"}
    listed.write_text("repository: other/app\nsources: [a/one]\n")
    wrong = entrepot("curate", "release/app", "--from", str(listed))
    assert (wrong.returncode, "is for other/app, not for release/app" in wrong.stderr) == (2, True)
