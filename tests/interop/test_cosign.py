"""Signatures and attestations in the hands of cosign: it verifies ours, and we verify its, in both forms."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.receivers import receive
from tests.servers import Children, Client, EntrepotServer, get
from tests.unit.catalog.conftest import push_image
from tests.unit.oci.signing.signers.keys import pem_of, signer_of
from tests.unit.oci.signing.signers.softhsm import PIN, make_token
from tests.unit.oci.signing.signers.vault_server import TOKEN, transit

pytestmark = pytest.mark.slow
NAME, PASSWORD = "team/app", "open sesame"


@pytest.fixture(scope="module")
def entrepot(
    module_children: Children, session_prefect: PrefectServer, tmp_path_factory: pytest.TempPathFactory
) -> Entrepot:
    env = {"ENTREPOT_PREFECT_API_URL": session_prefect.api_url, "ENTREPOT_SIGNING_PASSWORD": PASSWORD}
    return Entrepot(tmp_path_factory.mktemp("home"), module_children, env)


@pytest.fixture(scope="module")
def server(entrepot: Entrepot, module_entrepot_server: EntrepotFactory) -> EntrepotServer:
    return module_entrepot_server(entrepot.home)


@pytest.fixture
def cosign(tool: Callable[[str], str], tmp_path: Path) -> Client:
    return Client(tool("cosign"), (), {"HOME": str(tmp_path), "COSIGN_PASSWORD": PASSWORD})


@pytest.fixture
def reference(entrepot: Entrepot, server: EntrepotServer, request: pytest.FixtureRequest) -> str:
    """An image of this test's own, as TAG."""
    tag: str = request.node.name[:60].replace("[", "-").replace("]", "")
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        push_image(catalog, NAME, tag, tag)
    return tag


@pytest.fixture
def keys(cosign: Client, tmp_path: Path) -> tuple[Path, Path]:
    """Private (encrypted by cosign) and public."""
    cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "key"))
    return tmp_path / "key.key", tmp_path / "key.pub"


def verify(cosign: Client, server: EntrepotServer, tag: str, public: Path, *options: str, check: bool = True) -> bool:
    done = cosign(
        "verify", "--insecure-ignore-tlog", "--key", str(public), "--allow-http-registry", *options,
        f"{server.host}/{NAME}:{tag}", check=check,
    )  # fmt: skip
    return done.returncode == 0


def test_cosign_verifies_what_we_sign(
    entrepot: Entrepot, server: EntrepotServer, cosign: Client, reference: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    source = f"{NAME}:{reference}"
    assert not verify(cosign, server, reference, public, check=False)
    result = entrepot.json("sign", source, "--key", str(private))
    assert result["manifests"]["added"] == 2
    assert verify(cosign, server, reference, public)
    assert verify(cosign, server, reference, public, "--new-bundle-format=false")
    (found,) = entrepot.json("verify", source, "--key", str(public))
    assert (found["tagged"], found["bundled"]) == ({"found": 1, "good": 1}, {"found": 1, "good": 1})
    assert not entrepot.json("sign", source, "--key", str(private))["changed"]  # it has signed already
    cosign("generate-key-pair", "--output-key-prefix", str(tmp_path / "other"))
    other = tmp_path / "other.pub"
    assert not verify(cosign, server, reference, other, check=False)
    refused = entrepot("verify", source, "--key", str(other))
    assert (refused.returncode, "are not signed by" in refused.stderr) == (1, True)
    entrepot.json("sign", source, "--key", str(tmp_path / "other.key"))  # a second signature beside the first
    for key in (public, other):
        assert verify(cosign, server, reference, key, "--new-bundle-format=false")


def test_we_verify_what_cosign_signs(
    entrepot: Entrepot, server: EntrepotServer, cosign: Client, reference: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    login = ["--registry-username", server.username, "--registry-password", server.password, "--allow-http-registry"]
    target = f"{server.host}/{NAME}:{reference}"
    cosign("signing-config", "create", "--out", str(tmp_path / "none.json"))
    cosign("sign", "--yes", "--signing-config", str(tmp_path / "none.json"), "--key", str(private), *login, target)
    (found,) = entrepot.json("verify", f"{NAME}:{reference}", "--key", str(public))
    assert (found["tagged"]["found"], found["bundled"]) == (0, {"found": 1, "good": 1})
    cosign(
        "sign", "--yes", "--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false", "--key", str(private),
        *login, target,
    )  # fmt: skip
    (found,) = entrepot.json("verify", f"{NAME}:{reference}", "--key", str(public))
    assert found["tagged"] == {"found": 1, "good": 1}


def test_an_sbom_as_attestation_and_as_it_is(
    entrepot: Entrepot, server: EntrepotServer, cosign: Client, skopeo: Client, reference: str, keys: tuple[Path, Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    private, public = keys
    documents = {
        "spdxjson": {"spdxVersion": "SPDX-2.3", "name": "hello"},
        "cyclonedx": {"bomFormat": "CycloneDX", "specVersion": "1.6"},
        "https://example.org/report/v1": {"score": 7},
    }
    for number, (kind, document) in enumerate(documents.items()):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(document))
        entrepot.json("attest", f"{NAME}:{reference}", str(file), "--type", kind, "--key", str(private))
        done = cosign(
            "verify-attestation", "--insecure-ignore-tlog", "--key", str(public), "--allow-http-registry", "--type", kind,
            f"{server.host}/{NAME}:{reference}",
        )  # fmt: skip
        assert "payload" in done.stdout
    raw = json.dumps(documents["spdxjson"]).encode()
    (tmp_path / "raw.json").write_bytes(raw)
    entrepot.json("attest", f"{NAME}:{reference}", str(tmp_path / "raw.json"), "--unsigned")
    digest = get(f"{server.url}/v2/{NAME}/manifests/{reference}").headers["docker-content-digest"]
    listed = get(f"{server.url}/v2/{NAME}/referrers/{digest}?artifactType=application/spdx%2Bjson").json()["manifests"]
    assert len(listed) == 1
    place = f"docker://{server.host}/{NAME}@{listed[0]['digest']}"
    skopeo("copy", "--src-tls-verify=false", place, f"dir:{tmp_path / 'out'}")
    assert raw in [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    # An attestation is not a signature of the image.
    assert entrepot("verify", f"{NAME}:{reference}", "--key", str(public)).returncode == 1


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519", "rsa"])
def test_cosign_reads_the_keys_that_we_make(
    entrepot: Entrepot, server: EntrepotServer, cosign: Client, reference: str, tmp_path: Path, kind: str
) -> None:
    made = entrepot.json("key", "generate", "--type", kind, "--output", str(tmp_path / kind))
    private, public = Path(made["private"]), Path(made["public"])
    assert cosign("public-key", "--key", str(private)).stdout.strip() == public.read_text().strip()
    assert entrepot.json("key", "show", str(public)) == entrepot.json("key", "show", str(private))
    entrepot.json("sign", f"{NAME}:{reference}", "--key", f"file:{private}")
    for options in ((), ("--new-bundle-format=false",)):
        assert verify(cosign, server, reference, public, *options)


def test_cosign_verifies_what_signers_outside_have_signed(
    entrepot: Entrepot,
    server: EntrepotServer,
    cosign: Client,
    session_prefect: PrefectServer,
    reference: str,
    tmp_path: Path,
) -> None:
    (tmp_path / "token").mkdir()
    token, public = make_token(tmp_path / "token"), tmp_path / "public"
    command = tmp_path / "command"
    command.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n[ $1 = public-key ] && exec cat p256.pub\nexec openssl dgst -sha256 -sign token/p256\n"
    )
    command.chmod(0o755)
    (tmp_path / "p256.pub").write_bytes(signer_of("p256").verifier.pem)
    with receive(transit) as vault:
        env = {
            "SOFTHSM2_CONF": str(token.configuration),
            "ENTREPOT_PKCS11_MODULE": str(token.module),
            "ENTREPOT_SIGNING_PASSWORD": PIN,
            "VAULT_ADDR": vault.url,
            "VAULT_TOKEN": TOKEN,
        }
        for number, (key, name, more) in enumerate(
            (
                ("pkcs11:token=release;object=p256", "p256", {}),
                ("hashivault://rsa", "rsa", {}),
                (
                    "env://RELEASE_KEY",
                    "ed25519",
                    {"RELEASE_KEY": pem_of("ed25519").decode(), "ENTREPOT_SIGNING_PASSWORD": ""},
                ),
                (f"exec:{command}", "p256", {}),
            )
        ):
            tag = f"{reference}-{number}"
            with open_catalog(read_settings(home=entrepot.home)) as catalog:
                push_image(catalog, NAME, tag, tag)
            done = entrepot("sign", f"{NAME}:{tag}", "--key", key, "--json", env={**env, **more})
            assert done.returncode == 0, done.stderr
            public.write_bytes(signer_of(name).verifier.pem)
            assert verify(cosign, server, tag, public)
            run = json.dumps(session_prefect.flow_run(json.loads(done.stdout)["flow_run_id"]))
            assert key in run
            for secret in (PIN, TOKEN, "PRIVATE KEY"):
                assert secret not in run + done.stdout + done.stderr


def test_forms_of_signatures_and_attestations(
    entrepot: Entrepot, server: EntrepotServer, cosign: Client, reference: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    """Each form alone for the release of cosign that reads it; what others have under a tag stays in it."""
    private, public = keys
    source, target = f"{NAME}:{reference}", f"{server.host}/{NAME}:{reference}"
    login = ["--registry-username", server.username, "--registry-password", server.password, "--allow-http-registry"]
    for form, reading in (("tags", "--new-bundle-format=false"), ("bundle", "--new-bundle-format=true")):
        signed = entrepot.json("sign", source, "--key", str(private), "--form", form)
        assert signed["manifests"]["added"] == 1
        assert verify(cosign, server, reference, public, reading)
    assert not entrepot.json("sign", source, "--key", str(private))["changed"]  # both are there

    document, other = tmp_path / "sbom.json", tmp_path / "other"
    document.write_text('{"spdxVersion": "SPDX-2.3", "name": "hello"}')
    cosign("generate-key-pair", "--output-key-prefix", str(other))
    cosign(
        "attest", "--yes", "--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false", "--type", "spdxjson",
        "--predicate", str(document), "--key", f"{other}.key", *login, target,
    )  # fmt: skip
    attesting = ("attest", source, str(document), "--key", str(private), "--form")
    assert [entrepot.json(*attesting, form)["manifests"]["added"] for form in ("tags", "bundle", "both")] == [1, 1, 0]
    for key, reading in ((public, "false"), (f"{other}.pub", "false"), (public, "true")):
        done = cosign(
            "verify-attestation", "--insecure-ignore-tlog", "--key", str(key), "--allow-http-registry", "--type", "spdxjson",
            f"--new-bundle-format={reading}", target,
        )  # fmt: skip
        assert "payload" in done.stdout


def test_what_is_wrong_changes_nothing(
    entrepot: Entrepot, server: EntrepotServer, reference: str, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    private, public = keys
    source = f"{NAME}:{reference}"
    (tmp_path / "text").write_text("no key")
    (tmp_path / "bad.json").write_text("{}")
    before = entrepot.json("repository", "show", NAME)["version"]
    wrong = {"ENTREPOT_SIGNING_PASSWORD": "not-the-password"}
    for arguments, env, said in (
        (("sign", source), {}, "give --key KEY, or set ENTREPOT_SIGNING_KEY"),
        (("sign", source, "--key", str(private)), wrong, "is wrong or not set"),
        (("sign", source, "--key", str(tmp_path / "text")), {}, "is no private key in PEM"),
        (("sign", source, "--key", str(public)), {}, "is no private key in PEM"),
        (
            ("sign", source, "--key", "pkcs11:object=k?pin-value=not-the-password"),
            {},
            "--key: invalid signer: a URI holds no PIN",
        ),
        (("key", "generate", "--output", str(tmp_path / "n")), {"ENTREPOT_SIGNING_PASSWORD": ""}, "the key is empty"),
        (("key", "generate", "--output", str(tmp_path / "key")), {}, "never overwritten"),
        (("sign", f"{NAME}:none", "--key", str(private)), {}, "is not in version"),
        (("verify", source, "--key", str(private)), {}, "is no public key in PEM"),
        (("verify", source, "--key", str(public)), {}, "are not signed by"),
        (
            ("attest", source, str(tmp_path / "bad.json"), "--key", str(private)),
            {},
            "expected https://spdx.dev/Document with spdxVersion",
        ),
        (("attest", source, str(tmp_path / "none.json"), "--key", str(private)), {}, "cannot be read"),
        (("attest", NAME, str(tmp_path / "bad.json"), "--key", str(private)), {}, "names no manifest"),
    ):
        done = entrepot(*arguments, env=env)
        assert done.returncode in (1, 2), arguments
        assert said in done.stderr, arguments
        assert "Traceback" not in done.stderr
        assert "not-the-password" not in done.stderr
    assert entrepot.json("repository", "show", NAME)["version"] == before
