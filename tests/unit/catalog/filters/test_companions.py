"""Which companions of an image are wanted."""

import pytest

from catalog.filters.companions import COMPANION_TAGS, CompanionFilter
from catalog.filters.tags import TagFilter
from oci.digest import Digest

DIGEST = Digest.of(b"an image")
NAME = f"sha256-{DIGEST.encoded}"


@pytest.mark.parametrize(
    ("patterns", "ends"),
    [
        (("*",), ["", ".sig", ".att", ".sbom"]),
        ((), []),
        (("signature",), ["", ".sig"]),
        (("sbom", "attestation"), ["", ".att", ".sbom"]),
        (("application/spdx+json",), [""]),
    ],
)
def test_the_tags_that_may_hold_them(patterns: tuple[str, ...], ends: list[str]) -> None:
    assert list(CompanionFilter(patterns).tags_of(DIGEST)) == [f"{NAME}{end}" for end in ends]


@pytest.mark.parametrize(
    ("patterns", "artifact_type", "taken"),
    [
        (("*",), "", True),
        ((), "application/spdx+json", False),
        (("sbom",), "application/spdx+json", True),
        (("sbom",), "application/vnd.dev.sigstore.bundle.v0.3+json", False),
        (("signature",), "application/vnd.dev.sigstore.bundle.v0.3+json", True),
        (("application/vnd.example.*",), "application/vnd.example.report", True),
    ],
)
def test_the_types_that_are_taken(patterns: tuple[str, ...], artifact_type: str, taken: bool) -> None:
    assert CompanionFilter(patterns).selects(artifact_type) is taken


def test_the_pattern_of_all_companion_tags() -> None:
    tags = [*CompanionFilter().tags_of(DIGEST), "v1", "sha256-v1", f"{NAME}.tar"]
    assert TagFilter(exclude=(COMPANION_TAGS,)).select(tags).kept == ("v1", "sha256-v1", f"{NAME}.tar")


def test_the_tag_of_a_long_digest_is_cut_as_the_specification_says() -> None:
    digest = Digest.of(b"an image", "sha512")
    assert CompanionFilter(("signature",)).tags_of(digest)[0] == f"sha512-{digest.encoded}"[:128]
