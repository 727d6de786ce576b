"""The kind of a manifest, by its media types and labels; computed once, when it is ingested."""

import json
from collections.abc import Mapping

from oci import mediatypes
from oci.digest import Digest
from oci.manifest import Manifest

COSIGN_SIGNATURE = "cosign-signature"
KINDS = ("image", "index", "helm", "flatpak", "bootable", COSIGN_SIGNATURE, "attestation", "sbom", "artifact")
"""The words for what a manifest is for."""

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
COSIGN_CERTIFICATE = "dev.sigstore.cosign/certificate"
"""Annotation of a layer under cosign's tag: the certificate, in PEM, of the key that has signed."""
ENVELOPE_LAYER = "application/vnd.dsse.envelope.v1+json"
"""Media type of an attestation under an attestation tag, cosign 2's form."""
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle"
SIGSTORE_PREDICATE = "dev.sigstore.bundle.predicateType"
ATOMIC_SIGNATURE = "application/vnd.entrepot.atomic-signature.v1"
"""Media type and artifact type under which an Atomic signature is stored, referring to its manifest."""
_ATTESTATIONS = ("application/vnd.in-toto", "application/vnd.dsse.envelope")
_SBOMS = ("application/spdx", "text/spdx", "application/vnd.cyclonedx", "application/vnd.syft")
_STATEMENTS = (COSIGN_LAYER, SIGSTORE_BUNDLE, ATOMIC_SIGNATURE, mediatypes.OCI_EMPTY, *_ATTESTATIONS, *_SBOMS)
_BOOTABLE = ("containers.bootc", "ostree.bootable")
FLATPAK_LABEL = "org.flatpak.ref"


def kind_of(manifest: Manifest, labels: Mapping[str, str] | None = None) -> str:
    """Name a manifest's kind, one of KINDS; `labels` are those of its image config, where it has one."""
    artifact = _artifact_kind(manifest)
    if artifact:
        return artifact
    if manifest.is_index:
        return "artifact" if manifest.artifact_type else "index"
    if manifest.artifact_type or not _is_image(manifest):
        return "artifact"
    labels = {**(labels or {}), **manifest.annotations}
    if FLATPAK_LABEL in labels:
        return "flatpak"
    if any(name in labels for name in _BOOTABLE):
        return "bootable"
    return "image"


def _artifact_kind(manifest: Manifest) -> str:
    layers = [layer.media_type for layer in manifest.layers]
    if manifest.config and manifest.config.media_type == HELM_CONFIG:
        return "helm"
    if COSIGN_LAYER in layers:
        return COSIGN_SIGNATURE
    if any(kind.startswith(SIGSTORE_BUNDLE) for kind in [manifest.artifact_type, *layers]):
        return bundle_kind(manifest.annotations)
    for kinds, name in ((_ATTESTATIONS, "attestation"), (_SBOMS, "sbom")):
        if any(kind.startswith(kinds) for kind in [manifest.artifact_type, *layers]):
            return name
    return ""


def is_statement(media_type: str) -> bool:
    """Return whether a layer of this type says that it states something about other content."""
    return media_type.startswith(_STATEMENTS)


def is_image_config(media_type: str) -> bool:
    """Return whether a config of this type makes clients unpack the layers: podman does so whatever the types of layers."""
    return media_type in (mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG)


def is_json_object(data: bytes) -> bool:
    """Return whether bytes are one JSON object, as statements are, and so neither an archive nor compressed."""
    try:
        return data[:1] == b"{" and isinstance(json.loads(data.decode()), dict)
    except (ValueError, RecursionError):
        return False


def bundle_kind(annotations: Mapping[str, str]) -> str:
    """Return the kind of a sigstore bundle, by its annotations: a signature, unless it states something else."""
    predicate = annotations.get(SIGSTORE_PREDICATE, "")
    return COSIGN_SIGNATURE if predicate in ("", "https://sigstore.dev/cosign/sign/v1") else "attestation"


def signature_tag(digest: Digest) -> str:
    """Return the tag under which cosign looks for signatures of a manifest."""
    return f"{digest.algorithm}-{digest.encoded}.sig"


def attestation_tag(digest: Digest) -> str:
    """Return the tag under which cosign 2 looks for attestations of a manifest."""
    return f"{digest.algorithm}-{digest.encoded}.att"


def _is_image(manifest: Manifest) -> bool:
    if manifest.media_type == mediatypes.DOCKER_SCHEMA1:
        return True
    config = manifest.config
    return config is not None and config.media_type in (mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG)
