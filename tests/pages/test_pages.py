"""Pages as any visitor gets them: rights, escaping, headers, and one view model for the page and its JSON."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
import pytest

from catalog.pull_counts import PullCount, Pulled
from tests.api.conftest import codes
from tests.pages.conftest import BROWSER, Shown
from tests.pages.content import EVIL, STEPS

HIDDEN = "nightjar"
PAGES = [
    "/",
    "/repositories",
    "/repository/team/server",
    "/repository/stable/alpine",
    "/image/team/server:v1.1",
    "/image/odd/names:v1",
    "/image/library/alpine:latest",
    "/packages/team/server:v1.1",
    "/packages/team/server:v1.1?q=openssl",
    "/packages/library/alpine:latest",
    "/provenance/team/server:v1.0",
    "/provenance/odd/names:v1",
    "/search?q=openssl",
    "/search?q=v",
    "/search?q=evil=",
    "/search?q=org.opencontainers.image.title=script",
    "/search?q=nightjar",
    "/search?q=codename=night",
    "/paths",
]
"""Pages that anybody may open."""

OWN = [
    "/versions/library/alpine",
    "/diff/library/alpine?old=1&new=4",
    "/activity",
    "/ask",
    "/access?path=private/nightly",
    "/space",
]
"""Pages that show more, or anything at all, to whom rules let pull, here to administrators."""

WITHOUT_MODEL = ["/api/docs"]
"""Pages whose content is a document at another path."""


def json_of(page: str) -> str:
    """The path of a page's JSON."""
    path, mark, query = page.partition("?")
    first, slash, rest = path.strip("/").partition("/")
    return f"/{first or 'home'}.json{slash}{rest}{mark}{query}"


def test_other_clients_get_at_the_root_what_they_got(shown: Shown) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        answer = httpx.get(f"{shown.api.url}/", headers=headers, trust_env=False)
        assert (answer.status_code, codes(answer)) == (404, ["UNSUPPORTED"])
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        answer = httpx.request(method, f"{shown.api.url}/", headers=BROWSER, trust_env=False)
        assert answer.status_code == 404
    assert codes(httpx.get(f"{shown.api.url}/nothing", headers=BROWSER, trust_env=False)) == ["UNSUPPORTED"]


@pytest.mark.parametrize("page", [page for page in (*PAGES, *OWN) if "?q=" not in page or "night" not in page])
def test_private_content_is_on_no_page_of_who_may_not_see_it(shown: Shown, page: str) -> None:
    for path in (page, json_of(page)):
        assert HIDDEN not in shown.visitor().get(path).text
        assert HIDDEN not in shown.logged_in("bob").get(path).text


@pytest.mark.parametrize("path", ["/home.json", "/repositories.json", "/paths.json", "/activity.json"])
def test_lists_show_private_content_to_whom_rules_let_pull(shown: Shown, path: str) -> None:
    assert HIDDEN in shown.administrator().get(path).text


@pytest.mark.parametrize("text", ["nightjar", "v9", "codename=night", "codename=", "DIGEST"])
def test_search_finds_private_content_for_whom_rules_let_pull(shown: Shown, text: str) -> None:
    text = shown.digests["secret"][:20] if text == "DIGEST" else text

    def found(client: httpx.Client) -> list[str]:
        model = client.get("/search.json", params={"q": text}).json()
        return sorted({*model["names"], *(one["name"] for one in model["content"])})

    assert found(shown.visitor()) == found(shown.logged_in("bob")) == []
    assert found(shown.administrator()) == ["private/nightjar"]


@pytest.mark.parametrize(
    "path",
    [
        "/repository/{}",
        "/image/{}:v9",
        "/image/{}@{digest}",
        "/packages/{}:v9",
        "/provenance/{}@{digest}",
        "/versions/{}",
        "/diff/{}?old=0&new=1",
    ],
)
def test_hidden_content_answers_as_what_does_not_exist(shown: Shown, path: str) -> None:
    digest = shown.digests["secret"]
    for form in (str, json_of):
        hidden, absent = (form(path.format(name, digest=digest)) for name in ("private/nightjar", "private/nothing1"))
        for client in (shown.visitor(), shown.logged_in("bob")):
            one, other = client.get(hidden), client.get(absent)
            assert one.status_code == other.status_code == 404
            assert one.text.replace("nightjar", "nothing1") == other.text
        assert shown.administrator().get(hidden).status_code == 200


def test_a_digest_is_no_right_to_it(shown: Shown) -> None:
    """What a repository does not hold is not shown there, whoever knows its digest."""
    for client in (shown.visitor(), shown.administrator()):
        assert client.get(f"/image/team/server@{shown.digests['secret']}").status_code == 404


def test_a_path_that_serves_one_version_shows_that_one(shown: Shown) -> None:
    for client in (shown.visitor(), shown.administrator()):
        model = client.get("/repository.json/stable/alpine").json()
        assert [tag["name"] for tag in model["shown"]] == ["latest", "3.20", "3.19"]
        assert client.get("/image/stable/alpine:3.22").status_code == 404
        assert client.get(f"/image/stable/alpine@{shown.digests['alpine:3.22']}").status_code == 404
    assert shown.visitor().get("/repository.json/stable/alpine").json()["repository"] == ""
    assert shown.administrator().get("/repository.json/stable/alpine").json()["repository"] == "library/alpine"


def test_a_public_path_of_a_private_repository_shows_its_version_and_neither_name_nor_rest(shown: Shown) -> None:
    later = shown.digests["heron:unreleased"]
    for client in (shown.visitor(), shown.logged_in("bob")):
        for text in ("unreleased", "release=unreleased", later[:20]):
            assert client.get("/search.json", params={"q": text}).json()["content"] == []
        found = client.get("/search.json", params={"q": "release=v1"}).json()["content"]
        assert [(one["name"], one["value"]) for one in found] == [("released/heron", "v1")]
        assert client.get("/image/released/heron:unreleased").status_code == 404
        assert client.get(f"/image.json/released/heron@{later}").status_code == 404
        for page in (
            "/",
            "/repositories",
            "/paths",
            "/repository/released/heron",
            "/image/released/heron:v1",
            "/search?q=heron",
        ):
            for path in (page, json_of(page)):
                answer = client.get(path)
                assert answer.status_code == 200
                assert "private/heron" not in answer.text
        for path in (
            "/image.json/released/heron:v9",
            "/versions.json/released/heron",
            "/diff.json/released/heron?old=0&new=1",
        ):
            assert "private/heron" not in client.get(path).text
    content = shown.administrator().get("/search.json?q=unreleased").json()["content"]
    assert [one["name"] for one in content] == ["private/heron"]


def test_figures_of_a_public_path_count_nothing_of_later_versions(shown: Shown) -> None:
    now = datetime.now(UTC)
    digests = shown.digests
    pulled = {
        Pulled("private/heron", "v1", digests["heron:v1"]): PullCount(2, now),
        Pulled("private/heron", "v1", digests["heron:unreleased"]): PullCount(30, now),
        Pulled("private/heron", "unreleased", digests["heron:unreleased"]): PullCount(500, now),
    }
    shown.api.catalog.pulls.record(pulled)
    model = shown.visitor().get("/repository.json/released/heron").json()
    assert (model["pulls"], model["shown"][0]["pulls"], model["tags"]) == (2, 2, 1)
    model = shown.administrator().get("/repository.json/private/heron").json()
    assert (model["pulls"], {tag["name"]: tag["pulls"] for tag in model["shown"]}) == (
        532,
        {"v1": 32, "unreleased": 500},
    )
    home = shown.visitor().get("/home.json").json()
    listed = shown.visitor().get("/repositories.json").json()["paths"]
    assert home["tags"] == sum(path["tags"] or 0 for path in listed)


def test_history_is_for_whom_rules_let_pull(shown: Shown) -> None:
    """As under /api/v1: that a path is public shows what it serves, not who made it."""
    for page in ("/versions/library/alpine", "/diff/library/alpine?old=1&new=4"):
        assert shown.visitor().get(page).status_code == 404
        assert shown.logged_in("bob").get(page).status_code == 404
        assert shown.administrator().get(page).status_code == 200
    assert shown.logged_in("bob").get("/versions/team/server").status_code == 200
    assert "/versions/" not in shown.visitor().get("/repository/library/alpine").text
    assert shown.logged_in("bob").get("/activity.json").json()["events"] is None


@pytest.mark.parametrize("path", [*PAGES, *OWN, *WITHOUT_MODEL])
def test_a_page_holds_nothing_inline_and_names_no_other_host(shown: Shown, path: str) -> None:
    for client in (shown.visitor(), shown.administrator()):
        page = client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for part in ("<style", " style=", "onclick", "javascript:", "<script>", 'src="http'):
            assert part not in page.text
        assert re.search(r"<link[^>]*https?:", page.text) is None
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["x-frame-options"] == "DENY"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", [*PAGES, *OWN])
def test_what_strangers_wrote_is_text(shown: Shown, path: str) -> None:
    page = shown.administrator().get(path).text
    assert EVIL not in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("path", ["/repositories", "/image/team/server:v1.1", "/image/odd/names:v1", "/search?q=evil="])
def test_descriptions_labels_and_annotations_are_shown_as_text(shown: Shown, path: str) -> None:
    assert "&lt;script&gt;alert(1)" in shown.visitor().get(path).text


def test_what_is_asked_for_is_shown_as_text(shown: Shown) -> None:
    for page in ("/repositories", "/repository/team/server", "/search", "/paths", "/activity"):
        assert "<script>alert" not in shown.administrator().get(page, params={"q": EVIL, "actor": EVIL}).text
    for page in (f"/repository/{EVIL}", f"/image/{EVIL}", f"/login?next=/{EVIL}"):
        assert "<script>alert" not in shown.visitor().get(page).text


def test_an_image_tells_what_it_is_made_of(shown: Shown) -> None:
    model = shown.visitor().get("/image.json/team/server:v1.1").json()
    assert [part["command"] for part in model["parts"]] == list(STEPS)
    config = {one["name"]: one["value"] for one in model["config"]}
    assert (config["user"], config["cmd"], config["ports"]) == ("65532", "--listen\n:8080", "8080/tcp")
    attached = {one["kind"]: one for one in model["attached"]}
    assert sorted(attached) == ["cosign-signature", "sbom"]
    assert [one["kind"] for one in attached["sbom"]["attached"]] == ["cosign-signature"]
    assert (model["signatures"], model["served_at"], model["since"]) == (1, ["team/server"], None)
    assert shown.logged_in("bob").get("/image.json/team/server:v1.1").json()["since"] is not None
    index = shown.visitor().get("/image.json/library/alpine:latest").json()
    assert [part["platform"] for part in index["parts"]] == ["linux/amd64", "linux/arm64/v8"]


def test_pull_lines_are_for_the_client_that_pulls_such_content(shown: Shown) -> None:
    host = f"127.0.0.1:{shown.api.port}"

    def lines(path: str) -> dict[str, str]:
        return {one["client"]: one["command"] for one in shown.visitor().get(path).json()["pull"]}

    assert lines("/repository.json/library/alpine") == {
        "podman": f"podman pull --tls-verify=false {host}/library/alpine:latest",
        "docker": f"docker pull {host}/library/alpine:latest",
    }
    assert lines("/repository.json/charts/gateway") == {
        "helm": f"helm pull --plain-http oci://{host}/charts/gateway --version 1.4.2"
    }
    assert lines("/image.json/models/tiny:2026-05") == {"oras": f"oras pull --plain-http {host}/models/tiny:2026-05"}
    assert list(lines("/repository.json/apps/editor")) == ["flatpak"]


def test_tags_are_counted_described_and_filtered(shown: Shown) -> None:
    assert shown.api.anybody.get("/v2/library/alpine/manifests/3.22").status_code == 200
    model = shown.visitor().get("/repository.json/library/alpine?q=3.2").json()
    assert [tag["name"] for tag in model["shown"]] == ["3.22", "3.21", "3.20"]
    assert model["shown"][0]["kind"] == "index"
    assert model["shown"][0]["platforms"] == ["linux/amd64", "linux/arm64/v8"]
    assert model["shown"][0]["digest"] == shown.digests["alpine:3.22"]
    assert model["shown"][0]["size_bytes"] > 3000


def test_versions_tell_their_making_and_any_two_are_compared(shown: Shown) -> None:
    client = shown.administrator()
    versions = client.get("/versions.json/library/alpine").json()["versions"]
    assert [version["number"] for version in versions] == [4, 3, 2, 1]
    assert versions[0]["origins"] == ["remote docker.io/library/alpine"]
    assert versions[0]["flow_run_url"].endswith("/runs/flow-run/0a6c4f9e-6a44-4d7c-9f0c-0f7a52c9a1d2")
    found = client.get("/diff.json/library/alpine?old=1&new=4").json()
    assert (found["added"], found["moved"], found["removed"]) == (3, 1, 1)
    assert [one["tag"] for one in found["changes"]] == ["3.19", "3.20", "3.21", "3.22", "latest"]
    assert client.get("/diff/library/alpine?old=1&new=99").status_code == 404
    assert client.get("/versions.json/library/alpine?before=3").json()["versions"][0]["number"] == 2


def test_activity_is_filtered(shown: Shown) -> None:
    client = shown.administrator()
    events = client.get("/activity.json?days=30&action=sync").json()["events"]
    assert {event["action"] for event in events} == {"sync"}
    assert client.get("/activity.json?days=30&action=sync&refused=true").json()["events"] == []
    assert {event["name"] for event in client.get("/activity.json?days=1").json()["events"]} >= {"private/nightjar"}
    assert "library/debian" not in client.get("/activity.json?days=7").text


@pytest.mark.parametrize("path", [*PAGES, *OWN, *WITHOUT_MODEL])
def test_a_page_takes_one_query_at_most(shown: Shown, path: str, count_queries: Callable[[], int]) -> None:
    client = shown.administrator()
    client.get(path)  # versions that it compares are in memory then
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
    names = [place["name"] for place in model["paths"]]
    assert names == sorted(names)
    assert len(names) == model["total"] == 13
    for place in model["paths"]:
        assert f'<a href="/repository/{place["name"]}">' in page


def test_home_tells_what_came_in_to_whom_may_know_it(shown: Shown) -> None:
    everything = shown.administrator().get("/home.json").json()
    arrival = next(one for one in everything["recent_versions"] if one["name"] == "library/alpine")
    assert (arrival["operation"], arrival["version"], arrival["actor"]) == ("sync", 4, "flow")
    assert arrival["origins"] == ["remote docker.io/library/alpine"]
    assert everything["mirrors"][0]["name"] == "library/debian"
    assert everything["stored_bytes"] > 0
    assert sum(day["versions"] for day in everything["days"]) == 17
    public = shown.visitor().get("/home.json").json()
    assert [one for one in public["recent_versions"] if one["version"] or one["actor"] or one["origins"]] == []
    assert public["mirrors"] == []
    assert public["stored_bytes"] is None
    assert sum(day["versions"] for day in public["days"]) == 0
    own = shown.logged_in("bob").get("/home.json").json()
    assert {one["name"] for one in own["recent_versions"] if one["version"]} == {"team/server"}


def test_questions_are_answered_as_a_table_and_as_files(shown: Shown) -> None:
    client = shown.administrator()
    sql = f"SELECT tag, '{EVIL}' AS text, 7 AS number FROM tags WHERE repository = 'private/nightjar'"
    model = client.get("/ask.json", params={"sql": sql}).json()
    assert (model["columns"], model["rows"], model["error"]) == (["tag", "text", "number"], [["v9", EVIL, 7]], "")
    page = client.get("/ask", params={"sql": sql})
    assert "<script>alert" not in page.text
    assert client.get("/ask.csv", params={"sql": sql}).text.splitlines()[0] == "tag,text,number"
    wrong = client.get("/ask", params={"sql": "SELECT nothing"})
    assert wrong.status_code == 400
    assert 'role="alert"' in wrong.text


def test_a_link_of_another_site_asks_nothing_by_itself(shown: Shown) -> None:
    client = shown.administrator()
    led = {"Sec-Fetch-Site": "cross-site"}
    model = client.get("/ask.json", params={"named": "kinds"}, headers=led).json()
    assert (model["needs_confirmation"], model["rows"]) == (True, [])
    assert client.get("/ask.csv", params={"named": "kinds"}, headers=led).status_code == 403


@pytest.mark.parametrize(
    "path", ["/ask", "/ask.json", "/ask.csv?named=kinds", "/access", "/access.json", "/space", "/space.json"]
)
def test_questions_and_rules_are_for_administrators(shown: Shown, path: str) -> None:
    assert shown.visitor().get(path).status_code in {401, 404}
    assert shown.logged_in("bob").get(path).status_code == 403


def test_access_tells_who_may_do_what_and_by_which_rule(shown: Shown) -> None:
    client = shown.administrator()
    model = client.get("/access.json?path=team/server").json()
    rights = {one["account"]: one["actions"] for one in model["rights"]}
    assert rights == {"admin": ["pull", "push", "delete", "admin"], "bob": ["pull"]}
    assert model["is_public"]
    assert "team/**" in model["rights"][1]["reason"]
    page = client.get("/access").text
    for word in ("argon2", "BEGIN", "stamp"):
        assert word not in page


def test_repositories_are_filtered_and_paged(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_api.pages.repositories._PAGE", 4)
    client = shown.visitor()
    names: list[str] = []
    last = ""
    for _ in range(3):
        model = client.get("/repositories.json", params={"last": last}).json()
        names += [place["name"] for place in model["paths"]]
        last = model["next"]
    assert last == ""
    assert (
        names
        == [place["name"] for place in client.get("/repositories.json", params={"q": ""}).json()["paths"]] + names[4:]
    )
    assert len(names) == 11
    found = client.get("/repositories.json", params={"q": "ALP"}).json()
    assert [place["name"] for place in found["paths"]] == ["library/alpine", "stable/alpine"]


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
