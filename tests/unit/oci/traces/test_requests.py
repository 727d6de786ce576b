"""What a span says of a request to a registry: its kind, and no name of content."""

import pytest

from oci.traces.requests import request_template


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v2/", "/v2/"),
        ("/v2", "/v2/"),
        ("/v2/team/app/manifests/v1", "/v2/{name}/manifests/{reference}"),
        ("/v2/team/app/blobs/sha256:00", "/v2/{name}/blobs/{reference}"),
        ("/v2/team/app/blobs/uploads/", "/v2/{name}/blobs/uploads/{session}"),
        ("/v2/team/app/blobs/uploads/secret-state", "/v2/{name}/blobs/uploads/{session}"),
        ("/v2/team/app/tags/list", "/v2/{name}/tags/list"),
        ("/v2/team/app/referrers/sha256:00", "/v2/{name}/referrers/{reference}"),
        ("/v2/_catalog", ""),
        ("/token", ""),
        ("/signed/place/of/a/blob", ""),
    ],
)
def test_a_path_is_told_by_its_kind(path: str, template: str) -> None:
    assert request_template(path) == template
