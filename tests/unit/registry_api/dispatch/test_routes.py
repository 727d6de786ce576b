"""Paths are matched from the right, whatever the parts of a name are called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oci.errors import NameInvalid
from registry_api.dispatch.routes import (
    BASE,
    BLOB,
    CATALOG,
    MANIFEST,
    REFERRERS,
    ROUTES,
    TAGS,
    UPLOAD,
    UPLOADS,
    Match,
    checked_name,
    match_path,
)
from registry_api.http.errors import RouteUnknown

PARTS = ["app", "blobs", "manifests", "tags", "uploads", "referrers", "list", "v2", "_catalog", "a"]
names = st.lists(st.sampled_from(PARTS), min_size=1, max_size=6).map("/".join)
references = st.one_of(
    st.sampled_from(["latest", "blobs", "manifests", "list", f"sha256:{'0' * 64}"]), st.just("x" * 128)
)


@given(names, references)
def test_a_manifest_s_name_and_reference_are_found(name: str, reference: str) -> None:
    assert match_path(f"/v2/{name}/manifests/{reference}") == Match(MANIFEST, name, reference)


@given(names, references)
def test_a_blob_s_name_and_digest_are_found(name: str, reference: str) -> None:
    assert match_path(f"/v2/{name}/blobs/{reference}") == Match(BLOB, name, reference)


@given(names, references)
def test_a_subject_s_name_and_digest_are_found(name: str, reference: str) -> None:
    assert match_path(f"/v2/{name}/referrers/{reference}") == Match(REFERRERS, name, reference)


@given(names)
def test_lists_and_uploads_are_found(name: str) -> None:
    assert match_path(f"/v2/{name}/tags/list") == Match(TAGS, name, "")
    assert match_path(f"/v2/{name}/blobs/uploads/") == Match(UPLOADS, name, "")
    assert match_path(f"/v2/{name}/blobs/uploads") == Match(UPLOADS, name, "")


@given(names, st.text("0123456789abcdef", min_size=32, max_size=32))
def test_a_session_is_found(name: str, session: str) -> None:
    assert match_path(f"/v2/{name}/blobs/uploads/{session}") == Match(UPLOAD, name, session)


@given(st.text("/abv2blobsmanifestsuploadstagslist_catalog:.", max_size=60))
def test_any_path_matches_a_row_or_is_unknown(path: str) -> None:
    try:
        match = match_path("/v2/" + path)
    except RouteUnknown:
        return
    assert match.pattern in ROUTES
    rebuilt = match.pattern.replace("{name}", match.name)
    for last in ("{reference}", "{digest}", "{session}"):
        rebuilt = rebuilt.replace(last, match.reference)
    assert rebuilt.rstrip("/") == ("/v2/" + path).rstrip("/")


@pytest.mark.parametrize(("path", "pattern"), [("/v2/", BASE), ("/v2", BASE), ("/v2/_catalog", CATALOG)])
def test_the_fixed_paths(path: str, pattern: str) -> None:
    assert match_path(path) == Match(pattern)


@pytest.mark.parametrize(
    "path",
    [
        "/v2/app",
        "/v2/app/",
        "/v2/app/manifests",
        "/v2/app/manifests/",
        "/v2/app/tags/",
        "/v2/app/tags/list/",
        "/v2/tags/list",
        "/v2/blobs/uploads/",
        "/v2/blobs/uploads/x",
        "/v2/app/uploads/x",
        "/v2//manifests/x",
        "/v2/manifests/x",
        "/v2/_catalog/",
    ],
)
def test_other_paths_are_unknown(path: str) -> None:
    with pytest.raises(RouteUnknown):
        match_path(path)


def test_every_route_says_which_right_it_takes() -> None:
    for methods in ROUTES.values():
        for method, route in methods.items():
            assert (route.action == "pull") == (method in {"GET", "HEAD"} and methods is not ROUTES[UPLOAD])


def test_names_are_checked_every_time() -> None:
    for _ in range(2):
        assert checked_name("team/app") == "team/app"
        with pytest.raises(NameInvalid):
            checked_name("Team")
