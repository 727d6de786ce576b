"""Whether checked signatures satisfy one requirement of a rule: names, times, conditions, and how many signers. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from catalog.policy.document import AttestationRequirement, FixedName, SignatureRequirement, TimeBounds
from catalog.policy.signature_checks import CheckedSignature
from catalog.policy.signature_makers import count_signers
from catalog.units import format_time, parse_duration
from oci.digest import Digest

SKEW = timedelta(minutes=5)
"""How far the clock of a log or a signer may be ahead of ours."""

_MISSING = object()


@dataclass(frozen=True, slots=True)
class PulledName:
    """The name that content is pulled by: `registry` is the host that clients use, `tag` empty where it is pulled by digest."""

    registry: str
    repository: str
    digest: Digest
    tag: str = ""

    @property
    def base(self) -> str:
        """Return the name without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def whole(self, base: str) -> str:
        """Return a name with this one's tag or digest."""
        return f"{base}:{self.tag}" if self.tag else f"{base}@{self.digest}"


@dataclass(frozen=True, slots=True)
class RequirementResult:
    """Whether a requirement is satisfied; `reasons` say by signature why it does not count, `accepted` which do."""

    satisfied: bool
    detail: str
    accepted: frozenset[str]
    reasons: Mapping[str, tuple[int, str]]
    holds_until: datetime | None = None


def judge_signatures(
    requirement: SignatureRequirement, checked: Iterable[CheckedSignature], pulled: PulledName, now: datetime
) -> RequirementResult:
    """Return whether enough signers have signed."""
    return _judge(
        requirement,
        [one for one in checked if one.says == "signature"],
        now,
        lambda one: name_fault(requirement.name, one.name, pulled),
        "signed",
    )


def judge_attestations(
    requirement: AttestationRequirement, checked: Iterable[CheckedSignature], now: datetime
) -> RequirementResult:
    """Return whether enough signers have attested what is required."""
    return _judge(
        requirement,
        [one for one in checked if one.says == "attestation"],
        now,
        lambda one: _content_fault(requirement, one),
        f"attested {requirement.type}",
    )


def _judge(
    requirement: SignatureRequirement | AttestationRequirement,
    checked: Sequence[CheckedSignature],
    now: datetime,
    fault_of: Any,
    verb: str,
) -> RequirementResult:
    reasons: dict[str, tuple[int, str]] = {}
    good: list[CheckedSignature] = []
    for one in checked:
        if one.fault or not any(maker.signer in requirement.signers for maker in one.made_by):
            reasons[one.digest] = (one.step, one.fault or "no signer that the requirement names has made it")
        elif fault := fault_of(one):
            reasons[one.digest] = (4, fault)
        elif fault := time_fault(requirement, one, now):
            reasons[one.digest] = (5, fault)
        else:
            good.append(one)
    makers = {maker for one in good for maker in one.made_by if maker.signer in requirement.signers}
    count, needed = count_signers(makers), needed_signers(requirement)
    names = sorted({maker.signer for maker in makers})
    detail = f"{count} of {len(requirement.signers)} signers {verb}, {needed} required"
    detail += f": {', '.join(names)}" if names else f"; expected {', '.join(requirement.signers)}"
    ends = [end for one in good if (end := _end_of(requirement, one)) is not None]
    return RequirementResult(
        count >= needed, detail, frozenset(one.digest for one in good), reasons, min(ends) if ends else None
    )


def needed_signers(requirement: SignatureRequirement | AttestationRequirement) -> int:
    """Return how many different signers a requirement wants."""
    if requirement.threshold == "any":
        return 1
    return len(requirement.signers) if requirement.threshold == "all" else int(requirement.threshold)


def name_fault(rule: str | FixedName, signed: str, pulled: PulledName) -> str:
    """Return why the name in a signature is not the one required; empty if it is.

    Source: containers/image, containers-policy.json(5), "signedIdentity".
    """
    if rule == "any":
        return ""
    if not signed:
        return "it states no name"
    base, repository = pulled.base, _repository_in(signed)
    if isinstance(rule, FixedName):
        if rule.repository:
            return "" if repository == rule.repository else f"it is for {signed[:200]}, not for {rule.repository}"
        if rule.reference:
            return "" if signed == rule.reference else f"it is for {signed[:200]}, not for {rule.reference}"
        if base == rule.prefix or base.startswith(f"{rule.prefix}/"):
            base = rule.signed_prefix + base.removeprefix(rule.prefix)
        rule = "digest-or-reference"
    if rule == "repository" or (rule == "digest-or-reference" and not pulled.tag):
        return "" if repository == base else f"it is for {signed[:200]}, not for {base}"
    wanted = pulled.whole(base)
    return "" if signed == wanted else f"it is for {signed[:200]}, not for {wanted}"


def _repository_in(name: str) -> str:
    """Return a name without its tag and digest."""
    name = name.partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}" if head else last.partition(":")[0]


def time_fault(times: TimeBounds, one: CheckedSignature, now: datetime) -> str:
    """Return why the time of a signature is not as required; empty if it is."""
    made = one.made_at
    if made is not None and made > now + SKEW:
        return f"it was made in the future, at {format_time(made)}"
    if not times.is_bound:
        return ""
    if made is None:
        return "it has no signed time, and the requirement has bounds of time"
    if times.not_before is not None and made < times.not_before:
        return f"it was made at {format_time(made)}, before {format_time(times.not_before)}"
    if times.not_after is not None and made > times.not_after:
        return f"it was made at {format_time(made)}, after {format_time(times.not_after)}"
    if times.max_age is not None and now - made > parse_duration(times.max_age):
        return f"it was made at {format_time(made)}, more than {times.max_age} ago"
    return ""


def _end_of(times: TimeBounds, one: CheckedSignature) -> datetime | None:
    return one.made_at + parse_duration(times.max_age) if one.made_at and times.max_age is not None else None


def _content_fault(requirement: AttestationRequirement, one: CheckedSignature) -> str:
    if not requirement.fits_type(one.predicate_type):
        return f"it states {one.predicate_type[:200] or 'nothing'}, not {requirement.type}"
    predicate = one.predicate
    if requirement.builders and (found := _builder_of(predicate)) not in requirement.builders:
        return f"its builder is {_shown(found)}"
    if requirement.sources and (found := _source_of(predicate)) not in requirement.sources:
        return f"its source is {_shown(found)}"
    for condition in requirement.conditions:
        found = point_at(predicate, condition.field)
        if found is _MISSING or found is None:
            return f"it has no {condition.field}"
        if condition.equals is not None and not _is_same(found, condition.equals):
            return f"its {condition.field} is {_shown(found)}"
        if condition.one_of and not (isinstance(found, str) and found in condition.one_of):
            return f"its {condition.field} is {_shown(found)}"
    return ""


def _is_same(found: object, wanted: object) -> bool:
    """Compare as JSON does: true is not 1."""
    return type(found) is type(wanted) and found == wanted


def _shown(value: object) -> str:
    return "missing" if value is _MISSING or value is None else repr(value)[:200]


def point_at(document: Any, pointer: str) -> Any:
    """Return what a JSON Pointer names, a mark where there is nothing. Source: RFC 6901, 4."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif (
            isinstance(document, list)
            and key.isascii()
            and key.isdigit()
            and str(int(key)) == key
            and int(key) < len(document)
        ):
            document = document[int(key)]
        else:
            return _MISSING
    return document


def _builder_of(predicate: Any) -> Any:
    """Return the builder's id. Source: SLSA provenance v1, `runDetails.builder.id`; v0.2, `builder.id`."""
    found = point_at(predicate, "/runDetails/builder/id")
    return point_at(predicate, "/builder/id") if found is _MISSING else found


def _source_of(predicate: Any) -> Any:
    """Return the repository that was built, without `git+` and what is behind `@`.

    It is read from the input of the build (`externalParameters`, in v0.2 `configSource`). Dependencies may name other
    repositories, and are not read. Source: SLSA v1.0, "Verifying artifacts", step 2.
    """
    for pointer in (
        "/buildDefinition/externalParameters/workflow/repository",
        "/buildDefinition/externalParameters/source/uri",
        "/buildDefinition/externalParameters/source",
        "/invocation/configSource/uri",
    ):
        found = point_at(predicate, pointer)
        if isinstance(found, str):
            return found.removeprefix("git+").partition("@")[0]
    return _MISSING
