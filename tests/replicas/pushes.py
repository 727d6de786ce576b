"""A small push, without a client that others have written: it can be made many times in a second."""

import json
from collections.abc import Callable

import httpx

from oci import mediatypes
from oci.digest import Digest

CONFIG = b'{"architecture":"amd64","os":"linux"}'


def push_small_image(
    client: httpx.Client, name: str, reference: str, text: str, *, before: Callable[[Digest], object] = lambda _: None
) -> Digest:
    """Push an image whose layer is a text; return its digest. AssertionError with the answer where it is refused.

    `before` is told the digest before the manifest is sent.
    """
    layer = text.encode()
    for blob in (CONFIG, layer):
        answer = client.post(f"/v2/{name}/blobs/uploads/", params={"digest": Digest.of(blob)}, content=blob)
        if answer.status_code == 202:  # a registry that takes no blob with the first request
            place = httpx.URL(answer.headers["location"]).copy_merge_params({"digest": str(Digest.of(blob))})
            answer = client.put(place, content=blob)
        assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_CONFIG, "digest": Digest.of(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": mediatypes.OCI_LAYER_GZIP, "digest": Digest.of(layer), "size": len(layer)}],
    }
    raw = json.dumps(document).encode()
    before(Digest.of(raw))
    answer = client.put(
        f"/v2/{name}/manifests/{reference}", content=raw, headers={"content-type": mediatypes.OCI_MANIFEST}
    )
    assert answer.status_code == 201, f"{answer.status_code} {answer.text}"
    return Digest.of(raw)
