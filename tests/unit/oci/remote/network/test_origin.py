"""Places at an origin: the quick way says what joining URLs says."""

import httpx
import pytest

from oci.remote.network.origin import place_at


@pytest.mark.parametrize(
    "path",
    [
        "/v2/a/b/manifests/v1",
        "/v2/a/tags/list?n=1000&last=x%2Fy",
        '/v2/a/blobs/uploads/?state=a%3D%3D&x="q"',
        "/v2/x y",
        "/v2/../x",
        "/v2/a#fragment",
        "/v2/é",
        "http://other/v2/",
        "//other/x",
    ],
)
def test_a_place_is_that_of_the_joined_url(path: str) -> None:
    base = httpx.URL("http://registry.example:5000")
    assert place_at(base, path) == base.join(path)
