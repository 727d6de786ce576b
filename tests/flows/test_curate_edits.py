"""Copying, adding and removing content by curation: what comes along, what stays, what is refused. The shapes are Pulp's:
lists of images that share images, images that share layers. Without Prefect."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from catalog.catalog import Catalog
from catalog.versions.changes import AddManifest, SetTag
from catalog.versions.snapshot import Snapshot
from flows.curate.flow import prepare_curation
from flows.curate.request import CurateRequest
from flows.runs.operation import OperationResult, perform
from oci.descriptor import Descriptor
from oci.errors import Conflict, EntrepotError, InvalidInput, ManifestUnknown
from oci.platform import Platform
from tests.unit.catalog.conftest import commit_to, stage_image, stage_index

SOURCE, TARGET = "source/app", "target/app"


@dataclass
class Curating:
    """Runs curations; each is an operation of its own."""

    catalog: Catalog
    runs: int = 0

    def __call__(self, repository: str = TARGET, **request: object) -> OperationResult:
        self.runs += 1
        now = datetime.now(UTC)
        asked = CurateRequest.model_validate({"repository": repository, **request})
        operation = prepare_curation(self.catalog, asked, now=now)
        return perform(
            self.catalog, operation, actor="tester", run_id=f"run-{self.runs}", now=now, dry_run=asked.dry_run,
            expected=asked.expect,
        )  # fmt: skip

    def latest(self, repository: str = TARGET) -> Snapshot:
        return self.catalog.snapshots.find(repository) or Snapshot(repository, 0)

    def counts(self, repository: str = TARGET) -> tuple[int, int, int]:
        """Tags, manifests, blobs."""
        found = self.latest(repository)
        return len(found.tags), len(found.manifests), len(found.blobs)


@pytest.fixture
def images(catalog: Catalog) -> dict[str, Descriptor]:
    """In source/app: images a to d of a shared layer and one of their own; lists i (a, b) and ii (b, c); four tags."""
    made = {
        letter: replace(
            stage_image(catalog, SOURCE, letter, ("shared", f"own {letter}")),
            platform=Platform("linux", f"arch{letter}"),
        )
        for letter in "abcd"
    }
    lists = {
        "i": stage_index(catalog, SOURCE, [made["a"], made["b"]]),
        "ii": stage_index(catalog, SOURCE, [made["b"], made["c"]]),
    }
    made |= lists
    commit_to(
        catalog, SOURCE, *map(AddManifest, made.values()),
        *(SetTag(f"ml_{name}", found.digest) for name, found in lists.items()),
        *(SetTag(f"manifest_{letter}", made[letter].digest) for letter in "ad"),
    )  # fmt: skip
    return made


@pytest.fixture
def curating(catalog: Catalog, images: dict[str, Descriptor]) -> Curating:
    return Curating(catalog)


# --- copy ---


def test_a_copied_list_brings_its_images_and_their_layers(curating: Curating) -> None:
    curating(sources=[f"{SOURCE}:ml_i"])
    assert curating.counts() == (1, 3, 5), "list, two images; two configs, the shared layer, two of their own"


def test_what_two_copied_lists_share_comes_once(curating: Curating) -> None:
    curating(sources=[f"{SOURCE}:ml_i", f"{SOURCE}:ml_ii"])
    assert curating.counts() == (2, 5, 7)


def test_a_manifest_is_copied_without_its_tags(curating: Curating, images: dict[str, Descriptor]) -> None:
    curating(sources=[f"{SOURCE}@{images['a'].digest}"])
    assert curating.counts() == (0, 1, 3)


def test_a_copy_on_top_leaves_what_is_there_and_moves_a_tag_of_the_same_name(
    curating: Curating, images: dict[str, Descriptor]
) -> None:
    curating(sources=[f"{SOURCE}:manifest_a@{images['d'].digest}"])
    result = curating(sources=[f"{SOURCE}:manifest_a", f"{SOURCE}:ml_ii"], mode="additive")
    assert {item.tag: item.action for item in result.items} == {"manifest_a": "moved", "ml_ii": "added"}
    latest = curating.latest()
    assert latest.tags["manifest_a"] == images["a"].digest
    assert images["d"].digest in latest.manifests, "the manifest that lost its tag stays"


def test_each_source_of_a_list_has_filters_of_its_own(curating: Curating, images: dict[str, Descriptor]) -> None:
    sources = [
        {"repository": SOURCE, "include": ["ml_*"], "exclude": ["ml_i"]},
        {"repository": SOURCE, "tags": ["manifest_d"], "digests": [images["a"].digest]},
    ]
    curating(sources=sources)
    assert set(curating.latest().tags) == {"ml_ii", "manifest_d"}
    assert images["a"].digest in curating.latest().manifests


# --- remove ---


def test_a_removed_list_leaves_the_image_that_another_list_has(
    curating: Curating, images: dict[str, Descriptor]
) -> None:
    curating(sources=[SOURCE])
    before = curating.counts()
    curating(remove=["ml_i"])
    assert before == (4, 6, 9)
    assert curating.counts() == (3, 5, 9), "image a is tagged, b is in the other list"
    curating(remove=["ml_ii"])
    assert curating.counts() == (2, 2, 5)
    assert set(curating.latest().manifests) == {images["a"].digest, images["d"].digest}


def test_a_tagged_manifest_is_not_removed_alone(curating: Curating, images: dict[str, Descriptor]) -> None:
    curating(sources=[SOURCE])
    with pytest.raises(Conflict, match="it is tagged manifest_d; remove that too, or untag it"):
        curating(remove=[images["d"].digest])
    with pytest.raises(Conflict, match="it is part of sha256:"):
        curating(remove=[images["c"].digest])
    curating(remove=[images["d"].digest, "manifest_d"])
    assert images["d"].digest not in curating.latest().manifests


def test_everything_is_removed_only_when_that_is_asked_for(curating: Curating) -> None:
    curating(sources=[SOURCE])
    with pytest.raises(InvalidInput, match=re.escape("nothing would be left of target/app")):
        curating(remove=["*"])
    assert curating.latest().version == 1
    curating(remove=["*"], allow_empty=True)
    assert curating.counts() == (0, 0, 0)
    with pytest.raises(InvalidInput, match="nothing is chosen"):
        curating(sources=[SOURCE], include=["none*"])


# --- tag, untag ---


def test_tags_are_set_renamed_and_taken_away(curating: Curating, images: dict[str, Descriptor]) -> None:
    curating(sources=[SOURCE])
    curating(tag=["stable=ml_i", f"b={images['b'].digest}"], untag=["manifest_*"])
    latest = curating.latest()
    assert set(latest.tags) == {"ml_i", "ml_ii", "stable", "b"}
    assert latest.tags["b"] == images["b"].digest
    assert len(latest.manifests) == 6, "what lost its tags stays"
    with pytest.raises(ManifestUnknown, match="v9 is not among the content"):
        curating(tag=["stable=v9"])


def test_choice_and_edits_are_one_version(curating: Curating) -> None:
    result = curating(sources=[f"{SOURCE}:ml_i"], tag=["v1=ml_i"], untag=["ml_i"])
    assert (result.version, set(curating.latest().tags)) == (1, {"v1"})
    row = curating.catalog.history.version(TARGET, 1)
    assert row.message == "chosen from source/app:ml_i; tag v1=ml_i; untag ml_i"


# --- plans ---


def test_exactly_the_plan_that_was_looked_at_is_done_or_nothing(curating: Curating) -> None:
    planned = curating(sources=[f"{SOURCE}:ml_i"], dry_run=True)
    assert planned.plan == curating(sources=[f"{SOURCE}:ml_i"], dry_run=True).plan
    assert curating.latest().version == 0
    curating(sources=[f"{SOURCE}:manifest_d"], mode="additive")  # somebody else is quicker
    with pytest.raises(Conflict, match="nothing was done: look at it again with --dry-run"):
        curating(sources=[f"{SOURCE}:ml_i"], expect=planned.plan)
    assert curating.latest().version == 1
    again = curating(sources=[f"{SOURCE}:ml_i"], dry_run=True)
    done = curating(sources=[f"{SOURCE}:ml_i"], expect=again.plan)
    assert (done.changed, done.version, done.plan) == (True, 2, again.plan)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({}, "expected sources, or an edit"),
        ({"remove": ["x"], "include": ["v*"]}, "filters need sources"),
        ({"sources": [{"repository": SOURCE, "platforms": ["linux/amd64"]}]}, "platforms hold for all sources"),
        ({"sources": [{"repository": "Source"}]}, "invalid repository name"),
        ({"tag": ["v1"]}, "expected NEW=TAG"),
        ({"remove": ["v1"], "expect": "plan"}, "invalid digest"),
    ],
)
def test_forms_that_make_no_sense(curating: Curating, request_: dict[str, object], said: str) -> None:
    with pytest.raises((ValueError, EntrepotError), match=said):
        curating(TARGET, **request_)
