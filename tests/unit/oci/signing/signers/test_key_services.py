"""AWS's KMS by its real client, with a server of the tests in its place; and what is told where a client is not installed."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from securesystemslib.signer import AzureSigner, GCPSigner, Signature, SSlibKey

from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.signers.addresses import parse_signer
from oci.signing.signers.key_services import open_key_service
from tests.receivers import Answer, Received, Receiver, receive
from tests.unit.oci.signing.signers.keys import key_of, signer_of

GOOGLE_KEY = "gcpkms://projects/p/locations/global/keyRings/r/cryptoKeys/k/versions/1"
ALGORITHMS = {
    "p256": ["ECDSA_SHA_256"],
    "p384": ["ECDSA_SHA_384"],
    "rsa": ["RSASSA_PSS_SHA_256", "RSASSA_PKCS1_V1_5_SHA_256", "RSASSA_PKCS1_V1_5_SHA_512"],
}
HASHES = {
    "ECDSA_SHA_256": hashes.SHA256(),
    "ECDSA_SHA_384": hashes.SHA384(),
    "RSASSA_PKCS1_V1_5_SHA_256": hashes.SHA256(),
}


def answer(received: Received) -> Answer:
    asked, verb = received.json, received.headers["x-amz-target"]
    name = asked["KeyId"].removeprefix("alias/")
    if name not in ALGORITHMS:
        return 400, {}, b'{"__type":"NotFoundException","message":"no such key"}'
    key = key_of(name)
    if verb == "TrentService.GetPublicKey":
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return (
            200,
            {},
            json.dumps(
                {"KeyId": name, "PublicKey": base64.b64encode(der).decode(), "SigningAlgorithms": ALGORITHMS[name]}
            ).encode(),
        )
    assert (verb, asked["MessageType"]) == ("TrentService.Sign", "DIGEST")
    digest, kind = base64.b64decode(asked["Message"]), HASHES[asked["SigningAlgorithm"]]
    if isinstance(key, rsa.RSAPrivateKey):
        made = key.sign(digest, padding.PKCS1v15(), Prehashed(kind))
    else:
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        made = key.sign(digest, ec.ECDSA(Prehashed(kind)))
    return 200, {}, json.dumps({"KeyId": name, "Signature": base64.b64encode(made).decode()}).encode()


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receive(answer) as running:
        for name, value in {
            "AWS_ENDPOINT_URL_KMS": running.url,
            "AWS_ACCESS_KEY_ID": "of-a-test",
            "AWS_SECRET_ACCESS_KEY": "secret-of-a-test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.mark.parametrize("name", ALGORITHMS)
def test_signatures_of_each_kind_are_what_cosign_verifies(name: str) -> None:
    signer = open_key_service(parse_signer(f"awskms:///alias/{name}"), timeout=30)
    assert signer.verifier.verifies(signer.sign(b"payload"), b"payload")


def test_a_refusal_says_why() -> None:
    with pytest.raises(SignerFailed, match=r"awskms:///alias/absent failed: .*no such key") as caught:
        open_key_service(parse_signer("awskms:///alias/absent"), timeout=30)
    assert "secret-of-a-test" not in str(caught.value)


def test_one_that_hangs_ends_in_time(aws: Receiver) -> None:
    released, told = threading.Event(), aws.answer
    signer = open_key_service(parse_signer("awskms:///alias/p256"), timeout=0.3)

    def hang(received: Received) -> Answer:
        released.wait(20)
        return told(received)

    aws.answer = hang
    with pytest.raises(SignerFailed, match=r"did not answer within 0.3 s"):
        signer.sign(b"payload")
    released.set()


@dataclass
class Stand:
    """What securesystemslib makes of a key of Azure's or Google's; only the client in it is not there."""

    key: SSlibKey

    def sign(self, payload: bytes) -> Signature:
        return Signature(self.key.keyid, signer_of("p256").sign(payload).hex())

    @classmethod
    def from_priv_key_uri(cls, _uri: str, key: SSlibKey) -> "Stand":
        return cls(key)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("azurekms://release.vault.azure.net/image", ("release", "image")),
        (GOOGLE_KEY, ("projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1",)),
    ],
)
def test_what_other_services_make_is_taken_as_their_clients_say_it(
    text: str, name: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, scheme = list[tuple[str, ...]](), "ecdsa-sha2-nistp256"
    public = signer_of("p256").key.public_key()

    def take(*given: str) -> tuple[str, SSlibKey]:
        asked.append(given)
        pem = {"public": signer_of("p256").verifier.pem.decode()}
        return "uri", SSlibKey("id", "ecdsa", scheme, pem)

    address, kind = parse_signer(text), AzureSigner if text.startswith("azure") else GCPSigner
    monkeypatch.setattr(kind, "import_", take)
    monkeypatch.setattr(kind, "from_priv_key_uri", Stand.from_priv_key_uri)
    signer = open_key_service(address, timeout=30)
    assert (asked, signer.verifier.key) == ([name], public)
    assert signer.verifier.verifies(signer.sign(b"payload"), b"payload")
    scheme = "rsassa-pss-sha256"
    with pytest.raises(KeyInvalid, match="signs by rsassa-pss-sha256: expected"):
        open_key_service(address, timeout=30)


@pytest.mark.parametrize(
    ("text", "extra"),
    [
        ("azurekms://release.vault.azure.net/image", "azurekms"),
        (GOOGLE_KEY, "gcpkms"),
    ],
)
def test_a_client_that_is_not_installed_is_named(text: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = {"azurekms": "_azure_signer.AZURE", "gcpkms": "_gcp_signer.GCP"}[extra]
    monkeypatch.setattr(f"securesystemslib.signer.{module}_IMPORT_ERROR", "not there")
    with pytest.raises(KeyInvalid, match=rf"pip install 'entrepot\[{extra}\]'"):
        open_key_service(parse_signer(text), timeout=30)
