"""Questions answer the same from the projection, from the lake and by plain Python, over random histories."""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.catalog import Catalog
from catalog.lake.connection import Lake
from catalog.lake.reading import LakePlace
from catalog.query import projection
from catalog.query.named import find_named, named_questions
from catalog.query.process import close_doors, open_for_question
from catalog.query.projection import changed_repositories, load_projection, projection_folder, state_file
from catalog.query.projection_writer import refresh_projection
from catalog.query.question import Value
from catalog.query.run import limits_of
from catalog.query.task import Task
from catalog.query.view_columns import COLUMNS
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from oci import mediatypes
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError
from oci.image_config import parse_config
from oci.kinds import kind_of
from tests.questions.reference import BASE_NAME, Image, Reference, Row
from tests.unit.catalog.conftest import commit_to, push_image, stage_blob, stage_image, stage_index, stage_manifest

NAMES = ("a/one", "a/two", "b/one", "b/it's")
TAGS = ("v1", "v2", "latest")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
EMPTY = b"{}"


@dataclass
class History:
    """A catalogue, and what may be committed to it."""

    catalog: Catalog
    lake: Lake
    scratch: Path
    images: dict[str, Image]
    descriptors: list[Descriptor]

    @contextmanager
    def asking(self) -> Iterator[Callable[..., list[Row]]]:
        """Ask as the process of a question does, several questions on one connection."""
        file = self.catalog.settings.catalog_file
        question = find_named("kinds").question({})
        task = Task(LakePlace(file), self.scratch, question, limits_of(self.catalog.settings), "json")
        connection = open_for_question(task, None)
        close_doors(connection, task.place)

        def ask(sql: str, parameters: Mapping[str, Value] | None = None) -> list[Row]:
            return connection.execute(sql, dict(parameters or {}) or None).fetchall()

        yield ask
        connection.close()


def make_history(folder: Path) -> History:
    catalog = Catalog(read_settings(home=folder / "entrepot"))
    (folder / "scratch").mkdir()
    return History(catalog, catalog._lake, folder / "scratch", {}, [])


def stage(history: History) -> None:
    """Put all content into every repository: images that share layers, indexes, signatures and SBOMs of them."""
    history.descriptors.clear()
    for name in NAMES:
        images = [
            stage_image(
                history.catalog,
                name,
                str(number),
                (f"base {number % 2}" * 9, f"own {number}" * number),
                created=("2019-05-06T00:00:00Z", "2026-10-01T00:00:00Z", "long ago")[number % 3],
                labels={"team": f"t{number % 2}"} | ({BASE_NAME: f"base:{number}"} if number % 3 == 0 else {}),
            )
            for number in range(1, 5)
        ]
        index = stage_index(history.catalog, name, images[:2])
        others = [
            _refer(history, name, image, kind)
            for image, kind in ((images[0], "sig"), (images[1], "sbom"), (index, "sig"))
        ]
        history.descriptors[:] = [*images, index, *others]
    for descriptor in history.descriptors:
        history.images[str(descriptor.digest)] = _describe(history.catalog, descriptor)


def _refer(history: History, name: str, subject: Descriptor, kind: str) -> Descriptor:
    document = {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "artifactType": f"application/vnd.dev.cosign.artifact.{kind}.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **stage_blob(history.catalog, name, EMPTY)},
        "layers": [{"mediaType": "text/plain", **stage_blob(history.catalog, name, kind.encode())}],
        "subject": subject.to_json(),
    }
    return stage_manifest(history.catalog, name, document, mediatypes.OCI_MANIFEST)


def _describe(catalog: Catalog, descriptor: Descriptor) -> Image:
    manifest = catalog.manifests.read(descriptor.digest, "")
    is_image = manifest.config is not None and manifest.config.media_type == mediatypes.OCI_CONFIG
    config = parse_config(catalog.content.read(manifest.config.digest)) if is_image and manifest.config else None
    labels = dict(config.labels or {}) if config else {}
    return Image(
        str(descriptor.digest),
        kind_of(manifest, labels),
        descriptor.size,
        manifest.artifact_type or (str(manifest.config.media_type) if is_image and manifest.config else ""),
        f"{config.os}/{config.architecture}" if config else "",
        config.created if config else "",
        labels,
        str(manifest.subject.digest) if manifest.subject else "",
        tuple((role, str(child.digest), child.size) for role, child in manifest.children()),
        tuple(str(child.platform or "") for _, child in manifest.children()),
    )


def act(history: History, chance: random.Random) -> None:
    """Do one thing to one repository."""
    name, catalog = chance.choice(NAMES), history.catalog
    kind = chance.choice(("set", "set", "set", "untag", "drop", "squash", "delete", "compact", "project", "project"))
    descriptor, tag = chance.choice(history.descriptors), chance.choice(TAGS)
    changes: list[Change] = []
    try:
        match kind:
            case "set":
                changes = [AddManifest(descriptor)]
                if chance.random() < 0.75:
                    changes.append(SetTag(tag, descriptor.digest))
            case "untag":
                changes = [RemoveTag(tag)]
            case "drop":
                changes = [RemoveManifest(descriptor.digest)]
            case "squash":
                numbers = [version.number for version in catalog.history.versions(name)]
                first = chance.choice(numbers[1:]) if numbers[1:] else 0
                catalog.deletion.delete_versions(name, [range(first, first + 1)], actor="tester", now=NOW)
            case "delete":
                if chance.random() < 0.3:
                    catalog.deletion.delete_repository(name, actor="tester", now=NOW)
            case "compact":
                list(catalog.maintenance.steps(keep_snapshots=chance.choice((-1.0, 1e9)), grace=-1))
            case "project":
                refresh_projection(history.lake, enough=0)
        if changes:
            commit_to(catalog, name, *changes, operation_id=str(chance.random()))
    except EntrepotError:
        pass  # what is not there cannot be taken away


@pytest.mark.parametrize("seed", range(2))
def test_answers_are_those_of_the_lake_and_of_plain_python(tmp_path: Path, seed: int) -> None:
    history, chance = make_history(tmp_path), random.Random(seed)
    stage(history)
    for name in NAMES:
        commit_to(
            history.catalog, name, AddManifest(history.descriptors[0]), SetTag("v1", history.descriptors[0].digest)
        )
    for _ in range(2):
        for _ in range(15):
            act(history, chance)
        compare(history, chance)
    history.catalog.close()


def compare(history: History, chance: random.Random) -> None:
    file = state_file(projection_folder(history.catalog.settings.catalog_file))
    digest = chance.choice([part for image in history.images.values() for _, part, _ in image.parts])
    values: dict[str, dict[str, Value]] = {
        "used-by": {"digest": digest}, "where-is": {"digest": digest}, "images-by-label": {"label": "team"},
        "stale-repositories": {"days": -1}, "untagged": {"limit": 10_000},
    }  # fmt: skip
    questions = {name: named.question(values.get(name, {})) for name, named in named_questions().items()}
    wholes = {view: f"SELECT * FROM {view}" for view in COLUMNS}
    with history.asking() as ask:
        given = {name: ask(question.sql, question.parameters) for name, question in questions.items()}
        whole = {view: Counter(map(repr, ask(sql))) for view, sql in wholes.items()}
    if file.exists():
        beside = file.rename(file.with_suffix(".beside"))
        with history.asking() as ask:
            assert {name: ask(question.sql, question.parameters) for name, question in questions.items()} == given
            assert {view: Counter(map(repr, ask(sql))) for view, sql in wholes.items()} == whole
        beside.rename(file)
    check(given, Reference(history.catalog, history.images), digest)


def check(given: Mapping[str, list[Row]], reference: Reference, digest: str) -> None:
    """Hold what questions have answered against the reference, of which some know less than the answer tells."""
    wanted = {
        "biggest-images": reference.biggest_images(), "images-by-base-layer": reference.images_by_base_layer(),
        "images-by-label": reference.images_by_label(), "images-by-platform": reference.images_by_platform(),
        "kinds": reference.kinds(), "same-content": reference.same_content(), "shared-layers": reference.shared_layers(),
        "usage": reference.usage(), "unsigned-images": reference.unsigned_images(), "without-sbom": reference.without_sbom(),
        "without-platform": reference.without_platform(), "used-by": reference.used_by(digest),
    }  # fmt: skip
    for name, rows in wanted.items():
        assert Counter(given[name]) == Counter(rows), name
    for name, columns, rows in (
        ("images-on-base", slice(0, 4), reference.images_on_base()),
        ("old-images", slice(2, 5), reference.old_images()),
        ("untagged", slice(0, 4), reference.untagged()),
        ("stale-repositories", slice(0, 3), reference.stale_repositories()),
    ):
        assert Counter(row[columns] for row in given[name]) == Counter(rows), name
    found = [(name, what, tags) for name, what, _, _, tags, _ in given["where-is"]]
    assert Counter(found) == Counter(reference.where_is(digest))
    tags = {(name, tag) for name, tag, _ in reference.tags()}
    assert {(row[0], row[1]) for row in given["never-pulled"]} == tags


def test_only_what_has_changed_is_written_again(tmp_path: Path) -> None:
    history = make_history(tmp_path)
    for number in range(8):
        push_image(history.catalog, f"many/r{number}", "v1", str(number))

    def digest(name: str) -> Digest:
        return history.catalog.snapshots.get(name).tags["v1"]

    assert refresh_projection(history.lake) == 0, "so few rows need no projection"
    assert not projection_folder(history.catalog.settings.catalog_file).exists()
    assert refresh_projection(history.lake, enough=0) == 8 * (3 + 3), "records, and contents"
    assert refresh_projection(history.lake) == 0
    commit_to(history.catalog, "many/r1", SetTag("v2", digest("many/r1")), operation_id="second")
    assert refresh_projection(history.lake) == 3 + 2 + 3
    found = load_projection(projection_folder(history.catalog.settings.catalog_file))
    assert found is not None
    assert [set(part.without) for part in found.parts] == [{"many/r1"}, set()]
    history.catalog.deletion.delete_repository("many/r2", actor="tester", now=NOW)
    commit_to(history.catalog, "many/r3", SetTag("v2", digest("many/r3")), operation_id="third")
    assert refresh_projection(history.lake)
    found = load_projection(projection_folder(history.catalog.settings.catalog_file))
    assert found is not None
    assert [part.without for part in found.parts] == [frozenset()], "more than a quarter has changed"
    history.catalog.close()


def test_a_projection_of_another_lake_or_with_damaged_files_is_left_aside(tmp_path: Path) -> None:
    history = make_history(tmp_path)
    push_image(history.catalog, "a/one", "v1", "1")
    refresh_projection(history.lake, enough=0)
    folder = projection_folder(history.catalog.settings.catalog_file)
    found = load_projection(folder)
    assert found is not None
    assert _uses_projection(history)
    state_file(folder).write_text(found.dump().replace(found.made_at, "2001-01-01 00:00:00+00"))
    assert not _uses_projection(history)
    state_file(folder).write_text(found.dump())
    assert _uses_projection(history)
    next(iter(folder.glob("*.parquet"))).write_bytes(b"PAR1")
    assert not _uses_projection(history)
    with history.asking() as ask:
        assert ask("SELECT count(*) FROM manifests") == [(1,)]
    history.catalog.close()


def _uses_projection(history: History) -> bool:
    with history.asking() as ask:
        return any("READ_PARQUET" in str(row) for row in ask("EXPLAIN SELECT count(digest) FROM manifests"))


GONE = "deleted_from_table:7"
ADDED = "inserted_into_table:7,inlined_insert:7"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], set()),
        ([(5, ADDED, '{"versions": {"a": [1, 2]}}')], {"a"}),
        (
            [
                (5, ADDED, '{"versions": {"a": [1, 2]}}'),
                (6, "deleted_from_table:7," + ADDED, '{"squashed": {"b": [1]}}'),
            ],
            {"a", "b"},
        ),
        ([(5, "inlined_delete:7", '{"ended": {"c": 3}}')], {"c"}),
        ([(5, "inlined_insert:8", ""), (6, "merge_adjacent:7", ""), (7, "flushed_inlined:7", "")], set()),
        ([(6, ADDED, '{"versions": {"a": [1, 2]}}')], None),
        ([(5, ADDED, "")], None),
        ([(5, ADDED, '{"acts": 1}')], None),
        ([(5, "truncated:7", '{"versions": {"a": [1, 2]}}')], None),
    ],
)
def test_which_repositories_have_changed(rows: list[tuple[int, str, str]], expected: set[str] | None) -> None:
    assert changed_repositories(rows, 4, "7") == expected


@pytest.mark.parametrize("moment", ["before the record is read", "after it"])
def test_a_commit_beside_a_question_is_seen_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    history = make_history(tmp_path)
    stage(history)
    name, (first, second) = NAMES[0], history.descriptors[:2]
    commit_to(history.catalog, name, AddManifest(first), SetTag("v1", first.digest), operation_id="first")
    assert refresh_projection(history.lake, enough=0)
    read = projection.read_changed

    def beside(*arguments: object) -> frozenset[str] | None:
        if moment != "after it":
            commit_to(history.catalog, name, AddManifest(second), SetTag("v2", second.digest), operation_id="second")
        changed = read(*arguments)  # type: ignore[arg-type]
        if moment == "after it":
            commit_to(history.catalog, name, AddManifest(second), SetTag("v2", second.digest), operation_id="second")
        return changed

    counts = "SELECT kind, count(*) FROM members GROUP BY kind ORDER BY kind"
    with history.asking() as ask:
        before = ask(counts)
    monkeypatch.setattr(projection, "read_changed", beside)
    with history.asking() as ask:
        given = ask(counts)
    monkeypatch.undo()
    with history.asking() as ask:
        after = ask(counts)
    assert before != after
    assert given in (before, after)
    history.catalog.close()


def test_a_projection_that_cannot_be_written_does_not_end_maintenance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = make_history(tmp_path)
    push_image(history.catalog, "team/app", "v1", "one")
    refresh_projection(history.lake, enough=0)
    (projection_folder(history.lake.file) / "stray.parquet").touch()
    push_image(history.catalog, "team/app", "v2", "two")
    assert refresh_projection(history.lake)

    def refuse(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("catalog.maintenance.compaction.refresh_projection", refuse)
    names = [step.name for step in history.catalog.maintenance.steps(keep_snapshots=1e9, grace=-1)]
    assert names.index("project-rows") < len(names) - 1
    history.catalog.close()
