"""The hash that goes on in another process is hashlib's, and a state is read by the release that wrote it alone."""

import hashlib

import pytest

from catalog.blobs.shared_uploads.resumable_hash import STATE_FORMAT, ResumableHasher, resume_hash
from tests.api.conftest import random_blob

DATA = random_blob(700_001)


@pytest.mark.parametrize("cuts", [(), (0,), (1, 64, 65), (262_144,), (262_145, 600_000)])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_it_goes_on_from_its_state_wherever_it_was_cut(cuts: tuple[int, ...], kind: type) -> None:
    hasher = ResumableHasher()
    for start, end in zip((0, *cuts), (*cuts, len(DATA)), strict=True):
        hasher.update(kind(DATA[start:end]))
        assert hasher.hexdigest() == hashlib.sha256(DATA[:end]).hexdigest()
        again = resume_hash(hasher.state, STATE_FORMAT)
        assert again is not None
        hasher = again
    assert hasher.hexdigest() == hashlib.sha256(DATA).hexdigest()


@pytest.mark.parametrize(
    ("state", "state_format"),
    [
        (None, STATE_FORMAT),
        (ResumableHasher().state, "rehashes 0.0.1"),
        (b"", STATE_FORMAT),
        (b"x" * 103, STATE_FORMAT),
    ],
)
def test_what_is_no_state_of_this_release_is_none(state: bytes | None, state_format: str) -> None:
    assert resume_hash(state, state_format) is None
