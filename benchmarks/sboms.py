"""The package question among many SBOMs: a catalogue with an SBOM of each image, and how long the question takes."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from benchmarks.bulk import Size, fill
from benchmarks.rows import Row
from benchmarks.stage import ENTREPOT, Stage, timed_command
from catalog.blobs.lake_data import lake_place
from catalog.lake.connection import Lake
from catalog.search.builder import IndexBuild
from catalog.search.following import read_snapshot
from catalog.search.schema import READ, index_file
from catalog.settings import Settings, read_settings

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_SBOM = "application/vnd.cyclonedx+json"

_SBOMS = f"""INSERT INTO records BY NAME
    WITH images AS (
        SELECT repository, digest, max(version) OVER (PARTITION BY repository) + 1 AS version FROM records
        WHERE kind = 'manifest' AND manifest_kind = 'image'
    )
    SELECT repository, version, 'add' AS action, 'manifest' AS kind, '' AS tag, 'sha256:' || sha256('sbom ' || digest) AS digest,
        800 AS size, '{_MANIFEST}' AS media_type, '{_SBOM}' AS artifact_type, digest AS subject, 'sbom' AS manifest_kind,
        '' AS os, '' AS architecture, '' AS variant, '' AS created, '{{}}' AS labels_json, '{{}}' AS annotations_json,
        to_json([{{'role': 'layer', 'digest': 'sha256:' || sha256('document ' || digest), 'media_type': '{_SBOM}', 'size': 90000,
            'platform': ''}}])::VARCHAR AS children_json
    FROM images
    UNION ALL BY NAME
    SELECT repository, version, 'add' AS action, 'version' AS kind, 'push' AS operation, 'sboms ' || repository AS operation_id,
        'robot' AS actor, '' AS flow_run_id, 'SBOMs' AS message, TIMESTAMPTZ '2026-01-01 00:00:00Z' AS created_at,
        count(*) AS tags, 2 * count(*) AS manifests, 0::BIGINT AS blobs, 0::BIGINT AS size_bytes, count(*) AS added,
        0::BIGINT AS removed
    FROM images GROUP BY repository, version
    ORDER BY repository"""


@dataclass(frozen=True)
class SbomSize:
    """How many SBOMs, one for each image, and of how many packages each; half of these are in every image of a distribution."""

    repositories: int
    tags: int
    packages: int = 200


def fill_sboms(settings: Settings, size: SbomSize) -> None:
    """Write a catalogue of images with an SBOM each, and the search index that has read them."""
    fill(settings, Size(size.repositories, size.tags, own_layers=5))
    lake = Lake(settings.catalog_file, memory="6GB", threads=2, lock_timeout=60)
    try:
        with lake.write() as writer:
            writer.begin()
            lake.cursor().execute(_SBOMS)
            grown = lake.cursor().execute("SELECT repository, max(version) FROM records GROUP BY repository").fetchall()
            versions = {str(name): range(int(number), int(number) + 1) for name, number in grown}
            writer.describe("bulk", "SBOMs", versions=versions)
        position, made_at = read_snapshot(lake)
    finally:
        lake.close()
    file = index_file(settings.catalog_file)
    IndexBuild(lake_place(settings), file, memory="1GB").run(position=position, made_at=made_at)
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        _write_packages(connection, size.packages)


def _write_packages(connection: sqlite3.Connection, count: int) -> None:
    """Write the packages of each document: of Debian or Alpine, all with openssl, and of Python or npm."""
    names = [
        *(("deb", "debian", name) for name in ("openssl", *(f"lib{number}" for number in range(400)))),
        *(("apk", "alpine", name) for name in ("openssl", *(f"so{number}" for number in range(100)))),
        *(("npm", "", f"module{number}") for number in range(3_000)),
        *(("pypi", "", f"module{number}") for number in range(1_500)),
    ]
    connection.executemany(
        "INSERT INTO package_names VALUES (?, ?, ?, ?, ?)",
        [
            (number, f"pkg:{type_}/{space}/{name}" if space else f"pkg:{type_}/{name}", type_, space, name)
            for number, (type_, space, name) in enumerate(names, 1)
        ],
    )
    texts = [
        "",
        "arch=amd64&distro=debian-12",
        "MIT",
        "Apache-2.0",
        *(f"{n // 25}.{n % 25}.{n % 7}" for n in range(500)),
    ]
    connection.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(texts, 1)))
    numbers: dict[str, list[int]] = {}
    for number, (type_, _, _) in enumerate(names, 1):
        numbers.setdefault(type_, []).append(number)
    documents = [int(one) for (one,) in connection.execute("SELECT manifest FROM documents ORDER BY manifest")]
    connection.executemany("INSERT INTO packages VALUES (?, ?, ?, ?, ?)", _rows(documents, numbers, count, len(texts)))
    connection.execute(
        "UPDATE documents SET state = ?, tried = 1, format = 'CycloneDX-1.5', packages = ?", [READ, count]
    )


def _rows(
    documents: list[int], numbers: dict[str, list[int]], count: int, texts: int
) -> Iterator[tuple[int, int, int, int, int]]:
    source = random.Random(19)
    for document in documents:
        system, own = numbers[source.choice(("deb", "deb", "apk"))], numbers[source.choice(("npm", "pypi"))]
        found = [system[0], *source.sample(system[1:], min(count // 2, len(system) - 1))]
        found += source.sample(own, min(count - len(found), len(own)))
        for package in found:
            yield document, package, source.randrange(5, texts + 1), 2, source.choice((3, 4))


def sbom_rows(stage: Stage, *, size: SbomSize, rounds: int) -> Iterator[Row]:
    """Ask which served images hold a package by the command, as somebody does who has just heard of a flaw."""
    home = stage.folder / "sboms"
    fill_sboms(read_settings(home=home), size)
    about = f"package question, {size.repositories * size.tags:,} SBOMs of {size.packages} packages"
    for text, versions in (("openssl", "<10"), ("pkg:deb/debian/lib7", "<1"), ("nowhere", "")):
        command = [str(ENTREPOT), "sbom", "search", text, "--version", versions, "--json"]
        took = tuple(timed_command(stage, "search", command, {"ENTREPOT_HOME": str(home)}) for _ in range(rounds))
        yield Row(f"{about}: {text} {versions}".rstrip(), "s", took, goal=2, better="less")
