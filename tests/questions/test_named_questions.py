"""Every question that comes with us gives the right answer on a catalogue whose content is known."""

from catalog.query.named import named_questions
from oci.digest import Digest
from tests.questions.conftest import BASE, Home


def test_shared_layers(home: Home) -> None:
    one, size = home.images["one"], {part.digest: part.size for _, part in home.images["one"].children()}
    rows = home.named("shared-layers")
    # team/app and team/web share all of image one; two in team/app alone shares its base with it, within the repository.
    assert {row["digest"]: row["saved_bytes"] for row in rows} == size
    assert [row["saved_bytes"] for row in rows] == sorted(size.values(), reverse=True)
    assert {row["repositories"] for row in rows} == {2}
    assert rows[0]["digest"] in {layer.digest for layer in one.layers} | {one.config and one.config.digest}
    assert len(home.named("shared-layers", limit=1)) == 1


def test_changed_last_night(home: Home) -> None:
    rows = home.named("changed-last-night")
    app = {(row["tag"], row["change"], row["version"]) for row in rows if row["repository"] == "team/app"}
    assert {("v1", "added", 1), ("latest", "added", 2), ("old", "added", 3), ("v2", "added", 4)} <= app
    moved = next(row for row in rows if row["change"] == "moved")
    assert (moved["tag"], moved["before"], moved["after"], moved["actor"], moved["operation"]) == (
        "latest",
        home.images["one"].digest,
        home.images["two"].digest,
        "admin",
        "push",
    )
    removed = [row for row in rows if row["change"] == "removed"]
    assert [(row["tag"], row["before"], row["after"]) for row in removed] == [("old", home.images["one"].digest, None)]
    assert home.named("changed-last-night", hours=0) == []


def test_who_pushed(home: Home) -> None:
    rows = {(row["actor"], row["operation"]): row for row in home.named("who-pushed")}
    assert rows["bob", "push"]["versions"] == 1
    assert rows["bob", "push"]["last_repository"] == "bob/tool"
    assert rows["alice", "sign"]["versions"] == 1
    assert rows["admin", "push"]["repositories"] == 3
    assert home.named("who-pushed", days=0) == []


def test_images_by_base_layer(home: Home) -> None:
    rows = home.named("images-by-base-layer")
    assert rows[0] == {
        "base_layer": home.images["one"].layers[0].digest,
        "images": 2,
        "repositories": 2,
        "base_name": BASE,
        "one_of_them": "team/app",
    }
    assert {row["images"] for row in rows[1:]} == {1}
    assert home.images["far"].layers[0].digest in {row["base_layer"] for row in rows}


def test_images_on_base(home: Home) -> None:
    two = home.images["two"].digest
    found = [(row["repository"], row["tag"], row["digest"]) for row in home.named("images-on-base", base="library/%")]
    assert found == [("team/app", "latest", two), ("team/app", "v2", two)]
    assert home.named("images-on-base", base="other/%") == []


def test_images_by_label(home: Home) -> None:
    rows = home.named("images-by-label", label="licence")
    assert [(row["value"], row["images"], row["repositories"]) for row in rows] == [("BSD", 1, 1), ("MIT", 1, 2)]
    assert home.named("images-by-label", label="none") == []


def test_old_images(home: Home) -> None:
    rows = home.named("old-images")
    assert {row["created"] for row in rows} == {"1970-01-01T00:00:00Z"}
    assert ("team/app", "v1") in {(row["repository"], row["tag"]) for row in rows}
    assert rows[0]["days"] > 20_000
    assert home.named("old-images", days=100_000) == []


def test_images_by_platform(home: Home) -> None:
    rows = home.named("images-by-platform")
    assert [(row["os"], row["architecture"], row["images"]) for row in rows] == [
        ("linux", "amd64", 6),
        ("linux", "arm64", 1),
    ]


def test_without_platform(home: Home) -> None:
    rows = {(row["repository"], row["tag"]): row["platforms"] for row in home.named("without-platform")}
    assert rows["team/app", "v1"] == "linux/amd64"
    assert ("team/multi", "v1") not in rows
    amd64 = home.named("without-platform", platform="linux/amd64")
    assert amd64 == []


def test_unsigned_images(home: Home) -> None:
    found = {(row["repository"], row["tag"], row["kind"]) for row in home.named("unsigned-images")}
    assert found == {
        ("bob/tool", "v1", "image"),
        ("mirrored/far", "v1", "image"),
        ("team/app", "v1", "image"),
        ("team/multi", "v1", "index"),
        ("team/web", "v1", "image"),
    }


def test_without_sbom(home: Home) -> None:
    found = {(row["repository"], row["tag"]) for row in home.named("without-sbom")}
    assert ("team/app", "v1") not in found
    assert {("team/app", "v2"), ("team/web", "v1")} <= found


def test_images_with_package(home: Home) -> None:
    one = home.images["one"].digest
    (row,) = home.named("images-with-package", package="zlib", versions="<1.2.13")
    assert (row["path"], row["image"], row["tags"], row["version"]) == ("team/app", one, "v1", "1.2.9")
    assert home.named("images-with-package", package="zlib", versions=">=1.2.13") == []


def test_sboms_not_read(home: Home) -> None:
    assert home.named("sboms-not-read") == []


def test_where_is(home: Home) -> None:
    app, web = home.named("where-is", digest=home.images["one"].digest)
    assert (app["repository"], app["what"], app["since"], app["tags"]) == ("team/app", "manifest", 1, "v1")
    assert app["served_at"] == "stable/app, team/app"
    assert (web["repository"], web["tags"], web["served_at"]) == ("team/web", "v1", "team/web")
    (layer,) = home.named("where-is", digest=home.images["two"].layers[1].digest)
    assert (layer["what"], layer["size"], layer["tags"]) == ("blob", home.images["two"].layers[1].size, None)
    assert layer["served_at"] == "team/app"  # stable/app is pinned to a version that did not have it yet
    assert home.named("where-is", digest=Digest.of(b"nowhere")) == []


def test_used_by(home: Home) -> None:
    base = home.images["one"].layers[0].digest
    found = {(row["repository"], row["parent"], row["role"]) for row in home.named("used-by", digest=base)}
    one, two = home.images["one"].digest, home.images["two"].digest
    assert found == {("team/app", one, "layer"), ("team/app", two, "layer"), ("team/web", one, "layer")}
    (index,) = home.named("used-by", digest=home.images["arm"].digest)
    assert (index["parent"], index["role"], index["position"]) == (home.images["index"].digest, "manifest", 1)


def test_last_pulled(home: Home) -> None:
    rows = [(row["tag"], row["pulls"]) for row in home.named("last-pulled")]
    assert sorted(rows) == [("latest", 3), ("v2", 2)]  # by name once and twice, by digest once


def test_never_pulled(home: Home) -> None:
    never = [(row["repository"], row["tag"]) for row in home.named("never-pulled")]
    tags = {(row["repository"], row["tag"]) for row in home.ask("SELECT repository, tag FROM tags")}
    assert set(never) == tags - {("team/app", "v2"), ("team/app", "latest")}


def test_biggest_images(home: Home) -> None:
    rows = home.named("biggest-images")
    sizes = {row["digest"]: row["size_bytes"] for row in rows}
    two = home.images["two"]
    assert sizes[two.digest] == len(two.raw) + sum(part.size for _, part in two.children())
    assert [row["size_bytes"] for row in rows] == sorted((row["size_bytes"] for row in rows), reverse=True)
    assert next(row for row in rows if row["digest"] == two.digest)["tags"] == "latest, v2"


def test_usage(home: Home) -> None:
    rows = {row["repository"]: row for row in home.named("usage")}
    one = home.images["one"]
    whole = len(one.raw) + sum(part.size for _, part in one.children())
    assert (rows["team/web"]["bytes"], rows["team/web"]["shared"], rows["team/web"]["own"]) == (whole, whole, 0)
    assert rows["team/app"]["shared"] == whole
    assert rows["team/app"]["own"] == rows["team/app"]["bytes"] - whole > 0


def test_growth(home: Home) -> None:
    (row,) = home.named("growth", days=1)
    assert row["versions"] == home.ask("SELECT count(*) AS n FROM versions")[0]["n"]
    assert (
        row["bytes"]
        == home.ask("SELECT sum(size)::BIGINT AS n FROM changes WHERE action='add' AND kind<>'tag'")[0]["n"]
    )
    assert row["repositories"] == 5


def test_untagged(home: Home) -> None:
    found = [(row["repository"], row["digest"]) for row in home.named("untagged")]
    assert found == [("team/app", home.images["loose"].digest)]


def test_moving_tags(home: Home) -> None:
    (row,) = home.named("moving-tags")
    assert (row["repository"], row["tag"], row["moves"]) == ("team/app", "latest", 1)


def test_stale_repositories(home: Home) -> None:
    assert home.named("stale-repositories") == []
    assert [row["name"] for row in home.named("stale-repositories", days=0)] == [
        "team/web",
        "team/multi",
        "bob/tool",
        "mirrored/far",
        "team/app",
    ]


def test_refused(home: Home) -> None:
    row = next(row for row in home.named("refused") if row["actor"] == "bob")
    assert (row["action"], row["name"], row["times"]) == ("push", "team/app", 1)


def test_same_content(home: Home) -> None:
    (row,) = home.named("same-content")
    assert row == {
        "digest": home.images["one"].digest,
        "repositories": 2,
        "names": "team/app:v1, team/web:v1",
    }


def test_behind(home: Home) -> None:
    (row,) = home.named("behind")
    latest = home.ask("SELECT version FROM repositories WHERE name = 'team/app'")[0]["version"]
    assert (row["path"], row["version"], row["latest"], row["versions_behind"]) == ("stable/app", 2, latest, latest - 2)


def test_left_upstream(home: Home) -> None:
    (row,) = home.named("left-upstream")
    layer = home.images["far"].layers[0]
    assert (row["policy"], row["blobs"], row["bytes"]) == ("on_demand", 1, layer.size)
    assert row["remote"].endswith("/some/far")


def test_kinds(home: Home) -> None:
    rows = {row["kind"]: row["manifests"] for row in home.named("kinds")}
    assert (rows["image"], rows["index"], rows["cosign-signature"], rows["sbom"]) == (7, 1, 1, 1)


def test_none_is_untested() -> None:
    tested = set(globals())
    wanted = {f"test_{name.replace('-', '_')}" for name in named_questions()}
    assert wanted - tested == set()
    assert len(wanted) >= 20
