"""What no gate by policies keeps back: signatures, attestations and other statements, since nobody could verify without them.

By content alone, never by tag, artifact type or types of layers, which whoever pushes chooses. Every layer has the type of a
statement; and either the config is none of an image, so that no client unpacks them, or each layer is a JSON object: podman
unpacks what has an image's config. An index passes if all that it lists does, such as that of a referrers tag.
"""

from catalog.policy.evidence import EvidenceSource
from oci import mediatypes
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.kinds import is_image_config, is_json_object, is_statement
from oci.manifest import Manifest

_LARGEST = 16 * 1024 * 1024
"""Bytes of a layer that is read."""


def is_statement_manifest(source: EvidenceSource, digest: Digest) -> bool:
    """Return whether a manifest holds statements about other content, and nothing to run."""
    manifest = _read(source, digest)
    if manifest is None or manifest.media_type in mediatypes.SCHEMA1:
        return False
    if manifest.media_type in mediatypes.INDEXES:
        parts = [_read(source, part.digest) for part in manifest.manifests]
        return all(part is not None and _holds_statements(source, part) for part in parts)
    return _holds_statements(source, manifest)


def _read(source: EvidenceSource, digest: Digest) -> Manifest | None:
    try:
        return source.manifest(digest)
    except EntrepotError:
        return None


def _holds_statements(source: EvidenceSource, manifest: Manifest) -> bool:
    if manifest.media_type in (*mediatypes.INDEXES, *mediatypes.SCHEMA1) or not manifest.layers:
        return False
    if not all(is_statement(layer.media_type) for layer in manifest.layers):
        return False
    config = manifest.config
    if config is not None and is_image_config(config.media_type):
        return all(layer.size <= _LARGEST and is_json_object(_blob(source, layer.digest)) for layer in manifest.layers)
    return config is None or config.media_type == mediatypes.OCI_EMPTY or is_statement(config.media_type)


def _blob(source: EvidenceSource, digest: Digest) -> bytes:
    try:
        return source.blob(digest)
    except EntrepotError:
        return b""
