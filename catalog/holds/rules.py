"""What operators set: how long content is held below a pattern of paths, and decisions on single digests. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from catalog.path_patterns import matches, parse_path_pattern
from catalog.units import parse_duration
from oci.digest import Digest
from oci.errors import DigestInvalid, InvalidInput

HoldAction = Literal["release", "block"]
LONGEST = timedelta(days=3650)
_REASON, _OWNER = 500, 100
"""Characters of a reason and of an owner."""


@dataclass(frozen=True, slots=True)
class HoldRule:
    """Content of the paths that fit `pattern` is held until it has been known for `duration`.

    With `trust_created`, the date that an image itself states may make it older.
    """

    pattern: str
    duration: timedelta
    actor: str
    set_at: datetime
    trust_created: bool = False


@dataclass(frozen=True, slots=True)
class HoldDecision:
    """A digest may be pulled at once below a pattern of paths (`release`), or not at all (`block`), until `expires_at`."""

    digest: Digest
    action: HoldAction
    pattern: str
    reason: str
    actor: str
    decided_at: datetime
    owner: str = ""
    expires_at: datetime | None = None

    def is_in_force(self, now: datetime) -> bool:
        """Return whether the decision has not expired."""
        return self.expires_at is None or now < self.expires_at


def fits(pattern: str, path: str, repository: str) -> bool:
    """Return whether a pattern is about a path, or about the repository that the path serves: another path is no way round."""
    return matches(pattern, path) or matches(pattern, repository)


def strictest(rules: Iterable[HoldRule], path: str, repository: str) -> HoldRule | None:
    """Return the rule that counts for a path: the one that holds longest; None where none fits."""
    fitting = [rule for rule in rules if fits(rule.pattern, path, repository)]
    return max(fitting, key=lambda rule: (rule.duration, not rule.trust_created), default=None)


def parse_decided_digest(text: str, action: HoldAction) -> Digest:
    """Read the digest of a decision; raise DigestInvalid, which says where the digests are that a release is for."""
    try:
        return Digest.parse(text)
    except DigestInvalid as error:
        if action != "release":
            raise
        raise DigestInvalid(f"{error.message}; `entrepot hold list --held` shows the digests that are held") from None


def expiry_of(duration: str | None, now: datetime) -> datetime | None:
    """Return when a decision ends that holds for a duration such as `30d`, None for one without an end; raise InvalidInput."""
    if not duration:
        return None
    length = parse_duration(duration)
    if length > LONGEST:
        raise InvalidInput(f"invalid duration {duration[:50]!r}: expected at most 3650d")
    return now + length


def check_rule(rule: HoldRule) -> HoldRule:
    """Raise InvalidInput for a rule that holds nothing, or for ever."""
    parse_path_pattern(rule.pattern)
    if not timedelta() < rule.duration <= LONGEST:
        raise InvalidInput("invalid duration of a hold: expected more than 0s and at most 3650d")
    return rule


def check_decision(decision: HoldDecision) -> HoldDecision:
    """Raise InvalidInput for a decision without a reason, with texts that are too long, or that has ended before it begins."""
    parse_path_pattern(decision.pattern)
    reason = decision.reason.strip()
    if not reason or len(reason) > _REASON:
        raise InvalidInput(f"invalid reason {reason[:80]!r}: expected 1 to {_REASON} characters")
    if len(decision.owner) > _OWNER:
        raise InvalidInput(f"invalid owner {decision.owner[:80]!r}: expected at most {_OWNER} characters")
    if not decision.is_in_force(decision.decided_at):
        raise InvalidInput("invalid expiry: expected a moment after now")
    return decision
