"""What cannot be written fails alone: commits that share its transaction go through, and each is made once."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog.commits.commit
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.rows import Record, fit_records
from catalog.versions.snapshot import Snapshot
from oci import mediatypes
from oci.digest import Digest
from oci.errors import CatalogBusy, EntrepotError
from oci.memory import MemoryStore
from oci.pack import pack_image
from tests.api.conftest import Api, serve, simple_manifest
from tests.homes import new_home
from tests.servers import wait_until
from tests.unit.catalog.conftest import commit_to, push_image, stage_image, stage_index, stage_manifest

ODD = [
    "\ud83d",
    "\0",
    "a}b",
    "a\\",
    "x" * 100_000,
    2**63,
    -(2**70),
    10**4000,
    None,
    True,
    1e308,
    ["a"],
    {"a": "b"},
    "\ud83d\ude00",
]
ASKED = ("images", "manifests", "descriptors", "layers", "referrers", "usage", "repositories", "tags")


@pytest.fixture
def opened(tmp_path: Path) -> Catalog:
    return Catalog(read_settings(home=new_home(tmp_path / "entrepot")))


def together(opened: Catalog, jobs: Sequence[Callable[[], object]]) -> list[object]:
    """Do the jobs so that they wait for one group; return their results, or what they raised."""

    def do(job: Callable[[], object]) -> object:
        try:
            return job()
        except Exception as error:  # noqa: BLE001  # compared by the caller
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        with opened._lake.write():
            done = [pool.submit(do, job) for job in jobs]
            waiting = opened.commits
            wait_until(lambda: len(waiting._queue) >= len(jobs) - 1, 20, "all wait, one of them for the lock")
        return [one.result() for one in done]


def push(opened: Catalog, repository: str, number: int) -> Callable[[], object]:
    image = stage_image(opened, repository, f"{repository} {number}")
    changes = AddManifest(image), SetTag(f"t{number}", image.digest)
    return lambda: commit_to(opened, repository, *changes, operation_id=f"op-{number}")


def test_what_cannot_be_written_fails_alone(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the reason: here the writer of rows itself does not take some."""
    jobs = [push(opened, "bad/app" if number % 7 == 3 else f"good/app-{number % 3}", number) for number in range(28)]

    def write(records: Sequence[Record]) -> list[Record]:
        if any(record["repository"] == "bad/app" for record in records):
            raise ValueError("poison")
        return fit_records(records)

    monkeypatch.setattr(catalog.commits.commit, "fit_records", write)
    found = together(opened, jobs)
    assert [number for number, one in enumerate(found) if isinstance(one, Exception)] == [3, 10, 17, 24]
    assert all(isinstance(found[number], ValueError) for number in (3, 10, 17, 24))
    for name in ("good/app-0", "good/app-1", "good/app-2"):
        tags = {f"t{number}" for number in range(28) if number % 7 != 3 and f"good/app-{number % 3}" == name}
        assert opened.snapshots.get(name).tags.keys() == tags
        assert [row.number for row in opened.history.versions(name)] == list(range(len(tags), 0, -1))
    assert not opened.snapshots.has("bad/app")
    opened.close()


def test_what_has_landed_although_its_write_failed_is_made_once(
    opened: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep, groups = opened.snapshots.keep, list[int]()

    def break_once(made: Iterable[Snapshot], *, opened: Iterable[Distribution], before: int, after: int) -> None:
        groups.append(before)
        if len(groups) == 2:  # the first is a group of its own
            raise OSError("after the commit")
        keep(made, opened=opened, before=before, after=after)

    monkeypatch.setattr(opened.snapshots, "keep", break_once)
    found = together(opened, [push(opened, "team/app", number) for number in range(8)])
    assert not any(isinstance(one, Exception) for one in found)
    assert [row.number for row in opened.history.versions("team/app")] == list(range(8, 0, -1))
    assert len(opened.snapshots.get("team/app").tags) == 8
    opened.close()


def test_a_lock_that_cannot_be_had_is_waited_for_once(opened: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, tries = [push(opened, "team/app", number) for number in range(8)], list[int]()

    def refuse(group: Sequence[object], *, is_repeated: bool) -> None:
        tries.append(len(group))
        raise CatalogBusy("another process has held the lock")

    monkeypatch.setattr(opened.commits, "_write", refuse)
    with ThreadPoolExecutor(8) as pool:
        found = [one.exception() for one in [pool.submit(job) for job in jobs]]
    assert all(isinstance(one, CatalogBusy) for one in found)
    assert sum(tries) == 8
    opened.close()


def test_odd_values_in_all_places_are_written_or_refused_alone(opened: Catalog) -> None:
    good = [push(opened, "team/good", number) for number in range(6)]
    found = together(opened, [*good, *(odd_push(opened, odd) for odd in ODD)])
    assert not any(isinstance(one, Exception) for one in found[:6])
    odd = [one for one in found[6:] if isinstance(one, Exception)]
    assert all(isinstance(one, EntrepotError) for one in odd)
    assert len(odd) < len(ODD)
    for view in ASKED:
        opened.query.run(f"SELECT * FROM {view}")
    list(opened.maintenance.steps(keep_snapshots=0, grace=0))
    opened.maintenance.usage()
    opened.close()


def odd_push(opened: Catalog, odd: object) -> Callable[[], object]:
    """An index of an image, with the value in every place that takes any."""
    name, text = f"team/odd-{ODD.index(odd)}", odd if isinstance(odd, str) else "plain"
    config = {"os": odd, "architecture": odd, "variant": odd, "created": odd, "config": {"Labels": {text: odd}}}
    blob = json.dumps(config).encode() if not isinstance(odd, int) or abs(odd) < 10**4000 else b"{}"
    opened.content.put(blob, Digest.of(blob), name)
    foreign = mediatypes.OCI_LAYER_GZIP.replace("layer.", "layer.nondistributable.")
    size = odd if isinstance(odd, int) and 0 <= odd < 10**300 else 7
    document: dict[str, object] = {
        "schemaVersion": 2, "mediaType": mediatypes.OCI_MANIFEST, "artifactType": text, "annotations": {text: text},
        "config": {"mediaType": mediatypes.OCI_CONFIG, "digest": Digest.of(blob), "size": len(blob)},
        "layers": [{"mediaType": foreign, "digest": Digest.of(b"none"), "size": size, "annotations": {text: text}}],
    }  # fmt: skip
    image = stage_manifest(opened, name, document, mediatypes.OCI_MANIFEST)
    platform = {"os": odd, "architecture": odd, "variant": odd} if size == 7 else {}
    child = {"mediaType": image.media_type, "digest": image.digest, "size": size, "platform": platform}
    index = {"schemaVersion": 2, "mediaType": mediatypes.OCI_INDEX, "manifests": [child], "annotations": {text: text}}
    if isinstance(odd, int) and abs(odd) >= 10**300:
        index["manifests"] = []
    top = stage_manifest(opened, name, index, mediatypes.OCI_INDEX)
    changes = AddManifest(image), AddManifest(top), SetTag("v1", top.digest)
    return lambda: commit_to(opened, name, *changes, message=text, actor=text, allow_sparse=True, allow_absent=True)


TEXTS = st.text(st.characters() | st.sampled_from("\0\ud800\udfff}{'\"\\=,[]"), max_size=12)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    labels=st.dictionaries(TEXTS, TEXTS, max_size=3), annotations=st.dictionaries(TEXTS, TEXTS, max_size=3), text=TEXTS
)
def test_any_text_of_a_manifest_is_committed(
    fuzzed: Catalog, labels: dict[str, str], annotations: Mapping[str, str], text: str
) -> None:
    made = push_image(
        fuzzed, "team/app", "v1", text, created=text, labels=labels, annotations=annotations, artifactType=text
    )
    digest = made.snapshot.tags["v1"]
    assert fuzzed.snapshots.get("team/app").manifests[digest] == made.snapshot.manifests[digest]
    image = fuzzed.snapshots.get("team/app").resolve("v1")
    child = stage_index(fuzzed, "team/app", [], annotations=annotations)
    commit_to(fuzzed, "team/app", AddManifest(child), operation_id=f"{text} index")
    (found,) = fuzzed.query.run(f"SELECT labels, annotations FROM manifests WHERE digest = '{image}'").to_pylist()
    assert len(found["labels"]) <= len(labels) + 1


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return Catalog(read_settings(home=new_home(tmp_path_factory.mktemp("fuzzed") / "entrepot")))


def test_no_good_push_fails_beside_poison(tmp_path: Path) -> None:
    """Over HTTP, as many clients as take part in one group and more; bytes come back as they were sent."""
    with serve(tmp_path / "entrepot") as api:
        stop, kept = threading.Event(), list[tuple[str, bytes]]()
        with ThreadPoolExecutor(14) as pool:
            poisoning = [pool.submit(poison, api, number, stop, kept) for number in range(4)]
            good = [pool.submit(push_good, api, number) for number in range(10)]
            statuses = [status for one in good for status in one.result()]
            stop.set()
            refused = {status for one in poisoning for status in one.result()}
        assert set(statuses) <= {200, 201, 404}
        assert refused <= {201, 400}
        assert kept
        for reference, raw in kept:
            assert api.admin.get(f"/v2/{reference}").content == raw
        assert len(api.catalog.history.versions("team/app")) == 10 * 3
        list(api.catalog.maintenance.steps(keep_snapshots=0, grace=0))
        api.catalog.query.run("SELECT * FROM descriptors")


def push_good(api: Api, number: int) -> list[int]:
    statuses: list[int] = []
    with api.client(auth=("admin", api.password)) as client:
        own = Api(api.catalog, api.port, api.password)
        own.admin.close()
        own.admin = client
        client.event_hooks = {"response": [lambda answer: statuses.append(answer.status_code)]}
        for step in range(3):
            store = MemoryStore()
            own.push("team/app", f"t{number}-{step}", store, pack_image(store, [{"own": f"{number} {step}"}]))
        own.anybody.close()
    return statuses


def poison(api: Api, number: int, stop: threading.Event, kept: list[tuple[str, bytes]]) -> list[int]:
    name, statuses = f"evil/app-{number}", list[int]()
    base = json.loads(simple_manifest(api, name))
    step = 0
    while not stop.is_set() or step < 6:
        step += 1
        odd = ODD[step % len(ODD)]
        document = {
            **base,
            "annotations": {f"k{step}": odd if isinstance(odd, str) else "\ud83d\0"},
            "artifactType": "\ud83d",
        }
        if step % 3 == 0:
            document["subject"] = {**base["config"], "size": 2**63 + step}
        raw = json.dumps(document).encode()
        with api.client(auth=("admin", api.password)) as client:
            headers = {"Content-Type": mediatypes.OCI_MANIFEST}
            statuses.append(
                client.put(f"/v2/{name}/manifests/{Digest.of(raw)}", content=raw, headers=headers).status_code
            )
        if statuses[-1] == 201:
            kept.append((f"{name}/manifests/{Digest.of(raw)}", raw))
    return statuses
