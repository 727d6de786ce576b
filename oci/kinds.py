"""What a manifest is for, told from its media types and labels; computed once, when it is taken in."""

from collections.abc import Mapping

from oci import mediatypes
from oci.manifest import Manifest

HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
COSIGN_LAYER = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle"
_ATTESTATIONS = ("application/vnd.in-toto", "application/vnd.dsse.envelope")
_SBOMS = ("application/spdx", "text/spdx", "application/vnd.cyclonedx", "application/vnd.syft")
_BOOTABLE = ("containers.bootc", "ostree.bootable")
FLATPAK_LABEL = "org.flatpak.ref"


def kind_of(manifest: Manifest, labels: Mapping[str, str] | None = None) -> str:
    """Name a manifest's kind; `labels` are those of its image config, where it has one.

    One of: index, image, helm, flatpak, bootable, cosign-signature, attestation, sbom, artifact.
    """
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
        return "cosign-signature"
    if any(kind.startswith(SIGSTORE_BUNDLE) for kind in [manifest.artifact_type, *layers]):
        predicate = manifest.annotations.get("dev.sigstore.bundle.predicateType", "")
        is_signature = not predicate or predicate == "https://sigstore.dev/cosign/sign/v1"
        return "cosign-signature" if is_signature else "attestation"
    for kinds, name in ((_ATTESTATIONS, "attestation"), (_SBOMS, "sbom")):
        if any(kind.startswith(kinds) for kind in [manifest.artifact_type, *layers]):
            return name
    return ""


def _is_image(manifest: Manifest) -> bool:
    if manifest.media_type == mediatypes.DOCKER_SCHEMA1:
        return True
    config = manifest.config
    return config is not None and config.media_type in (mediatypes.OCI_CONFIG, mediatypes.DOCKER_CONFIG)
