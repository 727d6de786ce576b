"""Conditions on content: which facts fulfil them, and in what words."""

from datetime import UTC, datetime

import pytest

from catalog.filters.conditions import Conditions, parse_pair, parse_type
from catalog.filters.facts import Facts, facts_of, with_children
from oci.digest import Digest
from oci.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WASM = "application/vnd.wasm.config.v0+json"


def facts(kind: str = "image", **known: object) -> Facts:
    return facts_of(Digest.of(b"x"), kind=kind, **known)  # type: ignore[arg-type]  # as facts_of takes them


IMAGE = facts(
    created="2026-02-01T00:00:00Z",
    artifact_type="application/vnd.oci.image.config.v1+json",
    labels={"stage": "prod", "empty": ""},
    annotations={"source": "https://code.example/app"},
    signed=True,
)


@pytest.mark.parametrize(
    ("conditions", "kept", "words"),
    [
        ({"labels": ["stage"]}, True, "label stage"),
        ({"labels": ["stage=prod", "empty="]}, True, "label stage=prod, label empty="),
        ({"labels": ["stage=pr*"]}, True, "label stage=pr*"),
        ({"labels": ["stage=Prod"]}, False, "does not fulfil label stage=Prod"),
        ({"labels": ["stage", "team"]}, False, "does not fulfil label team"),
        ({"labels": ["!team", "team!=x", "stage!=test"]}, True, "label !team, label team!=x, label stage!=test"),
        ({"labels": ["!stage"]}, False, "does not fulfil label !stage"),
        ({"labels": ["stage!=p*"]}, False, "does not fulfil label stage!=p*"),
        ({"annotations": ["source=*code.example*"]}, True, "annotation source=*code.example*"),
        ({"annotations": ["stage"]}, False, "does not fulfil annotation stage"),
        ({"types": ["image"]}, True, "type image"),
        ({"types": ["helm", "image"]}, True, "type helm or image"),
        ({"types": ["helm", "flatpak"]}, False, "is of type image, not helm or flatpak"),
        ({"types": ["application/vnd.oci.image.*"]}, True, "type application/vnd.oci.image.*"),
        ({"types": ["!helm"]}, True, ""),
        ({"types": ["!image"]}, False, "is of type image"),
        ({"newer_than": "30d"}, True, "newer than 30d"),
        ({"newer_than": "28d"}, False, "created 2026-02-01T00:00:00Z, not newer than 28d"),
        ({"older_than": "28d"}, True, "older than 28d"),
        ({"older_than": "2026-02-01"}, False, "created 2026-02-01T00:00:00Z, not older than 2026-02-01"),
        ({"newer_than": "2026-01-31", "older_than": "1w"}, True, "newer than 2026-01-31, older than 1w"),
        ({"signed": True}, True, "signed"),
        ({}, True, ""),
    ],
)
def test_conditions(conditions: dict[str, object], *, kept: bool, words: str) -> None:
    assert Conditions(**conditions).judge(IMAGE, NOW) == (kept, words)  # type: ignore[arg-type]  # fields by name
    assert bool(Conditions(**conditions)) is bool(conditions)  # type: ignore[arg-type]


@pytest.mark.parametrize("word", ["newer", "older"])
def test_what_says_nothing_of_its_creation_is_neither_newer_nor_older(word: str) -> None:
    conditions = Conditions(newer_than="1d") if word == "newer" else Conditions(older_than="1d")
    assert conditions.judge(facts(), NOW) == (False, f"creation unknown, so not {word} than 1d")


def test_what_is_not_signed_is_not_taken() -> None:
    assert Conditions(signed=True).judge(facts(), NOW) == (False, "not signed")


def test_of_an_index_any_child_counts_and_each_may_exclude() -> None:
    index = with_children(facts("index"), [facts(labels={"l": "x"}), facts("flatpak", labels={"l": "y"})])
    assert Conditions(labels=("l=x", "l=y"), types=("flatpak",)).judge(index, NOW)[0]
    assert not Conditions(labels=("l!=y",)).judge(index, NOW)[0]
    assert not Conditions(types=("!flatpak",)).judge(index, NOW)[0]


def test_words_stand_for_artifact_types() -> None:
    bundle = facts("artifact", artifact_type="application/vnd.cyclonedx+json")
    assert Conditions(types=("sbom",)).judge(bundle, NOW)[0]
    assert Conditions(types=("signature",)).judge(facts("cosign-signature"), NOW)[0]


@pytest.mark.parametrize("text", ["", "=x", "!", "!a=b", "!a!=b", "a b", "a b=c"])
def test_what_is_no_condition_on_a_key(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected KEY, KEY=VALUE"):
        parse_pair(text)


@pytest.mark.parametrize("text", ["imgae", "", "!", "!helmet"])
def test_what_is_no_type(text: str) -> None:
    with pytest.raises(InvalidInput, match="expected one of image, index, helm"):
        parse_type(text)
