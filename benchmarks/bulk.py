"""A catalogue of any size, written in bulk: what a year of pushes and syncs would leave, made within minutes.

Rows go into table `records` in the form that a commit writes, many versions at once; the rest (blob index, paths) follows.
Image manifests are real: `manifest_bytes` gives the bytes that a digest names, so that chosen repositories can be pulled from.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.settings import Settings
from oci.digest import Digest

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"


@dataclass(frozen=True)
class Size:
    """How much: tags per repository come in versions of `per_version`; each image has some 25 blobs of its own or shared."""

    repositories: int
    tags: int = 100
    per_version: int = 10
    own_layers: int = 17

    @property
    def all_tags(self) -> int:
        return self.repositories * self.tags


def repository_name(number: int) -> str:
    return f"ns{number // 100:03}/app{number % 100:02}"


_MACROS = (
    "CREATE OR REPLACE TEMP MACRO dig(text) AS 'sha256:' || sha256(text)",
    "CREATE OR REPLACE TEMP MACRO named(r) AS printf('ns%03d/app%02d', r // 100, r % 100)",
    # Digests of an image's layers: 4 of one of 50 base images (which change every 25 tags), 3 of the application's every 10 tags,
    # and own ones, which ten repositories that promote to each other share.
    """CREATE OR REPLACE TEMP MACRO layers_of(r, t, own) AS
        list_transform(range(4), lambda i: dig(printf('base %d %d %d', r % 50, t // 25, i)))
        || list_transform(range(3), lambda i: dig(printf('shared %d %d %d', r, t // 10, i)))
        || list_transform(range(own), lambda i: dig(printf('own %d %d %d', r // 10, t, i)))""",
    "CREATE OR REPLACE TEMP MACRO size_of(digest) AS 1000 + ('0x' || digest[8:13])::BIGINT",
    "CREATE OR REPLACE TEMP MACRO config_of(r, t) AS dig(printf('config %d %d', r, t))",
    f"""CREATE OR REPLACE TEMP MACRO manifest_of(r, t, own) AS
        '{{"schemaVersion":2,"mediaType":"{_MANIFEST}","config":{{"mediaType":"{_CONFIG}","digest":"'
        || config_of(r, t) || '","size":' || size_of(config_of(r, t)) || '}},"layers":['
        || list_aggregate(list_transform(layers_of(r, t, own), lambda one:
            '{{"mediaType":"{_LAYER}","digest":"' || one || '","size":' || size_of(one) || '}}'), 'string_agg', ',')
        || ']}}'""",
    "CREATE OR REPLACE TEMP MACRO tag_of(t) AS printf('v%d.%d.%d', t // 50, t // 10 % 5, t % 10)",
    "CREATE OR REPLACE TEMP MACRO made_at(r, v) AS TIMESTAMPTZ '2025-01-01 00:00:00Z' + INTERVAL 1 HOUR * (v * 700 + r % 700)",
)

_IMAGES = """
CREATE OR REPLACE TEMP TABLE images AS
SELECT r, t, 1 + t // $per AS version, named(r) AS repository, tag_of(t) AS tag, dig(text) AS digest, length(text) AS size,
    layers_of(r, t, $own) AS layers, config_of(r, t) AS config
FROM (
    SELECT r, t, manifest_of(r, t, $own) AS text
    FROM range($first::BIGINT, $last::BIGINT) repositories(r), range($tags::BIGINT) tags(t))"""

_BLOBS = """
CREATE OR REPLACE TEMP TABLE blobs AS
SELECT repository, min(version) AS version, digest, size_of(digest) AS size
FROM (SELECT repository, version, unnest(layers || [config]) AS digest FROM images) GROUP BY repository, digest"""

_RECORDS = (
    f"""INSERT INTO records BY NAME
    SELECT repository, version, 'add' AS action, 'tag' AS kind, tag, digest, size, '{_MANIFEST}' AS media_type,
        '{_CONFIG}' AS artifact_type, '' AS subject FROM images
    UNION ALL BY NAME
    SELECT repository, version, 'add' AS action, 'blob' AS kind, '' AS tag, digest, size, '' AS media_type, '' AS artifact_type,
        '' AS subject FROM blobs
    UNION ALL BY NAME
    SELECT repository, version, 'add' AS action, 'manifest' AS kind, '' AS tag, digest, size, '{_MANIFEST}' AS media_type,
        '{_CONFIG}' AS artifact_type, '' AS subject, 'image' AS manifest_kind, 'linux' AS os,
        CASE WHEN r % 4 = 0 THEN 'arm64' ELSE 'amd64' END AS architecture, '' AS variant,
        strftime(made_at(r, version), '%Y-%m-%dT%H:%M:%SZ') AS created,
        to_json({{'team': 'team' || r % 20, 'org.opencontainers.image.version': tag}})::VARCHAR AS labels_json,
        '{{}}' AS annotations_json,
        to_json([{{'role': 'config', 'digest': config, 'media_type': '{_CONFIG}', 'size': size_of(config),
            'platform': ''}}] || list_transform(layers, lambda one: {{'role': 'layer', 'digest': one,
            'media_type': '{_LAYER}', 'size': size_of(one), 'platform': ''}}))::VARCHAR AS children_json
    FROM images
    UNION ALL BY NAME
    SELECT repository, version, 'add' AS action, 'manifest' AS kind, '' AS tag, dig('signature ' || digest) AS digest,
        700 AS size, '{_MANIFEST}' AS media_type, '{_SIGNATURE}' AS artifact_type, digest AS subject,
        'cosign-signature' AS manifest_kind,
        '' AS os, '' AS architecture, '' AS variant, '' AS created, '{{}}' AS labels_json, '{{}}' AS annotations_json,
        '[]' AS children_json
    FROM images WHERE t % 5 = 0
    UNION ALL BY NAME
    SELECT repository, version, 'add' AS action, 'version' AS kind, 'sync' AS operation,
        'bulk ' || repository || version AS operation_id, 'robot' || r % 7 AS actor, '' AS flow_run_id, 'made in bulk' AS message,
        made_at(r, version) AS created_at, version * $per::BIGINT AS tags, version * $per::BIGINT AS manifests,
        0::BIGINT AS blobs, version * 50000000::BIGINT AS size_bytes, count(*) AS added, 0::BIGINT AS removed
    FROM images GROUP BY r, repository, version
    ORDER BY repository""",
)


def fill(settings: Settings, size: Size, *, step: int = 500) -> None:
    """Write a catalogue of that size into a new home; `step` repositories with one transaction."""
    with Catalog(settings):
        pass  # made and migrated
    lake = Lake(settings.catalog_file, memory="6GB", threads=2, lock_timeout=60)
    try:
        cursor = lake.cursor()
        for macro in _MACROS:
            cursor.execute(macro)
        for first in range(0, size.repositories, step):
            last = min(first + step, size.repositories)
            names = {"per": size.per_version, "own": size.own_layers, "tags": size.tags, "first": first, "last": last}
            with lake.write() as writer:
                writer.begin()
                for statement in (_IMAGES, _BLOBS, *_RECORDS):
                    cursor.execute(statement, {key: value for key, value in names.items() if f"${key}" in statement})
                numbers = range(1, 1 - (-size.tags // size.per_version))
                versions = {repository_name(number): numbers for number in range(first, last)}
                writer.describe("bulk", f"repositories {first} to {last}", versions=versions)
            _hold(settings.catalog_file.parent / "holdings.sqlite", cursor)
        _serve(lake, size)
    finally:
        lake.close()


def _hold(blob_index: Path, cursor: duckdb.DuckDBPyConnection) -> None:
    """Say that the blobs and manifests of the last step are held."""
    rows = cursor.execute(
        "SELECT DISTINCT digest, size FROM blobs UNION SELECT DISTINCT digest, size FROM images ORDER BY digest"
    ).fetchall()
    connection = sqlite3.connect(blob_index)
    connection.execute("PRAGMA synchronous = OFF")
    with connection:
        connection.executemany("INSERT OR IGNORE INTO blobs (digest, size, ingested_at) VALUES (?, ?, 0)", rows)
    connection.close()


def _serve(lake: Lake, size: Size) -> None:
    with lake.write() as writer:
        writer.begin()
        lake.cursor().execute(
            "INSERT INTO distributions BY NAME SELECT named(r) AS path, named(r) AS repository, NULL::BIGINT AS version, "
            "false AS private, '' AS description, made_at(r, 1) AS created_at, made_at(r, 1) AS updated_at "
            f"FROM range({size.repositories}::BIGINT) repositories(r)"
        )
        writer.describe("bulk", "distributions", distributions={repository_name(0): "set"})


def keep_manifests(settings: Settings, size: Size, repositories: Sequence[int]) -> None:
    """Put the bytes of some repositories' image manifests into the store, so that they can be pulled."""
    with Catalog(settings) as catalog:
        cursor = catalog._lake.cursor()  # noqa: SLF001  # what no face of the catalogue offers: bulk
        for macro in _MACROS:
            cursor.execute(macro)
        for number in repositories:
            texts = cursor.execute(
                "SELECT manifest_of($r::BIGINT, t, $own::BIGINT) FROM range($tags::BIGINT) tags(t)",
                {"r": number, "own": size.own_layers, "tags": size.tags},
            ).fetchall()
            for (text,) in texts:
                raw = str(text).encode()
                digest = Digest.of(raw, "sha256")
                folder = settings.storage_folder
                assert folder is not None
                path = folder / "sha256" / digest.encoded[:2] / digest.encoded
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(raw)
