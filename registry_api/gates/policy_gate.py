"""The gate by trust policies: each manifest is decided when it is first asked for, then it is a look-up.

1. Which gates are about a path is in memory, until a rule or a policy changes. 2. A decision is kept for its version: another
version has other signatures. 3. What is not known is decided on a thread, once for all that wait for it, in bounded time; what
takes longer counts as undecidable, and goes on, so that a later request may find it decided. 4. A gate that only counts makes
nobody wait.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from catalog.audit import Events
from catalog.catalog import Catalog
from catalog.policy.evidence import EvidenceSource
from catalog.policy.gate_rules import GatedName, GatePoint, gates_of
from catalog.policy.store import Basis, PolicyRecords
from catalog.policy_gates.decisions import PASSED, UNDECIDED_FOR, GateAnswer, GateFinding, PolicyGates
from catalog.policy_gates.pushed_source import PushedSource
from catalog.versions.snapshot import Snapshot
from oci.digest import Digest
from oci.errors import PullRefused
from oci.manifest import Manifest
from registry_api.bounded_cache import BoundedCache
from registry_api.gates.policy_tally import PolicyTally
from registry_api.gates.pull_view import warning_header
from registry_api.http.messages import Headers
from registry_api.http.threads import Threads

_ANSWERS, _PATHS, _VERSIONS = 100_000, 20_000, 64
"""Decisions, paths, and versions with the parents of their blobs, that are in memory."""
_MOST_WAITING = 256
"""Decisions that are under way or wait for a thread, of pulls and pushes together."""
_TOO_MANY = "too many decisions are waiting; try again"
PATIENCE = 10.0
"""Seconds that a request waits for a decision."""

_EMPTY = Digest.of(b"{}")
"""The config of artifacts that have none, statements as well as others."""

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """An answer, and what it is by."""

    basis: Basis
    answer: GateAnswer


@dataclass(frozen=True, slots=True)
class GatedContent:
    """What is asked about: a version as a path serves it. `serial` tells views of one version apart."""

    path: str
    rights_path: str
    snapshot: Snapshot
    serial: int = 0


class PolicyGate:
    """Answers for one serving process; used on its event loop."""

    def __init__(self, catalog: Catalog, threads: Threads, events: Events, now: Callable[[], datetime]) -> None:
        self._catalog, self._threads, self._now = catalog, threads, now
        self._policies = catalog.policies
        self._gates = PolicyGates(catalog.policies, catalog.history.children)
        self.tally = PolicyTally(events, now)
        self._answers: BoundedCache[_Key, _Kept] = BoundedCache(_ANSWERS)
        self._paths: BoundedCache[tuple[str, str], tuple[PolicyRecords, tuple[GatedName, ...]]] = BoundedCache(_PATHS)
        self._parents: BoundedCache[_Key, dict[Digest, Sequence[Digest]]] = BoundedCache(_VERSIONS)
        self._running: dict[_Key, asyncio.Task[GateAnswer]] = {}
        self._pushed: set[asyncio.Future[GateAnswer]] = set()
        self._counting: set[asyncio.Task[None]] = set()

    @property
    def in_force(self) -> Basis | None:
        """Return what decisions are by now, None without any gate; no I/O that waits. Raises CatalogUnusable."""
        basis = self._policies.basis
        return basis if basis.records.gates else None

    @property
    def active(self) -> bool:
        """Return whether there is any gate; no I/O that waits. Raises CatalogUnusable where that cannot be known."""
        return bool(self._policies.records.gates)

    def about(self, point: GatePoint, path: str, repository: str) -> tuple[GatedName, ...]:
        """Return the gates about what a path serves of a repository; no I/O that waits."""
        records = self._policies.records
        known = self._paths.get((path, repository))
        if known is None or known[0] is not records:
            known = records, gates_of(records.gates, path, repository)
            self._paths.put((path, repository), known)
        if point == "pull":
            return tuple(one for one in known[1] if one.rule.is_at_pull)
        return tuple(one for one in known[1] if point in one.rule.at)

    def is_settled(self, content: GatedContent, digest: Digest, tag: str = "") -> bool:
        """Return whether memory has a decision that lets a manifest pass; no I/O."""
        kept = self._kept(self._key(content, digest, tag))
        return kept is not None and not kept.findings

    async def check_manifest(
        self,
        content: GatedContent,
        digest: Digest,
        tag: str = "",
        account: str = "",
        *,
        basis: Basis | None = None,
        signs: Callable[[], bool] | None = None,
    ) -> Headers:
        """Return the warnings of a response with a manifest; raise PullRefused. `tag` is empty for a pull by digest.

        `basis` is what is in force, where that is known. `signs` says whether the caller may sign it: then what refuses others
        is a warning. Blobs stay refused.
        """
        key = self._key(content, digest, tag)
        settled = self._answers.get(key)
        if settled is not None and settled.answer is PASSED and settled.basis is (basis or self._policies.basis):
            return ()
        gates = self.about("pull", content.rights_path, content.snapshot.repository)
        if not gates:
            return ()
        answer = self._kept(key)
        if answer is PASSED:
            return ()
        if answer is None and all(one.rule.mode == "dry-run" for one in gates):
            self._count_later(gates, content, digest, tag, account)
            return ()
        if answer is None:
            answer = await self._answer(gates, content, digest, tag)
        return self._apply(answer, content.path, digest, tag, account, signs)

    async def refuses(self, content: GatedContent, digest: Digest, tag: str = "", *, patience: float) -> bool:
        """Return whether pulls of a manifest are refused now, without telling of a pull: nobody has wanted to.

        `patience` is in seconds; what is not decided within them is refused.
        """
        gates = self.about("pull", content.rights_path, content.snapshot.repository)
        if all(one.rule.mode != "refuse" for one in gates):
            return False
        answer = self._kept(self._key(content, digest, tag)) or await self._answer(
            gates, content, digest, tag, patience
        )
        return answer.of("refuse") is not None

    async def check_blob(self, content: GatedContent, blob: Digest, account: str = "", *, is_pull: bool = True) -> None:
        """Raise PullRefused for a blob that only manifests name which are refused now, or that have left the version.

        What no manifest names yet, as in the middle of a push, passes.
        """
        gates = tuple(
            one
            for one in self.about("pull", content.rights_path, content.snapshot.repository)
            if one.rule.mode == "refuse"
        )
        if not gates:
            return
        parents = await self._parents_of(content, blob)
        if parents is None or blob == _EMPTY:
            return
        if not parents:
            raise PullRefused(
                f"{blob} is named by no manifest that {content.path} serves, and a policy gate is about that path"
            )
        known = [self._kept(self._key(content, parent, "")) for parent in parents]
        if any(one is not None and not one.findings and not one.is_statement for one in known):
            return
        refusal: tuple[Digest, GateFinding] | None = None
        until = asyncio.get_running_loop().time() + PATIENCE
        for parent, kept in zip(parents, known, strict=True):
            left = until - asyncio.get_running_loop().time()
            asked = self.about("pull", content.rights_path, content.snapshot.repository)
            answer = kept or await self._answer(asked, content, parent, "", left)
            finding = answer.of("refuse")
            if finding is None and not answer.is_statement:
                return
            if finding is not None:
                refusal = refusal or (parent, finding)
        if refusal is not None:
            if is_pull:
                self.tally.note("pull", content.path, refusal[0], refusal[1], account)
            raise refused_by_policy(*refusal)

    async def check_push(
        self, content: GatedContent, manifest: Manifest, tags: Sequence[str], account: str
    ) -> Sequence[str]:
        """Return warnings of a push of a manifest; raise PullRefused for one that is not accepted.

        1. What no signature could mend is refused. 2. With a quarantine, all else is accepted: pulls wait for signatures.
        3. Without one, no tag is set to what does not satisfy the policy; a push by digest alone is accepted, to be signed.
        """
        gates = self.about("push", content.rights_path, content.snapshot.repository)
        if not gates:
            return ()
        source = PushedSource(self._policies.source(content.snapshot), manifest)
        answer = await self._bounded(gates, source, content, manifest.digest, tags)
        warnings = []
        for finding in answer.findings:
            self.tally.note("push", content.path, manifest.digest, finding, account)
            if finding.mode == "refuse" and (finding.is_final or (tags and not finding.rule.quarantine)):
                raise refused_by_policy(manifest.digest, finding, tag=tags[0] if tags else "")
            if finding.mode == "refuse" and finding.rule.quarantine:
                warnings.append(f"{manifest.digest} is in quarantine: it {finding.text}")
            elif finding.mode == "warn":
                warnings.append(f"{manifest.digest} {finding.text}")
        return warnings

    async def _bounded(
        self,
        gates: tuple[GatedName, ...],
        source: EvidenceSource,
        content: GatedContent,
        digest: Digest,
        tags: Sequence[str],
    ) -> GateAnswer:
        if self._is_full:
            return self._undecided(gates, _TOO_MANY)
        judged: asyncio.Future[GateAnswer] = asyncio.ensure_future(
            self._threads.decide(
                self._gates.judge_tags, gates, source, content.snapshot, digest, self._now(), tags=tags
            )
        )
        self._pushed.add(judged)
        judged.add_done_callback(self._end_push)
        done, _ = await asyncio.wait([judged], timeout=PATIENCE)
        if done:
            return judged.result()
        return self._undecided(gates, f"it could not be decided within {PATIENCE:g} seconds; try again")

    @property
    def _is_full(self) -> bool:
        """Return whether so many decisions are under way, of pulls and pushes together, that no other may wait."""
        return len(self._running) + len(self._pushed) >= _MOST_WAITING

    def _end_push(self, judged: "asyncio.Future[GateAnswer]") -> None:
        self._pushed.discard(judged)
        if not judged.cancelled():
            judged.exception()

    async def close(self) -> None:
        """End what is under way, and tell what was counted."""
        tasks: list[asyncio.Future[Any]] = [*self._running.values(), *self._counting, *self._pushed]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- answers -----------------------------------------------------------------------------------------------

    def _key(self, content: GatedContent, digest: Digest, tag: str) -> _Key:
        snapshot = content.snapshot
        drops = self._catalog.snapshots.drops
        return content.path, snapshot.repository, snapshot.version, content.serial, drops, digest, tag

    def _kept(self, key: _Key) -> GateAnswer | None:
        kept = self._answers.get(key)
        if kept is None or kept.basis is not self._policies.basis:
            return None
        until = kept.answer.until
        return kept.answer if until is None or self._now() < until else None

    async def _answer(
        self,
        gates: tuple[GatedName, ...],
        content: GatedContent,
        digest: Digest,
        tag: str,
        patience: float | None = None,
    ) -> GateAnswer:
        """Decide, or wait for a decision that is under way; `patience` in seconds at most."""
        key, basis = self._key(content, digest, tag), self._policies.basis
        waits = (key, id(basis))  # what is decided by earlier policies is none of these
        task = self._running.get(waits)
        if task is None:
            if self._is_full:
                return self._undecided(gates, _TOO_MANY)
            task = asyncio.create_task(self._decide(basis, key, gates, content, digest, tag))
            self._running[waits] = task
            task.add_done_callback(lambda ended: self._end(waits, ended))
        seconds = PATIENCE if patience is None else max(patience, 0.0)
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            return self._undecided(gates, f"it could not be decided within {PATIENCE:g} seconds; try again")
        return task.result()

    def _end(self, key: _Key, task: "asyncio.Task[GateAnswer]") -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if not task.cancelled():
            task.exception()

    async def _decide(
        self,
        basis: Basis,
        key: _Key,
        gates: tuple[GatedName, ...],
        content: GatedContent,
        digest: Digest,
        tag: str,
    ) -> GateAnswer:
        def judge() -> GateAnswer:
            source = self._policies.source(content.snapshot)
            return self._gates.judge(gates, source, content.snapshot, digest, self._now(), tag=tag)

        answer = await self._threads.decide(judge)
        if not answer.findings and answer.until is None and not answer.is_statement:
            answer = PASSED
        if basis is self._policies.basis:
            self._answers.put(key, _Kept(basis, answer))
        return answer

    def _undecided(self, gates: Iterable[GatedName], reason: str) -> GateAnswer:
        findings = tuple(GateFinding(one.rule, "undecidable", reason) for one in gates)
        return GateAnswer(findings, self._now() + UNDECIDED_FOR)

    def _apply(
        self,
        answer: GateAnswer,
        path: str,
        digest: Digest,
        tag: str,
        account: str,
        signs: Callable[[], bool] | None = None,
    ) -> Headers:
        refusal = answer.of("refuse")
        if refusal is not None and signs is not None and signs():
            return [warning_header(f"{digest} {refusal.text}")]
        for finding in answer.findings:
            self.tally.note("pull", path, digest, finding, account)
        if refusal is not None:
            raise refused_by_policy(digest, refusal, tag=tag)
        return [warning_header(f"{digest} {one.text}") for one in answer.findings if one.mode == "warn"]

    def _count_later(
        self, gates: tuple[GatedName, ...], content: GatedContent, digest: Digest, tag: str, account: str
    ) -> None:
        if len(self._counting) >= _MOST_WAITING:
            return

        async def count() -> None:
            answer = await self._answer(gates, content, digest, tag)
            self._apply(answer, content.path, digest, tag, account)

        task = asyncio.create_task(count())
        self._counting.add(task)
        task.add_done_callback(self._counting.discard)

    async def _parents_of(self, content: GatedContent, blob: Digest) -> Sequence[Digest] | None:
        """Return the manifests of a version that name a blob: none for a blob of other versions.

        None for a blob that no manifest names.
        """
        snapshot = content.snapshot
        key = (snapshot.repository, snapshot.version, content.serial, self._catalog.snapshots.drops)
        parents = self._parents.get(key)
        if parents is None:
            parents = await self._threads.run(self._gates.parents, snapshot)
            self._parents.put(key, parents)
        return parents.get(blob)


def refused_by_policy(digest: Digest, finding: GateFinding, *, tag: str = "") -> PullRefused:
    """Return the error that says why a policy refuses a manifest."""
    about = f"tag {tag}: {digest}" if tag else str(digest)
    detail = {"digest": str(digest), "policy": finding.policy, "outcome": finding.outcome, "reason": finding.reason}
    return PullRefused(f"{about} {finding.text}", detail=detail)
