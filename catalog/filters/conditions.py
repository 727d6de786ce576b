"""Conditions on content: the part of a filter that looks at what tags point to."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Annotated

from pydantic import AfterValidator, Field

from catalog.filters.companions import WORDS
from catalog.filters.facts import Facts, Values
from catalog.parsed_text import checked
from catalog.units import format_time, moment_of
from oci.errors import InvalidInput
from oci.kinds import COSIGN_SIGNATURE, KINDS

_PAIR = re.compile(r"(?P<negated>!)?(?P<key>[^=!\s]+?)(?:(?P<sign>!?=)(?P<value>.*))?", re.DOTALL)
_KINDS_OF = {"signature": (COSIGN_SIGNATURE, *WORDS["signature"]), "sbom": ("sbom", *WORDS["sbom"])}
"""Words that stand for a kind and for artifact types."""


@dataclass(frozen=True, slots=True)
class PairCondition:
    """A condition on a label or an annotation: the key is there, with a value that fits a glob; or, negated, it is not so."""

    text: str
    key: str
    value: str | None
    negated: bool

    def holds(self, found: Values) -> bool:
        """Return whether the condition holds. One of several values of a key is enough; if negated, one is too many."""
        values = found.get(self.key, frozenset())
        has = bool(values) if self.value is None else any(fnmatchcase(value, self.value) for value in values)
        return has != self.negated


def parse_pair(text: str) -> PairCondition:
    """Read `KEY`, `KEY=GLOB`, `!KEY` or `KEY!=GLOB`; raise InvalidInput."""
    match = _PAIR.fullmatch(text)
    if match is None or (match["negated"] and match["sign"]):
        raise InvalidInput(f"invalid condition {text[:100]!r}: expected KEY, KEY=VALUE, !KEY or KEY!=VALUE")
    return PairCondition(text, match["key"], match["value"], bool(match["negated"]) or match["sign"] == "!=")


def parse_type(text: str) -> tuple[bool, Callable[[str], bool]]:
    """Read a kind (`helm`), a glob of kinds and artifact types (`application/vnd.wasm*`), or either after `!`.

    Return whether it is negated, and what tells whether a type fits. Raises InvalidInput for a word that is no kind.
    """
    word = text.removeprefix("!")
    known = dict.fromkeys([*KINDS, *_KINDS_OF])
    if not word or (word not in known and not any(mark in word for mark in "/*?[")):
        raise InvalidInput(
            f"invalid type {word[:100]!r}: expected one of {', '.join(known)}, or a glob of artifact types"
        )
    globs = _KINDS_OF.get(word, (word,))
    return text.startswith("!"), lambda found: any(fnmatchcase(found, glob) for glob in globs)


PairText = Annotated[str, Field(max_length=1000), AfterValidator(checked(parse_pair))]
"""A condition on a label or an annotation as a field: `KEY`, `KEY=GLOB`, `!KEY` or `KEY!=GLOB`."""

TypeText = Annotated[str, Field(max_length=300), AfterValidator(checked(parse_type))]
"""A condition on the type as a field: a kind, or a glob of kinds and artifact types; or either after `!`."""


@dataclass(frozen=True, slots=True)
class Conditions:
    """Conditions that selected content meets: any of the types (none after `!`), and every other condition.

    `newer_than` and `older_than` are ages as `catalog.units` reads them; a manifest of unknown creation is neither. `signed`: a
    signature is there, of whoever. Raises InvalidInput, when it judges, for a condition that cannot be read.
    """

    types: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    annotations: tuple[str, ...] = ()
    newer_than: str = ""
    older_than: str = ""
    signed: bool = False

    def __bool__(self) -> bool:
        return self != Conditions()

    @property
    def but_signed(self) -> "Conditions":
        """Return the same conditions without `signed`."""
        return replace(self, signed=False)

    def judge(self, facts: Facts, now: datetime) -> tuple[bool, str]:
        """Return whether content is selected, and why: all conditions that it meets, or the first that it does not."""
        fulfilled: list[str] = []
        for judged in (self._judge_types(facts), *self._judge_pairs(facts), *self._judge_age(facts, now)):
            holds, words = judged
            if not holds:
                return False, words
            if words:
                fulfilled.append(words)
        if self.signed:
            if not facts.signed:
                return False, "not signed"
            fulfilled.append("signed")
        return True, ", ".join(fulfilled)

    def _judge_types(self, facts: Facts) -> tuple[bool, str]:
        wanted: list[str] = []
        is_wanted: bool | None = None
        for text in self.types:
            negated, fits = parse_type(text)
            has = any(map(fits, facts.types | {facts.kind}))
            if negated and has:
                return False, f"is of type {text.removeprefix('!')}"
            if not negated:
                wanted.append(text)
                is_wanted = is_wanted or has
        if is_wanted is False:
            return False, f"is of type {facts.kind}, not {' or '.join(wanted)}"
        return True, f"type {' or '.join(wanted)}" if wanted else ""

    def _judge_pairs(self, facts: Facts) -> Iterable[tuple[bool, str]]:
        for what, texts, found in (
            ("label", self.labels, facts.labels),
            ("annotation", self.annotations, facts.annotations),
        ):
            for text in texts:
                holds = parse_pair(text).holds(found)
                yield holds, f"{what} {text}" if holds else f"does not fulfil {what} {text}"

    def _judge_age(self, facts: Facts, now: datetime) -> Iterable[tuple[bool, str]]:
        for word, age in (("newer", self.newer_than), ("older", self.older_than)):
            if not age:
                continue
            if facts.created is None:
                yield False, f"creation unknown, so not {word} than {age}"
                continue
            edge = moment_of(age, now)
            holds = facts.created > edge if word == "newer" else facts.created < edge
            said = f"{word} than {age}"
            yield holds, said if holds else f"created {format_time(facts.created.replace(microsecond=0))}, not {said}"
