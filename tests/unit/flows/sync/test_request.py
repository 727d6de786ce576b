"""What a request takes and refuses, and that a refusal never repeats a password."""

import pytest
from pydantic import ValidationError

from flows.sync.request import SyncRequest
from tests.flows.conftest import REMOTE

DIGEST = "sha256:" + "a" * 64


def test_the_name_here_is_the_upstreams_unless_given() -> None:
    assert SyncRequest(remote=REMOTE).target == "team/app"
    assert SyncRequest(remote=REMOTE, repository="mirror/app").target == "mirror/app"
    assert SyncRequest(remote="alpine").target == "library/alpine"


@pytest.mark.parametrize(
    ("remote", "pinned"),
    [
        (REMOTE, None),
        (f"{REMOTE}:v1", "v1"),
        (f"{REMOTE}@{DIGEST}", DIGEST),
        (f"{REMOTE}:v1@{DIGEST}", "v1"),
        (f"alpine@{DIGEST}", DIGEST),
        (f"http://{REMOTE}:v1", "v1"),
    ],
)
def test_a_tag_or_digest_in_the_remote_pins_it(remote: str, pinned: str | None) -> None:
    assert SyncRequest(remote=remote).pinned == pinned


@pytest.mark.parametrize(
    "values",
    [
        {"remote": ""},
        {"remote": "upstream.example/UPPER/case"},
        {"remote": f"{REMOTE}:-bad"},
        {"remote": f"{REMOTE}@sha256:short"},
        {"remote": f"ftp://{REMOTE}"},
        {"remote": REMOTE, "repository": "Not/A/Name"},
        {"remote": REMOTE, "mode": "clone"},
        {"remote": REMOTE, "on_error": "ignore"},
        {"remote": REMOTE, "include": [""]},
        {"remote": REMOTE, "batch_size": 0},
        {"remote": REMOTE, "password": "secret"},
    ],
)
def test_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SyncRequest.model_validate(values)


@pytest.mark.parametrize("prefix", ["", "https://", "docker://"])
def test_a_login_in_the_remote_is_refused_and_not_repeated(prefix: str) -> None:
    with pytest.raises(ValidationError, match="leave credentials out") as caught:
        SyncRequest(remote=f"{prefix}somebody:hunter2@registry.example/team/app")
    assert "hunter2" not in str(caught.value)
