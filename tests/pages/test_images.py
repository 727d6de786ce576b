"""Pages of images: packages of attached documents, claims of provenance, lineage, and who shares layers."""

import json
import re
from datetime import UTC, datetime

import httpx

from catalog.browse.lineage import departure_event
from catalog.versions.version_origins import VersionOrigin
from oci.memory import MemoryStore
from tests.pages.conftest import Shown
from tests.pages.content import EVIL, PACKAGES, Filler, make_image


def test_packages_are_listed_filtered_and_paged(shown: Shown) -> None:
    client = shown.visitor()
    found = client.get("/packages.json/team/server:v1.1").json()
    assert (found["documents"], found["total"], found["pages"], len(found["packages"])) == (1, PACKAGES, 2, 100)
    rest = client.get("/packages.json/team/server:v1.1", params={"page": 2}).json()
    assert len(rest["packages"]) == PACKAGES - 100
    (one,) = client.get("/packages.json/team/server:v1.1", params={"q": "OpenSSL"}).json()["packages"]
    assert one == {"name": "alpine/openssl", "ecosystem": "apk", "versions": ["1.2.3-r4"], "total_versions": 1}
    assert client.get("/packages.json/team/server:v1.1", params={"q": "1.2.3-r4"}).json()["total"] == PACKAGES
    assert client.get("/packages.json/team/server:v1.0").json()["documents"] == 0


def test_provenance_is_shown_as_a_claim(shown: Shown) -> None:
    client = shown.logged_in("bob")
    found = client.get("/provenance.json/team/server:v1.0").json()
    (claim,) = found["statements"]
    assert claim["builder"] == "https://builder.example/actions@v2"
    assert claim["source"] == "https://git.example/team/server@refs/tags/v1.0"
    assert (claim["is_about_image"], claim["signatures"], claim["entry_point"]) == (True, 1, "build.yaml")
    assert [one["uri"] for one in claim["materials"]][2] == EVIL
    page = client.get("/provenance/team/server:v1.0").text
    assert "claimed, not verified" in page
    assert re.search(r'href="(?!/|#)', page) is None


def test_lineage_tells_how_content_came_and_where_it_is_served(shown: Shown) -> None:
    found = shown.administrator().get("/provenance.json/library/alpine:3.20").json()
    (step,) = [one for one in found["steps"] if one["name"] == "library/alpine"]
    assert (step["version"], step["operation"], step["origins"]) == (2, "sync", ["remote docker.io/library/alpine"])
    assert found["is_whole"]
    assert [one["name"] for one in found["served"]] == ["library/alpine"]
    pinned = shown.administrator().get("/provenance.json/stable/alpine:3.20").json()
    assert [one["name"] for one in pinned["served"]] == ["stable/alpine"]
    assert pinned["served"][0]["since"] is not None


def test_who_may_not_know_a_history_gets_names_alone(shown: Shown) -> None:
    for client in (shown.visitor(), shown.logged_in("bob")):
        found = client.get("/provenance.json/released/heron:v1").json()
        (step,) = found["steps"]
        assert step["name"] == "released/heron"
        assert (step["version"], step["operation"], step["actor"], step["at"], step["origins"]) == (
            None,
            "",
            "",
            None,
            [],
        )
        assert [one["since"] for one in found["served"]] == [None]
        assert "private/heron" not in json.dumps(found)


def test_targets_and_sources_are_told_to_whom_they_concern(changing: Shown) -> None:
    catalog, now, store = changing.api.catalog, datetime.now(UTC), MemoryStore()
    origins = (
        VersionOrigin("repository", "private/nightjar", 1),
        VersionOrigin("repository", "team/server", 1),
        VersionOrigin("folder", "/srv/old-registry"),
    )
    image = make_image(store, "promoted")
    Filler(catalog, now).commit("team/made", store, {"v1": image}, operation="promote", origins=origins)
    targets = "/srv/exports/made.tar", "registry.example/team/made"
    catalog.events.record(
        [departure_event("export", "team/made", 1, target, actor="olga", run_id="", now=now) for target in targets]
    )

    def look(client: httpx.Client) -> tuple[list[str], list[str]]:
        page = client.get("/provenance/team/made:v1").text
        steps = client.get("/provenance.json/team/made:v1").json()["steps"]
        for text in ("/srv/", "registry.example", "nightjar"):
            assert (text in page) is (text in json.dumps(steps))
        came, *went = sorted(steps, key=lambda step: step["left"])
        return came["origins"], sorted(step["target"] for step in went)

    assert look(changing.administrator()) == ([str(one) for one in origins], sorted(targets))
    assert look(changing.logged_in("dave")) == (
        ["another repository", "repository team/server@1", "a folder"],
        ["", ""],
    )


def test_shared_layers_name_only_what_one_may_see(shown: Shown) -> None:
    """Layers of made images are their own; one that two repositories have is in tests/unit/catalog/search."""
    found = shown.visitor().get("/image.json/team/server:v1.1").json()
    assert [part["shared"]["repositories"] for part in found["parts"]] == [0, 0, 0]


def test_packages_are_found_by_name(shown: Shown) -> None:
    for text in ("openssl", "package:openssl", "package:apk/alpine/openssl"):
        found = shown.visitor().get("/search.json", params={"q": text}).json()
        assert [(one["name"], one["kind"], one["value"]) for one in found["content"]] == [
            ("team/server", "package", "pkg:apk/alpine/openssl")
        ]
        assert found["content"][0]["digest"] == shown.digests["server"]
