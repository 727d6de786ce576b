"""A random history of operations against a simple model: every version equals the model's, forever."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalog.catalog import Catalog
from catalog.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from catalog.settings import read_settings
from oci.digest import Digest
from tests.unit.catalog.conftest import commit_to, stage_image

IMAGES = 6
TAGS = ("a", "b", "c")
Model = tuple[dict[str, Digest], frozenset[Digest]]


def layers_of(number: int) -> tuple[str, ...]:
    return (f"own {number}", f"pair {number // 2}", "base")


class Versions(RuleBasedStateMachine):
    """The model of a version is its tags and manifests; blobs are those its manifests need."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="entrepot-versions-"))
        self.catalog = Catalog(read_settings(home=self.folder))
        self.reader = Catalog(read_settings(home=self.folder))
        self.model: list[Model] = [({}, frozenset())]

    @initialize()
    def stage(self) -> None:
        self.images = [stage_image(self.catalog, "repo", str(n), layers_of(n)) for n in range(IMAGES)]
        self.needs = {
            image.digest: {child.digest for _, child in self.catalog.read_manifest(image.digest, "").children()}
            for image in self.images
        }

    @rule(
        steps=st.lists(
            st.one_of(
                st.tuples(st.just("set"), st.sampled_from(TAGS), st.integers(0, IMAGES - 1)),
                st.tuples(st.just("untag"), st.sampled_from(TAGS), st.just(0)),
                st.tuples(st.just("drop"), st.just(""), st.integers(0, IMAGES - 1)),
            ),
            min_size=1,
            max_size=4,
        )
    )
    def commit(self, steps: list[tuple[str, str, int]]) -> None:
        changes: list[Change] = []
        for kind, tag, number in steps:
            image = self.images[number]
            if kind == "set":
                changes += [AddManifest(image), SetTag(tag, image.digest)]
            else:
                changes.append(RemoveTag(tag) if kind == "untag" else RemoveManifest(image.digest))
        before, after = self.model[-1], self.expected(changes)
        result = commit_to(self.catalog, "repo", *changes)
        assert result.changed == (before != after)
        if before != after:
            self.model.append(after)
        assert result.version == len(self.model) - 1

    def expected(self, changes: list[Change]) -> Model:
        """All additions count before removals, removals yield to additions, tag changes are taken in order."""
        tags, manifests = dict(self.model[-1][0]), set(self.model[-1][1])
        added = {change.descriptor.digest for change in changes if isinstance(change, AddManifest)}
        manifests = (manifests - {change.digest for change in changes if isinstance(change, RemoveManifest)}) | added
        tags = {tag: digest for tag, digest in tags.items() if digest in manifests}
        for change in changes:
            if isinstance(change, RemoveTag):
                tags.pop(change.tag, None)
            elif isinstance(change, SetTag):
                tags[change.tag] = change.digest
        return tags, frozenset(manifests)

    @invariant()
    def every_version_is_as_it_was(self) -> None:
        if len(self.model) == 1:
            return  # no repository yet
        for number, (tags, manifests) in enumerate(self.model):
            for catalog in (self.catalog, self.reader):
                snapshot = catalog.snapshot("repo", number)
                assert dict(snapshot.tags) == tags
                assert snapshot.manifests.keys() == manifests
                assert snapshot.blobs.keys() == {blob for digest in manifests for blob in self.needs[digest]}

    def teardown(self) -> None:
        for catalog in (self.catalog, self.reader):
            catalog._snapshots._kept.clear()  # now each version is read anew, not moved forward
        self.every_version_is_as_it_was()
        for catalog in (self.catalog, self.reader):
            catalog.close()
        shutil.rmtree(self.folder)


Versions.TestCase.settings = settings(
    max_examples=12, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
TestVersions = Versions.TestCase
