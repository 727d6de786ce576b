"""The tags of flow runs, by the fields of their forms."""

import pytest

from flows.forms.run_tags import MOST, run_tags


@pytest.mark.parametrize(
    ("fields", "tags"),
    [
        ({"remote": "registry.example/team/app:1"}, {"repo:team/app", "upstream:registry.example/team/app"}),
        ({"remote": "registry.example/team/app", "repository": "own"}, {"repo:own", "upstream:registry.example/team/app"}),
        ({"remote": "no reference", "repository": ""}, set()),
        ({"remote": "http://localhost:5000/team/app"}, {"repo:team/app", "upstream:localhost:5000/team/app"}),
        ({"source": "team/app", "repository": "prod/app", "tags": ["1"]}, {"repo:prod/app"}),
        ({"repositories": ["a", "b"]}, {"repo:a", "repo:b"}),
        ({"repositories": [f"team/app-{number}" for number in range(MOST + 1)]}, set()),
        ({"upstream": "registry.example"}, {"upstream:registry.example"}),
        (
            {"upstream": {"remote": "registry.example/team/app"}, "curated": "c", "built": "own/app"},
            {"repo:team/app", "repo:own/app", "upstream:registry.example/team/app"},
        ),
        ({"repository": 7, "remote": None}, set()),
    ],
)  # fmt: skip
def test_tags_name_what_a_run_reads_and_writes(fields: dict[str, object], tags: set[str]) -> None:
    assert set(run_tags(fields)) == tags
