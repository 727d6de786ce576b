"""Images that pose as signatures: podman unpacks and runs them, whatever the types of their layers."""

import gzip
import io
import json
import tarfile

from oci import mediatypes
from oci.digest import Digest
from oci.manifest import Manifest
from oci.memory import MemoryStore


def posing_image(store: MemoryStore, kind: str, *, config_type: str = mediatypes.OCI_CONFIG) -> Manifest:
    """Put an image with one program into a store; `kind` is the media type of its layer."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("program")
        member.size, member.mode = 7, 0o755
        tar.addfile(member, io.BytesIO(b"program"))
    plain = archive.getvalue()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/program"]},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(plain)]},
    }
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": store.put_blob(json.dumps(config).encode(), config_type).to_json(),
        "layers": [store.put_blob(gzip.compress(plain, mtime=0), kind).to_json()],
    }
    return store.put_manifest(json.dumps(document).encode(), mediatypes.OCI_MANIFEST)
