"""A random history of operations against a simple model: every version equals the model's, forever.

Whatever is restored, pinned, deleted, retained, freed and compacted in between, by one process or another.
"""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalog.catalog import Catalog
from catalog.content.restore import plan_towards
from catalog.retention.rules import RetentionRule
from catalog.settings import read_settings
from catalog.versions.changes import AddManifest, Change, RemoveManifest, RemoveTag, SetTag
from catalog.versions.deletion import SquashReport
from catalog.versions.pins import Pin
from flows.retention.flow import retain
from oci.digest import Digest
from oci.errors import InUse, VersionUnknown
from tests.homes import new_home
from tests.unit.catalog.conftest import commit_to, stage_image

IMAGES = 6
TAGS = ("a", "b", "c")
NOW = datetime(2026, 11, 1, tzinfo=UTC)
Model = tuple[dict[str, Digest], frozenset[Digest]]


def layers_of(number: int) -> tuple[str, ...]:
    return (f"own {number}", f"pair {number // 2}", "base")


class Versions(RuleBasedStateMachine):
    """The model of a version is its tags and manifests; blobs are those its manifests need."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="entrepot-versions-"))
        home = new_home(self.folder / "entrepot")
        self.catalog = Catalog(read_settings(home=home))
        self.reader = Catalog(read_settings(home=home))
        self.model: dict[int, Model] = {0: ({}, frozenset())}
        self.latest = 0
        self.gone: set[int] = set()
        self.pinned: set[int] = set()

    @initialize()
    def stage(self) -> None:
        self.images = [stage_image(self.catalog, "repo", str(n), layers_of(n)) for n in range(IMAGES)]
        self.needs = {
            image.digest: {child.digest for _, child in self.catalog.manifests.read(image.digest, "").children()}
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
        self.stage()  # for what no version holds may have been freed
        changes: list[Change] = []
        for kind, tag, number in steps:
            image = self.images[number]
            if kind == "set":
                changes += [AddManifest(image), SetTag(tag, image.digest)]
            else:
                changes.append(RemoveTag(tag) if kind == "untag" else RemoveManifest(image.digest))
        self.make(changes, self.expected(changes))

    def make(self, changes: Sequence[Change], after: Model, donors: tuple[str, ...] = ()) -> None:
        before = self.model[self.latest]
        result = commit_to(self.catalog, "repo", *changes, donors=donors)
        assert result.changed == (before != after)
        if before != after:
            self.latest += 1
            self.model[self.latest] = after
        assert result.version == self.latest

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        if not self.latest:
            return
        number = data.draw(st.sampled_from(sorted(self.model)))
        wanted = self.catalog.snapshots.get("repo", number)
        changes = plan_towards(self.catalog.snapshots.get("repo"), wanted)
        self.make(
            changes, self.model[number], donors=("repo",)
        )  # versions of any age have their blobs, as a restore says

    @rule(data=st.data())
    def pin(self, data: st.DataObject) -> None:
        if not self.latest:
            return
        number = data.draw(st.sampled_from(sorted(self.model.keys() - {0})))
        if number in self.pinned:
            self.pinned.remove(number)
            self.reader.pins.remove("repo", number, actor="tester", now=NOW)
        else:
            self.pinned.add(number)
            self.reader.pins.add(Pin("repo", number, "", "tester", NOW))

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not self.latest:
            return
        numbers = data.draw(st.sets(st.integers(1, self.latest), min_size=1, max_size=3))

        def do(*, dry_run: bool) -> SquashReport:
            wanted = [range(number, number + 1) for number in numbers]
            return self.reader.deletion.delete_versions("repo", wanted, actor="tester", now=NOW, dry_run=dry_run)

        if numbers & (self.pinned | {self.latest}) or not numbers <= self.model.keys():
            with pytest.raises((InUse, VersionUnknown)):
                do(dry_run=False)
            return
        before, planned = self.loose(), do(dry_run=True)
        assert do(dry_run=False).deleted == sorted(numbers)
        self.forget(numbers)
        assert planned.free_blobs == len(self.loose() - before)

    @rule(keep=st.sets(st.sampled_from(TAGS)), versions=st.none() | st.integers(1, 4))
    def retain(self, keep: set[str], versions: int | None) -> None:
        if not self.latest:
            return
        tags, manifests = self.model[self.latest]
        left = {tag: digest for tag, digest in tags.items() if tag in keep} if keep else tags
        after = left, manifests - {digest for tag, digest in tags.items() if digest not in left.values()}
        wanted = RetentionRule(name="rule", pattern="**", keep=tuple(sorted(keep)), versions=versions)
        done = retain(self.reader, "repo", [wanted], run_id=uuid4().hex, now=NOW, dry_run=False)
        if after != (tags, manifests):
            self.latest += 1
            self.model[self.latest] = after
            assert done.version == self.latest
        if versions is not None:
            there = sorted(self.model.keys() - {0}, reverse=True)
            self.forget(set(there[versions:]) - self.pinned)

    @rule()
    def collect(self) -> None:
        loose = self.loose()
        assert {blob.digest for blob in self.reader.maintenance.sweep(grace=-1).freed} == loose
        assert not self.loose()

    @rule()
    def compact(self) -> None:
        assert {step.name for step in self.catalog.maintenance.steps(keep_snapshots=-1, grace=-1)} >= {"remove-files"}

    def forget(self, numbers: set[int]) -> None:
        for number in numbers:
            del self.model[number]
        self.gone |= numbers

    def loose(self) -> set[Digest]:
        """What garbage collection would free."""
        return {blob.digest for blob in self.catalog.maintenance.sweep(grace=-1, dry_run=True).freed}

    def expected(self, changes: list[Change]) -> Model:
        """All additions count before removals, removals yield to additions, tag changes are taken in order."""
        tags, manifests = dict(self.model[self.latest][0]), set(self.model[self.latest][1])
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
        if not self.latest:
            return  # no repository yet
        for catalog in (self.catalog, self.reader):
            for number in self.gone:
                with pytest.raises(VersionUnknown):
                    catalog.snapshots.get("repo", number)
            for number, (tags, manifests) in self.model.items():
                snapshot = catalog.snapshots.get("repo", number)
                assert dict(snapshot.tags) == tags
                assert snapshot.manifests.keys() == manifests
                assert snapshot.blobs.keys() == {blob for digest in manifests for blob in self.needs[digest]}
                assert all(catalog.content.size(digest) is not None for digest in (*manifests, *snapshot.blobs))

    def teardown(self) -> None:
        for catalog in (self.catalog, self.reader):
            catalog.snapshots._kept.clear()  # now each version is read anew, not moved forward
        self.every_version_is_as_it_was()
        for catalog in (self.catalog, self.reader):
            catalog.close()
        shutil.rmtree(self.folder)


Versions.TestCase.settings = settings(
    max_examples=10, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
TestVersions = Versions.TestCase
