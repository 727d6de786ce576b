"""The stage Resolved: where selected tags point upstream, and which of them fulfil the conditions on content.

What is held here is known; of the rest no more is asked than decides.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from catalog.filters.facts import Facts
from catalog.filters.filter import Filter
from catalog.filters.tags import Selection
from flows.runs.failures import each, named
from flows.sync.batches import Batch, BatchStep, Outcome, root_batches, tag_batches
from flows.sync.context import SyncContext
from flows.sync.facts import needs_signature
from flows.sync.request import SyncRequest
from flows.sync.selection import NothingSelected, Selected
from oci.descriptor import Descriptor
from oci.digest import Digest
from oci.errors import EntrepotError, RemoteError, RemoteNotFound, RemoteRefused, RemoteUnauthorized
from oci.reference import is_tag

_HEADS_PER_COPY = 10
"""How many times more tags one task asks for than one copies: a HEAD each is quick, and quickly asked again."""

MAX_AHEAD = 1000
"""How many older tags are looked at at once, at most, where the newest that fulfil conditions are selected."""


class TagsFailed(RemoteError):
    """Tags could not be copied, and the sync was asked to change nothing then; `failed` gives each one's reason."""

    def __init__(self, repository: str, failed: Mapping[str, str], *, registry: str) -> None:
        count = "1 tag" if len(failed) == 1 else f"{len(failed)} tags"
        super().__init__(
            "\n".join([f"{count} could not be copied, so {repository} was left as it is:", *named(failed)]),
            registry=registry,
            detail={"failed": dict(failed)},
        )
        self.failed = dict(failed)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Where tags point upstream, as far as it was asked.

    `selection` is what is selected by now: by content too, and with tags of companions. `failed` gives the reason for each tag
    that could not be resolved or copied, `refused` those of the errors that refuse the login. `gone` are tags that upstream
    lacks. `held_facts` are facts of manifests here of which only upstream can tell whether they are signed by now. `left_out`
    are children that upstream itself lacks. `untrusted` gives the reason for each tag that a trust policy refuses.
    """

    selected: Selected
    selection: Selection
    may_lack: frozenset[str]
    optional: frozenset[str]
    pointing: Mapping[str, Descriptor] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, RemoteUnauthorized] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    facts: Mapping[Digest, Facts] = field(default_factory=dict)
    held_facts: Mapping[Digest, Facts] = field(default_factory=dict)
    left_out: frozenset[Digest] = frozenset()
    untrusted: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, selected: Selected) -> "Resolved":
        """Return the state in which nothing has been asked yet."""
        return cls(selected, selected.selection, selected.may_lack, selected.optional)

    def with_outcomes(self, outcomes: Iterable[Outcome]) -> "Resolved":
        """Add what batches have found.

        A tag that upstream lacks is dropped where it was only supposed to be there; so is an optional one that is refused.
        """
        pointing, failed, refused = dict(self.pointing), dict(self.failed), dict(self.refused)
        facts, gone, left_out = dict(self.facts), set[str](), set(self.left_out)
        for outcome in outcomes:
            pointing |= outcome.pointing
            facts |= outcome.facts
            left_out |= outcome.left_out
            for tag, error in outcome.failed.items():
                if isinstance(error, RemoteUnauthorized):
                    refused[tag] = error
                if is_refused_companion(self, tag, error):
                    pointing.pop(tag, None)
                    gone.add(tag)
                elif tag in self.may_lack and tag not in pointing and isinstance(error, RemoteNotFound):
                    gone.add(tag)
                else:
                    failed[tag] = error.message
        return replace(
            self,
            selection=self.selection.with_dropped(dict.fromkeys(gone, "not upstream")) if gone else self.selection,
            pointing=pointing,
            failed=failed,
            refused=refused,
            gone=self.gone | gone,
            facts=facts,
            left_out=frozenset(left_out),
        )

    def with_companions(self, rules: Mapping[str, str], *, optional: Iterable[str]) -> "Resolved":
        """Select tags that may hold companions; upstream may lack them."""
        return replace(
            self,
            selection=self.selection.with_kept(rules),
            may_lack=self.may_lack | rules.keys(),
            optional=self.optional.union(optional),
        )

    def without(self, tags: Iterable[str]) -> "Resolved":
        """Forget that tags were selected, so that they are neither selected nor dropped."""
        return replace(self, selection=self.selection.without(frozenset(tags)))

    def check_failures(self, request: SyncRequest) -> None:
        """Raise TagsFailed where a failure is not to be skipped, or nothing else is left; the refusal where all are refusals."""
        left = [tag for tag in self.selection.kept if tag not in self.failed]
        if self.failed and not left and self.failed.keys() <= self.refused.keys():
            raise self.refused[next(iter(self.failed))]
        if self.failed and (request.on_error == "fail" or not left):
            raise TagsFailed(request.target, self.failed, registry=request.reference.registry)


def is_refused_companion(resolved: Resolved, tag: str, error: EntrepotError) -> bool:
    """Return whether upstream refuses a tag that only may hold companions."""
    return tag in resolved.optional and isinstance(error, RemoteUnauthorized | RemoteRefused)


async def resolve_batch(context: SyncContext, batch: Batch) -> Outcome:
    """Ask upstream where each tag of the batch points, by HEAD; a tag it lacks is a failure of that tag."""
    pointing: dict[str, Descriptor] = {}
    failed: dict[str, EntrepotError] = {}
    slots = asyncio.Semaphore(context.head_concurrency)

    async def resolve_tag(tag: str) -> None:
        async with slots:
            pointing[tag] = await context.reader.resolve(tag)
        context.progress.done += 1

    await each(batch.tags, resolve_tag, failed)
    return Outcome(pointing={tag: pointing[tag] for tag in batch.tags if tag in pointing}, failed=failed)


async def resolve_tags(
    context: SyncContext, resolved: Resolved, tags: Sequence[str], resolve_batch: BatchStep
) -> Resolved:
    """Find out where tags point, in batches; raise as `check_failures` does."""
    context.progress.begin("resolving", len(tags))
    outcomes = [
        await resolve_batch(context, batch) for batch in tag_batches(tags, _HEADS_PER_COPY * context.request.batch_size)
    ]
    return add_outcomes(context, resolved, outcomes)


def add_outcomes(context: SyncContext, resolved: Resolved, outcomes: Sequence[Outcome]) -> Resolved:
    """Add what batches have found, and count what they have moved; raise as `check_failures` does."""
    for outcome in outcomes:
        context.log.charge(outcome.moved)
        for tag, error in outcome.failed.items():
            if is_refused_companion(resolved, tag, error):
                context.log.note(
                    f"{tag} may hold what belongs to an image, but upstream does not give it: {error.message}"
                )
    resolved = resolved.with_outcomes(outcomes)
    resolved.check_failures(context.request)
    return resolved


async def resolve_selected(
    context: SyncContext, selected: Selected, *, resolve_batch: BatchStep, read_facts: BatchStep
) -> Resolved:
    """Find out where selected tags point; drop those whose content does not fulfil the conditions of the filter."""
    resolved = Resolved.of(selected)
    if not context.filter.asks_content:
        return await resolve_tags(context, resolved, selected.selection.kept, resolve_batch)
    keys = selected.selection.kept
    by_name = [key for key in keys if context.request.pinned or not is_tag(key)]
    others = [key for key in keys if key not in set(by_name)]
    for part, content_filter in ((by_name, context.filter.of_named), (others, context.filter)):
        if content_filter.asks_content:
            resolved = await _judge(
                context, resolved, content_filter, part, resolve_batch=resolve_batch, read_facts=read_facts
            )
            resolved = settle(context, resolved, content_filter, frozenset(part))
        else:
            resolved = await resolve_tags(context, resolved, part, resolve_batch)
    return resolved


async def _judge(
    context: SyncContext,
    resolved: Resolved,
    content_filter: Filter,
    keys: Sequence[str],
    *,
    resolve_batch: BatchStep,
    read_facts: BatchStep,
) -> Resolved:
    """Look at the content that decides; where older tags have to make up for newer ones, at twice as many each time."""
    verdicts: dict[str, bool] = {}
    ahead = 0
    while undecided := content_filter.to_judge(keys, verdicts, ahead=ahead):
        resolved = await resolve_tags(context, resolved, undecided, resolve_batch)
        resolved = await _add_held_facts(context, resolved, undecided)
        unknown = [
            key for key in undecided if key in resolved.pointing and resolved.pointing[key].digest not in resolved.facts
        ]
        resolved = await _inspect(context, resolved, unknown, read_facts)
        for key in undecided:
            is_readable = key in resolved.pointing and key not in resolved.failed
            facts = resolved.facts.get(resolved.pointing[key].digest) if is_readable else None
            verdicts[key] = facts is not None and content_filter.conditions.judge(facts, context.now)[0]
        ahead = min(MAX_AHEAD, max(1, ahead * 2))
    return resolved


async def _inspect(context: SyncContext, resolved: Resolved, keys: Sequence[str], read_facts: BatchStep) -> Resolved:
    """Read the facts of what tags point to, in batches."""
    if keys:
        context.progress.begin("inspecting", len(keys))
    outcomes: list[Outcome] = []
    left_out = resolved.left_out
    for roots in root_batches(keys, resolved.pointing, context.request.batch_size):
        batch = Batch(roots=roots, held_facts=resolved.held_facts, listed=resolved.selected.listed, left_out=left_out)
        outcomes.append(await read_facts(context, batch))
        left_out |= outcomes[-1].left_out
    return add_outcomes(context, resolved, outcomes)


async def _add_held_facts(context: SyncContext, resolved: Resolved, keys: Sequence[str]) -> Resolved:
    """Add what the catalogue knows of that to which tags point; one query."""
    base = await asyncio.to_thread(context.catalog.snapshots.find, context.target)
    pointing = resolved.pointing
    digests = {pointing[key].digest for key in keys if key in pointing} - resolved.facts.keys()
    if base is None or digests.isdisjoint(base.manifests):
        return resolved
    known = await asyncio.to_thread(context.catalog.history.facts, base, digests)
    unsigned = {digest: facts for digest, facts in known.items() if needs_signature(context, facts)}
    decided = {digest: facts for digest, facts in known.items() if digest not in unsigned}
    return replace(resolved, facts={**resolved.facts, **decided}, held_facts={**resolved.held_facts, **unsigned})


def settle(context: SyncContext, resolved: Resolved, content_filter: Filter, keys: frozenset[str]) -> Resolved:
    """Drop the keys whose content does not fulfil the conditions. What failed stays selected, so that it is reported."""
    selection = resolved.selection
    judged = {key: rule for key, rule in selection.rules.items() if key in keys and key not in resolved.failed}
    facts = {key: resolved.facts[resolved.pointing[key].digest] for key in judged if key in resolved.pointing}
    settled = content_filter.settle(Selection(judged), facts, context.now)
    rules = {key: settled.rules.get(key, rule) for key, rule in selection.rules.items() if key not in settled.dropped}
    return replace(
        resolved,
        selection=Selection(rules, {**selection.dropped, **settled.dropped}),
        pointing={key: found for key, found in resolved.pointing.items() if key not in settled.dropped},
    )


def check_selection(context: SyncContext, resolved: Resolved) -> None:
    """Raise NothingSelected where named tags are all missing upstream, or filters select none of its tags.

    That conditions fit nothing just now is no failure, unless a mirror would become empty.
    """
    selection, reference = resolved.selection, context.request.reference
    missing = ", ".join([tag for tag in selection.dropped if tag in resolved.gone][:20])
    if missing and not selection.kept:
        raise NothingSelected(f"{reference} has nothing of what include names: {missing}")
    if missing:
        context.log.note(f"upstream does not have {missing}, which include names")
    if selection.rules or not selection.dropped:
        return
    shown = "".join(f"\n  {tag}: {reason}" for tag, reason in list(selection.dropped.items())[:5])
    message = f"none of the {len(selection.dropped)} tags of {reference} is selected by the filters{shown}"
    if resolved.selected.mode == "mirror" or not resolved.selected.selection.kept:
        raise NothingSelected(message)
    context.log.note(message)
