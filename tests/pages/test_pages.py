"""Pages as any visitor gets them: rights, escaping, headers, and one view model for the page and its JSON."""

from collections.abc import Callable

import httpx
import pytest

from tests.api.conftest import codes
from tests.pages.conftest import BROWSER, Shown
from tests.pages.content import EVIL

HIDDEN = "nightjar"
PAGES = ["/", "/repositories"]
JSON = {"/": "/home.json", "/repositories": "/repositories.json"}


def test_other_clients_get_at_the_root_what_they_got(shown: Shown) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = httpx.get(f"{shown.api.url}/", headers=headers, trust_env=False)
        assert (answer.status_code, codes(answer)) == (404, ["UNSUPPORTED"])
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        answer = httpx.request(method, f"{shown.api.url}/", headers=BROWSER, trust_env=False)
        assert answer.status_code == 404
    assert codes(httpx.get(f"{shown.api.url}/nothing", headers=BROWSER, trust_env=False)) == ["UNSUPPORTED"]


@pytest.mark.parametrize("path", [*PAGES, *JSON.values()])
def test_private_content_is_on_no_page_of_who_may_not_see_it(shown: Shown, path: str) -> None:
    assert HIDDEN not in shown.visitor().get(path).text
    assert HIDDEN not in shown.logged_in("bob").get(path).text
    assert HIDDEN in shown.administrator().get(path).text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_holds_nothing_inline_and_names_no_other_host(shown: Shown, path: str) -> None:
    for client in (shown.visitor(), shown.administrator()):
        page = client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for part in ("<style", " style=", "onclick", "javascript:", "<script>", 'src="http', 'href="http'):
            assert part not in page.text
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", PAGES)
def test_what_strangers_wrote_is_text(shown: Shown, path: str) -> None:
    page = shown.administrator().get(path).text
    assert EVIL not in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_descriptions_are_shown_as_text(shown: Shown) -> None:
    assert "&lt;script&gt;alert(1)" in shown.visitor().get("/repositories").text


@pytest.mark.parametrize("path", PAGES)
def test_a_page_takes_one_query_at_most(shown: Shown, path: str, count_queries: Callable[[], int]) -> None:
    client = shown.administrator()
    for _ in range(2):
        before = count_queries()
        assert client.get(path).status_code == 200
        assert count_queries() - before <= 1


def test_what_anybody_sees_is_validated_and_what_one_sees_is_not_stored(shown: Shown) -> None:
    first = shown.visitor().get("/repositories.json")
    assert first.headers["cache-control"] == "no-cache"
    again = shown.visitor().get("/repositories.json", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    own = shown.administrator().get("/repositories.json")
    assert own.headers["cache-control"] == "no-store"
    assert "etag" not in own.headers
    assert {"Cookie", "Authorization", "Accept"} <= set(own.headers["vary"].split(", "))


def test_the_json_of_a_page_has_what_the_page_shows(shown: Shown) -> None:
    client = shown.administrator()
    page, model = client.get("/repositories").text, client.get("/repositories.json").json()
    names = [place["name"] for place in model["places"]]
    assert names == sorted(names)
    assert len(names) == model["total"] == 11
    for place in model["places"]:
        assert f'<a href="/repository/{place["name"]}">' in page


def test_home_tells_what_came_in_to_whom_may_know_it(shown: Shown) -> None:
    everything = shown.administrator().get("/home.json").json()
    arrival = next(one for one in everything["arrivals"] if one["name"] == "library/alpine")
    assert (arrival["operation"], arrival["version"], arrival["actor"]) == ("sync", 4, "flow")
    assert arrival["origins"] == ["remote docker.io/library/alpine"]
    assert everything["mirrors"][0]["name"] == "library/debian"
    assert everything["held_bytes"] > 0
    assert sum(day["versions"] for day in everything["days"]) == 15
    public = shown.visitor().get("/home.json").json()
    assert [one for one in public["arrivals"] if one["version"] or one["actor"] or one["origins"]] == []
    assert public["mirrors"] == []
    assert public["held_bytes"] is None
    assert sum(day["versions"] for day in public["days"]) == 0
    own = shown.logged_in("bob").get("/home.json").json()
    assert {one["name"] for one in own["arrivals"] if one["version"]} == {"team/server"}


def test_repositories_are_filtered_and_paged(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_api.pages.repositories._PAGE", 4)
    client = shown.visitor()
    names: list[str] = []
    last = ""
    for _ in range(3):
        model = client.get("/repositories.json", params={"last": last}).json()
        names += [place["name"] for place in model["places"]]
        last = model["next"]
    assert last == ""
    assert (
        names
        == [place["name"] for place in client.get("/repositories.json", params={"q": ""}).json()["places"]] + names[4:]
    )
    assert len(names) == 10
    found = client.get("/repositories.json", params={"q": "ALP"}).json()
    assert [place["name"] for place in found["places"]] == ["library/alpine", "stable/alpine"]


def test_a_script_gets_the_list_alone(shown: Shown) -> None:
    part = (
        shown.visitor().get("/repositories?q=alpine", headers={"HX-Request": "true", "HX-Target": "div#results"}).text
    )
    assert "library/alpine" in part
    assert "<html" not in part
    whole = shown.visitor().get("/repositories?q=alpine").text
    assert part.strip() in whole


@pytest.mark.parametrize("path", ["/repositories?q=%00", f"/repositories?q={'x' * 400}", "/login?next=%00"])
def test_what_cannot_be_asked_is_an_error_that_can_be_read(shown: Shown, path: str) -> None:
    assert shown.visitor().get(path).status_code == 400


def test_static_files_are_kept_for_ever_at_their_paths(shown: Shown) -> None:
    client = shown.visitor()
    page = client.get("/").text
    for end in ("style.css", "htmx.min.js", "icon.svg"):
        path = next(part for part in page.split('"') if part.endswith(end))
        answer = client.get(path)
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert client.get(f"/static/former/{end}").headers["cache-control"] == "no-cache"
    assert client.get("/static/x/htmx.LICENSE.txt").status_code == 404
    assert client.get("/static/x/..%2fsite.py").status_code == 404
