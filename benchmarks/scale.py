"""Large repositories and many of them: what a request costs where there is much, against where there is little or a peer."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.content import MANIFEST, digest_of, make_image, make_layer
from benchmarks.load import Load, requests_per_second
from benchmarks.rows import Row
from benchmarks.stage import Stage
from benchmarks.wire import Connection, Server, push_blob, push_image
from catalog.catalog import Catalog, open_catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Change, Commit, SetTag
from oci.digest import Digest
from oci.manifest import parse_manifest

_FEW = 10
_AT_ONCE = 32


def scale_rows(
    stage: Stage, *, rounds: int, seconds: float, tags: Sequence[int], repositories: int, referrers: int
) -> Iterator[Row]:
    """Fill both catalogues beside their servers, then ask the servers."""
    (_, mine), (peer, theirs) = stage.ours("scale"), stage.peer("scale-peer")
    mine.child.stop()
    image = make_image("v1", [make_layer("scale", 10_000)])
    with Connection(peer) as connection:
        push_image(connection, "bench/filled", image)
    with open_catalog(read_settings(home=mine.home)) as catalog:
        for count in (_FEW, *tags):
            _fill_tags(catalog, f"bench/tags-{count}", [f"v{number}" for number in range(count)])
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            names = [f"many/r{number}" for number in range(repositories)]
            list(pool.map(lambda name: _fill_tags(catalog, name, ["v1"]), names))
    theirs.child.stop()
    _fill_peer(stage.folder / "scale-peer", image.digest, max(tags), repositories)
    theirs.child.start()
    mine.child.start()
    mine.wait_ready()
    ours = Server("entrepot", mine.port, mine.username, mine.password)
    with Connection(peer) as connection:
        _ready(connection)
    yield from _by_tag(ours, tags, rounds, seconds)
    yield from _lists(ours, peer, max(tags), repositories, rounds)
    yield from _referrers(ours, referrers, rounds, seconds)
    mine.child.stop()
    theirs.child.stop()


def _fill_tags(catalog: Catalog, name: str, tags: Sequence[str]) -> None:
    """A repository whose tags share at most a hundred images."""
    manifests = []
    for number in range(min(len(tags), 100)):
        image = make_image(f"{name} {number}", [])
        for blob in image.blobs:
            catalog.content.put(blob.data, Digest.parse(blob.digest), name)
        manifest = parse_manifest(image.manifest, MANIFEST)
        catalog.content.put(image.manifest, manifest.digest, name, MANIFEST)
        manifests.append(manifest)
    changes: list[Change] = [AddManifest(manifest.descriptor) for manifest in manifests]
    changes += [SetTag(tag, manifests[number % len(manifests)].digest) for number, tag in enumerate(tags)]
    catalog.commits.commit(
        Commit(
            repository=name,
            operation="bench",
            changes=tuple(changes),
            operation_id=name,
            actor="bench",
            created_at=datetime.now(UTC),
            serve="public",
        )
    )


def _fill_peer(storage: Path, digest: str, tags: int, repositories: int) -> None:
    """What docker-registry keeps for tags and repositories: a file for each."""
    top = storage / "docker" / "registry" / "v2" / "repositories"
    algorithm, _, encoded = digest.partition(":")
    filled = top / "bench" / "filled" / "_manifests" / "tags"
    for number in range(tags):
        for link in (filled / f"v{number}" / "current", filled / f"v{number}" / "index" / algorithm / encoded):
            link.mkdir(parents=True, exist_ok=True)
            (link / "link").write_text(digest)
    for number in range(repositories):
        revision = top / "many" / f"r{number}" / "_manifests" / "revisions" / algorithm / encoded
        revision.mkdir(parents=True)
        (revision / "link").write_text(digest)
        for folder in ("_layers", "_uploads"):
            (top / "many" / f"r{number}" / folder).mkdir()


def _ready(connection: Connection) -> None:
    connection.expect(200, "GET", "/v2/")


def _by_tag(ours: Server, tags: Sequence[int], rounds: int, seconds: float) -> Iterator[Row]:
    for count in tags:
        few = Load(f"/v2/bench/tags-{_FEW}/manifests/v{_FEW - 1}", accept=MANIFEST, seconds=seconds)
        many = replace(few, path=f"/v2/bench/tags-{count}/manifests/v{count - 1}")
        with Connection(ours) as connection:  # the first request of a repository brings its snapshot into memory
            for load in (few, many):
                connection.expect(200, "GET", load.path)
        pairs = [(requests_per_second(ours, many), requests_per_second(ours, few)) for _ in range(rounds)]
        yield Row(
            f"manifest GET among {count:,} tags",
            "requests/s",
            tuple(mine for mine, _ in pairs),
            tuple(base for _, base in pairs),
            0.9,
            note=f"peer: our own repository of {_FEW} tags",
        )


def _lists(ours: Server, peer: Server, tags: int, repositories: int, rounds: int) -> Iterator[Row]:
    kinds = [
        (
            f"list of {tags:,} tags, pages of 1,000",
            f"/v2/bench/tags-{tags}/tags/list",
            "/v2/bench/filled/tags/list",
            "tags",
        ),
        (f"catalog of {repositories:,} repositories, pages of 1,000", "/v2/_catalog", "/v2/_catalog", "repositories"),
    ]
    for name, mine, theirs, key in kinds:
        expected = tags if key == "tags" else repositories
        pairs = [
            (_walk(ours, mine, key, expected), _walk(peer, theirs, key, expected)) for _ in range(max(1, rounds // 2))
        ]
        note = "the peer gives all tags in one page" if key == "tags" else ""
        yield Row(
            name, "s", tuple(took for took, _ in pairs), tuple(took for _, took in pairs), 1.0, better="less", note=note
        )


def _walk(server: Server, path: str, key: str, at_least: int) -> float:
    """Seconds to read a list to its end, following its links."""
    start, count, following = time.perf_counter(), 0, f"{path}?n=1000"
    headers = {name: value for name, value in server.headers.items() if name != "Host"}
    with httpx.Client(base_url=f"http://{server.host}", headers=headers, trust_env=False, timeout=120) as client:
        while following:
            answer = client.get(following).raise_for_status()
            count += len(answer.json()[key])
            following = answer.links.get("next", {}).get("url", "")
    assert count >= at_least, f"{server.name}: {count} of {at_least} {key}"
    return time.perf_counter() - start


def _referrers(ours: Server, count: int, rounds: int, seconds: float) -> Iterator[Row]:
    subject = make_image("subject", [])
    with Connection(ours) as connection:
        push_image(connection, "bench/referrers", subject)
    descriptor = {"mediaType": MANIFEST, "digest": subject.digest, "size": len(subject.manifest)}

    def push(number: int) -> None:
        image = make_image(f"referrer {number}", [])
        document = {**json.loads(image.manifest), "subject": descriptor, "artifactType": f"application/x-{number % 2}"}
        raw = json.dumps(document).encode()
        with Connection(ours) as connection:
            for blob in image.blobs:
                push_blob(connection, "bench/referrers", blob.data, blob.digest)
            path = f"/v2/bench/referrers/manifests/{digest_of(raw)}"
            connection.expect(201, "PUT", path, raw, headers={"Content-Type": MANIFEST})

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(push, range(count)))
    load = Load(f"/v2/bench/referrers/referrers/{subject.digest}", seconds=seconds)
    with Connection(ours) as connection:
        assert len(json.loads(connection.expect(200, "GET", load.path).body)["manifests"]) == count
    for name, path in (("", load.path), (", one type of two", f"{load.path}?artifactType=application/x-1")):
        rates = tuple(requests_per_second(ours, replace(load, path=path)) for _ in range(rounds))
        yield Row(f"referrers, {count:,} of them{name}", "requests/s", rates, note="the peer has no referrers API")
