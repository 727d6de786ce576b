"""Signatures and attestations in the hands of cosign: it verifies ours, and we verify its, in both forms."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from tests.cli.commands import Entrepot, PrefectServer
from tests.conftest import EntrepotFactory
from tests.servers import Children, Client, EntrepotServer, get
from tests.unit.catalog.conftest import push_image

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
        (("sign", source), {}, "give --key FILE, or set ENTREPOT_SIGNING_KEY"),
        (("sign", source, "--key", str(private)), wrong, "is wrong or not set"),
        (("sign", source, "--key", str(tmp_path / "text")), {}, "is no private key in PEM"),
        (("sign", source, "--key", str(public)), {}, "is no private key in PEM"),
        (("sign", f"{NAME}:none", "--key", str(private)), {}, "is not in version"),
        (("verify", source, "--key", str(private)), {}, "is no public key in PEM"),
        (("verify", source, "--key", str(public)), {}, "are not signed by"),
        (
            ("attest", source, str(tmp_path / "bad.json"), "--key", str(private)),
            {},
            "expected https://spdx.dev/Document with spdxVersion",
        ),
        (("attest", source, str(tmp_path / "none.json"), "--key", str(private)), {}, "cannot be read"),
        (("attest", NAME, str(tmp_path / "bad.json"), "--key", str(private)), {}, "say which manifest"),
    ):
        done = entrepot(*arguments, env=env)
        assert done.returncode in (1, 2), arguments
        assert said in done.stderr, arguments
        assert "Traceback" not in done.stderr
        assert "not-the-password" not in done.stderr
    assert entrepot.json("repository", "show", NAME)["version"] == before
