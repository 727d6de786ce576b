"""The flow as operators run it: by the command, in a process of its own, recorded by a real Prefect server."""

import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import DockerRegistryFactory, EntrepotFactory
from tests.servers import Client, wait_until
from tests.upstream import Upstream

pytestmark = pytest.mark.slow
NAME = "team/app"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(NAME)


@pytest.fixture
def upstream(store: MemoryStore) -> Iterator[Upstream]:
    with Upstream({NAME: store}) as served:
        yield served


def image(store: MemoryStore, tag: str, text: str | None = None) -> Manifest:
    manifest = pack_image(store, [{"file": text or tag}])
    store.put_tag(tag, manifest.digest)
    return manifest


def snapshot(entrepot: Entrepot) -> Snapshot | None:
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        return catalog.snapshots.find(NAME)


def numbers(entrepot: Entrepot) -> list[int]:
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        return [row.number for row in catalog.history.versions(NAME)]


def blob_gets(upstream: Upstream) -> dict[str, int]:
    """How often each blob was asked for."""
    asked = [seen.reference for seen in upstream.seen if (seen.method, seen.route) == ("GET", "blob")]
    return {reference: asked.count(reference) for reference in asked}


def test_a_sync_is_recorded_with_its_tasks_progress_and_table(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    for tag in ("v1", "v2"):
        image(store, tag)
    result = entrepot.json("sync", f"{upstream.host}/{NAME}", "--batch-size", "1")
    run_id = result["flow_run_id"]
    assert (result["version"], result["tags"]["added"], result["failed"]) == (1, 2, {})
    run = prefect.flow_run(run_id)
    assert run["state"]["type"] == "COMPLETED"
    assert run["state"]["message"].startswith(f"{NAME}: version 1; 2 added")
    names = sorted(task["name"].rpartition("-")[0] for task in prefect.task_runs(run_id))
    assert names == ["commit-version", "copy-content", "copy-content", "list-tags", "resolve-tags"]
    artifacts = prefect.artifacts(run_id)
    assert artifacts["progress"]["data"] == 100
    rows = json.loads(artifacts["table"]["data"])
    assert {row["tag"]: row["action"] for row in rows} == {"v1": "added", "v2": "added"}
    assert all(row["bytes"] > 0 and row["digest"].startswith("sha256:") for row in rows)
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        assert catalog.history.version(NAME, 1).flow_run_id == run_id
    limits = {limit["name"]: limit["limit"] for limit in prefect.filter("v2/concurrency_limits")}
    assert limits[f"upstream-{upstream.host.replace(':', '-')}"] == 4


def test_an_unchanged_sync_is_two_tasks_and_a_head_for_each_tag(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    for number in range(20):
        image(store, f"v{number}")
    source = f"{upstream.host}/{NAME}"
    entrepot.json("sync", source, "--mirror", "--batch-size", "10")
    upstream.forget()
    result = entrepot.json("sync", source, "--mirror", "--batch-size", "10")
    assert (result["changed"], result["version"], result["tags"]["unchanged"]) == (False, 1, 20)
    assert upstream.counts == {("GET", "base"): 1, ("GET", "tags"): 1, ("HEAD", "manifest"): 20}
    tasks = sorted(task["name"].rpartition("-")[0] for task in prefect.task_runs(result["flow_run_id"]))
    assert tasks == ["list-tags", "resolve-tags"]
    artifacts = prefect.artifacts(result["flow_run_id"])
    assert artifacts["progress"]["data"] == 100
    assert len(json.loads(artifacts["table"]["data"])) == 20


def test_conditions_are_looked_at_by_a_task_and_their_reasons_are_told(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    for tag, stage in (("v1", "prod"), ("v2", "test")):
        packed = pack_image(store, [{"file": tag}], config={"Labels": {"stage": stage}})
        store.put_tag(tag, packed.digest)
    result = entrepot.json("sync", f"{upstream.host}/{NAME}", "--label", "stage=prod", "--batch-size", "1")
    assert {item["tag"]: item["action"] for item in result["items"]} == {"v1": "added"}
    assert result["not_selected"] == {"v2": "does not fulfil label stage=prod"}
    names = [task["name"].rpartition("-")[0] for task in prefect.task_runs(result["flow_run_id"])]
    assert (names.count("inspect-content"), names.count("copy-content")) == (2, 1)
    refused = entrepot("sync", f"{upstream.host}/{NAME}", "--mirror", "--label", "stage=none")
    assert refused.returncode == 2
    assert "v1: does not fulfil label stage=none" in refused.stderr


def test_a_failed_sync_names_the_bad_tags_everywhere(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "good")
    bad = image(store, "bad")
    upstream.replace(bad.layers[0].digest, bytes(bad.layers[0].size))
    done = entrepot("sync", f"{upstream.host}/{NAME}", "--json")
    assert done.returncode == 1
    assert "bad: " in done.stderr
    assert "Traceback" not in done.stderr
    assert set(json.loads(done.stdout)["error"]["detail"]["failed"]) == {"bad"}
    run = prefect.filter("flow_runs", sort="START_TIME_DESC", limit=1)[0]
    assert run["state"]["type"] == "FAILED"
    assert "bad: " in run["state"]["message"]
    rows = json.loads(prefect.artifacts(run["id"])["table"]["data"])
    assert [(row["tag"], row["action"]) for row in rows] == [("bad", "failed")]
    assert rows[0]["reason"]
    assert snapshot(entrepot) is None

    skipped = entrepot.json("sync", f"{upstream.host}/{NAME}", "--on-error", "skip")
    assert set(skipped["failed"]) == {"bad"}
    made = snapshot(entrepot)
    assert made is not None
    assert set(made.tags) == {"good"}


def test_a_task_is_tried_again_after_what_may_pass(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    upstream.fail(503, route="blob", times=1)
    entrepot.env["ENTREPOT_UPSTREAM_ATTEMPTS"] = "1"
    result = entrepot.json("sync", f"{upstream.host}/{NAME}")
    assert result["version"] == 1
    runs = {task["name"].rpartition("-")[0]: task["run_count"] for task in prefect.task_runs(result["flow_run_id"])}
    assert runs["copy-content"] == 2
    assert max(blob_gets(upstream).values()) == 2


def test_a_wrong_password_is_not_tried_again_and_no_password_is_kept_anywhere(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    image(store, "v1")
    upstream.login = ("reader", "open-sesame-4711")
    wrong = {"ENTREPOT_LOGINS": json.dumps({upstream.host: "reader:not-this-one-4711"})}
    right = {"ENTREPOT_LOGINS": json.dumps({upstream.host: "reader:open-sesame-4711"})}
    refused = entrepot("sync", f"{upstream.host}/{NAME}", env=wrong)
    assert refused.returncode == 1
    run = prefect.filter("flow_runs", sort="START_TIME_DESC", limit=1)[0]
    assert {task["run_count"] for task in prefect.task_runs(run["id"])} == {1}
    done = entrepot("sync", f"{upstream.host}/{NAME}", env=right)
    assert done.returncode == 0, done.stderr
    typed = entrepot("sync", f"reader:open-sesame-4711@{upstream.host}/{NAME}")
    assert typed.returncode == 2
    said = refused.stdout + refused.stderr + done.stdout + done.stderr + typed.stdout + typed.stderr
    secrets = [
        b"open-sesame",
        b"not-this-one",
        b64encode(b"reader:open-sesame-4711"),
        b64encode(b"reader:not-this-one-4711"),
    ]
    assert not any(secret in said.encode() for secret in secrets)
    for folder in (prefect.home, entrepot.home):
        for path in filter(Path.is_file, folder.rglob("*")):
            assert not any(secret in path.read_bytes() for secret in secrets), path


def test_two_syncs_of_one_repository_at_once(entrepot: Entrepot, upstream: Upstream, store: MemoryStore) -> None:
    for number in range(5):
        image(store, f"v{number}")
    upstream.silence(route="blob", seconds=0.3)
    both = [entrepot.start("sync", f"{upstream.host}/{NAME}", "--mirror") for _ in range(2)]
    assert [child.wait(120) for child in both] == [0, 0]
    assert numbers(entrepot) == [1]
    made = snapshot(entrepot)
    assert made is not None
    assert made.tags == store.tagged


def test_a_push_during_a_sync(
    entrepot: Entrepot,
    upstream: Upstream,
    store: MemoryStore,
    entrepot_server: EntrepotFactory,
    docker_registry: DockerRegistryFactory,
    skopeo: Client,
) -> None:
    image(store, "v1")
    server = entrepot_server(entrepot.home)
    pushed = image(store, "pushed")
    del store.tagged["pushed"]
    with Upstream({"other": store}) as other:
        store.tagged["pushed"] = pushed.digest
        upstream.silence(route="blob", seconds=4.0)
        child = entrepot.start("sync", f"{upstream.host}/{NAME}:v1")
        child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
        skopeo(
            "copy", "--src-tls-verify=false", "--dest-tls-verify=false", f"--dest-creds={server.creds}",
            f"docker://{other.host}/other:pushed", f"docker://{server.host}/{NAME}:pushed",
        )  # fmt: skip
    assert numbers(entrepot) == [1]
    assert child.wait(60) == 0
    assert numbers(entrepot) == [2, 1]
    made = snapshot(entrepot)
    assert made is not None
    assert set(made.tags) == {"v1", "pushed"}
    assert set(blob_gets(upstream).values()) == {1}


# --- killed ----------------------------------------------------------------------------------------------------


def test_killed_in_mid_copy_it_goes_on_where_it_was(entrepot: Entrepot, upstream: Upstream, store: MemoryStore) -> None:
    for number in range(10):
        image(store, f"v{number}")
    last = image(store, "v9-last", "last")
    upstream.silence(route="blob", seconds=60, only=last.layers[0].digest)
    blobs = {blob.digest for manifest in store.manifests.values() for _, blob in manifest.children()}
    child = entrepot.start("sync", f"{upstream.host}/{NAME}")

    def all_others_are_held() -> bool:
        return held(entrepot, blobs) == len(blobs) - 1

    child.wait_ready(lambda: len(blob_gets(upstream)) == len(blobs), seconds=60)
    wait_until(all_others_are_held, 30, "all blobs but one are held")
    child.kill()
    assert snapshot(entrepot) is None
    upstream.faults.clear()
    upstream.forget()
    result = entrepot.json("sync", f"{upstream.host}/{NAME}")
    assert blob_gets(upstream) == {last.layers[0].digest: 1}
    assert numbers(entrepot) == [1]
    assert result["tags"]["added"] == 11
    assert result["copied"]["items"] <= 3


def held(entrepot: Entrepot, blobs: set[Digest]) -> int:
    """How many of the blobs are recorded as held."""
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        return sum(catalog.content.size(digest) is not None for digest in blobs)


def test_killed_between_copy_and_commit_it_copies_nothing_again(
    entrepot: Entrepot, prefect: PrefectServer, upstream: Upstream, store: MemoryStore
) -> None:
    for number in range(4):
        image(store, f"v{number}")
    last = image(store, "v4-last", "last").layers[0].digest
    upstream.silence(route="blob", seconds=5, only=last)
    settings = read_settings(home=entrepot.home)

    def committing() -> set[str]:
        runs = prefect.filter("task_runs", task_runs={"state": {"type": {"any_": ["RUNNING"]}}})
        return {run["id"] for run in runs if run["name"].startswith("commit-version")}

    before = committing()  # of commands that other tests have killed
    child = entrepot.start("sync", f"{upstream.host}/{NAME}")
    child.wait_ready(lambda: last in blob_gets(upstream), seconds=60)

    with FileLock(settings.catalog_file.with_suffix(".lock")):  # nobody commits meanwhile
        child.wait_ready(lambda: bool(committing() - before), seconds=60)
        child.kill()
    assert snapshot(entrepot) is None
    assert len(blob_gets(upstream)) == 10
    upstream.forget()
    result = entrepot.json("sync", f"{upstream.host}/{NAME}")
    assert blob_gets(upstream) == {}
    assert upstream.counts["GET", "manifest"] == 0
    assert numbers(entrepot) == [1]
    assert result["copied"] == {"items": 0, "bytes": 0}


# --- no room ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of one megabyte; skip where it cannot be mounted."""
    folder = Path(tempfile.mkdtemp(prefix="entrepot-disk-"))
    mount = shutil.which("mount")
    if os.getuid() != 0 or mount is None:
        pytest.skip("only root can mount a small tmpfs")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def test_a_full_disk_is_told_and_leaves_nothing_half(
    entrepot: Entrepot, upstream: Upstream, store: MemoryStore, small_disk: Path
) -> None:
    image(store, "small")
    large = MemoryStore()
    big = store.put_blob(os.urandom(3_000_000), "application/octet-stream")
    del large
    from oci.pack import pack_artifact

    artifact = pack_artifact(store, "application/x-large", [("application/octet-stream", store.blobs[big.digest])])
    store.put_tag("big", artifact.digest)
    entrepot.env["ENTREPOT_STORAGE"] = f"file:{small_disk / 'blobs'}"
    done = entrepot("sync", f"{upstream.host}/{NAME}", "--on-error", "skip")
    assert done.returncode == 1
    assert "no room left" in done.stderr
    assert "Traceback" not in done.stderr
    assert snapshot(entrepot) is None
    assert not list((small_disk / "blobs" / "staging").iterdir())
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert entrepot.json("sync", f"{upstream.host}/{NAME}")["version"] == 1


# --- without a server ------------------------------------------------------------------------------------------


def processes_of(home: Path) -> list[str]:
    """Command lines and environments of processes that mention a home."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            try:
                if str(home).encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:
                continue
    return found


def test_ctrl_c_ends_it_with_130_and_leaves_no_process(
    entrepot: Entrepot, upstream: Upstream, store: MemoryStore
) -> None:
    import signal

    image(store, "v1")
    upstream.silence(route="blob", seconds=60)
    entrepot.env["ENTREPOT_PREFECT_API_URL"] = "http://127.0.0.1:1/api"
    child = entrepot.start("sync", f"{upstream.host}/{NAME}")
    child.wait_ready(lambda: bool(blob_gets(upstream)), seconds=60)
    child.signal(signal.SIGINT)
    assert child.wait(30) == 130
    assert "Traceback" not in child.output()
    assert processes_of(entrepot.home) == []
    assert snapshot(entrepot) is None


def test_the_options_that_select_reach_the_sync(entrepot: Entrepot, upstream: Upstream, store: MemoryStore) -> None:
    for tag in ("1.0.0", "1.0.1", "1.1.0", "edge"):
        image(store, tag)
    signature = f"{store.tagged['1.0.1'].replace(':', '-')}.sig"
    image(store, signature)
    selecting = ("sync", f"{upstream.host}/{NAME}", "--newest", "1", "--newest-of", "minor")

    bare = replace(entrepot, home=entrepot.home.with_name("bare"))
    explained = bare.json(*selecting, "--explain")
    assert {one["tag"] for one in explained if one["selected"]} == {"1.0.1", "1.1.0"}
    assert {one["tag"]: one["rule"] for one in explained}["1.0.0"] == "not among the 1 newest of each minor version"
    assert "2 of 5 tags are selected" in bare(*selecting, "--explain").stdout
    assert upstream.counts["HEAD", "manifest"] == 0
    assert not (bare.home / "catalog").exists()

    for options, tags in (
        (("--no-companions",), {"1.0.1", "1.1.0"}),
        (("--companions", "sbom"), {"1.0.1", "1.1.0"}),
        (("--companions", "signature"), {"1.0.1", "1.1.0", signature}),
    ):
        entrepot.json(*selecting, *options, "--mirror")
        found = snapshot(entrepot)
        assert found
        assert set(found.tags) == tags
