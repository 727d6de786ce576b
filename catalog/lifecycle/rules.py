"""What operators set about the life of content: its end, what comes after it, and what clients are told. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from catalog.filters.tags import parse_tag_pattern
from catalog.path_patterns import matches, parse_path_pattern
from catalog.units import format_duration
from oci.errors import InvalidInput

WARN_BEFORE = timedelta(days=90)
_LONGEST_WARNING = timedelta(days=3650)
_TEXT, _TAG = 300, 200
"""Characters of a message or a successor, and of a pattern of tags."""


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """What is known of the content at the paths that fit `pattern`, of tags that fit `tag`; empty: of all.

    Pulls are warned from `warn_before` the end of life on, at once where the content is `deprecated`. With `published`, dates
    that vendors publish count where the rule has none. With `refuse`, pulls after the end of life are refused.
    """

    pattern: str
    tag: str
    actor: str
    set_at: datetime
    end_of_life: datetime | None = None
    deprecated: bool = False
    successor: str = ""
    message: str = ""
    warn_before: timedelta = WARN_BEFORE
    published: bool = False
    refuse: bool = False

    def fits(self, path: str, repository: str) -> bool:
        """Return whether the rule is about a path, or the repository that the path serves."""
        return matches(self.pattern, path) or matches(self.pattern, repository)


def parse_lifecycle_scope(text: str) -> tuple[str, str]:
    """Return the pattern of paths and the pattern of tags of `NAME[:TAG]`; a pattern `re:…` has no tags. Raise InvalidInput."""
    pattern, _, tag = (text, "", "") if text.startswith("re:") else text.partition(":")
    return parse_path_pattern(pattern), tag


def lifecycle_fields(rule: LifecycleRule) -> dict[str, Any]:
    """Return what a rule says of content, by field: its span of warnings as text, its date as a time. Pure."""
    return {
        "end_of_life": rule.end_of_life,
        "deprecated": rule.deprecated,
        "successor": rule.successor,
        "message": rule.message,
        "warn_before": format_duration(rule.warn_before),
        "published": rule.published,
        "refuse": rule.refuse,
    }


def check_lifecycle(rule: LifecycleRule) -> LifecycleRule:
    """Raise InvalidInput for a rule that says nothing, or cannot be read."""
    parse_path_pattern(rule.pattern)
    if rule.tag:
        parse_tag_pattern(rule.tag)
    for noun, text, most in (
        ("tag", rule.tag, _TAG),
        ("successor", rule.successor, _TEXT),
        ("message", rule.message, _TEXT),
    ):
        if len(text) > most:
            raise InvalidInput(f"invalid {noun} {text[:80]!r}: expected at most {most} characters")
    if not timedelta() <= rule.warn_before <= _LONGEST_WARNING:
        raise InvalidInput("invalid time of warnings: expected at most 3650d")
    if not (rule.end_of_life or rule.deprecated or rule.successor or rule.message or rule.published):
        scope = rule.pattern + (rule.tag and f":{rule.tag}")
        raise InvalidInput(f"the lifecycle of {scope} says nothing; give a date, a successor or a message")
    if rule.refuse and not (rule.end_of_life or rule.published):
        raise InvalidInput("pulls can be refused after an end of life only; give its date")
    return rule
