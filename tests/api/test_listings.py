"""tags/list and _catalog: order, pages, and where a page starts."""

from collections.abc import Iterator

import httpx
import pytest

from oci.digest import Digest
from tests.api.conftest import Api, codes, serve, simple_manifest

TAGS = ["0.1", "1.0", "A", "B", "_x", "a", "b.1", "b.10", "b.2"]
"""In ASCII order: digits, capitals, underscore, small letters."""


@pytest.fixture(scope="module")
def tagged(api: Api) -> str:
    """A repository with TAGS, pushed in another order."""
    raw = simple_manifest(api, "team/tagged")
    for tag in reversed(TAGS):
        assert api.put_manifest("team/tagged", tag, raw).status_code == 201
    return "/v2/team/tagged/tags/list"


def _follow(client: httpx.Client, path: str) -> Iterator[list[str]]:
    """The pages, as a client follows the Link headers."""
    while path:
        answer = client.get(path)
        assert answer.status_code == 200
        body = answer.json()
        yield body.get("tags", body.get("repositories"))
        path = answer.links.get("next", {}).get("url", "")


def test_all_tags_in_ascii_order(api: Api, tagged: str) -> None:
    answer = api.anybody.get(tagged)
    assert answer.json() == {"name": "team/tagged", "tags": TAGS}
    assert "link" not in answer.headers


@pytest.mark.parametrize("count", [1, 2, 4, 8, 9, 100])
def test_pages_of_tags_follow_each_other(api: Api, tagged: str, count: int) -> None:
    pages = list(_follow(api.anybody, f"{tagged}?n={count}"))
    assert [tag for page in pages for tag in page] == TAGS
    assert all(len(page) == count for page in pages[:-1])
    assert pages[-1]


def test_the_link_names_the_next_page(api: Api, tagged: str) -> None:
    answer = api.anybody.get(f"{tagged}?n=2")
    assert answer.headers["link"] == f'<{tagged}?n=2&last=1.0>; rel="next"'


def test_a_page_of_none_is_empty_and_has_no_next(api: Api, tagged: str) -> None:
    answer = api.anybody.get(f"{tagged}?n=0")
    assert answer.json()["tags"] == []
    assert "link" not in answer.headers


@pytest.mark.parametrize("last", ["a", "aa", "b", "b.0"])
def test_last_is_exclusive_even_where_it_is_no_tag(api: Api, tagged: str, last: str) -> None:
    answer = api.anybody.get(tagged, params={"last": last, "n": "2"})
    assert answer.json()["tags"] == [tag for tag in TAGS if tag > last][:2]


def test_nothing_comes_after_the_last(api: Api, tagged: str) -> None:
    answer = api.anybody.get(tagged, params={"last": "zzz", "n": "5"})
    assert answer.json()["tags"] == []
    assert "link" not in answer.headers


@pytest.mark.parametrize("count", ["x", "-1", "1.5", "", "+1", "٣", "9" * 400])
@pytest.mark.parametrize("path", ["/v2/team/tagged/tags/list", "/v2/_catalog"])
def test_a_count_that_is_no_number_is_400(api: Api, tagged: str, path: str, count: str) -> None:
    answer = api.anybody.get(path, params={"n": count})
    assert (answer.status_code, codes(answer)) == (400, ["PAGINATION_NUMBER_INVALID"])


def test_an_empty_repository_has_an_empty_list(api: Api, name: str) -> None:
    raw = simple_manifest(api, name)
    api.put_manifest(name, Digest.of(raw), raw)
    assert api.anybody.get(f"/v2/{name}/tags/list").json() == {"name": name, "tags": []}
    api.admin.delete(f"/v2/{name}/manifests/{Digest.of(raw)}")
    assert api.anybody.get(f"/v2/{name}/tags/list").json() == {"name": name, "tags": []}


def test_an_unknown_repository_is_404(api: Api, name: str) -> None:
    api.push_blob(name, b"a blob makes no repository")
    answer = api.admin.get(f"/v2/{name}/tags/list")
    assert (answer.status_code, codes(answer)) == (404, ["NAME_UNKNOWN"])


def test_the_catalogue_in_pages(own_api: Api) -> None:
    names = ["a/b", "a/b-c", "a/b/c", "b", "team/app"]
    assert own_api.anybody.get("/v2/_catalog").json() == {"repositories": []}
    for each in reversed(names):
        own_api.put_manifest(each, "v1", simple_manifest(own_api, each))
    whole = own_api.anybody.get("/v2/_catalog")
    assert whole.json() == {"repositories": names}
    assert "link" not in whole.headers
    assert list(_follow(own_api.anybody, "/v2/_catalog?n=2")) == [names[:2], names[2:4], names[4:]]
    assert own_api.anybody.get("/v2/_catalog?n=0").json() == {"repositories": []}
    assert own_api.anybody.get("/v2/_catalog?last=a/b0").json() == {"repositories": ["b", "team/app"]}


def test_lists_are_there_after_a_restart(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("again") / "entrepot"
    with serve(home) as api:
        api.put_manifest("team/app", "v1", simple_manifest(api, "team/app"))
    with serve(home) as api:
        assert api.anybody.get("/v2/_catalog").json() == {"repositories": ["team/app"]}
        assert api.anybody.get("/v2/team/app/tags/list").json()["tags"] == ["v1"]
