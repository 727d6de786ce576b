"""Many manifests checked by one policy: which those are, and what was decided about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from catalog.catalog import Catalog
from catalog.policy.document import TrustPolicy, parse_policy
from catalog.policy.explanation import PolicyDecision
from catalog.policy.trust_roots import TrustCache
from catalog.signing.plan import with_held_children
from catalog.versions.snapshot import Snapshot
from flows.sign.request import read_trust
from oci.digest import Digest
from oci.errors import InvalidInput, PolicyRefused, PolicyUndecided

_TOLD = 5


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy, and the name that it has here, or that of its file."""

    name: str
    policy: TrustPolicy


def find_policy(catalog: Catalog, text: str) -> NamedPolicy:
    """Return the policy of a name, or of a file, which has a slash or ends in .yaml, .yml or .json.

    Raises PolicyUnknown, InvalidInput.
    """
    if "/" in text or text.endswith((".yaml", ".yml", ".json")):
        return NamedPolicy(Path(text).name, parse_policy(read_policy_file(Path(text)), where=text))
    return NamedPolicy(text, catalog.policies.get(text).policy)


def read_policy_file(file: Path) -> bytes:
    """Read a file that a command's caller names; raise InvalidInput."""
    try:
        return file.expanduser().read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def decide_all(
    catalog: Catalog,
    named: NamedPolicy,
    snapshot: Snapshot,
    digests: Sequence[Digest],
    now: datetime,
    *,
    repository: str = "",
    trust_config: Path | None = None,
) -> list[PolicyDecision]:
    """Decide about manifests of a version, and about the children of indexes among them.

    `repository` is the one that they are to be served from, by default the version's. Each is judged by its first tag.
    """
    tags: dict[Digest, str] = {}
    for tag in snapshot.sorted_tags:
        tags.setdefault(snapshot.tags[tag], tag)
    trust = TrustCache(lambda: read_trust(catalog.settings, trust_config)) if trust_config else None
    source = catalog.policies.source(snapshot)
    return [
        one
        for digest in with_held_children(catalog, snapshot, digests)
        for one in catalog.policies.evaluate(
            {named.name: named.policy},
            repository or snapshot.repository,
            digest,
            source,
            now,
            tag=tags.get(digest, ""),
            trust=trust,
        )
    ]


def check_allowed(decisions: Sequence[PolicyDecision], name: str) -> None:
    """Raise PolicyRefused, or PolicyUndecided where all that is refused could not be checked."""
    refused = [one for one in decisions if not one.is_allowed]
    if not refused:
        return
    told = "; ".join(f"{one.digest}: {one.outcome}: {one.reason}" for one in refused[:_TOLD])
    more = f"; and {len(refused) - _TOLD} more" if len(refused) > _TOLD else ""
    message = f"{len(refused)} of {len(decisions)} manifests are refused by the policy {name}: {told}{more}"
    detail = {"decisions": [one.to_json() for one in refused[:1000]]}
    if all(one.outcome == "undecidable" for one in refused):
        raise PolicyUndecided(message, detail=detail)
    raise PolicyRefused(message, detail=detail)
