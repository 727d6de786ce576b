"""What the first start runs beyond its sync: a Containerfile, a key and an SBOM of its own, made once."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from catalog.settings import Settings
from flows.demo.upstream import NAME
from flows.pipeline.request import PipelineRequest
from flows.sync.request import SyncRequest

CURATED, BUILT = "demo/curated", "demo/app"

_CONTAINERFILE = """\
ARG BASE
FROM $BASE
COPY message.txt /message.txt
LABEL org.opencontainers.image.title="Entrepot demo"
"""
_SBOM = """\
{"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": "demo-app",
 "documentNamespace": "https://entrepot.invalid/demo-app",
 "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: entrepot"]},
 "packages": [{"SPDXID": "SPDXRef-hello", "name": "hello", "downloadLocation": "NOASSERTION"}]}
"""


def demo_request(settings: Settings, remote: str) -> PipelineRequest:
    """Return the pipeline over the demo upstream; make its files, where a worker may read them, if they are missing."""
    folder = settings.allowed_roots[0] / "demo"
    context = folder / "context"
    context.mkdir(parents=True, exist_ok=True)
    for path, text in (
        (context / "Containerfile", _CONTAINERFILE),
        (context / "message.txt", "Built on what was mirrored.\n"),
        (folder / "sbom.spdx.json", _SBOM),
    ):
        if not path.exists():
            path.write_text(text)
    return PipelineRequest(
        upstream=SyncRequest(remote=remote, repository=NAME),
        curated=CURATED,
        built=BUILT,
        context=context,
        key=str(_make_key(folder)),
        document=folder / "sbom.spdx.json",
        bundles=folder / "bundles",
    )


def _make_key(folder: Path) -> Path:
    """Return the file of this installation's key; make it, with its public half beside it, if it is missing."""
    file = folder / "signing.key"
    if not file.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        file.with_suffix(".pub").write_bytes(public)
        file.touch(mode=0o600)
        file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return file
