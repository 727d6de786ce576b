"""What an export gives: a text, and notes on where the target means something else."""

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.policy.document import PolicyRule, TrustPolicy
from oci.errors import InvalidInput, Unsupported


class NotExpressible(Unsupported):
    """A policy says something that the target's language cannot."""


@dataclass(frozen=True, slots=True)
class ExportedPolicy:
    """The document of another program, and what its reader has to know."""

    text: str
    notes: tuple[str, ...] = ()


def registry_of_policy(policy: TrustPolicy, target: str) -> str:
    """Return the host that clients use; raise InvalidInput where the policy names none."""
    if not policy.registry:
        raise InvalidInput(
            f"{target} names images by their registry: set registry in the policy, or give --registry HOST"
        )
    return policy.registry


def literal_prefix(pattern: str) -> str:
    """Return what stands before the first wildcard of a glob."""
    for place, letter in enumerate(pattern):
        if letter in "*?":
            return pattern[:place]
    return pattern


def may_overlap(one: str, other: str) -> bool:
    """Return whether one path may fit both patterns; certain only where it says that none does."""
    if one.startswith("re:") or other.startswith("re:"):
        return True
    first, second = (
        literal_prefix(text.removesuffix("/**") if text.endswith("/**") else text) for text in (one, other)
    )
    is_literal = first == one, second == other
    if all(is_literal):
        return first == second
    if is_literal[0]:
        return first.startswith(second)
    return second.startswith(first) if is_literal[1] else first.startswith(second) or second.startswith(first)


def check_disjoint(rules: Iterable[PolicyRule], target: str) -> None:
    """Raise NotExpressible where two rules may fit one path: the target applies all of them, ours the first."""
    seen: list[tuple[int, str]] = []
    for number, rule in enumerate(rules, 1):
        for pattern in rule.paths:
            for earlier, other in seen:
                if earlier != number and may_overlap(pattern, other):
                    raise NotExpressible(
                        f"{target} applies all rules that fit, and the first one only is meant: rules {earlier} ({other}) and "
                        f"{number} ({pattern}) may fit one path"
                    )
            seen.append((number, pattern))
