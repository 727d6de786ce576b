"""What `inspect` knows of an image, an index and an artifact."""

import json

import pytest

from catalog.catalog import Catalog
from catalog.content.inspection import inspect_content
from catalog.versions.changes import AddManifest, SetTag
from oci import mediatypes
from oci.digest import Digest
from oci.errors import InvalidInput, ManifestUnknown, NameUnknown
from oci.manifest import parse_manifest
from oci.reference import parse_content_reference
from tests.unit.catalog.conftest import commit_to, stage_image

NAME = "team/app"
CONFIG = {
    "os": "linux",
    "architecture": "arm64",
    "variant": "v8",
    "created": "2026-01-02T03:04:05Z",
    "config": {"User": "1000", "Entrypoint": ["/bin/app"], "Labels": {"org.flatpak.ref": "app/org.example.App"}},
    "history": [
        {"created_by": "COPY one /"},
        {"created_by": "ENV A=1", "empty_layer": True},
        {"created_by": "RUN two"},
    ],
}


def put(catalog: Catalog, data: bytes) -> dict[str, object]:
    digest = Digest.of(data)
    catalog.content.put(data, digest, NAME)
    return {"digest": digest, "size": len(data)}


def image(catalog: Catalog, config: object, *layers: bytes, **fields: object) -> dict[str, object]:
    """Commit an image, and return its descriptor."""
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, **put(catalog, json.dumps(config).encode())},
        "layers": [{"mediaType": mediatypes.OCI_LAYER_GZIP, **put(catalog, layer)} for layer in layers],
        **fields,
    }
    manifest = parse_manifest(json.dumps(document).encode())
    catalog.content.put(manifest.raw, manifest.digest, NAME)
    commit_to(catalog, NAME, AddManifest(manifest.descriptor))
    return {"mediaType": manifest.media_type, "digest": manifest.digest, "size": manifest.size}


def test_an_image_shows_its_config_layers_and_what_is_attached(catalog: Catalog) -> None:
    made = image(catalog, CONFIG, b"one", b"two")
    digest = Digest.parse(str(made["digest"]))
    signature = image(catalog, {}, b"signs", subject=made, artifactType="application/spdx+json")
    commit_to(catalog, NAME, SetTag("v1", digest), SetTag("v2", digest))
    found = inspect_content(catalog, parse_content_reference(f"{NAME}:v1"))
    assert (found.kind, found.platform, found.tags, found.served_at) == (
        "flatpak",
        "linux/arm64/v8",
        ("v1", "v2"),
        (NAME,),
    )
    assert found.config == {
        "created": "2026-01-02T03:04:05Z",
        "user": "1000",
        "entrypoint": ["/bin/app"],
        "labels": {"org.flatpak.ref": "app/org.example.App"},
    }
    assert [(part.command, part.size, part.is_here) for part in found.parts] == [
        ("COPY one /", 3, True),
        ("RUN two", 3, True),
    ]
    assert [(one.digest, one.kind) for one in found.attached] == [(signature["digest"], "sbom")]
    assert found.total_size == 6
    refers = inspect_content(catalog, parse_content_reference(f"{NAME}@{signature['digest']}"))
    assert (refers.subject, refers.tags) == (digest, ())
    assert json.loads(json.dumps(found.to_json()))["digest"] == digest


def test_an_index_shows_its_platforms(catalog: Catalog) -> None:
    child = image(catalog, CONFIG, b"layer")
    missing = {"mediaType": mediatypes.OCI_MANIFEST, "digest": Digest.of(b"away"), "size": 4}
    platform = {"os": "linux", "architecture": "arm64"}
    index = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [{**child, "platform": platform}],
    }
    manifest = parse_manifest(json.dumps(index).encode())
    catalog.content.put(manifest.raw, manifest.digest, NAME)
    commit_to(catalog, NAME, AddManifest(manifest.descriptor), SetTag("only", manifest.digest))
    found = inspect_content(catalog, parse_content_reference(NAME))
    assert (found.kind, found.platform, found.config) == ("index", "", {})
    assert [(part.digest, part.platform, part.is_here) for part in found.parts] == [
        (child["digest"], "linux/arm64", True)
    ]
    assert missing["digest"] not in {part.digest for part in found.parts}


def test_a_name_alone_says_what_to_name_where_there_is_no_latest(catalog: Catalog) -> None:
    made = image(catalog, CONFIG, b"layer")
    digest = Digest(str(made["digest"]))
    commit_to(catalog, NAME, SetTag("v1", digest), SetTag("v2", digest))
    with pytest.raises(ManifestUnknown) as caught:
        inspect_content(catalog, parse_content_reference(NAME))
    said = "team/app has no tag 'latest'; name one of its 2 tags, such as team/app:v2 (`entrepot tag list team/app`)"
    assert caught.value.message == said


@pytest.mark.parametrize(
    "config",
    [
        [],
        {"config": "text", "history": 5},
        {"config": {"Labels": "text", "Env": None}, "history": [None, {"created_by": 5}, {}]},
        {"os": 5, "architecture": None},
    ],
    ids=str,
)
def test_odd_configs_are_shown_as_far_as_they_make_sense(catalog: Catalog, config: object) -> None:
    made = image(catalog, config, b"layer")
    found = inspect_content(catalog, parse_content_reference(f"{NAME}@{made['digest']}"))
    assert found.kind == "image"
    assert "labels" not in found.config
    assert len(found.parts) == 1


def test_an_earlier_version_is_shown_as_it_was(catalog: Catalog) -> None:
    one, two = (stage_image(catalog, NAME, text) for text in ("one", "two"))
    commit_to(catalog, NAME, AddManifest(one), SetTag("v1", one.digest))
    commit_to(catalog, NAME, AddManifest(two), SetTag("v1", two.digest))
    wanted = parse_content_reference(f"{NAME}:v1")
    latest, earlier = inspect_content(catalog, wanted), inspect_content(catalog, wanted, 1)
    assert (latest.digest, latest.served_at) == (two.digest, (NAME,))
    assert (earlier.digest, earlier.served_at) == (one.digest, ())


def test_what_is_not_there_or_contradicts_itself_is_refused(catalog: Catalog) -> None:
    one = stage_image(catalog, NAME, "one")
    commit_to(catalog, NAME, AddManifest(one), SetTag("v1", one.digest))
    with pytest.raises(ManifestUnknown, match="tag 'v2'"):
        inspect_content(catalog, parse_content_reference(f"{NAME}:v2"))
    with pytest.raises(NameUnknown):
        inspect_content(catalog, parse_content_reference("team/none"))
    with pytest.raises(InvalidInput, match="alone"):
        inspect_content(catalog, parse_content_reference(f"{NAME}:v1@{Digest.of(b'other')}"))
