"""What operators give to decide on digests."""

import pytest

from catalog.holds.rules import HoldAction, parse_decided_digest
from oci.digest import Digest
from oci.errors import DigestInvalid


def test_a_digest_is_read() -> None:
    digest = Digest.of(b"image")
    assert parse_decided_digest(str(digest), "release") == digest


@pytest.mark.parametrize("text", ["team/app:v1", "v1", "", "sha256:abc", "md5:abc"])
@pytest.mark.parametrize(
    ("action", "said"),
    [("release", "`entrepot hold list --held` shows the digests that are held"), ("block", "")],
)
def test_an_error_says_where_the_digests_are(text: str, action: HoldAction, said: str) -> None:
    with pytest.raises(DigestInvalid) as found:
        parse_decided_digest(text, action)
    assert found.value.message.endswith(said)
    assert ("hold list" in found.value.message) == bool(said)
    assert found.value.message.startswith(("invalid digest", "not a sha256 digest", "digest algorithm"))
