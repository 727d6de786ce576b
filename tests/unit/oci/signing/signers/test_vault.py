"""Vault's transit API, as a small server has it: what is asked for is what cosign asks for, and the token goes nowhere else."""

import threading
from collections.abc import Iterator

import pytest

from oci.signing.keys import KeyInvalid, SignerFailed
from oci.signing.signers.addresses import parse_signer
from oci.signing.signers.vault import open_vault
from tests.receivers import Answer, Received, Receiver, receive
from tests.unit.oci.signing.signers.keys import NAMES, signer_of
from tests.unit.oci.signing.signers.vault_server import TOKEN, transit


@pytest.fixture(scope="module")
def vault() -> Iterator[Receiver]:
    with receive(transit) as running:
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_signatures_of_each_kind(vault: Receiver, name: str) -> None:
    environ = {"VAULT_ADDR": vault.url, "VAULT_TOKEN": f"{TOKEN}\n", "VAULT_NAMESPACE": "team"}
    signer = open_vault(parse_signer(f"hashivault://{name}"), environ, timeout=10)
    assert signer.verifier.fingerprint == signer_of(name).verifier.fingerprint
    assert signer.verifier.verifies(signer.sign(b"payload"), b"payload")
    assert vault.received[-1].path.startswith(f"/v1/transit/sign/{name}")
    assert vault.received[-1].headers["x-vault-namespace"] == "team"


def test_failures_say_why_and_hold_no_token(vault: Receiver) -> None:
    for environ, name, kind, said in (
        ({"VAULT_ADDR": vault.url, "VAULT_TOKEN": "hvs.wrong"}, "p256", SignerFailed, "HTTP 403: permission denied"),
        ({"VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN}, "absent", SignerFailed, "HTTP 404"),
        ({"VAULT_ADDR": vault.url, "VAULT_TOKEN": "hvs.a b\tc"}, "p256", KeyInvalid, "needs VAULT_TOKEN"),
        ({"VAULT_ADDR": vault.url, "HOME": "/absent"}, "p256", KeyInvalid, "needs VAULT_TOKEN"),
        ({"VAULT_TOKEN": TOKEN}, "p256", KeyInvalid, "needs VAULT_ADDR"),
        (
            {"VAULT_ADDR": vault.url, "VAULT_TOKEN": TOKEN, "TRANSIT_SECRET_ENGINE_PATH": "../sys"},
            "p256",
            KeyInvalid,
            "TRANSIT_SECRET_ENGINE_PATH",
        ),
        ({"VAULT_ADDR": "http://me:hvs.pw@127.0.0.1:9", "VAULT_TOKEN": TOKEN}, "p256", SignerFailed, "127.0.0.1"),
    ):
        with pytest.raises(kind, match=said) as caught:
            open_vault(parse_signer(f"hashivault://{name}"), environ, timeout=10)
        assert "hvs." not in str(caught.value)


def test_one_that_hangs_or_floods_ends() -> None:
    released = threading.Event()

    def hang(_: Received) -> Answer:
        released.wait(20)
        return 200, {}, b"{}"

    with receive(hang) as hanging:
        environ = {"VAULT_ADDR": hanging.url, "VAULT_TOKEN": TOKEN}
        with pytest.raises(SignerFailed, match=r"did not answer within 0.2 s|ReadTimeout"):
            open_vault(parse_signer("hashivault://p256"), environ, timeout=0.2)
        released.set()
    with receive(lambda _: (200, {}, b"x" * 2_000_000)) as flooding:
        environ = {"VAULT_ADDR": flooding.url, "VAULT_TOKEN": TOKEN}
        with pytest.raises(SignerFailed, match="the answer is too long"):
            open_vault(parse_signer("hashivault://p256"), environ, timeout=10)


def test_a_redirect_does_not_carry_the_token_away(vault: Receiver) -> None:
    before = len(vault.received)
    with receive(lambda one: (307, {"location": f"{vault.url}{one.path}"}, b"")) as leading:
        environ = {"VAULT_ADDR": leading.url, "VAULT_TOKEN": TOKEN}
        with pytest.raises(SignerFailed, match="HTTP 307"):
            open_vault(parse_signer("hashivault://p256"), environ, timeout=10)
    assert len(vault.received) == before
