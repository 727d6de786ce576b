"""`entrepot policy` and `entrepot verify --policy`: from a file to a decision, a summary and a refusal."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.catalog import open_catalog
from catalog.settings import read_settings
from catalog.signing.plan import plan_signing
from oci.signing.keys import load_verifier
from oci.signing.sigstore_bundle import read_bundle
from tests.cli.commands import Entrepot
from tests.homes import new_home
from tests.servers import Children, Client
from tests.trust import Key
from tests.trust_vectors import policy_of
from tests.unit.catalog.conftest import commit_to, push_image
from tests.unit.oci.signing.test_signing import pem_of

NAME, KEY = "team/app", Key()


@pytest.fixture
def entrepot(tmp_path: Path, children: Children) -> Entrepot:
    entrepot = Entrepot(new_home(tmp_path / "entrepot", administrator=True), children)
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        for tag in ("signed", "unsigned"):
            push_image(catalog, NAME, tag, tag)
        latest = catalog.snapshots.get(NAME)
        changes = plan_signing(
            catalog, latest, [latest.tags["signed"]], KEY.signer, reference=f"r.example/{NAME}", created=""
        )
        commit_to(catalog, NAME, *changes, operation_id="sign")
    return entrepot


def test_from_a_policy_to_a_refusal(entrepot: Entrepot, tmp_path: Path) -> None:
    file, summary, private = tmp_path / "policy.json", tmp_path / "vsa.json", tmp_path / "vsa.key"
    document = policy_of({"release": KEY.entry}, name="repository")
    file.write_text(json.dumps({**document, "registry": "r.example"}))
    made = entrepot.json("policy", "set", "release", str(file))
    assert [one["digest"] for one in entrepot.json("policy", "list")] == [made["digest"]]

    private.write_bytes(pem_of(KEY.signer.key))
    options = ("--policy", "release", "--vsa", str(summary), "--vsa-key", str(private))
    (found,) = entrepot.json("verify", f"{NAME}:signed", *options)
    assert (found["outcome"], found["policy"]) == ("allowed", {"name": "release", "digest": made["digest"]})
    envelope = read_bundle(summary.read_bytes())
    assert envelope.is_by(load_verifier(KEY.pem.encode(), where="here"))
    statement = envelope.statement()
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert statement["predicate"]["verificationResult"] == "PASSED"
    assert statement["predicate"]["verifiedLevels"] == ["POLICY_PASSED"]
    assert statement["predicate"]["policy"]["digest"]["sha256"] == made["digest"].partition(":")[2]
    assert statement["subject"][0]["digest"]["sha256"] == found["digest"].partition(":")[2]

    assert "by NAME@DIGEST" in entrepot("verify", NAME, *options).stderr

    shown = entrepot("policy", "test", "release", f"{NAME}:signed").stdout
    assert "rule 1 is satisfied" in shown
    assert "DSSE 1.0" in shown
    refused = entrepot.json("verify", f"{NAME}:unsigned", "--policy", str(file), "--vsa", str(summary), code=1)
    assert refused["error"]["kind"] == "PolicyRefused"
    assert refused["error"]["detail"]["decisions"][0]["outcome"] == "not-signed"
    failed = json.loads(summary.read_bytes())["predicate"]
    assert (failed["verificationResult"], failed["verifiedLevels"]) == ("FAILED", ["FAILED"])

    exported = entrepot("policy", "export", "release", "--format", "policy.json")
    assert "use-sigstore-attachments" in exported.stderr
    file.write_text(exported.stdout)
    entrepot.json("policy", "import", str(file), "--registry", "r.example", "--name", "again")
    assert entrepot("verify", f"{NAME}:signed", "--policy", "again").returncode == 0
    assert entrepot("policy", "remove", "again").returncode == 0
    assert entrepot("policy", "show", "again").returncode == 1
    actions = [one["action"] for one in entrepot.json("event", "list")]
    assert (actions.count("set-policy"), actions.count("remove-policy")) == (2, 1)


def test_cosign_verifies_a_summary_that_is_signed(
    entrepot: Entrepot, tool: Callable[[str], str], tmp_path: Path
) -> None:
    policy, summary, private, public = (tmp_path / name for name in ("policy.json", "vsa.json", "vsa.key", "vsa.pub"))
    policy.write_text(json.dumps(policy_of({"release": KEY.entry})))
    private.write_bytes(pem_of(KEY.signer.key))
    public.write_text(KEY.pem)
    entrepot.json("verify", f"{NAME}:signed", "--policy", str(policy), "--vsa", str(summary), "--vsa-key", str(private))
    with open_catalog(read_settings(home=entrepot.home)) as catalog:
        latest = catalog.snapshots.get(NAME)
        for tag in ("signed", "unsigned"):
            digest = latest.tags[tag]
            (tmp_path / tag).write_bytes(catalog.manifests.read(digest, latest.manifests[digest].media_type).raw)
    cosign = Client(tool("cosign"), (), {"HOME": str(tmp_path)})
    verifying = (
        "verify-blob-attestation", "--new-bundle-format", "--bundle", str(summary), "--key", str(public),
        "--insecure-ignore-tlog", "--type", "https://slsa.dev/verification_summary/v1",
    )  # fmt: skip
    assert cosign(*verifying, str(tmp_path / "signed")).returncode == 0
    assert cosign(*verifying, str(tmp_path / "unsigned"), check=False).returncode != 0


def test_what_verify_is_given_has_to_fit_together(entrepot: Entrepot, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nrulez: []\n")
    for arguments, said in (
        (("--policy", "p", "--key", "k"), "expected --key"),
        (("--key", "k", "--explain"), "need --policy"),
        (("--policy", str(bad)), "rulez: unknown key"),
    ):
        done = entrepot("verify", f"{NAME}:signed", *arguments)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    done = entrepot("verify", f"{NAME}:signed", "--policy", "absent")
    assert (done.returncode, "no policy 'absent' here" in done.stderr) == (1, True)
