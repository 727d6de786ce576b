"""Places of a copy are read, and forms that contradict themselves are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.copy.request import CopyRequest, parse_place

SOURCE, TARGET = "registry.example/team/app", "second.example/team/app"


def test_places_are_registries_or_layouts() -> None:
    tagged = parse_place("https://registry.example/team/app:v1")
    assert (str(tagged.remote), tagged.tag, tagged.name) == (
        "https://registry.example/team/app",
        "v1",
        "registry.example/team/app",
    )
    assert parse_place("oci:folder/app").layout == Path("folder/app")
    named = parse_place("oci:./a:b/app:v1")
    assert (named.layout, named.tag) == (Path("a:b/app"), "v1")
    assert parse_place("oci:/a:b/app").layout == Path("/a:b/app")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"source": "user:secret@registry.example/app", "target": TARGET}, "leave credentials out"),
        ({"source": "https://user:secret@registry.example/app", "target": TARGET}, "leave credentials out"),
        ({"source": SOURCE, "target": f"{TARGET}:v1"}, "target: expected no tag"),
        ({"source": SOURCE, "target": f"{TARGET}@sha256:{'0' * 64}"}, "expected no digest"),
        ({"source": f"{SOURCE}:v1", "target": TARGET, "include": ["v*"]}, "expected no filters"),
        ({"source": SOURCE, "target": SOURCE}, "expected two places"),
        ({"source": f"{SOURCE}:v1", "target": f"{SOURCE}:v1"}, "expected two places"),
        ({"source": "oci:", "target": TARGET}, "invalid layout"),
        ({"source": "Registry.example/Team/App", "target": TARGET}, "invalid repository name"),
    ],
)
def test_forms_that_contradict_themselves_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        CopyRequest.model_validate(fields)
    assert "secret" not in str(caught.value)


def test_a_tag_may_get_another_name_in_the_same_repository() -> None:
    assert CopyRequest(source=f"{SOURCE}:v1", target=f"{SOURCE}:stable").destination.tag == "stable"
