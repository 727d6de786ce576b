"""How long the commit of one version takes, by the worker and by DuckDB: an image of five rows, staged before."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.content import MANIFEST, Image, make_image, make_layer
from benchmarks.rows import Row
from catalog.catalog import Catalog
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Commit, SetTag
from oci.descriptor import Descriptor
from oci.digest import Digest
from tests.postgresql import make_postgres
from tests.servers import Children

_REPOSITORY = "bench/commits"


def committing_rows(folder: Path, children: Children, *, rounds: int, commits: int) -> Iterator[Row]:
    """Time commits of one version in a SQLite file, and in PostgreSQL."""
    yield from _rows_of("", folder / "sqlite", dict, rounds=rounds, commits=commits, goal=2.5)
    server = make_postgres(children, durable=True)
    yield from _rows_of(
        " in PostgreSQL",
        folder / "postgresql",
        lambda: {"catalog": server.new_database(), "catalog_password": server.password},
        rounds=rounds,
        commits=commits,
        goal=3.0,
    )


def _rows_of(
    where: str, folder: Path, settings: Callable[[], dict[str, str]], *, rounds: int, commits: int, goal: float
) -> Iterator[Row]:
    """Time commits to two catalogues in turns, one of which leaves all to DuckDB."""
    images = [make_image(f"v{number}", [make_layer(f"commit {number}", 1_000)]) for number in range(rounds * commits)]
    took: dict[bool, list[list[float]]] = {True: [], False: []}
    catalogs = {
        direct: Catalog(read_settings(home=folder / f"home-{direct}", direct_commits=direct, **settings()))
        for direct in (True, False)
    }
    for direct, catalog in catalogs.items():
        _warm_up(catalog, direct)
    for start in range(0, len(images), commits):
        for direct, catalog in catalogs.items():
            took[direct].append([_time_commit(catalog, image) for image in images[start : start + commits]])
    for catalog in catalogs.values():
        catalog.close()
    for name, share, limit in (("median", 0.5, goal), ("99 of 100", 0.99, 10.0)):
        mine, theirs = (tuple(_quantile(one, share) for one in took[direct]) for direct in (True, False))
        yield Row(f"commit of one version{where}, {name}", "ms", mine, goal=limit, better="less")
        yield Row(f"commit of one version{where}, {name}, against DuckDB's own", "ms", mine, theirs, better="less")


def _warm_up(catalog: Catalog, direct: bool) -> None:
    for number in range(10):
        _time_commit(catalog, make_image(f"w{number}", [make_layer(f"warm {number}", 1_000)]))
    if direct and not catalog._lake.worker.is_ready(wait=30):  # noqa: SLF001  # no face tells it: it makes no difference
        raise RuntimeError("no worker of direct commits")


def _time_commit(catalog: Catalog, image: Image) -> float:
    """Milliseconds of one commit, its content staged before."""
    commit = stage_commit(catalog, _REPOSITORY, image)
    begun = time.perf_counter()
    catalog.commits.commit(commit)
    return (time.perf_counter() - begun) * 1000


def stage_commit(catalog: Catalog, repository: str, image: Image) -> Commit:
    """Put an image into the store; return the commit that makes a version of it."""
    for blob in image.blobs:
        catalog.content.put(blob.data, Digest(blob.digest), repository)
    digest = Digest(image.digest)
    catalog.content.put(image.manifest, digest, repository, MANIFEST)
    changes = AddManifest(Descriptor(MANIFEST, digest, len(image.manifest))), SetTag(image.tag, digest)
    return Commit(repository, "push", changes, image.tag, "bench", datetime.now(UTC))


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
