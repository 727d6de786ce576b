"""Packages of SBOMs as rows: by whom a document is about, tried again where it was absent, and asked in SQL."""

import base64
import json
import re
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from catalog.blobs.lake_data import lake_place
from catalog.catalog import Catalog
from catalog.distributions.records import Distribution
from catalog.query import package_ranges
from catalog.query.named import find_named
from catalog.query.named.served_packages import PackageRow, ask_packages_of
from catalog.query.process import answer
from catalog.query.question import Question, Value
from catalog.query.run import limits_of, may_need_index
from catalog.query.task import Task, load_task
from catalog.query.views import NOW, AsOf
from catalog.search import documents
from catalog.search.package_search import MOST_VERSIONS
from catalog.search.terms import parse_term
from catalog.versions.changes import AddManifest, RemoveManifest, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.errors import CatalogUnusable, InvalidInput, QueryInvalid
from tests.unit.catalog.commits.test_left_upstream import ORIGIN
from tests.unit.catalog.conftest import commit_to, stage_blob, stage_image, stage_manifest
from tests.unit.catalog.search.test_search import scopes

CREATED = datetime(2026, 5, 4, tzinfo=UTC)
VECTORS = Path(__file__).parents[3] / "vectors" / "sbom"
Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def ask(catalog: Catalog, tmp_path: Path) -> Ask:
    """Answer here, as the process of a question does, once the index is brought up."""

    def run(
        sql: str,
        parameters: Mapping[str, Value] | None = None,
        as_of: AsOf = NOW,
        within: tuple[str, ...] | None = None,
    ) -> list[dict[str, Any]]:
        catalog.search.refresh()
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        question = Question(sql, parameters or {}, as_of, within)
        task = Task(lake_place(catalog.settings), scratch, question, limits_of(catalog.settings), "json")
        answer(load_task(task.dump()))
        return list(json.loads((scratch / "answer").read_text()))

    return run


def deb(*packages: str) -> bytes:
    """An SBOM of Debian's packages, each as NAME@VERSION."""
    components = [{"name": one, "purl": f"pkg:deb/debian/{one}?arch=amd64"} for one in packages]
    return json.dumps({"bomFormat": "CycloneDX", "specVersion": "1.5", "components": components}).encode()


def statement(raw: bytes) -> bytes:
    return json.dumps({"predicateType": "https://cyclonedx.org/bom", "predicate": json.loads(raw)}).encode()


def bundle(raw: bytes) -> bytes:
    return json.dumps({"dsseEnvelope": {"payload": base64.b64encode(statement(raw)).decode()}}).encode()


def stage_document(
    catalog: Catalog, repository: str, raw: bytes, kind: str, subject: Descriptor | None = None, **more: object
) -> Descriptor:
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": {"mediaType": mediatypes.OCI_EMPTY, **stage_blob(catalog, repository, b"{}")},
        "layers": [{"mediaType": kind, **stage_blob(catalog, repository, raw)}],
        **more,
    }
    if subject is not None:
        manifest |= {"artifactType": kind, "subject": subject.to_json()}
    return stage_manifest(catalog, repository, manifest, mediatypes.OCI_MANIFEST)


def push_sbom(catalog: Catalog, repository: str, raw: bytes, seed: str = "one") -> tuple[Descriptor, Descriptor]:
    """Push an image under its seed as tag, and an SBOM about it."""
    image = stage_image(catalog, repository, seed)
    sbom = stage_document(catalog, repository, raw, "application/vnd.cyclonedx+json", image)
    commit_to(
        catalog,
        repository,
        AddManifest(image),
        AddManifest(sbom),
        SetTag(seed, image.digest),
        operation_id=f"{repository} {seed}",
    )
    return image, sbom


def serve(catalog: Catalog, path: str, repository: str, version: int | None = None) -> None:
    catalog.distributions.put(Distribution(path, repository, CREATED, CREATED, version=version), actor="test")


def test_each_vector_becomes_rows(catalog: Catalog, ask: Ask) -> None:
    files = sorted(VECTORS.glob("*.json"))
    for file in files:
        push_sbom(catalog, "team/app", file.read_bytes(), file.stem)
    rows = ask("SELECT purl, name, version, licence FROM packages WHERE repository = 'team/app' ORDER BY purl, name")
    assert {
        "purl": "pkg:apk/alpine/libcrypto3@3.1.4-r1?arch=x86_64&distro=3.18.4",
        "name": "libcrypto3",
        "version": "3.1.4-r1",
        "licence": "Apache-2.0",
    } in rows
    assert {row["purl"] for row in rows} >= {
        "", "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12",
        "pkg:deb/debian/zlib1g@1:1.2.13.dfsg-1", "pkg:npm/%40angular/core@16.0.0",
    }  # fmt: skip
    states = ask("SELECT format, packages, state, note FROM sboms ORDER BY format")
    assert [(row["format"], row["state"], row["note"]) for row in states] == [
        (form, "read", "")
        for form in ("CycloneDX-1.4", "CycloneDX-1.5", "CycloneDX-1.6", "SPDX-2.2", "SPDX-2.3", "SPDX-3.0.1")
    ]
    assert sum(row["packages"] for row in states) == len(rows)


def test_documents_are_about_images_by_subject_tag_and_index(catalog: Catalog, ask: Ask) -> None:
    """As a referrer in a bundle, under cosign's tags, and as BuildKit's attestation, whose index comes later."""
    images = [stage_image(catalog, "team/app", seed) for seed in ("one", "two", "three", "four")]
    name = str(images[1].digest).replace(":", "-")
    attached = stage_document(
        catalog, "team/app", bundle(deb("a@1")), "application/vnd.dev.sigstore.bundle.v0.3+json", images[0],
        annotations={"dev.sigstore.bundle.predicateType": "https://cyclonedx.org/bom"},
    )  # fmt: skip
    att = stage_document(catalog, "team/app", json.dumps({"payload": base64.b64encode(statement(deb("b@1"))).decode()}).encode(),
        "application/vnd.dsse.envelope.v1+json")  # fmt: skip
    old = stage_document(catalog, "team/app", deb("c@1"), "application/vnd.cyclonedx+json")
    built = stage_document(catalog, "team/app", statement(deb("d@1")), "application/vnd.in-toto+json")
    commit_to(
        catalog, "team/app", *map(AddManifest, [*images, attached, att, old, built]), SetTag(f"{name}.att", att.digest),
        operation_id="documents",
    )  # fmt: skip
    expected = {"a": images[0].digest, "b": images[1].digest, "c": "", "d": ""}
    sql = "SELECT name, image FROM packages"
    assert {row["name"]: row["image"] for row in ask(sql)} == expected
    index = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [
            images[3].to_json(),
            {**built.to_json(), "annotations": {"vnd.docker.reference.digest": images[3].digest}},
        ],
    }
    whole = stage_manifest(catalog, "team/app", index, mediatypes.OCI_INDEX)
    third = str(images[2].digest).replace(":", "-")
    commit_to(
        catalog,
        "team/app",
        AddManifest(whole),
        SetTag("multi", whole.digest),
        SetTag(f"{third}.sbom", old.digest),
        operation_id="index",
    )
    assert {row["name"]: row["image"] for row in ask(sql)} == {
        **expected,
        "c": images[2].digest,
        "d": images[3].digest,
    }
    serve(catalog, "public/app", "team/app")
    found = find_named("images-with-package").question({"package": "d"})
    rows = ask(found.sql, found.parameters)  # by the tag of the index that holds the image
    assert [(row["path"], row["tags"], row["image"]) for row in rows] == [
        (path, "multi", images[3].digest) for path in ("public/app", "team/app")
    ]


def test_a_document_that_arrives_later_is_read(catalog: Catalog, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    image = stage_image(catalog, "mirror", "one")
    sbom = stage_document(catalog, "mirror", deb("late@1"), "application/vnd.cyclonedx+json", image)
    with monkeypatch.context() as patch:
        patch.setattr(catalog.rights, "usable_size", lambda *_: None)
        commit_to(catalog, "mirror", AddManifest(image), AddManifest(sbom), origin=ORIGIN)
        catalog.search._documents._usable_size = lambda *_: None
        assert ask("SELECT state, note FROM sboms") == [{"state": "absent", "note": "its content is not here"}]
    now = catalog.search._documents._clock()
    catalog.search._documents._usable_size = lambda *_: 1
    assert ask("SELECT state FROM sboms") == [{"state": "absent"}]  # not at once
    catalog.search._documents._clock = lambda: now + documents.RETRY_AFTER + 1
    with closing(sqlite3.connect(catalog.search.file)) as connection:
        assert catalog.search._documents.has_waiting(connection)
    assert ask("SELECT name, version FROM packages") == [{"name": "late", "version": "1"}]


def test_a_search_has_new_documents_read(catalog: Catalog) -> None:
    catalog.search.refresh()
    push_sbom(catalog, "team/app", deb("new@1"))
    catalog.search.find(parse_term("new"), scopes(catalog), limit=10)
    beside = catalog.search._beside
    assert beside is not None
    beside.join()
    assert [one.value for one in catalog.search.find(parse_term("new"), scopes(catalog), limit=10).hits] == [
        "pkg:deb/debian/new"
    ]


def test_bad_documents_spoil_no_other_and_are_noted(
    catalog: Catalog, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "LARGEST", 2 * 1024 * 1024)
    many = [{"name": f"p{number}"} for number in range(30_000)]
    bad = {
        "garbage": (b"\0\xff" * 100_000, "no JSON, or nested too deep"),
        "deep": (b'{"components":[' * 100_000, "no JSON, or nested too deep"),
        "large": (b" " * (2 * 1024 * 1024 + 1), "larger than 2 MiB"),
        "other": (b'{"artifacts": []}', "an unknown format"),
        "many": (json.dumps({"spdxVersion": "SPDX-2.3", "packages": many}).encode(), "only the first 20000 packages, texts cut"),
    }  # fmt: skip
    for seed, (raw, _) in bad.items():
        push_sbom(catalog, "evil", raw, seed)
    push_sbom(catalog, "good", deb("zlib@1.2"))
    rows = ask("SELECT tag, state, note, sboms.packages FROM sboms JOIN tags ON digest = image ORDER BY tag")
    assert {row["tag"]: row["note"] for row in rows} == {seed: note for seed, (_, note) in bad.items()} | {"one": ""}
    assert {row["tag"] for row in rows if row["state"] == "invalid"} == {"garbage", "deep", "large", "other"}
    assert {row["tag"]: row["packages"] for row in rows if row["packages"]} == {"many": 20_000, "one": 1}
    assert ask("SELECT version FROM packages WHERE repository = 'good'") == [{"version": "1.2"}]
    named = find_named("sboms-not-read").question({})
    assert {row["note"] for row in ask(named.sql, named.parameters)} == {
        bad[one][1] for one in ("garbage", "large", "other")
    }


def test_a_name_like_another_s_package_url_is_another_package(catalog: Catalog, ask: Ask) -> None:
    lie = {"spdxVersion": "SPDX-2.3", "packages": [{"name": "pkg:deb/debian/zlib", "versionInfo": "1"}]}
    push_sbom(catalog, "evil", json.dumps(lie).encode())
    push_sbom(catalog, "good", deb("zlib@1.2"))
    rows = ask(
        "SELECT repository, type, namespace, name FROM packages WHERE package = 'pkg:deb/debian/zlib' ORDER BY ALL"
    )
    assert rows == [
        {"repository": "evil", "type": "", "namespace": "", "name": "pkg:deb/debian/zlib"},
        {"repository": "good", "type": "deb", "namespace": "debian", "name": "zlib"},
    ]


def test_served_images_that_hold_a_package_below_a_version(catalog: Catalog, ask: Ask) -> None:
    old, sbom = push_sbom(catalog, "team/app", deb("libfoo@1.10-1", "libfoo@1.1-1", "bar@1"), "old")
    new, _ = push_sbom(catalog, "team/app", deb("libfoo@1.2"), "new")
    push_sbom(catalog, "team/hidden", deb("libfoo@1.0"), "one")
    serve(catalog, "stable/app", "team/app", 1)
    serve(catalog, "latest/app", "team/app")
    for path in ("team/app", "team/hidden"):
        catalog.distributions.delete(path, actor="test")

    def named(package: str, versions: str) -> list[tuple[str, ...]]:
        found = find_named("images-with-package").question({"package": package, "versions": versions})
        return [(row["path"], row["tags"], row["image"], row["version"]) for row in ask(found.sql, found.parameters)]

    assert named("libfoo", "<1.2") == [
        ("latest/app", "old", old.digest, "1.1-1"),
        ("stable/app", "old", old.digest, "1.1-1"),
    ]
    assert named("debian/libfoo", ">=1.2") == [
        *sorted(
            [("latest/app", "new", new.digest, "1.2"), ("latest/app", "old", old.digest, "1.10-1")],
            key=lambda row: row[2],
        ),
        ("stable/app", "old", old.digest, "1.10-1"),
    ]
    assert {row[3] for row in named("pkg:deb/debian/libfoo@1.2", "")} == {"1.2"}
    assert named("libfoo", "vers:rpm/<9") == named("nothing", "") == []
    commit_to(catalog, "team/app", RemoveManifest(sbom.digest), operation_id="removed")
    assert named("libfoo", "<1.2") == [("stable/app", "old", old.digest, "1.1-1")]  # it serves the version that had it
    assert {row["repository"] for row in ask("SELECT repository FROM packages_in('libfoo', '<1.2')")} == {"team/hidden"}


def test_a_page_is_of_what_some_paths_serve(catalog: Catalog, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row after row, and what other repositories have counts for no limit, by name and by package URL."""
    for name in ("other/one", "other/two", "team/app"):
        push_sbom(catalog, name, deb("libfoo@1", f"libfoo@2-{name[-1]}"))
    serve(catalog, "team/also", "team/app")
    serve(catalog, "team/old", "team/app", 1)
    shown = [one for one in catalog.distributions.all() if one.path in ("team/also", "team/app")]

    def page(package: str, last: str = "", versions: str = "", limit: int = 9) -> list[tuple[str, ...]]:
        found = ask_packages_of(shown, package, versions, after=PackageRow.load(last), limit=limit)
        return [(row["path"], row["version"]) for row in ask(found.sql, found.parameters, within=found.within)]

    whole = [(path, version) for path in ("team/also", "team/app") for version in ("1", "2-p")]
    for name, most in (("MOST_PLACES", 2), ("MOST_VERSIONS", 2)):
        monkeypatch.setattr(package_ranges, name, most)
        for package in ("libfoo", "debian/libfoo", "pkg:deb/debian/libfoo"):
            assert page(package) == whole
    with pytest.raises(QueryInvalid, match="more than 2"):
        ask("SELECT * FROM packages_in('libfoo', '')")
    assert page("libfoo", versions="<2") == whole[::2]
    image = catalog.snapshots.get("team/app").tags["one"]
    (sbom,) = catalog.snapshots.get("team/app").referrers[image]
    second = PackageRow("team/also", image, "pkg:deb/debian/libfoo@2-p?arch=amd64", "2-p", sbom)
    assert page("libfoo", second.dump(), limit=1) == whole[2:3]
    assert page("libfoo", second._replace(purl="").dump()) == whole


@pytest.mark.parametrize("text", ["x", "W10=", "WyJhIl0=", "bnVsbA==", "WzEsMiwzLDQsNV0=", "é", "[" * 900])
def test_what_is_no_row_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid last"):
        PackageRow.load(text)


def test_the_question_scans_what_was_found_and_distributions_alone(catalog: Catalog, ask: Ask) -> None:
    """Neither the index nor the rows of versions, however many there are; test_package_search.py counts the look-ups."""
    push_sbom(catalog, "team/app", deb("libfoo@1.1"))
    found = find_named("images-with-package").question({"package": "libfoo"})
    plan = "".join(row["explain_value"] for row in ask(f"EXPLAIN {found.sql}", found.parameters))
    assert set(re.findall(r"\w+_SCAN", plan)) == {"DUCKLAKE_SCAN", "SEQ_SCAN"}
    assert plan.count("DUCKLAKE_SCAN") == len(re.findall(r"Table: *distributions", plan))
    assert "records" not in plan


def test_packages_as_of_a_version(catalog: Catalog, ask: Ask) -> None:
    push_sbom(catalog, "team/app", deb("a@1"), "one")
    push_sbom(catalog, "team/app", deb("b@1"), "two")
    sql = "SELECT name FROM packages ORDER BY name"
    assert ask(sql, as_of=AsOf(repository="team/app", version=1)) == [{"name": "a"}]
    assert ask(sql, as_of=AsOf(moment=CREATED.replace(year=2000))) == []
    assert ask(sql, as_of=AsOf(moment=CREATED.replace(year=2200))) == ask(sql) == [{"name": "a"}, {"name": "b"}]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT * FROM packages_in('a', '<')", "invalid range"),
        ("SELECT * FROM packages_in('', '')", "invalid package"),
        ("SELECT * FROM packages_in('pkg:', '')", "invalid package URL"),
        ("SELECT * FROM packages_in(upper('a'), '')", "invalid arguments of packages_in"),
        ("SELECT * FROM served_packages_in('a')", "invalid arguments of served_packages_in"),
        ("SELECT * FROM packages_in('a', NULL)", "invalid arguments"),
        ("SELECT * FROM packages_in('a', at_name := '<1')", "invalid arguments"),
        ("SELECT * FROM search.packages", "disabled"),
        ("SELECT * FROM search.main.documents", "disabled"),
    ],
)
def test_calls_and_tables_that_are_refused(catalog: Catalog, ask: Ask, sql: str, message: str) -> None:
    with pytest.raises(QueryInvalid, match=message):
        ask(sql)
    assert may_need_index(sql) is ("packages" in sql)


def test_too_many_versions_are_refused(catalog: Catalog, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.query.package_ranges.MOST_VERSIONS", 2)
    push_sbom(catalog, "team/app", deb("a@1", "a@2", "a@3", "b@1"))
    with pytest.raises(QueryInvalid, match="more than 2 versions of a"):
        ask("SELECT * FROM packages_in('a', '')")
    assert MOST_VERSIONS > 2


def test_a_question_without_an_index_is_an_error_and_not_empty(catalog: Catalog, tmp_path: Path) -> None:
    task = Task(
        lake_place(catalog.settings), tmp_path, Question("SELECT * FROM packages"), limits_of(catalog.settings), "json"
    )
    with pytest.raises(CatalogUnusable, match="search index"):
        answer(task)
    answer(replace(task, question=Question("SHOW TABLES")))


def test_questions_bring_the_index_up_by_themselves(catalog: Catalog) -> None:
    push_sbom(catalog, "team/app", deb("a@1"))
    assert catalog.query.run("SELECT name, version FROM packages").to_pylist() == [{"name": "a", "version": "1"}]
