"""What names a signer, and what is refused; nothing that may be a secret is repeated."""

from pathlib import Path

import pytest

from oci.signing.keys import KeyInvalid
from oci.signing.signers.addresses import absolute_signer, parse_signer

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.mark.parametrize(
    ("text", "scheme", "name"),
    [
        ("cosign.key", "file", "cosign.key"),
        ("/keys/my key@home.pem", "file", "/keys/my key@home.pem"),
        ("keys:old/release.key", "file", "keys:old/release.key"),
        ("file:release.key", "file", "release.key"),
        ("file:///keys/a%20b.pem", "file", "/keys/a b.pem"),
        ("env://COSIGN_PRIVATE_KEY", "env", "COSIGN_PRIVATE_KEY"),
        ("exec:/usr/local/bin/sign", "exec", "/usr/local/bin/sign"),
        ("pkcs11:token=release;object=image%20key", "pkcs11", "image key"),
        ("pkcs11:id=%01%FF;type=private?pin-source=file:/run/pin&module-path=/usr/lib/x.so", "pkcs11", ""),
        ("awskms:///alias/release", "awskms", "alias/release"),
        ("awskms:1234abcd-12ab", "awskms", "1234abcd-12ab"),
        ("awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234", "awskms", "arn:aws:kms:eu-west-1:111122223333:key/1234"),
        ("azurekms://release.vault.azure.net/image", "azurekms", "release/image"),
        (
            "gcpkms://projects/p/locations/global/keyRings/r/cryptoKeys/k/versions/2",
            "gcpkms",
            "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/2",
        ),
        ("hashivault://release", "hashivault", "release"),
        (f"gpg:{FINGERPRINT.lower()}", "gnupg", FINGERPRINT),
        (f"gnupg:0x{FINGERPRINT}", "gnupg", FINGERPRINT),
    ],
)  # fmt: skip
def test_what_names_a_signer(text: str, scheme: str, name: str) -> None:
    found = parse_signer(text)
    assert (found.scheme, found.name, str(found)) == (scheme, name, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a path or a URI"),
        ("a\nb", "expected a path or a URI"),
        ("x" * 1001, "at most 1000"),
        ("k8s://team/hush", "the scheme 'k8s' is not known"),
        ("pkcs11:object=k?pin-value=hush", "holds no PIN"),
        ("pkcs11:object=k?pin%2Dvalue=hush", "holds no PIN"),
        ("pkcs11:object=k?PIN=hush", "expected pkcs11:token="),
        ("pkcs11:token=release", "expected pkcs11:token="),
        ("pkcs11:object=k;type=public", "expected pkcs11:token="),
        ("pkcs11:object=k;object=hush", "expected pkcs11:token="),
        ("hashivault://hush@release", "holds no login"),
        ("hashivault://../sys/seal", "expected hashivault://KEY"),
        ("hashivault:release", "expected hashivault://KEY"),
        ("awskms://hush:hush@evil.example/k", "holds no login"),
        ("awskms://evil.example/k", "AWS_ENDPOINT_URL_KMS"),
        ("azurekms://evil.example/k", "expected azurekms://VAULT.vault.azure.net"),
        ("azurekms://evil.example%23.vault.azure.net/k", "holds no login"),
        ("gcpkms://projects/p/locations/l/keyRings/r/cryptoKeys/k", "versions/V"),
        ("env://A=hush", "expected env://NAME"),
        ("exec:sign", "expected exec:/ABSOLUTE"),
        ("exec://evil.example/sign", "expected exec:/ABSOLUTE"),
        ("gnupg:hush@example.org", "holds no login"),
        ("gnupg:89ABCDEF", "expected gnupg:FINGERPRINT"),
    ],
)
def test_what_names_none_is_told(text: str, said: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        parse_signer(text)
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_path_becomes_absolute_and_a_uri_stays() -> None:
    assert absolute_signer("a.key") == absolute_signer("file:a.key") == str(Path.cwd() / "a.key")
    assert absolute_signer("awskms:///k") == "awskms:///k"
